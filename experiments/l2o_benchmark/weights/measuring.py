"""The test signals, each with a matrix of its own, and the Lasso beside the models."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.l2o_benchmark.problems import Problem
from experiments.l2o_benchmark.weights.config import Config
from experiments.l2o_benchmark.weights.training import SEEDS
from experiments.shipping import Method, on_columns
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.solvers.proximal import fista, penalty_max
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.noise import snr
from jaxl2o.tasks.sparse import bernoulli, fresh, sparse_recovery
from jaxl2o.types import Prompt, ScalarLike, Task

SHARES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)  # penalties of the Lasso, over the least one that gives zero
STRETCH = (0.8, 1.0, 1.2, 1.6)  # numbers of measurements in tests, over that of training


class Sizes(NamedTuple):
    """problem: the benchmark's, of whose setting all sizes follow."""

    problem: Problem

    @property
    def n(self) -> int:
        """Measurements in training."""
        return self.problem.setting.n

    @property
    def d(self) -> int:
        """Coefficients."""
        return self.problem.setting.d

    @property
    def decibels(self) -> float:
        """Of the noise in training."""
        return self.problem.setting.decibels

    @property
    def lengths(self) -> tuple[int, ...]:
        """Measurements in tests."""
        return tuple(round(stretch * self.n) for stretch in STRETCH)

    @property
    def answered(self) -> tuple[int, int]:
        """The fewest and the most measurements that a model is for: from those of training on, where the Lasso errs more."""
        return self.n, self.lengths[2]

    @property
    def label_mean_square(self) -> float:
        """Where columns have mean square 1: of labels without noise."""
        return self.problem.setting.probability * self.d


def task_of(sizes: Sizes, n: int, decibels: ScalarLike) -> Task:
    """Signals of training, of which each has a matrix N(0, 1) of its own."""
    signal = bernoulli(sizes.d, sizes.problem.setting.probability)
    return sparse_recovery(signal, fresh(n, sizes.d), snr(decibels), n_queries=0)


def lasso(share: ScalarLike, n_steps: int) -> Method:
    """FISTA on the Lasso, columns of mean square 1, with this share of the least penalty that gives zero."""

    def answer(prompt: Prompt) -> Float[Array, " d"]:
        return unroll(fista(share * penalty_max(prompt)), prompt, n_steps, keep="last")

    return on_columns(answer)


def beside_lasso(ways: dict[str, Method], share: float, n_steps: int, decibels: ScalarLike) -> dict[str, Method]:
    """A model, and the Lasso."""
    return ways | {"Lasso": lasso(share, n_steps)}


def error_on(config: Config, sizes: Sizes, method: Method) -> float:
    """The mean squared error on validation draws."""
    task, key = task_of(sizes, sizes.n, sizes.decibels), jax.random.key(SEEDS[-2])

    @jax.jit
    def errors(key: Array) -> Array:
        return squared_errors(lambda prompt: method(prompt)[None], task, key, config.validation, 50)[0]

    return float(np.mean(np.asarray(errors(key), dtype=np.float64)))


def tuned_share(config: Config, sizes: Sizes) -> float:
    """The penalty that is best on validation draws."""
    task, key = task_of(sizes, sizes.n, sizes.decibels), jax.random.key(SEEDS[-2])

    def answers(prompt: Prompt) -> Float[Array, "shares d"]:
        return jax.vmap(lambda share: lasso(share, config.lasso_steps)(prompt))(jnp.asarray(SHARES))

    errors = jax.jit(lambda key: squared_errors(answers, task, key, config.validation, 50)[0])(key)
    return SHARES[int(np.argmin(np.asarray(errors).mean(axis=0)))]
