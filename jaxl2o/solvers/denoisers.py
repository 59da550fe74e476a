"""Scalar denoisers: estimates of b, entry by entry, from u = b + N(0, variance), and their slopes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import logit
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.proximal import soft_threshold
from jaxl2o.types import ScalarLike

# (u, variance of its noise) -> an estimate of b; entry i depends on u_i alone, unless said otherwise
Denoiser = Callable[[Float[Array, "*shape"], ScalarLike], Float[Array, "*shape"]]


def soft(alpha: ScalarLike) -> Denoiser:
    """The soft threshold S at alpha standard deviations of the noise, for alpha >= 0; it needs no prior."""
    checks.nonnegative("alpha", alpha)

    def denoise(u: Float[Array, "*shape"], variance: ScalarLike) -> Float[Array, "*shape"]:
        # a square root has no derivative at zero
        return soft_threshold(u, alpha * jnp.sqrt(jnp.maximum(variance, jnp.finfo(u.dtype).tiny)))

    return denoise


def bernoulli_gaussian(probability: ScalarLike, signal_variance: ScalarLike = 1.0) -> Denoiser:
    """The `posterior_mean` of b that is from N(0, signal_variance) with this probability, and zero otherwise."""
    if checks.concrete(probability):
        checks.require(bool(0.0 <= probability <= 1.0), f"probability is {probability:g}; it must lie between 0 and 1.")
    checks.positive("signal_variance", signal_variance)
    return lambda u, variance: posterior_mean(u, variance, probability, signal_variance)


def posterior_mean(
    u: Float[Array, "*shape"], variance: ScalarLike, probability: ScalarLike, signal_variance: ScalarLike = 1.0
) -> Float[Array, "*shape"]:
    """E[b | u] for u = b + N(0, v), where b is from N(0, s^2) with probability p, and zero otherwise.

    It is q(u) g u with the gain g = s^2 / (s^2 + v) and q = P(b != 0 | u), whose log odds are
    log(p / (1 - p)) - log(1 + s^2 / v) / 2 + g u^2 / (2 v). Its slope in u is Var[b | u] / v.

    v / s^2 is kept within eps^2 and 1 / eps^2, where eps is the resolution of the numbers: values and derivatives stay
    finite, also at v = 0.
    """
    resolution = float(jnp.finfo(u.dtype).eps)
    ratio = jnp.clip(variance / signal_variance, resolution**2, resolution**-2)
    evidence = u / jnp.sqrt(signal_variance * ratio * (1.0 + ratio))
    nonzero = jax.nn.sigmoid(logit(probability) - 0.5 * jnp.log1p(1.0 / ratio) + 0.5 * evidence**2)
    return nonzero * u / (1.0 + ratio)


def with_slope(
    denoiser: Denoiser, u: Float[Array, "*shape"], variance: ScalarLike
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """A denoiser's estimates, and their derivatives, each in its own entry of u."""
    return jax.jvp(lambda u: denoiser(u, variance), (u,), (jnp.ones_like(u),))


def divergence_free(denoiser: Denoiser) -> Denoiser:
    """f(u) = (eta(u) - m u) / (1 - m), with m the mean slope of eta over all entries of u: the mean slope of f is zero.

    Ma and Ping 2017 (arXiv:1602.06509). So, for many entries, the error of f(u) is uncorrelated with the
    noise of u (Stein's lemma). If eta is the posterior mean, this factor 1 / (1 - m) is the one of least error.
    """

    def denoise(u: Float[Array, "*shape"], variance: ScalarLike) -> Float[Array, "*shape"]:
        estimate, slope = with_slope(denoiser, u, variance)
        mean_slope = slope.mean()
        # a posterior mean has m < 1 on average; on one u of few entries it may not
        return (estimate - mean_slope * u) / jnp.maximum(1.0 - mean_slope, float(jnp.finfo(u.dtype).eps))

    return denoise
