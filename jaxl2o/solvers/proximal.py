"""Proximal gradient for the Lasso, F(w) = 1/(2n) |X w - y|^2 + penalty |w|_1: ISTA and FISTA."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


def soft_threshold(u: Float[Array, "*shape"], threshold: ScalarLike) -> Float[Array, "*shape"]:
    """S_theta(u) = sign(u) max(|u| - theta, 0): the proximal map of theta |.|_1, for theta >= 0."""
    return jnp.sign(u) * jnp.maximum(jnp.abs(u) - threshold, 0.0)


def smoothness(prompt: Prompt) -> Float[Array, ""]:
    """L, the largest eigenvalue of X'X / n: the Lipschitz constant of grad R. Positive even without examples."""
    x = design_matrix(prompt)
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    if gram.shape[0] == 0:
        return jnp.ones((), dtype=prompt.y.dtype)
    largest = jnp.linalg.eigvalsh(gram)[-1] / prompt.n_used
    return jnp.where(largest > 0.0, largest, 1.0)


def _fixed_point(penalty: ScalarLike) -> Callable[[Array, Prompt], Array]:
    """w - S(w - grad R(w)): zero exactly at the minimisers of F."""
    return lambda w, prompt: w - soft_threshold(w - least_squares_gradient(w, prompt), penalty)


class IstaState(NamedTuple):
    """w: (d,); step_size: 1 / L of this prompt, unless given."""

    w: Float[Array, " d"]
    step_size: Float[Array, ""]


def ista(penalty: ScalarLike, step_size: ScalarLike | None = None) -> Solver:
    """w <- S_{s * penalty}(w - s * grad R(w)), with s = 1 / L unless a step size is given.

    F(w_k) - F* <= L |w_0 - w*|^2 / (2k) (Beck and Teboulle 2009, Theorem 3.1).
    """
    checks.nonnegative("penalty", penalty)
    if step_size is not None:
        checks.positive("step_size", step_size)

    def init(prompt: Prompt) -> IstaState:
        step = 1.0 / smoothness(prompt) if step_size is None else jnp.asarray(step_size, dtype=prompt.y.dtype)
        return IstaState(start_at_zero(prompt), step)

    def step(state: IstaState, prompt: Prompt, _: None) -> IstaState:
        forward = state.w - state.step_size * least_squares_gradient(state.w, prompt)
        return state._replace(w=soft_threshold(forward, state.step_size * penalty))

    return Solver(init, step, lambda state: state.w, residual=_fixed_point(penalty))


class FistaState(NamedTuple):
    """w: (d,) the iterate; v: (d,) the extrapolated point; t: momentum counter; step_size: 1 / L of this prompt."""

    w: Float[Array, " d"]
    v: Float[Array, " d"]
    t: Float[Array, ""]
    step_size: Float[Array, ""]


def never(w: Array, v: Array, w_next: Array) -> Array:
    """No restart: FISTA as published."""
    return jnp.zeros((), dtype=bool)


def against_gradient(w: Array, v: Array, w_next: Array) -> Array:
    """Restart when the momentum points uphill, <v - w_next, w_next - w> > 0 (O'Donoghue and Candes 2015, eq. 12)."""
    return (v - w_next) @ (w_next - w) > 0.0


def fista(penalty: ScalarLike, restart: Callable[[Array, Array, Array], Array] = never) -> Solver:
    """ISTA's step from an extrapolated point v, whose momentum (t - 1) / t_next grows to 1.

    F(w_k) - F* <= 2 L |w_0 - w*|^2 / (k + 1)^2 (Beck and Teboulle 2009, Theorem 4.4). `restart` sets t back to 1;
    `against_gradient` makes the rate linear near the solution.
    """
    checks.nonnegative("penalty", penalty)

    def init(prompt: Prompt) -> FistaState:
        w = start_at_zero(prompt)
        return FistaState(w, w, jnp.ones_like(w, shape=()), 1.0 / smoothness(prompt))

    def step(state: FistaState, prompt: Prompt, _: None) -> FistaState:
        forward = state.v - state.step_size * least_squares_gradient(state.v, prompt)
        w = soft_threshold(forward, state.step_size * penalty)
        again = restart(state.w, state.v, w)
        t = jnp.where(again, 1.0, state.t)
        t_next = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * t**2))
        v = w + (t - 1.0) / t_next * (w - state.w)
        return FistaState(w, v, t_next, state.step_size)

    return Solver(init, step, lambda state: state.w, residual=_fixed_point(penalty))
