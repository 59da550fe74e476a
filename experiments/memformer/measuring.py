"""Tasks whose query is integrated out, trainings of many seeds at once, and their losses on many prompts."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from experiments import parts
from experiments.common import Results, Run
from experiments.memformer.config import DEVIATIONS, ROTATION, START, TEST, TRAINING, Sizes
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.evaluation.sweep import sweep
from jaxl2o.tasks.regression import linear_regression, rotated_root
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe, advance, start
from jaxl2o.types import Instance, Key, Params, Prompt, ScalarLike, Task

D = len(DEVIATIONS)
CHUNK = 4000  # prompts that are answered at one time
Predict = Callable[[Params, Prompt], Array]
Root = Callable[[ScalarLike], Float[Array, "d d"]]


def isotropic(seed: ScalarLike) -> Float[Array, "d d"]:
    """x ~ N(0, I)."""
    return jnp.eye(D)


def rotated(seed: ScalarLike) -> Float[Array, "d d"]:
    """The root of the paper's covariance, with the seed's own rotation."""
    return rotated_root(jax.random.fold_in(jax.random.key(ROTATION), seed), jnp.array(DEVIATIONS))


ROOTS: dict[str, Root] = {"isotropic": isotropic, "rotated": rotated}
EIGENVALUES = {"isotropic": (1.0,) * D, "rotated": tuple(value**2 for value in DEVIATIONS)}


def integrated(n: int, root: Float[Array, "d d"]) -> Task:
    """d queries, the columns of the root: the sum of their squared errors is the mean over a query x ~ N(0, Sigma).

    For predictions that are linear in the query.
    """
    task = linear_regression(n, root, n_queries=0)

    def sample(key: Key) -> Instance:
        prompt, _, w = task.sample(key)
        return Instance(prompt._replace(x_query=root.T), root.T @ w, w)

    return task._replace(sample=sample)


def recipe_of(config: Sizes, predict: Predict, task: Task, loss: losses.Loss, batch: int) -> Recipe:
    """How everything is trained here: Adam, whose rate falls to zero by a cosine."""
    optimizer = guarded(optax.adam(optax.cosine_decay_schedule(1e-2, config.steps)))
    return Recipe(predict, lambda step: task, loss, optimizer, batch)


def trained(
    config: Sizes, run: Run, title: str, first: Callable[[Key], Params], predict: Predict, root: Root, loss: losses.Loss
) -> Params:
    """The parameters of all seeds after their trainings, stacked; kept in the run's folder. first: where each begins."""

    def train(point: dict[str, Array]) -> Params:
        key_start, key = jax.random.fold_in(jax.random.key(START), point["seed"]), jax.random.key(point["seed"])
        recipe = recipe_of(config, predict, integrated(config.n, root(point["seed"])), loss, config.batch)
        return advance(recipe, start(recipe, first(key_start), key), config.steps)[0].params

    return kept(
        run, title, first(jax.random.key(0)), lambda: sweep(train, {"seed": TRAINING[: config.seeds]}, config.seeds).values
    )


def adapted(loss: Callable[[Params], Array], first: Params, rate: float, n_steps: int) -> Params:
    """The parameters after so many steps of Adam on a loss that is the same in every step."""
    optimizer = optax.adam(rate)

    def step(state: tuple[Params, optax.OptState], _: None) -> tuple[tuple[Params, optax.OptState], None]:
        params, memory = state
        updates, memory = optimizer.update(jax.grad(loss)(params), memory)
        return (optax.apply_updates(params, updates), memory), None

    (params, _), _ = lax.scan(step, (first, optimizer.init(first)), length=n_steps)
    return params


def kept(run: Run, title: str, like: Params, compute: Callable[[], Params]) -> Params:
    """What `compute` gives, from the run's folder if it is there: an interrupted run goes on behind it."""

    def leaves() -> Results:
        return {f"arr_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(compute()))}

    found = parts.kept(run, title, leaves)
    return jax.tree.structure(like).unflatten([jnp.asarray(leaf) for leaf in found.values()])


def score(config: Sizes, run: Run, results: Results, key: str, predict: Predict, params: Params | None, root: Root) -> None:
    """Mean squared error at a fresh query after 0..T steps, and its standard error: a row for the parameters of every seed.

    params None: a method without any. Every seed has prompts of its own.
    """
    found = []
    with run.stage(key):
        for index, seed in enumerate(TRAINING[: config.seeds]):
            own = None if params is None else jax.tree.map(lambda leaf, index=index: leaf[index], params)
            found.append(_moments(predict, config.n, config.test, own, root(seed), jax.random.key(TEST[index])))
    results[f"{key}/prompts"] = np.array(config.seeds * config.test)
    results[f"{key}/loss"], results[f"{key}/error"] = (np.stack(column) for column in zip(*found, strict=True))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _moments(
    predict: Predict, n: int, count: int, params: Params, root: Float[Array, "d d"], key: Key
) -> tuple[Float[Array, " steps"], Float[Array, " steps"]]:
    errors, _ = squared_errors(partial(predict, params), integrated(n, root), key, count, CHUNK)
    errors = D * errors
    return errors.mean(axis=0), errors.std(axis=0) / jnp.sqrt(float(count))
