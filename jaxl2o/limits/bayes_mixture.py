"""What no estimate from the labels can beat in a mixture of regressions with Gaussian components: the posterior mean."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import mixture_loss, mixture_scores
from jaxl2o.types import Key, Prompt, ScalarLike, design_matrix


class Estimate(NamedTuple):
    """mean: (d,), about E[bbar | X, y]; error: (d,), its Monte-Carlo standard error; chains: (), how many chains it rests on.

    `chains` = 1 / sum_c w_c^2 for weights w_c of sum one: the effective number. Where it is small, neither number is to be
    trusted; anneal more slowly.
    """

    mean: Float[Array, " d"]
    error: Float[Array, " d"]
    chains: Float[Array, ""]


def gaussian_components(
    weights: Float[Array, " K"], deviation: ScalarLike, noise: ScalarLike, n_chains: int, n_annealing: int, n_sweeps: int
) -> Callable[[Key, Prompt], Estimate]:
    """E[sum_k pi_k b_k | X, y] for b_k ~ N(0, tau^2 I) and a component per example, by Gibbs chains weighted by annealing.

    A sweep draws what is exact in turn, z given b and b given z:

        P(z_i = k | b) is proportional to pi_k N(y_i; <x_i, b_k>, sigma^2),
        b_k | z ~ N(m_k, V_k),   V_k^-1 = I / tau^2 + X_k' X_k / sigma^2,   m_k = V_k X_k' y_k / sigma^2,

    where X_k, y_k are the examples with z_i = k.

    Chains of small noise stay at the mode they come to first. So every chain starts from the prior, makes a sweep at each of
    T deviations of noise s_t = s_0^(1 - t/T) sigma^(t/T), t = 1..T, and carries the weight

        w = p_{s_1}(y | b_1) prod_{t=2}^T p_{s_t}(y | b_t) / p_{s_{t-1}}(y | b_t),   b_t before the sweep at s_t,

    by which annealed importance sampling is right whatever the mixing (Neal 2001, Statistics and Computing 11). S sweeps
    at sigma follow. The estimate is the weighted mean over chains of the mean over their sweeps of sum_k pi_k m_k; it tends
    to the posterior mean as chains become many, and its error is that of a weighted mean of independent chains. With
    s_0 = sqrt(sum_i y_i^2), or sigma if that is larger, the first likelihood is nearly flat. No examples give zero.

    symbol   code          shape
    pi       weights       (K,), their sum is 1
    tau      deviation     (), > 0
    sigma    noise         (), > 0
    T        n_annealing   (), >= 1
    S        n_sweeps      (), >= 1
    C        n_chains      (), >= 2

    Raises `ValueError` for numbers outside these ranges.
    """
    checks.probabilities("weights", weights)
    checks.positive("deviation", deviation)
    checks.positive("noise", noise)
    checks.require(n_chains >= 2, f"n_chains is {n_chains}; a standard error needs at least two.")
    checks.require(n_annealing >= 1, f"n_annealing is {n_annealing}; it must be one or greater.")
    checks.require(n_sweeps >= 1, f"n_sweeps is {n_sweeps}; it must be one or greater.")

    def sweep(
        key: Key, components: Float[Array, "K d"], prompt: Prompt, level: ScalarLike
    ) -> tuple[Float[Array, "K d"], Float[Array, " d"]]:
        """The components after one sweep, and the mean of bbar given the z that it drew."""
        x = design_matrix(prompt)
        key_z, key_b = jax.random.split(key)
        z = jax.random.categorical(key_z, mixture_scores(components, prompt, weights, level), axis=1)
        shares = jax.nn.one_hot(z, weights.shape[0], dtype=x.dtype)

        def draw(share: Float[Array, " n"], normal: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
            weighted = x.T * share[None] / level**2
            precision = jnp.eye(x.shape[1], dtype=x.dtype) / deviation**2 + weighted @ x
            root = jnp.linalg.cholesky(precision)
            mean = jax.scipy.linalg.cho_solve((root, True), weighted @ prompt.y)
            return mean + jax.scipy.linalg.solve_triangular(root.T, normal), mean

        drawn, means = jax.vmap(draw, in_axes=(1, 0))(shares, jax.random.normal(key_b, components.shape, x.dtype))
        return drawn, weights @ means

    def chain(key: Key, prompt: Prompt) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """The mean over one chain, and the logarithm of its weight."""
        key_prior, key_annealing, key_sweeps = jax.random.split(key, 3)
        x = design_matrix(prompt)
        hottest = jnp.maximum(jnp.linalg.norm(prompt.y), noise)
        fraction = jnp.arange(1, n_annealing + 1, dtype=x.dtype) / n_annealing
        levels = hottest ** (1.0 - fraction) * noise**fraction

        def log_likelihood(components: Float[Array, "K d"], level: ScalarLike) -> Float[Array, ""]:
            return -prompt.n_used * mixture_loss(components, prompt, weights, level)

        def anneal(state: tuple[Array, Array, Array], at: tuple[Key, Array]) -> tuple[tuple[Array, Array, Array], None]:
            (components, log_weight, before), (key, level) = state, at
            log_weight = log_weight - before + log_likelihood(components, level)
            components, _ = sweep(key, components, prompt, level)
            return (components, log_weight, log_likelihood(components, level)), None

        def settle(components: Float[Array, "K d"], key: Key) -> tuple[Float[Array, "K d"], Float[Array, " d"]]:
            return sweep(key, components, prompt, noise)

        prior = deviation * jax.random.normal(key_prior, (weights.shape[0], x.shape[1]), x.dtype)
        zero = jnp.zeros((), x.dtype)
        keys = jax.random.split(key_annealing, n_annealing)
        (components, log_weight, _), _ = lax.scan(anneal, (prior, zero, zero), (keys, levels))
        _, means = lax.scan(settle, components, jax.random.split(key_sweeps, n_sweeps))
        return jnp.mean(means, axis=0), log_weight

    def estimate(key: Key, prompt: Prompt) -> Estimate:
        means, log_weights = jax.vmap(chain, in_axes=(0, None))(jax.random.split(key, n_chains), prompt)
        share = jax.nn.softmax(log_weights)
        mean = share @ means
        together = jnp.sum(share**2)
        # equal shares make it the variance of the mean, with the divisor C (C - 1)
        variance = share**2 @ (means - mean[None]) ** 2 / jnp.maximum(1.0 - together, jnp.finfo(share.dtype).eps)
        return Estimate(mean, jnp.sqrt(variance), 1.0 / together)

    return estimate
