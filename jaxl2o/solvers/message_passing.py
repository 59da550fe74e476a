"""Approximate message passing: AMP, its state evolution, and LAMP, which learns its matrices. Columns of X have unit norm.

AMP's theory is for entries X_ij ~ N(0, 1/n). For rows from N(0, I) give X / sqrt(n) and solve for sqrt(n) w.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.denoisers import Denoiser, soft, with_slope
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


class MessageState(NamedTuple):
    """w: (d,) the iterate; z: (n,) the corrected residual of the step before; slope: () the sum of eta' there, over n."""

    w: Float[Array, " d"]
    z: Float[Array, " n"]
    slope: Float[Array, ""]


def _start(prompt: Prompt) -> MessageState:
    w = start_at_zero(prompt)
    return MessageState(w, jnp.zeros_like(prompt.y), jnp.zeros_like(w, shape=()))


def _step(state: MessageState, prompt: Prompt, weight: Float[Array, "d n"], denoiser: Denoiser) -> MessageState:
    z = prompt.y - design_matrix(prompt) @ state.w + state.slope * state.z
    w, slope = with_slope(denoiser, state.w + weight @ z, z @ z / prompt.n_used)
    return MessageState(w, z, slope.sum() / prompt.n_used)


def amp(denoiser: Denoiser) -> Solver:
    """Approximate message passing: w <- eta(w + X'z; tau^2), z <- y - X w + z_before / n * sum eta', tau^2 = |z|^2 / n.

    Donoho, Maleki and Montanari 2009 (arXiv:0907.3574). The correction of the residual makes w + X'z the signal in white
    Gaussian noise of variance tau^2, so that eta is a scalar denoiser: `soft(alpha)`, or `bernoulli_gaussian(probability)`
    where the prior is known. Without i.i.d. entries in X it may diverge.
    """
    return Solver(
        init=_start,
        step=lambda state, prompt, _: _step(state, prompt, design_matrix(prompt).T, denoiser),
        iterate=lambda state: state.w,
    )


class LampLayers(NamedTuple):
    """LAMP's parameters: weights (T, d, n) and thresholds (T,), in standard deviations of the noise, one of each a step."""

    weight: Float[Array, "steps d n"]
    threshold: Float[Array, " steps"]


def lamp(layers: LampLayers) -> Solver:
    """Learned AMP: w <- S(w + W_t z) at theta_t |z| / sqrt(n), where z <- y - X w + |w|_0 / n * z_before.

    Borgerding, Schniter and Rangan 2017 (arXiv:1612.01183). The weights belong to one matrix X and to its n.

    paper        code               shape
    B_t          layers.weight      (T, d, n)
    alpha_t      layers.threshold   (T,), >= 0
    v_t          state.z            (n,)

    Raises `ValueError` for shapes that do not fit each other and for negative thresholds.
    """
    checks.shape("weight", layers.weight, (None, None, None))
    checks.shape("threshold", layers.threshold, layers.weight.shape[:1])
    checks.finite("weight", layers.weight)
    checks.nonnegative("threshold", layers.threshold)

    def step(state: MessageState, prompt: Prompt, layer: LampLayers) -> MessageState:
        return _step(state, prompt, layer.weight, soft(layer.threshold))

    return Solver(_start, step, lambda state: state.w, layers)


def amp_as_lamp(matrix: Float[Array, "n d"], depth: int, alpha: ScalarLike) -> LampLayers:
    """The layers with which LAMP *is* AMP with `soft(alpha)` on this matrix: where training starts."""
    return LampLayers(jnp.broadcast_to(matrix.T, (depth, *matrix.T.shape)), jnp.full((depth,), alpha))


def state_evolution(
    denoiser: Denoiser,
    probability: ScalarLike,
    ratio: ScalarLike,
    noise_variance: ScalarLike,
    n_steps: int,
    signal_variance: ScalarLike = 1.0,
) -> Float[Array, " {n_steps}+1"]:
    """tau_t^2 for t = 0..T: tau_{t+1}^2 = s^2 + E (eta(b + tau_t Z; tau_t^2) - b)^2 / ratio, tau_0^2 = s^2 + E b^2 / ratio.

    AMP's noise as n and d grow, for ratio = n / d and X_ij ~ N(0, 1/n) (Bayati and Montanari 2011, arXiv:1001.3448,
    Theorem 1): the mean squared error of its t-th iterate, |w_t - b|^2 / d, tends to ratio * (tau_t^2 - s^2). Entries of b
    are from N(0, signal_variance) with this probability, and zero otherwise; s^2 is noise_variance, Z is N(0, 1).

    Where b is not zero, it is N(g u, g tau^2) given u = b + tau Z, with g = signal_variance / (signal_variance + tau^2).
    So either case is an integral over u alone.
    """
    checks.positive("ratio", ratio)
    checks.nonnegative("noise_variance", noise_variance)

    def total(error: ScalarLike) -> Float[Array, ""]:
        return jnp.asarray(noise_variance + error / ratio, dtype=float)

    def step(variance: Float[Array, ""], _: None) -> tuple[Float[Array, ""], Float[Array, ""]]:
        gain = signal_variance / (signal_variance + variance)
        zero, density = _normal_nodes(variance, variance)
        u, density_u = _normal_nodes(signal_variance + variance, variance)
        error_of_zero = density @ denoiser(zero, variance) ** 2
        error_of_signal = density_u @ (denoiser(u, variance) - gain * u) ** 2 + gain * variance
        following = total((1.0 - probability) * error_of_zero + probability * error_of_signal)
        return following, following

    first = total(probability * signal_variance)
    return jnp.concatenate([first[None], lax.scan(step, first, length=n_steps)[1]])


def _normal_nodes(variance: ScalarLike, fine: ScalarLike) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Nodes and weights of N(0, variance) for functions that bend at the size sqrt(fine): the trapezoid rule in arcsinh."""
    size = jnp.sqrt(jnp.maximum(fine, jnp.finfo(float).tiny))
    place = jnp.linspace(-1.0, 1.0, 4001) * jnp.arcsinh(10.0 * jnp.sqrt(variance) / size)
    u = size * jnp.sinh(place)
    weight = jnp.cosh(place) * jnp.exp(-0.5 * u**2 / jnp.maximum(variance, jnp.finfo(float).tiny))
    return u, weight / weight.sum()
