"""Cyclic coordinate descent: the certified Lasso one coordinate after another, each minimised exactly."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.method import Run, until_small
from jaxl2o.certified.problem import Problem


class Descent(NamedTuple):
    """One step goes once through all coordinates: w_j <- argmin P over w_j alone, with X'X and X'(y - X w) at hand."""

    def __call__(
        self, problem: Problem, start: Float[Array, " d"], limit: Float[Array, ""], max_steps: int, history: int
    ) -> Run:
        """From `start` until the gap is at most `limit`."""
        gram = problem.x.T @ problem.x + jnp.diag(problem.ridge)

        def coordinate(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            w, c = state
            curvature = gram[j, j]
            safe = jnp.where(curvature > 0.0, curvature, 1.0)
            u = w[j] + c[j] / safe
            new = jnp.maximum(u - problem.above[j] / safe, 0.0) - jnp.maximum(-u - problem.below[j] / safe, 0.0)
            new = jnp.where(curvature > 0.0, new, 0.0)
            return w.at[j].set(new), c - gram[j] * (new - w[j])

        def sweep(state: tuple[Array, Array]) -> tuple[Array, Array]:
            return lax.fori_loop(0, state[0].shape[0], coordinate, state)

        first = (start, problem.correlation(start))
        (w, _), steps, seen = until_small(sweep, lambda state: duality_gap(problem, state[0]), first, limit, max_steps, history)
        return Run(w, steps, seen)
