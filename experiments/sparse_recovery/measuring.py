"""How a method is trained, and how its errors are measured."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.sparse_recovery.config import SEEDS, Config
from experiments.sparse_recovery.methods import Method, Path, Penalised
from jaxl2o.certified.fista import Fista
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import Fraction, prompt_problem
from jaxl2o.constructions.construction import Construction, gap
from jaxl2o.evaluation.curves import curve, squared_errors
from jaxl2o.solvers.proximal import penalty_max
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.covariates import Covariates
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import devices_for
from jaxl2o.training.stages import Stages, at_stage, by_layer
from jaxl2o.types import Key, Params, ScalarLike, Task

PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)  # over the least penalty that gives zero
INFINITE = 1e30  # what an error that overflowed counts as


def task_of(config: Config, law: Covariates | None = None, sparsity: int = 0, n: int = 0, noise: float = 0.0) -> Task:
    """Fresh matrices; by default isotropic, without noise, with the config's sparsity and number of measurements."""
    signal = exactly(config.d, sparsity or config.sparsity)
    return sparse_recovery(signal, fresh(n or config.n, config.d, law), gaussian_noise(noise), n_queries=0)


def path_of(method: Method, params: Params) -> Path:
    """The iterates of a trained method."""
    return Partial(method.learner.predict, params)


def train(config: Config, run: Run, title: str, method: Method, task: Task) -> Params:
    """The method's parameters after its training."""
    recipe = recipe_of(method, task, config.batch, config.steps)
    return fit(run, title, recipe, method.start, config.steps, jax.random.key(SEEDS[1]))


def train_by_stages(config: Config, run: Run, title: str, method: Method, task: Task) -> Params:
    """The method's parameters after a training layer by layer, of about as many steps; half of a layer's are its own."""
    each = max(4, config.steps // config.depth)
    stages = Stages(config.depth, (each // 2, each // 4, each - each // 2 - each // 4))
    recipe = recipe_of(method, task, config.batch, stages.n_steps)._replace(
        optimizer=optax.chain(guarded(optax.adam(method.rate)), by_layer(stages)),
        loss=at_stage(stages, losses.log_mean_relative(1e-6)),
    )
    return fit(run, title, recipe, method.start, stages.n_steps, jax.random.key(SEEDS[1]))


def recipe_of(method: Method, task: Task, batch: int, n_steps: int, gentler: float = 1.0) -> Recipe:
    """How a method is trained; `gentler` divides its rate, where it is trained on."""
    optimizer = optax.adam(optax.cosine_decay_schedule(method.rate / gentler, n_steps))
    loss, devices = losses.log_mean_relative(1e-6), devices_for(batch)
    return Recipe(method.learner.predict, lambda step: task, loss, guarded(optimizer), batch, devices=devices)


def score(results: Results, key: str, predict: Path, task: Task, count: int, seed: int = SEEDS[3]) -> None:
    """Relative errors by step on test signals: mean and interval, quantiles, largest."""
    path = predict if isinstance(predict, Partial) else Partial(predict)
    errors, sizes = _errors(path, task, jax.random.key(seed), count)
    found = curve(jnp.minimum(jnp.nan_to_num(errors, nan=INFINITE), INFINITE), sizes)
    results[f"{key}/mean"] = np.array([found.mean, found.low, found.high])
    results[f"{key}/quantiles"] = np.array([*found.quantiles, found.largest])
    results[f"{key}/signals"] = np.array(count)


@partial(jax.jit, static_argnames=("task", "count"))
def _errors(path: Partial, task: Task, key: Key, count: int) -> tuple[Float[Array, "count steps"], Float[Array, " count"]]:
    """`squared_errors`; what a `Partial` is bound to is an argument, so other parameters of one method compile nothing."""
    return squared_errors(path, task, key, count, 500)


def gaps_at(theorem: Callable[[Any], Construction], layers: Any, task: Task) -> np.ndarray:
    """The gaps of a theorem at trained layers, in float64, over 32 prompts."""
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), layers)
    with jax.enable_x64(True):
        construction = theorem(jax.tree.map(jnp.asarray, wide))
        keys = jax.random.split(jax.random.key(SEEDS[3]), 32)
        return np.asarray(jax.lax.map(lambda key: gap(construction, task.sample(key).prompt), keys))


def classical(make: Penalised, task: Task, n_steps: int, count: int) -> Path:
    """The path of a solver with one penalty, tuned on `count` validation signals."""

    def path(share: ScalarLike) -> Path:
        return lambda prompt: unroll(make(share * penalty_max(prompt)), prompt, n_steps)

    return tuned(path, task, count)


def converged_lasso(task: Task, count: int) -> Path:
    """The Lasso's answer, to a relative duality gap of 1e-6 or 4,000 steps, as a path of one."""

    def path(share: ScalarLike) -> Path:
        return lambda prompt: certified(prompt_problem(prompt, Fraction(share)), Fista(), None, 1e-6, 4000).solution[None]

    return tuned(path, task, count)


def tuned(path: Callable[[ScalarLike], Path], task: Task, count: int) -> Path:
    """The path whose penalty, a share of each prompt's largest, is best on `count` validation signals."""

    @jax.jit
    def error(share: ScalarLike) -> Array:
        key = jax.random.key(SEEDS[2])
        return squared_errors(path(share), task, key, count, 500)[0][:, -1].mean()

    return path(min(PENALTIES, key=lambda share: float(error(share))))
