"""FISTA with restart: the certified Lasso by products with X, or with X'X where that is smaller."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.certified.certificate import Gap
from jaxl2o.certified.method import Run, begin, until_small
from jaxl2o.certified.problem import Problem
from jaxl2o.solvers.proximal import against_gradient, extrapolate


class FistaPoint(NamedTuple):
    """w: the iterate, v: the point to step from, (d,) each; t: how long the momentum has grown."""

    w: Float[Array, " d"]
    v: Float[Array, " d"]
    t: Float[Array, ""]


class Fista(NamedTuple):
    """w <- prox(v + s (X'(y - X v) - e v)), s = 1 / (|X'X| + max e), with momentum that restarts when it points uphill.

    Beck and Teboulle 2009; O'Donoghue and Candes 2015. For n > d the steps are taken with X'X and X'y. The gap is that of X
    itself, looked at every `steps_a_check` steps.
    """

    steps_a_check: int = 10

    def __call__(
        self, problem: Problem, start: Float[Array, " d"], limit: Float[Array, ""], max_steps: int, history: int
    ) -> Run:
        """From `start` until the gap is at most `limit`."""
        checks.require(self.steps_a_check >= 1, f"steps_a_check is {self.steps_a_check}; it must be at least 1.")
        x = problem.x
        n, d = x.shape
        gram = x.T @ x if n > d else x @ x.T
        largest = jnp.linalg.eigvalsh(gram)[-1] if min(n, d) > 0 else jnp.zeros_like(limit)
        steepest = largest + jnp.max(problem.ridge, initial=0.0)
        size = 1.0 / jnp.where(steepest > 0.0, steepest, 1.0)
        explained = x.T @ problem.y

        def uphill(v: Float[Array, " d"]) -> Float[Array, " d"]:
            return explained - gram @ v - problem.ridge * v if n > d else problem.correlation(v)

        def step(point: FistaPoint) -> FistaPoint:
            w = problem.proximal(point.v + size * uphill(point.v), size)
            return FistaPoint(w, *extrapolate(point.w, point.v, w, point.t, against_gradient))

        def turn(point: FistaPoint, _: Gap, most: Array) -> tuple[FistaPoint, Array]:
            steps = jnp.minimum(self.steps_a_check, most)
            return lax.fori_loop(0, steps, lambda _, point: step(point), point), steps

        first = begin(problem, FistaPoint(start, start, jnp.ones_like(limit)), history)
        return until_small(problem, turn, first, limit, max_steps).run
