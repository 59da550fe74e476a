"""Trainings on the benchmark's matrix, or on a new one in every step, which all its signals share, uncopied."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from experiments.common import Run
from experiments.fitting import fit
from experiments.l2o_benchmark.methods import Method, loss_of
from experiments.l2o_benchmark.problems import SEEDS as OF_BENCHMARK
from experiments.l2o_benchmark.problems import Problem
from jaxl2o.tasks.noise import snr
from jaxl2o.tasks.sparse import Measurements, bernoulli, sparse_recovery
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import devices_for
from jaxl2o.types import Key, Params, Prompt, Task

# those of the benchmark; of new matrices in training; of validation draws; of test signals
SEEDS = (*OF_BENCHMARK, 90, 91, 92)


def of_mean_square_one(matrix: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The matrix, its columns scaled."""
    return matrix / jnp.sqrt(jnp.mean(matrix**2, axis=0))[None]


def task_on(problem: Problem, matrix: Float[Array, "n d"]) -> Task:
    """The benchmark's signals and noise, measured by a matrix that the prompts bear."""
    setting = problem.setting
    measurements = Measurements(lambda key, m: (matrix, jnp.zeros((m, setting.d))))
    return sparse_recovery(bernoulli(setting.d, setting.probability), measurements, snr(setting.decibels), n_queries=0)


def trained(
    run: Run,
    title: str,
    problem: Problem,
    method: Method,
    predict: Callable[[Params, Prompt], Array],
    start: Params,
    n_steps: int,
    batch: int,
    key_matrices: Key | None = None,
) -> Params:
    """What a method of the benchmark learns on new matrices; without their key, on the benchmark's own."""
    setting = problem.setting

    def task_at(step: Array) -> Task:
        if key_matrices is None:
            return task_on(problem, of_mean_square_one(problem.matrix))
        drawn = jax.random.normal(jax.random.fold_in(key_matrices, step), (setting.n, setting.d))
        return task_on(problem, of_mean_square_one(drawn))

    optimizer = guarded(optax.adam(optax.cosine_decay_schedule(method.rate, n_steps)), 10.0)
    recipe = Recipe(predict, task_at, loss_of(method, n_steps), optimizer, batch, devices=devices_for(batch))
    return fit(run, title, recipe, start, n_steps, jax.random.key(OF_BENCHMARK[2]))
