"""Every linear first-order method as one array of coefficients: of each gradient, at each step; and their polynomials."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.momentum import Steps
from jaxl2o.types import Prompt, ScalarLike, Solver

# axes of the coefficients -> sum_k C_k g_{t-k}, for scalars, diagonals and matrices C_k
_COMBINED = {2: "k,kd->d", 3: "kd,kd->d", 4: "kde,ke->d"}


class GradientsState(NamedTuple):
    """w: (d,) the iterate; gradients: (T, d) those of the steps so far, newest first, zero where there was none."""

    w: Float[Array, " d"]
    gradients: Float[Array, "steps d"]


def linear_first_order(coefficients: Float[Array, "steps steps *kind"]) -> Solver:
    """w_{t+1} = w_t - sum_{k <= t} C[t, k] g_{t-k},   g_t = grad R(w_t).

    This is every linear first-order method with memory, in the sense of Dutta and Sra 2024 (arXiv:2410.07263, Proposition 2)
    and Goh 2017: their form w_{t+1} = w_0 + sum_{i <= t} Gamma^t_i g_i has C[t, k] = Gamma^{t-1}_{t-k} - Gamma^t_{t-k}, where
    Gamma^{t-1}_t = 0. With fixed coefficients and start zero all iterates are linear in the labels.

    symbol   code              shape
    C        coefficients      (T, T) scalars, (T, T, d) diagonals or (T, T, d, d) matrices; entries k > t have no effect
    w        state.w           (d,)
    g        state.gradients   (T, d), newest first

    Raises `ValueError` for coefficients of another shape and for non-finite ones.
    """
    axes, depth = coefficients.ndim, coefficients.shape[0]
    checks.require(axes in _COMBINED, f"coefficients have {axes} axes; they must be (T, T) scalars, (T, T, d) or (T, T, d, d).")
    checks.shape("coefficients", coefficients, (depth, depth, *(coefficients.shape[-1],) * (axes - 2)))
    checks.finite("coefficients", coefficients)

    def init(prompt: Prompt) -> GradientsState:
        w = start_at_zero(prompt)
        return GradientsState(w, jnp.zeros_like(w, shape=(depth, *w.shape)))

    def step(state: GradientsState, prompt: Prompt, layer: Float[Array, "steps *kind"]) -> GradientsState:
        newest = least_squares_gradient(state.w, prompt)
        gradients = jnp.concatenate([newest[None], state.gradients[:-1]])
        return GradientsState(state.w - jnp.einsum(_COMBINED[axes], layer, gradients), gradients)

    return Solver(init, step, lambda state: state.w, layers=coefficients)


def preconditioned_coefficients(
    coefficients: Float[Array, "steps steps"], preconditioners: Float[Array, "steps d d"]
) -> Float[Array, "steps steps d d"]:
    """C[t, k] P_{t-k} for k <= t, else 0: the gradient of step j is seen through P_j, at once and for ever."""
    lag = jnp.arange(coefficients.shape[0])
    source = lag[:, None] - lag[None, :]
    weights = jnp.where(source >= 0, coefficients, 0.0)
    return weights[:, :, None, None] * preconditioners[source]


def tied_coefficients(weights: Float[Array, " steps"]) -> Float[Array, "steps steps"]:
    """C[t, k] = weights_{t-k} for k <= t, else 0: every gradient has one weight for all later steps.

    The form with Gamma_j for all layers of Dutta and Sra 2024 (arXiv:2410.07263, eq. 20).
    """
    lag = jnp.arange(weights.shape[0])
    source = lag[:, None] - lag[None, :]
    return jnp.where(source >= 0, weights[source], 0.0)


def momentum_coefficients(steps: Steps) -> Float[Array, "steps steps"]:
    """C[t, k] = step_size_t prod_{i = t-k+1..t} momentum_i for k <= t, else 0: `scheduled_momentum` as such a method.

    Of the C without zeros in C[t, 0] these are all those with C[t, k] C[t-1, 0] = C[t, 1] C[t-1, k-1] for 2 <= k <= t.
    Nesterov's differ there by step_size^2 prod_{i = t-k..t} momenta_i, so with three momenta in a row that are not zero his
    iterates are those of no schedule.
    """
    kept = tied_coefficients(steps.momentum.at[:1].set(0.0))  # momentum_0 meets no direction
    factors = jnp.concatenate([jnp.ones_like(kept[:, :1]), kept[:, :-1]], axis=1)
    return steps.step_size[:, None] * jnp.cumprod(factors, axis=1)


def nesterov_coefficients(step_size: ScalarLike, momenta: Float[Array, " steps"]) -> Float[Array, "steps steps"]:
    """C[t, k] = step_size ([k = 0] + prod_{i = t-k..t} momenta_i) for k <= t, else 0: `nesterov` as such a method."""
    newest = jnp.zeros_like(momenta, shape=(momenta.shape[0],) * 2).at[:, 0].set(1.0)
    return step_size * (newest + jnp.cumprod(tied_coefficients(momenta), axis=1))


def residual_polynomials(coefficients: Float[Array, "steps steps"]) -> Float[Array, "steps+1 steps+1"]:
    """Row t: the coefficients, constant first, of the p_t with w_t - w* = p_t(H) (w_0 - w*), where H = X'X / n.

    p_0 = 1 and p_{t+1}(z) = p_t(z) - z sum_{k <= t} C[t, k] p_{t-k}(z); so p_t(0) = 1. Here w* is any minimiser of R.
    """
    depth = coefficients.shape[0]
    newest_first = jnp.eye(1, depth + 1, dtype=coefficients.dtype)
    for t in range(depth):
        change = coefficients[t, : t + 1] @ newest_first
        latest = newest_first[0] - jnp.roll(change, 1)  # change has degree t < T: nothing comes round
        newest_first = jnp.concatenate([latest[None], newest_first])
    return newest_first[::-1]
