"""Greedy selection of columns: orthogonal matching pursuit."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Prompt, Solver, design_matrix


class OmpState(NamedTuple):
    """w: (d,) the iterate; chosen: (d,) its support; inverse: (d, n) the pseudo-inverse of the chosen columns, else zero."""

    w: Float[Array, " d"]
    chosen: Bool[Array, " d"]
    inverse: Float[Array, "d n"]


def omp() -> Solver:
    """Orthogonal matching pursuit: choose the column that correlates most with the residual, refit on all that are chosen.

    Pati, Rezaiifar and Krishnaprasad 1993. The correlation |<x_j, r>| / |x_j| does not depend on the length of a column.
    After k steps w is the least-squares answer on k columns. A step adds its column to the pseudo-inverse of the others by
    an update of rank one (Greville 1960), O(n d), instead of solving anew:

        c = X_S^+ x_j,  p = x_j - X_S c,  q = p / |p|^2,  X_S^+ <- X_S^+ + (e_j - c) q',  w <- w + (e_j - c) q'r.

    Nothing changes any more when the residual is zero up to rounding, when as many columns as examples are chosen, or when
    the next column depends on those before. From a start other than zero it fits what the start leaves of y.
    """

    def init(prompt: Prompt) -> OmpState:
        w, x = start_at_zero(prompt), design_matrix(prompt)
        return OmpState(w, jnp.zeros_like(w, dtype=bool), jnp.zeros_like(x.T))

    def step(state: OmpState, prompt: Prompt, _: None) -> OmpState:
        x, eps = design_matrix(prompt), float(jnp.finfo(prompt.y.dtype).eps)
        residual = prompt.y - x @ state.w
        length = jnp.linalg.norm(x, axis=0)
        correlation = jnp.abs(x.T @ residual) / jnp.where(length > 0.0, length, 1.0)
        best = jnp.argmax(jnp.where(state.chosen, -1.0, correlation))
        others = state.inverse @ x[:, best]
        part = x[:, best] - x @ others
        novelty = part @ part
        explains = correlation[best] > 10.0 * eps * max(x.shape) * jnp.linalg.norm(prompt.y)
        independent = (state.chosen.sum() < prompt.used.sum()) & (novelty > eps * length[best] ** 2)
        taken = explains & independent & ~state.chosen[best]
        dual = jnp.where(taken, part, 0.0) / jnp.where(taken, novelty, 1.0)
        direction = (-others).at[best].add(1.0)
        return OmpState(
            w=state.w + direction * (dual @ residual),
            chosen=state.chosen.at[best].max(taken),
            inverse=state.inverse + jnp.outer(direction, dual),
        )

    return Solver(init, step, lambda state: state.w)
