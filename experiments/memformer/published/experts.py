"""Experts that are trained apart, and gates that are fitted to labelled prompts at test time: scales, and a mixture.

As published: gates are one vector for all layers and prompts, zero at first, and losses are those of the prompts of the fit.
Beside them stand losses on fresh prompts, and one expert whose gate is read off the inputs.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import TRAINING
from experiments.memformer.measuring import EIGENVALUES, D, adapted, integrated, kept, rotated
from experiments.memformer.mixture import MEANS, NAMES, VARIANCES, WEIGHTS, by_quadrature, components, least, routed, together
from experiments.memformer.published.config import Config
from experiments.memformer.published.forms import FORMS, Start, mixed, predict, start
from experiments.memformer.published.protocols import RATE
from jaxl2o.evaluation.sweep import sweep
from jaxl2o.models.experts import inverse_variance
from jaxl2o.tasks.regression import gaussian_mixture, linear_regression
from jaxl2o.tasks.shift import with_variance
from jaxl2o.types import Instance, Key, Params, Prompt, Task

EXPERT = FORMS["GD++, Hadamard, of the past"]
TRAINED = (1.0, 2.0, 3.0)  # variances of the experts
FRESH = 100  # times as many fresh prompts as labelled ones, since the tails are heavy
FIT = 95  # the seed of prompts on which gates are fitted
MIXTURE_RATE = 1e-3  # of Adam, where inputs are of a mixture
NODES = 60  # of the quadrature
Answer = Callable[[Params, Prompt], Float[Array, " m"]]


class Laws(NamedTuple):
    """Of the prompts on which gates are fitted, and of fresh ones, with their keys."""

    labelled: Task
    fresh: Task
    key_set: Key
    key_fresh: Key


class Budget(NamedTuple):
    """Of Adam, with all prompts in every step. spread: of matrices before training."""

    steps: int
    rate: float
    spread: float


def expert(config: Config, task: Task, d: int, depth: int, budget: Budget, key: Key) -> Params:
    """Trained on one set of prompts; its Hadamard memories begin at one."""
    key_start, key_set = jax.random.split(key)
    first = start(EXPERT, Start(spread=budget.spread, weight=1.0), depth, d, config.n, key_start)
    loss = partial(mean_loss, partial(predict, EXPERT), drawn(task, key_set, config.prompts))
    return adapted(loss, first, budget.rate, budget.steps)


def drawn(task: Task, key: Key, count: int) -> Instance:
    """So many prompts."""
    return jax.vmap(task.sample)(jax.random.split(key, count))


def mean_loss(answer: Answer, instances: Instance, theta: Params) -> Float[Array, ""]:
    """The mean squared error on these prompts, summed over their queries: of d columns of a root it is the mean at a query."""
    errors = jax.vmap(answer, (None, 0))(theta, instances.prompt) - instances.y_query
    return jnp.mean(jnp.sum(errors**2, axis=1))


def on_fresh(answer: Answer, config: Config, task: Task, key: Key, theta: Params) -> Float[Array, ""]:
    """The loss on many prompts, a set at a time."""
    keys = jax.random.split(key, FRESH)
    return jax.lax.map(lambda key: mean_loss(answer, drawn(task, key, config.prompts), theta), keys).mean()


def fitted(config: Config, experts: Params, present: Float[Array, " E"], laws: Laws, budget: Budget, moving: Params) -> Array:
    """(2,): the losses after gates are fitted to labelled prompts: on those, and on fresh ones.

    present: 1 for the experts that take part.  moving: what of the experts is fitted too, as it begins.
    """
    instances = drawn(laws.labelled, laws.key_set, config.prompts)

    def answer(theta: tuple[Array, Params], prompt: Prompt) -> Float[Array, " m"]:
        gates, moved = theta
        return mixed(EXPERT, experts | moved, present * gates, prompt)

    theta = adapted(partial(mean_loss, answer, instances), (jnp.zeros_like(present), moving), budget.rate, budget.steps)
    return jnp.stack([mean_loss(answer, instances, theta), on_fresh(answer, config, laws.fresh, laws.key_fresh, theta)])


def by_depth(config: Config, run: Run, title: str, losses: Callable[[int, Array], Array], like: Array) -> np.ndarray:
    """(seeds, depths, ...), of a function of depth and seed."""
    found = []
    for depth in range(1, config.depth + 1):
        axes = {"seed": TRAINING[: config.seeds]}

        def compute(depth: int = depth, axes: dict[str, tuple[int, ...]] = axes) -> np.ndarray:
            return sweep(lambda point: losses(depth, point["seed"]), axes, config.seeds).values

        found.append(np.asarray(kept(run, f"{title}, depth {depth}", like, compute)))
    return np.stack(found, axis=1)


def scales(config: Config, run: Run, results: Results) -> None:
    """Three experts of variances 1, 2 and 3, and prompts of others; at 1, 2 and 3 the expert of that variance alone.

    Every expert has a rotation of its own; alone it is tested with that, else tests have the last one's, as published, and as
    where the last expert's gate reads the inputs, whose trace in training is known.
    """
    variances, trained = jnp.asarray(config.variances), jnp.asarray(TRAINED)
    matched = variances[:, None] == trained[None]
    alone = matched.any(axis=1)
    present = jnp.where(alone[:, None], matched, True).astype(float)
    training, fitting = Budget(config.expert_steps, RATE, 1e-4), Budget(config.fits, RATE, 0.0)
    gate = inverse_variance(TRAINED[-1] * float(sum(EIGENVALUES["rotated"])))

    def losses(depth: int, seed: Array) -> Float[Array, "V 3"]:
        roots = jnp.stack([rotated(seed + 10 * place) for place in range(len(TRAINED))])

        def train(root: Array, variance: Array, key: Key) -> Params:
            return expert(config, with_variance(linear_regression(config.n, root), variance), D, depth, training, key)

        experts = jax.vmap(train)(roots, trained, jax.random.split(jax.random.key(seed), len(TRAINED)))
        last = jax.tree.map(lambda leaf: leaf[-1:], experts)

        def by_inputs(_: None, prompt: Prompt) -> Float[Array, " m"]:
            return mixed(EXPERT, last, gate(prompt), prompt)

        def at(variance: Array, present: Array, root: Array) -> Float[Array, "3"]:
            key_set, key_fresh, key_read = jax.random.split(jax.random.fold_in(jax.random.key(FIT), seed), 3)
            labelled = with_variance(linear_regression(config.n, root), variance)
            laws = Laws(labelled, with_variance(integrated(config.n, root), variance), key_set, key_fresh)
            by_labels = fitted(config, experts, present, laws, fitting, {})
            read = with_variance(integrated(config.n, roots[-1]), variance)
            return jnp.append(by_labels, on_fresh(by_inputs, config, read, key_read, None))

        chosen = jnp.where(alone[:, None, None], roots[jnp.argmax(matched, axis=1)], roots[-1])
        return jax.lax.map(lambda each: at(*each), (variances, present, chosen))

    found = by_depth(config, run, "scales", losses, jnp.zeros(()))
    results["scales/variances"] = np.array(config.variances)
    for place, name in enumerate(("own", "fresh", "gated by its inputs")):
        results[f"scales/{name}"] = found[..., place]


def mixture(config: Config, run: Run, results: Results) -> None:
    """An expert of every component; gates alone, and gates with memories, are fitted to prompts of the mixture."""
    training, fitting = Budget(config.mixture_steps, MIXTURE_RATE, 1e-2), Budget(config.mixture_fits, MIXTURE_RATE, 0.0)
    means, variances, weights = (jnp.asarray(values) for values in (MEANS, VARIANCES, WEIGHTS))
    count = len(MEANS)

    def losses(depth: int, seed: Array) -> Float[Array, "k 2"]:
        def train(component: Array, key: Key) -> tuple[Params, Float[Array, "2"]]:
            task = gaussian_mixture(config.n, 1, means, variances, component)
            key_train, key_fresh = jax.random.split(key)
            theta, answer = expert(config, task, 1, depth, training, key_train), partial(predict, EXPERT)
            own = mean_loss(answer, drawn(task, jax.random.split(key_train)[1], config.prompts), theta)
            return theta, jnp.stack([own, on_fresh(answer, config, task, key_fresh, theta)])

        experts, alone = jax.vmap(train)(jnp.eye(count), jax.random.split(jax.random.key(seed), count))
        task = gaussian_mixture(config.n, 1, means, variances, weights)
        laws = Laws(task, task, *jax.random.split(jax.random.fold_in(jax.random.key(FIT), seed)))
        fits = [
            fitted(config, experts, jnp.ones(count), laws, fitting, moving) for moving in ({}, {"memory": experts["memory"]})
        ]
        return jnp.concatenate([jnp.stack(fits), alone])

    found = by_depth(config, run, "mixture", losses, jnp.zeros(()))
    names = ("gates", "gates and memories", *(f"alone: {name}" for name in NAMES))
    for place, name in enumerate(names):
        results[f"mixture/{name}/own"], results[f"mixture/{name}/fresh"] = found[:, :, place, 0], found[:, :, place, 1]
    parts = components(config.n, config.depth)
    results["mixture/one for all"] = least(together(parts))[1:]
    results["mixture/one for each, told which"] = np.average([least(part) for part in parts], axis=0, weights=WEIGHTS)[1:]
    with run.stage("mixture, routed by the inputs"), jax.enable_x64(True):
        results["mixture/routed by the inputs"] = by_quadrature(routed(parts), config.n, NODES)[1:]
