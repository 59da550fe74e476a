"""The exact derivative of the Lasso's answer, on the coordinates that are not zero."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Bool, Float

from jaxl2o.certified.problem import Problem


@jax.custom_jvp
def with_derivative(problem: Problem, w: Float[Array, " d"]) -> Float[Array, " d"]:
    """w, the answer of a problem however it was found, as a differentiable function of the problem.

    Let A be the coordinates of w that are not zero and M = (X'X + diag e)_AA. Where the others lie strictly within their
    bounds, A and the signs stay as they are nearby, and X_A'(y - X_A w_A) - e_A w_A = slope_A gives

        dw_A = M^-1 d(X'(y - X w) - e w - slope)_A  at fixed w,    dw = 0 elsewhere.

    The factor of M that this takes also gives w_A itself to rounding, M^-1 (X'y - slope)_A; where that has the signs of w,
    it is the value. Forward and reverse mode, under jit and vmap. NaN where the columns of A depend on each other: there
    the answer is not unique. At kinks, a coordinate on its bound, it is the derivative from the side that w lies on.
    """
    return w


@with_derivative.defjvp
def _derivative(primals: tuple[Problem, Array], tangents: tuple[Problem, Any]) -> tuple[Array, Array]:
    problem, w = primals
    active, slope = w != 0.0, problem.slope(w)

    def stationarity(given: Problem) -> Float[Array, " d"]:
        return given.correlation(w) - given.slope(w)

    _, moved = jax.jvp(stationarity, (problem,), (tangents[0],))
    solve = _on(active, problem)
    exact = solve(problem.x.T @ problem.y - slope)
    return jnp.where(jnp.all((exact * slope > 0.0) | ~active), exact, w), solve(moved)


def _on(active: Bool[Array, " d"], problem: Problem) -> Any:
    """rhs -> the solution of M v_A = rhs_A, zero elsewhere."""
    x = jnp.where(active[None], problem.x, 0.0)
    factor = cho_factor(x.T @ x + jnp.diag(jnp.where(active, problem.ridge, 1.0)))
    return lambda rhs: jnp.where(active, cho_solve(factor, jnp.where(active, rhs, 0.0)), 0.0)
