"""The certified Lasso: FISTA with restart, and a duality gap in float64 that proves how close the answer is."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxl2o import checks
from jaxl2o.objectives import lasso_objective
from jaxl2o.solvers.proximal import against_gradient, fista
from jaxl2o.solvers.unroll import solve
from jaxl2o.types import Prompt, ScalarLike, design_matrix


def duality_gap(w: Float[Array, " d"], prompt: Prompt, penalty: ScalarLike) -> Float[Array, ""]:
    """F(w) - D(nu) >= F(w) - F*, an upper bound on the suboptimality of w.

    The dual of F is D(nu) = <y, nu> - n/2 |nu|^2 over |X' nu|_inf <= penalty; nu is the residual (y - X w) / n, shrunk
    until it is feasible.
    """
    x = design_matrix(prompt)
    nu = (prompt.y - x @ w) / prompt.n_used
    largest = jnp.max(jnp.abs(x.T @ nu), initial=0.0)
    nu = nu * jnp.minimum(1.0, penalty / jnp.maximum(largest, jnp.finfo(nu.dtype).tiny))
    return lasso_objective(w, prompt, penalty) - (prompt.y @ nu - 0.5 * prompt.n_used * nu @ nu)


def penalty_max(prompt: Prompt) -> Float[Array, ""]:
    """The smallest penalty at which the Lasso's answer is zero: |X'y|_inf / n."""
    return jnp.max(jnp.abs(design_matrix(prompt).T @ prompt.y), initial=0.0) / prompt.n_used


class Certified(NamedTuple):
    """A solution (d,), its duality gap, and the steps it took."""

    solution: Float[Array, " d"]
    gap: Float[Array, ""]
    steps: Int[Array, ""]


def solve_lasso(prompt: Prompt, penalty: ScalarLike, tolerance: float, max_steps: int) -> Certified:
    """FISTA with restart until the gap is at most tolerance * F(0). Pure: `vmap` it over prompts, in their dtype."""
    limit = tolerance * 0.5 * prompt.y @ prompt.y / prompt.n_used
    solution, steps = solve(
        fista(penalty, against_gradient),
        prompt,
        until=lambda w, p: duality_gap(w, p, penalty) <= limit,
        max_steps=max_steps,
    )
    return Certified(solution, duality_gap(solution, prompt, penalty), steps)


_solve_lasso = jax.jit(solve_lasso, static_argnums=(2, 3))


def lasso(x: Any, y: Any, penalty: float, tolerance: float = 1e-8, max_steps: int = 100_000) -> Certified:
    """Minimise 1/(2n) |X w - y|^2 + penalty |w|_1 in float64, with a certificate.

    x: (n, d); y: (n,). The returned gap is at most tolerance * |y|^2 / (2n), or the steps reached `max_steps`. Answers are
    NumPy arrays in float64, whatever JAX's default precision is. n = 0 gives zero.

    Raises `ValueError` for shapes that do not fit, non-finite values and a penalty that is not positive; at zero only an
    exact fit would have a certificate.
    """
    checks.positive("penalty", penalty)
    with jax.enable_x64(True):
        prompt = Prompt.of(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        return jax.tree.map(np.asarray, _solve_lasso(prompt, jnp.asarray(penalty, dtype=float), tolerance, max_steps))
