"""The benchmark's problems: one measurement matrix, a law of signals, and noise; and the oracle that is told the support."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o.solvers.adaptive import Standard, standard_of
from jaxl2o.solvers.pseudo_inverse import analytic_weights
from jaxl2o.tasks.noise import snr
from jaxl2o.tasks.sparse import bernoulli, fixed, sparse_recovery
from jaxl2o.types import Key, Prompt, Task

NONZEROS = 50  # on average, of any number of coefficients
SEEDS = (0, 1, 2, 3, 40, 5)  # the matrix; random starts; training; validation; test; labels that standardise inputs


class Setting(NamedTuple):
    """n measurements of d coefficients, each non-zero with a probability, at a signal-to-noise ratio in dB."""

    n: int
    d: int
    probability: float
    decibels: float


SETTINGS = {
    "40 dB": Setting(250, 500, NONZEROS / 500, 40.0),
    "20 dB": Setting(250, 500, NONZEROS / 500, 20.0),
    "noiseless": Setting(250, 500, NONZEROS / 500, math.inf),
    "1000 at 40 dB": Setting(250, 1000, NONZEROS / 1000, 40.0),
    "Open-L2O": Setting(256, 512, 0.1, math.inf),
    "small": Setting(30, 40, 0.2, 40.0),  # of the smoke preset
}


class Problem(NamedTuple):
    """A setting's task, whose prompts share X (n, d); ALISTA's weights W and X^+, (d, n) each; the noise's mean variance.

    gain_error: max |(W X)_ii - 1| in float64, which is rounding.  standard: of the labels of 1,024 signals that are in no other
    draw; by it NA-ALISTA standardises what it reads.
    """

    setting: Setting
    matrix: Float[Array, "n d"]
    weight: Float[Array, "d n"]
    inverse: Float[Array, "d n"]
    task: Task
    noise_variance: float
    gain_error: float
    standard: Standard


def problem_of(setting: Setting) -> Problem:
    """X has entries from N(0, 1/n) and then columns of unit norm; all noise is relative to the spread of a signal's labels."""
    matrix = jax.random.normal(jax.random.key(SEEDS[0]), (setting.n, setting.d))
    matrix = matrix / jnp.linalg.norm(matrix, axis=0)[None]
    with jax.enable_x64(True):
        precise = np.asarray(analytic_weights(Prompt.of(np.asarray(matrix, np.float64), np.zeros(setting.n))))
    gain_error = float(np.max(np.abs(np.sum(precise * np.asarray(matrix, np.float64).T, axis=1) - 1.0)))
    weight = jnp.asarray(precise, matrix.dtype)
    inverse = jnp.asarray(np.linalg.pinv(np.asarray(matrix, np.float64)), matrix.dtype)
    noise = None if math.isinf(setting.decibels) else snr(setting.decibels)
    task = sparse_recovery(bernoulli(setting.d, setting.probability), fixed(matrix), noise, n_queries=0)
    # E y_i^2 without noise: the entries of a row have mean square 1/n
    noise_variance = setting.probability * setting.d / setting.n * 10.0 ** (-setting.decibels / 10.0)
    labels = jax.vmap(task.sample)(jax.random.split(jax.random.key(SEEDS[5]), 1024)).prompt.y
    return Problem(setting, matrix, weight, inverse, task, noise_variance, gain_error, standard_of(weight, labels))


def oracle_errors(problem: Problem, key: Key, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of least squares on the true support, in float64, and the signals' sizes: means over coefficients."""
    instances = jax.vmap(problem.task.sample)(jax.random.split(key, count))
    matrix = np.asarray(problem.matrix, np.float64)
    errors = np.zeros(count)
    # `limits.bayes_sparse.least_squares_on` masks all d columns, so that it can be traced; gathering the few is far faster
    for i, (signal, labels) in enumerate(zip(np.asarray(instances.solution), np.asarray(instances.prompt.y), strict=True)):
        support = np.flatnonzero(signal)
        fitted = np.linalg.lstsq(matrix[:, support], labels.astype(np.float64), rcond=None)[0]
        errors[i] = np.sum((fitted - signal[support]) ** 2)
    return errors / matrix.shape[1], np.mean(np.asarray(instances.solution, np.float64) ** 2, axis=1)
