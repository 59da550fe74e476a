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
    it is the value, and so derivatives are exact as soon as w has the right A. Forward and reverse mode, of any order, under
    jit and vmap. With k in A it costs d^3 / 3 whatever k is, since shapes cannot depend on it.

    NaN where the columns of A depend on each other, a pivot of M being at most (n + d) eps of its diagonal: the answer is not
    unique. At kinks, a coordinate on its bound, it is the derivative to the side that w lies on: zero for w_j = 0. In float32
    the error is about 1e-7 times the condition of M, if the gap was small enough to find A at all.
    """
    return w


@with_derivative.defjvp
def _derivative(primals: tuple[Problem, Array], tangents: tuple[Problem, Any]) -> tuple[Array, Array]:
    problem, w = primals
    active, slope = w != 0.0, problem.slope(w)
    solve = _on(active, problem)
    exact = solve(problem.x.T @ problem.y - slope)
    # either is a function of the problem here too, so that the derivative has derivatives
    answer = jnp.where(jnp.all((exact * slope > 0.0) | ~active), exact, with_derivative(problem, w))

    def stationarity(given: Problem) -> Float[Array, " d"]:
        return given.correlation(answer) - given.slope(w)

    _, moved = jax.jvp(stationarity, (problem,), (tangents[0],))
    return answer, solve(moved)


def _on(active: Bool[Array, " d"], problem: Problem) -> Any:
    """rhs -> the solution of M v_A = rhs_A, zero elsewhere; NaN in A where M is singular up to rounding."""
    x = jnp.where(active[None], problem.x, 0.0)
    matrix = x.T @ x + jnp.diag(jnp.where(active, problem.ridge, 1.0))
    factor = cho_factor(matrix)
    rounding = sum(x.shape) * float(jnp.finfo(x.dtype).eps)
    regular = jnp.all(jnp.diagonal(factor[0]) ** 2 > rounding * jnp.diagonal(matrix))
    known = jnp.where(regular, 1.0, jnp.nan)
    return lambda rhs: jnp.where(active, known * cho_solve(factor, jnp.where(active, rhs, 0.0)), 0.0)
