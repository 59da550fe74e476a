"""The part about a mixture of Gaussian prompts: an expert for every component, and a gate that reads which one it is."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from experiments.common import Results, Run
from experiments.memformer.config import TEST, Config
from jaxl2o.constructions.construction import merge
from jaxl2o.constructions.first_order import gradient_descent_with_momentum
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.limits.polynomial import momentum_of, optimal_polynomial
from jaxl2o.models.experts import gated, routing
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers.momentum import Steps
from jaxl2o.tasks.regression import gaussian_mixture
from jaxl2o.types import Prompt

# of all entries of inputs and solutions, in one dimension (the paper's)
MEANS, VARIANCES, WEIGHTS = (2.5, 0.0, -1.0), (0.5, 1.0, 2.0), (0.2, 0.3, 0.5)
NAMES = ("N(2.5, 0.5)", "N(0, 1)", "N(-1, 2)")


def mixture(config: Config, run: Run, results: Results) -> None:
    """Limits of one method for all, of one for each, and what experts reach whose gates are read off the inputs."""
    parts = [loss_matrix(config.n, mean, variance, config.depth) for mean, variance in zip(MEANS, VARIANCES, strict=True)]
    together = np.einsum("c,cij->ij", np.array([Fraction(weight) for weight in WEIGHTS], dtype=object), np.stack(parts))
    own = [least(part) for part in parts]
    results["mixture/one for all"] = least(together)
    results["mixture/one for each, told which"] = np.average(own, axis=0, weights=WEIGHTS)
    for name, losses in zip(NAMES, own, strict=True):
        results[f"mixture/alone: {name}"] = losses
    experts = [gradient_descent_with_momentum(Steps(*map(jnp.asarray, momentum_of(part))), jnp.eye(1)) for part in parts]
    merged, params = merge(experts[0].config, [expert.params for expert in experts])
    means, variances, weights = (jnp.asarray(values) for values in (MEANS, VARIANCES, WEIGHTS))
    learner = transformer_learner(merged, gated(experts[0].encoding, routing(means, variances, weights)))
    task = gaussian_mixture(config.n, 1, means, variances, weights)

    def predict(prompt: Prompt) -> jax.Array:
        return learner.predict(params, prompt)

    measure = jax.jit(lambda key: squared_errors(predict, task, key, config.routed)[0])
    with run.stage("mixture, routed by the inputs"):
        errors = np.concatenate([np.asarray(measure(jax.random.key(seed))) for seed in TEST[: config.seeds]])
    results["mixture/prompts"] = np.array(len(errors))
    results["mixture/routed by the inputs"] = errors.mean(axis=0)


def least(matrix: Shaped[np.ndarray, "k k"]) -> np.ndarray:
    """The least loss after 0..T steps."""
    return np.array([float(optimal_polynomial(matrix[: k + 1, : k + 1])[0]) for k in range(len(matrix))])


def loss_matrix(n: int, mean: float, variance: float, depth: int) -> Shaped[np.ndarray, "k k"]:
    """M_ij = E[(x w H^(i+j) w x)], H = sum_k x_k^2 / n, where x, x_k and w are independent from N(mean, variance): exactly.

    The moments of a sum of n are those of one: their exponential generating function is its n-th power.
    """
    order = 2 * depth
    moments = gaussian_moments(Fraction(mean), Fraction(variance), 2 * order)[::2]
    one = [moment / math.factorial(k) for k, moment in enumerate(moments)]
    power = [Fraction(1)] + [Fraction(0)] * order
    for _ in range(n):
        power = [sum(power[j] * one[k - j] for j in range(k + 1)) for k in range(order + 1)]
    hessian = [math.factorial(k) * power[k] / Fraction(n) ** k for k in range(order + 1)]
    size = moments[1] ** 2  # E x^2 E w^2
    return np.array([[size * hessian[i + j] for j in range(depth + 1)] for i in range(depth + 1)], dtype=object)


def gaussian_moments(mean: Fraction, variance: Fraction, order: int) -> list[Fraction]:
    """E x^k for k = 0..order: E x^(k+1) = mean E x^k + k variance E x^(k-1)."""
    found = [Fraction(1), mean]
    for k in range(1, order):
        found.append(mean * found[k] + k * variance * found[k - 1])
    return found
