"""Cyclic coordinate descent: the certified Lasso one coordinate after another, each minimised exactly."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxl2o.certified.certificate import Gap, duality_gap, least_gap
from jaxl2o.certified.method import Run
from jaxl2o.certified.problem import Problem
from jaxl2o.certified.working_set import excluded, nearest

# between two looks at X itself, so that rounding does not gather in c
EPOCHS_A_ROUND = 100
# a part is solved to this share of the gap it starts with; its penalty is at least this share of the largest violation
SHARE_OF_GAP = 0.02
SHARE_OF_VIOLATION = 0.2
# features that a part may have at most: its second moments then take 8 MB in float64
WIDEST = 1024


class Part(NamedTuple):
    """The problem in some of its coordinates, the others held, in second moments: all that coordinate descent needs.

    gram: (k, k), X'X + diag e.  w: where it starts; c = X'(y - X w) - e w there, and inside = |y - X w|^2 + sum e w^2.
    """

    gram: Float[Array, "k k"]
    w: Float[Array, " k"]
    c: Float[Array, " k"]
    inside: Float[Array, ""]
    above: Float[Array, " k"]
    below: Float[Array, " k"]

    def gap(self, w: Float[Array, " k"], c: Float[Array, " k"]) -> Float[Array, ""]:
        """The duality gap of the part at w, with its c: |r - X dw|^2 = |r|^2 - dw'(c_start + c) needs no X."""
        inside = jnp.maximum(self.inside - (w - self.w) @ (self.c + c), 0.0)
        return least_gap(w, c, inside, self.above, self.below)[0]


