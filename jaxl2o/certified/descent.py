"""Cyclic coordinate descent: the certified Lasso one coordinate after another, each minimised exactly."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxl2o.certified.certificate import Gap, duality_gap
from jaxl2o.certified.method import Run
from jaxl2o.certified.problem import Problem
from jaxl2o.certified.working_set import nearest

EPOCHS_A_CHECK = 2
EPOCHS_A_ROUND = 100
UNROLL = 1
FRACTION = 0.1


class Part(NamedTuple):
    gram: Array
    w: Array
    c: Array
    above: Array
    below: Array
    inside: Array


def scaling(w, c, inside, above, below):
    within = jnp.where(c > 0.0, above, below) / jnp.maximum(jnp.abs(c), jnp.finfo(c.dtype).tiny)
    free = 1.0 + w @ c / jnp.where(inside > 0.0, inside, 1.0)
    return jnp.clip(free, 0.0, jnp.min(within, initial=jnp.inf))


def gap_of(w, c, inside, above, below):
    s = scaling(w, c, inside, above, below)
    cost = jnp.where(w > 0.0, above * w, jnp.where(w < 0.0, -below * w, 0.0))
    return 0.5 * (1.0 - s) ** 2 * inside + jnp.maximum(cost - s * (w * c), 0.0).sum()


def at(v, j):
    return lax.dynamic_index_in_dim(v, j, keepdims=False)


def descend(part: Part, target, most):
    h = jnp.diagonal(part.gram)
    inverse = jnp.where(h > 0.0, 1.0 / jnp.where(h > 0.0, h, 1.0), 0.0)
    up = jnp.where(h > 0.0, part.above * inverse, jnp.inf)
    down = jnp.where(h > 0.0, part.below * inverse, jnp.inf)

    def coordinate(j, state):
        w, c = state
        old = at(w, j)
        u = old + at(c, j) * at(inverse, j)
        new = jnp.maximum(u - at(up, j), 0.0) - jnp.maximum(-u - at(down, j), 0.0)
        return lax.dynamic_update_index_in_dim(w, new, j, 0), c - at(part.gram, j) * (new - old)

    def epoch(_, state):
        return lax.fori_loop(0, h.shape[0], coordinate, state, unroll=UNROLL)

    def gap(w, c):
        inside = part.inside - (w - part.w) @ (part.c + c)
        return gap_of(w, c, inside, part.above, part.below)

    def unfinished(carry):
        _, _, taken, now = carry
        return (now > target) & (taken < most)

    def turn(carry):
        w, c, taken, _ = carry
        w, c = lax.fori_loop(0, EPOCHS_A_CHECK, epoch, (w, c))
        return w, c, taken + EPOCHS_A_CHECK, gap(w, c)

    first = (part.w, part.c, jnp.zeros((), int), gap(part.w, part.c))
    w, _, taken, _ = lax.while_loop(unfinished, turn, first)
    return w, taken


class Descent(NamedTuple):
    size: int = 64

    def __call__(
        self, problem: Problem, start: Float[Array, " d"], limit: Float[Array, ""], max_steps: int, history: int
    ) -> Run:
        n, d = problem.x.shape
        whole = d <= self.size
        x_rows = problem.x.T
        curvature = jnp.sum(problem.x**2, axis=0) + problem.ridge
        full = x_rows @ problem.x + jnp.diag(problem.ridge) if whole else None

        def turn(carry):
            w, taken, rounds, seen, gap = carry
            c = problem.correlation(w)
            r = problem.residual(w)
            most = jnp.minimum(max_steps - taken, EPOCHS_A_ROUND)
            floor = jnp.maximum(0.5 * limit, gap.rounding)
            if whole:
                part = Part(full, w, c, problem.above, problem.below, r @ r + problem.ridge @ w**2)
                w, epochs = descend(part, floor, most)
            else:
                inside = r @ r + problem.ridge @ w**2
                s = scaling(w, c, inside, problem.above, problem.below)
                near, all_in = nearest(problem, w, c, s, gap.bound, curvature, self.size)
                x_near = x_rows[near]
                ridge = problem.ridge[near]
                w_near = w[near]
                part = Part(
                    x_near @ x_near.T + jnp.diag(ridge), w_near, c[near], problem.above[near], problem.below[near],
                    r @ r + ridge @ w_near**2,
                )
                target = jnp.where(all_in, floor, jnp.maximum(FRACTION * gap.bound, floor))
                w_near, epochs = descend(part, target, most)
                w = w.at[near].set(w_near, unique_indices=True)
            gap = duality_gap(problem, w)
            seen = seen.at[rounds + 1].set(gap.bound, mode="drop") if history else seen
            return w, taken + epochs, rounds + 1, seen, gap

        def unfinished(carry):
            _, taken, _, _, gap = carry
            return (gap.bound > jnp.maximum(limit, 2.0 * gap.rounding)) & (taken < max_steps)

        gap = duality_gap(problem, start)
        seen = jnp.full(history, jnp.nan, dtype=limit.dtype)
        seen = seen.at[0].set(gap.bound, mode="drop") if history else seen
        zero = jnp.zeros((), int)
        w, taken, _, seen, _ = lax.while_loop(unfinished, turn, (start, zero, zero, seen, gap))
        return Run(w, taken, seen)
