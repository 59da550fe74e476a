"""Gradient descent with momentum on R(w) = 1/(2n) |X w - y|^2: heavy ball, Chebyshev, Nesterov, and any schedule."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.solvers.first_order import preconditioning, start_at_zero
from jaxl2o.types import Prompt, ScalarLike, Solver


class Steps(NamedTuple):
    """A schedule: how far to go along the direction, and how much of the last direction to keep, (T,) each."""

    step_size: Float[Array, " steps"]
    momentum: Float[Array, " steps"]


class MomentumState(NamedTuple):
    """w: (d,) the iterate; direction: (d,) the last direction, zero at first."""

    w: Float[Array, " d"]
    direction: Float[Array, " d"]


def _start(prompt: Prompt) -> MomentumState:
    """At w_0, in no direction."""
    w = start_at_zero(prompt)
    return MomentumState(w, jnp.zeros_like(w))


# (state, prompt, step size, momentum) -> the next state
Move = Callable[[MomentumState, Prompt, ScalarLike, ScalarLike], MomentumState]


def _move(preconditioner: Float[Array, "d d"] | None) -> Move:
    """s <- -P grad R(w) + momentum s, then w <- w + step_size s."""
    conditioned = preconditioning(preconditioner)

    def move(state: MomentumState, prompt: Prompt, step_size: ScalarLike, momentum: ScalarLike) -> MomentumState:
        direction = momentum * state.direction - conditioned(least_squares_gradient(state.w, prompt))
        return MomentumState(state.w + step_size * direction, direction)

    return move


def scheduled_momentum(steps: Steps, preconditioner: Float[Array, "d d"] | None = None) -> Solver:
    """s_t = -P grad R(w_t) + momentum_t s_{t-1},  w_{t+1} = w_t + step_size_t s_t,  s_{-1} = 0.

    The recursion of conjugate gradients with coefficients that no prompt changes. It holds gradient descent with any
    step sizes, heavy ball and the Chebyshev semi-iteration; momentum_0 has no effect.

    symbol   code               shape
    w        state.w            (d,)
    s        state.direction    (d,)
    P        preconditioner     (d, d), the identity unless given

    Raises `ValueError` for a schedule that is not finite, or whose parts are not equally long.
    """
    checks.shape("step_size", steps.step_size, (None,))
    checks.shape("momentum", steps.momentum, steps.step_size.shape)
    checks.finite("step_size", steps.step_size)
    checks.finite("momentum", steps.momentum)
    move = _move(preconditioner)
    return Solver(
        init=_start,
        step=lambda state, prompt, layer: move(state, prompt, *layer),
        iterate=lambda state: state.w,
        layers=steps,
        residual=least_squares_gradient,
    )


def heavy_ball(step_size: ScalarLike, momentum: ScalarLike, preconditioner: Float[Array, "d d"] | None = None) -> Solver:
    """w_{t+1} = w_t - step_size P grad R(w_t) + momentum (w_t - w_{t-1}), with w_{-1} = w_0 (Polyak 1964).

    Converges for momentum < 1 and step_size < 2 (1 + momentum) / L, with L the largest eigenvalue of P X'X / n, P positive
    definite. State as for `scheduled_momentum`.
    """
    checks.positive("step_size", step_size)
    checks.nonnegative("momentum", momentum)
    move = _move(preconditioner)
    return Solver(
        init=_start,
        step=lambda state, prompt, _: move(state, prompt, step_size, momentum),
        iterate=lambda state: state.w,
        residual=least_squares_gradient,
    )


def heavy_ball_optimum(least: ScalarLike, largest: ScalarLike) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The step size and the momentum of the fastest heavy ball for eigenvalues of X'X / n between m and M (Polyak 1964):

        eta = 4 / (sqrt M + sqrt m)^2,   beta = q^2,   q = (sqrt M - sqrt m) / (sqrt M + sqrt m)

    Then |w_t - w*| <= (t + 1 + q t) q^t |w_0 - w*|.  least, largest: m and M, 0 < m <= M.

    Raises `ValueError` unless 0 < m <= M.
    """
    checks.positive("least", least)
    checks.nonnegative("largest - least", jnp.asarray(largest) - jnp.asarray(least))
    low, high = jnp.sqrt(jnp.asarray(least, dtype=float)), jnp.sqrt(jnp.asarray(largest, dtype=float))
    return 4.0 / (high + low) ** 2, ((high - low) / (high + low)) ** 2


def chebyshev_steps(least: ScalarLike, largest: ScalarLike, n_steps: int) -> Steps:
    """The Chebyshev semi-iteration: of all fixed linear first-order methods, the least error for eigenvalues in [m, M].

        w_t - w* = p_t(H) (w_0 - w*),   p_t(z) = T_t((M + m - 2z) / (M - m)) / T_t((M + m) / (M - m)),   H = X'X / n

    at every t, with the Chebyshev polynomial T_t; so |w_t - w*| <= |w_0 - w*| / T_t((M + m) / (M - m)), which no other
    polynomial of this degree with p(0) = 1 improves for all of [m, M] (Golub and Varga 1961). In units of the optimal heavy
    ball eta, beta, to which the schedule tends, and with r_t = (1 + beta^t) / (1 + beta^(t + 1)):

        step_size_t = eta r_t,   momentum_t = beta r_{t-1}^2;   half of it for step_size_0 and momentum_1;   momentum_0 = 0

    Raises `ValueError` unless 0 < m <= M.
    """
    step_size, momentum = heavy_ball_optimum(least, largest)
    power = momentum ** jnp.arange(n_steps + 1)
    ratio = (1.0 + power[:-1]) / (1.0 + power[1:])
    half = jnp.where(jnp.arange(n_steps) == 0, 0.5, 1.0)
    return Steps(step_size * half * ratio, jnp.concatenate([jnp.zeros(1), momentum * half * ratio**2])[:n_steps])


class NesterovState(NamedTuple):
    """v: (d,) the extrapolated point; w: (d,) where the last gradient step led."""

    v: Float[Array, " d"]
    w: Float[Array, " d"]


def nesterov(step_size: ScalarLike, momenta: Float[Array, " steps"]) -> Solver:
    """w_{k+1} = v_k - step_size grad R(v_k),  v_{k+1} = w_{k+1} + momenta_k (w_{k+1} - w_k),  v_0 = w_0 (Nesterov 1983).

    The iterate is v, which a last momentum of zero makes w_T. With eigenvalues of X'X / n in [m, M] and K = M / m:
    step_size = 1 / M, momenta = (sqrt K - 1) / (sqrt K + 1).

    Raises `ValueError` for a step size that is not positive and momenta that are not finite.
    """
    checks.positive("step_size", step_size)
    checks.shape("momenta", momenta, (None,))
    checks.finite("momenta", momenta)

    def init(prompt: Prompt) -> NesterovState:
        w = start_at_zero(prompt)
        return NesterovState(w, w)

    def step(state: NesterovState, prompt: Prompt, momentum: Float[Array, ""]) -> NesterovState:
        w = state.v - step_size * least_squares_gradient(state.v, prompt)
        return NesterovState(w + momentum * (w - state.w), w)

    return Solver(init, step, lambda state: state.v, layers=momenta, residual=least_squares_gradient)