def descend(part: Part, limit: Float[Array, ""], most: Int[Array, ""]) -> tuple[Float[Array, " k"], Int[Array, ""]]:
    """w_j <- argmin P over w_j alone, c <- c - gram_j dw_j, cyclically, until the part's gap is at most `limit`, at least once.

    (Friedman, Hastie, Tibshirani 2010, covariance updates.) Returns w and the epochs, 1 to `most`. The coordinate is
    the same in all lanes of a vmap, so that their rows are slices and not gathers.
    """
    curvature = jnp.diagonal(part.gram)
    inverse = jnp.where(curvature > 0.0, 1.0 / jnp.where(curvature > 0.0, curvature, 1.0), 0.0)
    above = jnp.where(curvature > 0.0, part.above * inverse, jnp.inf)
    below = jnp.where(curvature > 0.0, part.below * inverse, jnp.inf)

    def at(values: Array, j: Array) -> Array:
        return lax.dynamic_index_in_dim(values, j, keepdims=False)

    def coordinate(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        w, c = state
        u = at(w, j) + at(c, j) * at(inverse, j)
        new = jnp.maximum(u - at(above, j), 0.0) - jnp.maximum(-u - at(below, j), 0.0)
        return lax.dynamic_update_index_in_dim(w, new, j, 0), c - at(part.gram, j) * (new - at(w, j))

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        return (carry[3] > limit) & (carry[2] < most)

    def turn(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        w, c, taken, _ = carry
        w, c = lax.fori_loop(0, curvature.shape[0], coordinate, (w, c))
        return w, c, taken + 1, part.gap(w, c)

    first = (part.w, part.c, jnp.zeros_like(most), jnp.full_like(limit, jnp.inf))
    w, _, taken, _ = lax.while_loop(unfinished, turn, first)
    return w, taken


class Round(NamedTuple):
    """Between two parts: the iterate (d,), epochs and rounds so far, how much the penalty was raised, gap, gaps seen."""

    w: Float[Array, " d"]
    epochs: Int[Array, ""]
    rounds: Int[Array, ""]
    raised: Float[Array, ""]
    gap: Gap
    seen: Float[Array, " checks"]


class Descent(NamedTuple):
    """Coordinate descent on a working set of `size` features, chosen anew each round; on all of them if d <= size.

    A round makes c = X'(y - X w) - e w and the gap from X, takes the nearest features that the gap does not exclude
    (`working_set`), and descends with their second moments. At first the penalties are raised, to a fifth of what would
    leave c without a violation, then less and less, as along a path: the set is never filled with features that the answer
    does not have. They never rise again, so that the rounds end as plain block descent. `steps` counts epochs, times that
    the coordinates of a part were gone through; `history` has the gap at the start and after every round.

    size: of the working set. When seven eighths of it are not zero, rounds go on with four times as many, and then 1,024.
    shared: X is one for many problems of a vmap (`in_axes` None): X'X is made once, and parts are taken from it.
    """

    size: int = 64
    shared: bool = False

    def __call__(
        self, problem: Problem, start: Float[Array, " d"], limit: Float[Array, ""], max_steps: int, history: int
    ) -> Run:
        """From `start` until the gap is at most `limit`, or half of it is rounding, or `max_steps` epochs."""
        x, ridge = problem.x, problem.ridge
        d = x.shape[1]
        columns, whole = x.T, d <= self.size
        gram = columns @ x if self.shared or whole else None
        curvature = jnp.sum(x**2, axis=0) + ridge

        def note(seen: Array, check: Array | int, gap: Gap) -> Array:
            return seen.at[check].set(gap.bound, mode="drop") if history else seen

        def part_of(near: Any, w: Array, c: Array, raised: Array | float) -> Part:
            """The problem in the features `near`, an index."""
            r = problem.residual(w)
            products = columns[near] @ columns[near].T if gram is None else gram[near][:, near]
            inside = r @ r + ridge[near] @ w[near] ** 2
            above, below = raised * problem.above[near], raised * problem.below[near]
            return Part(products + jnp.diag(ridge[near]), w[near], c[near], inside, above, below)

        def turn(now: Round, size: int) -> Round:
            w, c, raised = now.w, problem.correlation(now.w), now.raised
            floor = jnp.maximum(0.5 * limit, now.gap.rounding)
            most = jnp.minimum(max_steps - now.epochs, EPOCHS_A_ROUND)
            if whole:
                w, epochs = descend(part_of(slice(None), w, c, 1.0), floor, most)
            else:
                # also where it takes all features: an index that stood still would have XLA make X'X before it is needed
                out = excluded(problem, w, c, now.gap, curvature)
                near = nearest(problem, w, c, out, curvature, size)
                violation = jnp.max(jnp.maximum(c / problem.above, -c / problem.below))
                raised = jnp.clip(SHARE_OF_VIOLATION * violation, 1.0, raised)
                part = part_of(near, w, c, raised)
                # nothing that is left out can matter: what solves the part solves the whole
                last = (jnp.sum(~out | (w != 0.0)) <= size) & (raised == 1.0)
                enough = jnp.maximum(SHARE_OF_GAP * part.gap(part.w, part.c), floor)
                found, epochs = descend(part, jnp.where(last, floor, enough), most)
                w = w.at[near].set(found, unique_indices=True)
            gap = duality_gap(problem, w)
            return Round(w, now.epochs + epochs, now.rounds + 1, raised, gap, note(now.seen, now.rounds + 1, gap))

        gap, zero = duality_gap(problem, start), jnp.zeros((), dtype=int)
        seen = note(jnp.full(history, jnp.nan, dtype=limit.dtype), 0, gap)
        now = Round(start, zero, zero, jnp.full_like(limit, jnp.inf), gap, seen)
        widths = sorted({min(size, d) for size in (self.size, 4 * self.size, max(WIDEST, self.size))})
        for size in widths:

            def unfinished(now: Round, size: int = size) -> Array:
                roomy = size == widths[-1] or jnp.sum(now.w != 0.0) <= 7 * size // 8
                far = now.gap.bound > jnp.maximum(limit, 2.0 * now.gap.rounding)
                return far & (now.epochs < max_steps) & roomy

            now = lax.while_loop(unfinished, partial(turn, size=size), now)
        return Run(now.w, now.epochs, now.seen)
