"""Cyclic coordinate descent: the certified Lasso one coordinate after another, each minimised exactly."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxl2o import checks
from jaxl2o.certified.certificate import Gap, least_gap
from jaxl2o.certified.method import Run, begin, until_small
from jaxl2o.certified.problem import Problem
from jaxl2o.certified.working_set import excluded, nearest

# between two looks at X itself, so that rounding does not gather in c
EPOCHS_A_ROUND = 100
# coordinates of a block, or as many as divide the part evenly
BLOCK = 8
# a part is solved to this share of the gap it starts with; its penalty is at least this share of the largest violation
SHARE_OF_GAP = 0.02
SHARE_OF_VIOLATION = 0.1
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

    (Friedman, Hastie, Tibshirani 2010, covariance updates.) Returns w and the epochs, 1 to `most`. Within a block of
    coordinates c is kept up for the block alone, and for all after it, by one product: the iterates are the same. The
    block is the same in all lanes of a vmap, so that their rows are slices and not gathers.
    """
    curvature = jnp.diagonal(part.gram)
    inverse = jnp.where(curvature > 0.0, 1.0 / jnp.where(curvature > 0.0, curvature, 1.0), 0.0)
    above = jnp.where(curvature > 0.0, part.above * inverse, jnp.inf)
    below = jnp.where(curvature > 0.0, part.below * inverse, jnp.inf)

    width = math.gcd(curvature.shape[0], BLOCK)

    def block(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        w, c = state
        old, near, scale, high, low, rows = (
            lax.dynamic_slice_in_dim(values, i * width, width) for values in (w, c, inverse, above, below, part.gram)
        )
        own, new = lax.dynamic_slice_in_dim(rows, i * width, width, axis=1), []
        for j in range(width):
            u = old[j] + near[j] * scale[j]
            new.append(jnp.maximum(u - high[j], 0.0) - jnp.maximum(-u - low[j], 0.0))
            near = near - own[j] * (new[j] - old[j])
        found = jnp.stack(new)
        return lax.dynamic_update_slice_in_dim(w, found, i * width, 0), c - (found - old) @ rows

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        return (carry[3] > limit) & (carry[2] < most)

    def turn(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        w, c, taken, _ = carry
        w, c = lax.fori_loop(0, curvature.shape[0] // width, block, (w, c))
        return w, c, taken + 1, part.gap(w, c)

    first = (part.w, part.c, jnp.zeros_like(most), jnp.full_like(limit, jnp.inf))
    w, _, taken, _ = lax.while_loop(unfinished, turn, first)
    return w, taken


class Iterate(NamedTuple):
    """w (d,), and by how much the penalty is raised."""

    w: Float[Array, " d"]
    raised: Float[Array, ""]


class Descent(NamedTuple):
    """Coordinate descent on a working set of `size` features, chosen anew each round; on all of them if d <= size.

    A round makes c = X'(y - X w) - e w and the gap from X, takes the nearest features that the gap does not exclude
    (`working_set`), and descends with their second moments. At first the penalties are raised, to a tenth of what would
    leave c without a violation, then less and less, as along a path: the set is never filled with features that the answer
    does not have. They never rise again, so that the rounds end as plain block descent. `steps` counts epochs, times that
    the coordinates of a part were gone through; `history` has the gap at the start and after every round.

    size: of the working set. When more than 15/16 of it are not zero, rounds go on with twice as many, and then 1,024.
    shared: X is one for many problems of a vmap (`in_axes` None): X'X is made once, and parts are taken from it.
    """

    size: int = 64
    shared: bool = False

    def __call__(
        self, problem: Problem, start: Float[Array, " d"], limit: Float[Array, ""], max_steps: int, history: int
    ) -> Run:
        """From `start` until the gap is at most `limit`, or half of it is rounding, or `max_steps` epochs."""
        checks.require(self.size >= 1, f"size is {self.size}; a working set has at least 1 feature.")
        x, ridge = problem.x, problem.ridge
        d = x.shape[1]
        columns, whole = x.T, d <= self.size
        gram = columns @ x if self.shared or whole else None
        curvature = jnp.sum(x**2, axis=0) + ridge

        def part_of(near: Any, w: Array, gap: Gap, raised: Array | float) -> Part:
            """The problem in the features `near`, an index."""
            r, c = gap.residual, gap.correlation
            products = columns[near] @ columns[near].T if gram is None else gram[near][:, near]
            inside = r @ r + ridge[near] @ w[near] ** 2
            above, below = raised * problem.above[near], raised * problem.below[near]
            return Part(products + jnp.diag(ridge[near]), w[near], c[near], inside, above, below)

        def turn(now: Iterate, gap: Gap, most: Array, size: int) -> tuple[Iterate, Array]:
            w, c = now.w, gap.correlation
            floor, most = jnp.maximum(0.5 * limit, gap.rounding), jnp.minimum(most, EPOCHS_A_ROUND)
            if whole:
                w, epochs = descend(part_of(slice(None), w, gap, 1.0), floor, most)
                return now._replace(w=w), epochs
            # also where it takes all features: an index that stood still would have XLA make X'X before it is needed
            out = excluded(problem, w, gap, curvature)
            near = nearest(problem, w, c, out, curvature, size)
            violation = jnp.max(jnp.maximum(c / problem.above, -c / problem.below))
            raised = jnp.clip(SHARE_OF_VIOLATION * violation, 1.0, now.raised)
            part = part_of(near, w, gap, raised)
            # nothing that is left out can matter: what solves the part solves the whole
            last = (jnp.sum(~out | (w != 0.0)) <= size) & (raised == 1.0)
            enough = jnp.maximum(SHARE_OF_GAP * part.gap(part.w, part.c), floor)
            found, epochs = descend(part, jnp.where(last, floor, enough), most)
            return Iterate(w.at[near].set(found, unique_indices=True), raised), epochs

        progress = begin(problem, Iterate(start, jnp.full_like(limit, jnp.inf)), history)
        widths = sorted({min(size, d) for size in (self.size, 2 * self.size, max(WIDEST, self.size))})
        for size in widths:

            def roomy(now: Iterate, size: int = size) -> Array | bool:
                return size == widths[-1] or jnp.sum(now.w != 0.0) <= 15 * size // 16

            progress = until_small(problem, partial(turn, size=size), progress, limit, max_steps, roomy)
        return progress.run
