"""The part about a mixture of Gaussian prompts: an expert for every component, and a gate that reads which one it is."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped
from scipy import special

from experiments.common import Results, Run
from experiments.memformer.config import Config
from jaxl2o.constructions.construction import merge
from jaxl2o.constructions.first_order import gradient_descent_with_momentum
from jaxl2o.limits.polynomial import momentum_of, optimal_polynomial
from jaxl2o.models.experts import gated, routing
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers.momentum import Steps
from jaxl2o.types import Prompt

Predict = Callable[[Prompt], Float[Array, "t m"]]
# of all entries of inputs and solutions, in one dimension (the paper's)
MEANS, VARIANCES, WEIGHTS = (2.5, 0.0, -1.0), (0.5, 1.0, 2.0), (0.2, 0.3, 0.5)
NAMES = ("N(2.5, 0.5)", "N(0, 1)", "N(-1, 2)")


def mixture(config: Config, run: Run, results: Results) -> None:
    """Limits of one method for all, of one for each, and what experts reach whose gates are read off the inputs."""
    parts = components(config.n, config.depth)
    results["mixture/one for all"] = least(together(parts))
    own = [least(part) for part in parts]
    results["mixture/one for each, told which"] = np.average(own, axis=0, weights=WEIGHTS)
    for name, losses in zip(NAMES, own, strict=True):
        results[f"mixture/alone: {name}"] = losses
    with run.stage("mixture, routed by the inputs"), jax.enable_x64(True):
        for name, nodes in (("", config.nodes), (", fewer nodes", config.nodes // 2)):
            results[f"mixture/routed by the inputs{name}"] = by_quadrature(routed(parts), config.n, nodes)


def components(n: int, depth: int) -> list[Shaped[np.ndarray, "k k"]]:
    """The loss matrix of every component."""
    return [loss_matrix(n, mean, variance, depth) for mean, variance in zip(MEANS, VARIANCES, strict=True)]


def together(parts: list[Shaped[np.ndarray, "k k"]]) -> Shaped[np.ndarray, "k k"]:
    """That of the mixture."""
    return np.einsum("c,cij->ij", np.array([Fraction(weight) for weight in WEIGHTS], dtype=object), np.stack(parts))


def routed(parts: list[Shaped[np.ndarray, "k k"]]) -> Predict:
    """A Transformer of one expert for every component, best there at every depth, and the gate that reads which it is."""
    experts = [gradient_descent_with_momentum(Steps(*map(jnp.asarray, momentum_of(part))), jnp.eye(1)) for part in parts]
    merged, params = merge(experts[0].config, [expert.params for expert in experts])
    gate = routing(*(jnp.asarray(values) for values in (MEANS, VARIANCES, WEIGHTS)))
    return partial(transformer_learner(merged, gated(experts[0].encoding, gate)).predict, params)


def by_quadrature(predict: Predict, n: int, nodes: int) -> Float[np.ndarray, " k"]:
    """The expected squared error at a query after 0..T layers, where what is predicted is linear in w and in the query.

    So it is E w^2 E x^2 times the mean of the squared error for w = 1 at 1, over inputs. These count by their mean and
    variance alone, which are independent: Gauss and Hermite's rule for the mean, Gauss and Laguerre's for the variance.
    """
    normal, of_normal = special.roots_hermitenorm(nodes)
    gamma, of_gamma = special.roots_genlaguerre(nodes, 0.5 * (n - 1) - 1.0)
    pattern = (np.arange(n) - np.arange(n).mean()) / np.arange(n).std()
    weights = np.outer(of_normal / of_normal.sum(), of_gamma / of_gamma.sum()).ravel()

    @jax.jit
    def squared(x: Float[Array, "k n"]) -> Float[Array, "k t"]:
        def one(x: Float[Array, " n"]) -> Float[Array, " t"]:
            prompt = Prompt(x[:, None], x, jnp.ones((1, 1)), jnp.ones(n, dtype=bool))
            return (predict(prompt)[:, 0] - 1.0) ** 2

        return jax.vmap(one)(x)

    losses = []
    for mean, variance in zip(MEANS, VARIANCES, strict=True):
        means, variances = mean + np.sqrt(variance / n) * normal, 2.0 * variance / n * gamma
        x = (means[:, None, None] + np.sqrt(variances)[None, :, None] * pattern).reshape(-1, n)
        losses.append((mean**2 + variance) ** 2 * weights @ np.asarray(squared(jnp.asarray(x))))
    return np.average(losses, axis=0, weights=WEIGHTS)


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
