"""The derivative of a solver's answer as a root, by the implicit function theorem, however the answer was found."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import lu_factor, lu_solve
from jax.scipy.sparse.linalg import gmres

from jaxl2o import checks
from jaxl2o.types import Prompt, PyTree, Solver

# (linear, target) -> the v with linear(v) = target; a linear map of the target, which JAX can transpose
LinearSolve = Callable[[Callable[[Any], Any], Any], Any]

RESTART = 20  # GMRES keeps so many directions, as JAX and SciPy have it


def dense_solve(linear: Callable[[Any], Any], target: Any) -> Any:
    """Solve linear(v) = target by the matrix of `linear` and its LU factors; to rounding, for iterates of some hundred entries.

    NaN where the matrix is singular up to rounding, a pivot at most k eps times the largest for k entries: there the answer
    is not unique (least squares with fewer examples than features), and has no derivative.
    """
    flat, unravel = ravel_pytree(target)
    matrix = jax.jacfwd(lambda v: ravel_pytree(linear(unravel(v)))[0])(jnp.zeros_like(flat))
    factors = lu_factor(matrix)
    pivots = jnp.abs(jnp.diagonal(factors[0]))
    rounding = flat.shape[0] * float(jnp.finfo(flat.dtype).eps) * jnp.max(pivots, initial=0.0)
    return unravel(jnp.where(jnp.all(pivots > rounding), 1.0, jnp.nan) * lu_solve(factors, flat))


def iterative_solve(tolerance: float = 1e-12, max_steps: int = 2000) -> LinearSolve:
    """Solve linear(v) = target without a matrix, to |linear(v) - target| <= tolerance |target|, for iterates of any size.

    GMRES (Saad and Schultz 1986), restarted every 20 steps; a step is one product with `linear`, or in reverse mode with its
    transpose. Conjugate gradients would not do: the residual of a proximal step has a Jacobian that is not symmetric. A
    tolerance below 100 eps of the dtype counts as that. NaN where `max_steps`, rounded up to twenties, do not reach ten
    times it.
    """
    checks.positive("tolerance", tolerance)
    checks.positive("max_steps", max_steps)

    def solve(linear: Callable[[Any], Any], target: Any) -> Any:
        length = jnp.linalg.norm(ravel_pytree(target)[0])
        reached = max(tolerance, 100.0 * float(jnp.finfo(length.dtype).eps))
        found, _ = gmres(linear, target, tol=reached, restart=RESTART, maxiter=-(-max_steps // RESTART))
        left = jax.tree.map(jnp.subtract, linear(found), target)
        good = jnp.linalg.norm(ravel_pytree(left)[0]) <= 10.0 * reached * length
        return jax.tree.map(lambda leaf: jnp.where(good, leaf, jnp.nan), found)

    # gmres itself cannot be transposed inside a root: its tolerance depends on the target outside of what JAX transposes
    return lambda linear, target: lax.custom_linear_solve(linear, target, solve, solve)


class Implicit(NamedTuple):
    """Differentiate residual(iterate, prompt) = 0 by the implicit function theorem; the steps are not differentiated.

    With r' and dr the derivatives of the residual in the iterate and in all that it reads, the prompt and what the solver
    closes over, d(iterate) = -(r')^-1 dr. One linear solve, in forward and in reverse mode, whatever the number of steps. It
    is the derivative of the root: an iterate that is off by e gives one that is off by a multiple of e, and what
    moves the steps but not the root, a step size or a start, gets zero. Where r has a kink, such as a coefficient of the
    Lasso just on its bound, the root has derivatives to each side alone, and this is neither.
    """

    linear_solve: LinearSolve = dense_solve


def at_root(solver: Solver, prompt: Prompt, run: Callable[[], tuple[PyTree, PyTree]], linear_solve: LinearSolve) -> PyTree:
    """run() -> (iterate, floats beside it), with the derivative of the iterate as the root of the solver's residual.

    Raises `ValueError` if the solver has no residual.
    """
    residual = solver.residual
    if residual is None:
        raise checks.InputError("this solver has no residual, so it cannot be differentiated implicitly; use Unrolled().")
    shape = lax.stop_gradient(solver.iterate(solver.init(prompt)))
    return lax.custom_root(lambda iterate: residual(iterate, prompt), shape, lambda _, __: run(), linear_solve, has_aux=True)
