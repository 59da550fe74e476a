"""Newton's method for linear equations, with the inverse by products alone: least squares, ridge, and X w = y itself."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.inverse import Start, inverse_step
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


class InverseState(NamedTuple):
    """w: (d,) the iterate; inverse: V_t, about the inverse of the equations' matrix."""

    w: Float[Array, " d"]
    inverse: Float[Array, "d k"]


def newton(start: Start, order: int = 2, penalty: ScalarLike = 0.0) -> Solver:
    """Least squares, or ridge: w_t = s - V_t grad F(s), where V_t is the inverse of F'' after t steps of order p.

        F(w) = 1/(2n) |X w - y|^2 + penalty/2 |w|^2,   F'' = X'X / n + penalty I,   V_{t+1} as in `inverse_step`

    The error w_t - w* is (I - V_0 F'')^(p^t) (s - w*), for the start s; so w_0 is already a step on, with V_0. Giannou et al.
    2024, Theorem 4.2 (arXiv:2403.03183), where s = 0.

    paper    code             shape
    X_t      state.inverse    (d, d)
    X_0      start(F'')       (d, d), `transposed(scale)` in the theorem: 0 < scale < 2 / |F''|^2
    mu       penalty          (), >= 0
    """
    checks.nonnegative("penalty", penalty)

    def gradient(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, " d"]:
        return least_squares_gradient(w, prompt) + penalty * w

    def hessian(prompt: Prompt) -> Float[Array, "d d"]:
        x = design_matrix(prompt)
        return x.T @ x / prompt.n_used + penalty * jnp.eye(x.shape[1], dtype=x.dtype)

    return _by_inverse(hessian, gradient, start, order)._replace(residual=gradient)


def linear_system(start: Start, order: int = 2) -> Solver:
    """X w = y: w_t = s + V_t (y - X s), where V_t is the inverse of X, or its pseudo-inverse, after t steps of order p.

    The residual is X'(X w - y) / n, which is zero at the answer whatever the shape of X.
    """
    solver = _by_inverse(design_matrix, lambda w, prompt: design_matrix(prompt) @ w - prompt.y, start, order)
    return solver._replace(residual=least_squares_gradient)


def _by_inverse(
    matrix: Callable[[Prompt], Float[Array, "k d"]],
    error: Callable[[Float[Array, " d"], Prompt], Float[Array, " k"]],
    start: Start,
    order: int,
) -> Solver:
    """w_t = s - V_t r(s), with r the error, s the start and V_t about the inverse of the matrix r'."""
    checks.require(order >= 2, f"order is {order}; an inverse iteration has an order of at least 2.")

    def at(inverse: Float[Array, "d k"], prompt: Prompt) -> InverseState:
        first = start_at_zero(prompt)
        return InverseState(first - inverse @ error(first, prompt), inverse)

    def init(prompt: Prompt) -> InverseState:
        return at(start(matrix(prompt)), prompt)

    def step(state: InverseState, prompt: Prompt, _: None) -> InverseState:
        return at(inverse_step(state.inverse, matrix(prompt), order), prompt)

    return Solver(init, step, lambda state: state.w)
