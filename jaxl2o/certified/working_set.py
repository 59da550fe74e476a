"""Where to look: the features that may matter, by their distance to their constraint in the dual, and those that cannot."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxl2o.certified.certificate import Gap, least_gap
from jaxl2o.certified.problem import Problem


def excluded(problem: Problem, w: Float[Array, " d"], gap: Gap, curvature: Float[Array, " d"]) -> Bool[Array, " d"]:
    """The features that are zero at the answer, proved by the gap (Fercoq, Gramfort, Salmon 2015, arXiv:1505.03410).

    D is strongly concave, so the best theta lies within sqrt(2 gap) of theta = s (y - X w), and a feature whose constraint
    -b_j <= x_j'theta <= a_j no such theta touches is zero:

        min(a_j - s c_j, b_j + s c_j) > |x_j| sqrt(2 gap),    |x_j|^2 + e_j = curvature_j

    A column of zeros is never needed.
    """
    r, c = gap.residual, gap.correlation
    _, s = least_gap(w, c, r @ r + problem.ridge @ w**2, problem.above, problem.below)
    room = jnp.minimum(problem.above - s * c, problem.below + s * c)
    return (room > jnp.sqrt(2.0 * curvature * gap.bound)) | (curvature == 0.0)


def nearest(
    problem: Problem,
    w: Float[Array, " d"],
    c: Float[Array, " d"],
    out: Bool[Array, " d"],
    curvature: Float[Array, " d"],
    size: int,
) -> Int[Array, " size"]:
    """The `size` features to look at: those with w_j != 0, then the nearest to their constraint, or farthest beyond it.

    The distance is min(a_j - c_j, b_j + c_j) / |x_j| (Johnson and Guestrin 2015, Blitz; Massias, Gramfort, Salmon 2018,
    celer, arXiv:1802.07481), below zero for a violated one. Minus it is then the length of the step |x_j| |dw_j| that
    minimises over w_j alone, half the square of which P falls by. Where w_j != 0 fill more than three quarters, they too
    come by that length, so that the feature with the greatest fall is always looked at, and P still converges
    (Nutini and others 2015, arXiv:1506.00552, the Gauss-Southwell-q rule). `out` come last.
    """
    length = jnp.sqrt(jnp.where(curvature > 0.0, curvature, 1.0))
    distance = jnp.minimum(problem.above - c, problem.below + c) / length
    step = jnp.abs(problem.proximal(w + c / length**2, 1.0 / length**2) - w) * length
    there = w != 0.0
    crowded = jnp.sum(there) > 3 * size // 4
    score = jnp.where(there, jnp.where(crowded, step, jnp.inf), jnp.where(out, -jnp.inf, -distance))
    # a rank needs no more digits, and XLA is quick at it in float32 alone
    return lax.top_k(score.astype(jnp.float32), size)[1]
