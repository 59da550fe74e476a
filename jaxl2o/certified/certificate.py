"""The duality gap, enlarged by what rounding can hide, so that it bounds the suboptimality whatever the arithmetic."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.certified.problem import Problem


class Gap(NamedTuple):
    """bound >= P(w) - P* of the numbers as they are; rounding: the part of it that stands for rounding errors.

    It was made from y - X w (n,), and from X'(y - X w) - e w (d,), the two products with X that a round then need not repeat.
    """

    bound: Float[Array, ""]
    rounding: Float[Array, ""]
    residual: Float[Array, " n"]
    correlation: Float[Array, " d"]


def duality_gap(problem: Problem, w: Float[Array, " d"]) -> Gap:
    """P(w) - D(theta) >= P(w) - P*, for theta = s (y - X w) with the best s for which theta is feasible.

    With c = X'(y - X w) - e w, and D(theta) = y'theta - 1/2 |theta|^2 over -b <= X'theta <= a on data with rows sqrt(e_j) more,

        gap = 1/2 (1 - s)^2 (|y - X w|^2 + sum_j e_j w_j^2) + sum_j (penalty_j(w_j) - s w_j c_j)

    of which no term is below zero: nothing cancels, and a gap of 1e-15 P(0) is known in the arithmetic that made it.

    Rounding, with u half the spacing of the dtype at 1 and g_k = k u / (1 - k u) (Higham 2002, section 3.1): a product of
    k terms, in any order, is off by at most g_k times the product of absolute values. So the computed residual is off by
    g_{d+2} (|y| + sum_j |x_j| |w_j|) =: q, and c_j by g_{n+2} (|x_j| |r| + e_j |w_j|) =: p_j. s leaves room for p, which makes
    theta feasible beyond doubt; q is added to |1 - s| |r|, and s p_j |w_j| to the terms of the sum.
    Infinite where w is not finite or breaks w >= 0, and for penalties or a ridge that no problem has.
    """
    n, d = problem.x.shape
    unit = 0.5 * float(jnp.finfo(problem.x.dtype).eps)

    def g(terms: int) -> float:
        return terms * unit / (1.0 - terms * unit)

    r = problem.residual(w)
    c = problem.x.T @ r - problem.ridge * w
    columns, length = jnp.sqrt(jnp.sum(problem.x**2, axis=0)), jnp.sqrt(r @ r)
    q = g(d + 2) * (jnp.sqrt(problem.y @ problem.y) + columns @ jnp.abs(w))
    p = g(n + 2) * (columns * length + problem.ridge * jnp.abs(w))
    ridge = problem.ridge @ w**2
    inside = length**2 + ridge
    cost, gain = jnp.abs(problem.slope(w) * w), w * c
    # what exact numbers might show: where a penalty is below the rounding of c, that is nothing, and all of the gap is rounding
    ideal, _ = least_gap(w, c, inside, problem.above, problem.below, -p)
    value, s = least_gap(w, c, inside, problem.above, problem.below, p)
    slack = q * (jnp.abs(1.0 - s) * length + 0.5 * q) + s * (p @ jnp.abs(w)) + g(d + 8) * (cost + s * jnp.abs(gain)).sum()
    bound = (value + slack) * (1.0 + 4.0 * g(n + d + 16))
    valid = jnp.all(problem.ridge >= 0.0) & jnp.all((problem.above > 0.0) & (problem.below > 0.0))
    known = jnp.isfinite(bound) & valid
    return Gap(jnp.where(known, bound, jnp.inf), jnp.where(known, bound - ideal, jnp.inf), r, c)


def least_gap(
    w: Float[Array, " d"],
    c: Float[Array, " d"],
    inside: Float[Array, ""],
    above: Float[Array, " d"],
    below: Float[Array, " d"],
    room: Float[Array, " d"] | float = 0.0,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The gap of w and theta = s (y - X w), least over the s for which theta is feasible, and that s.

    c = X'(y - X w) - e w, inside = |y - X w|^2 + sum_j e_j w_j^2.  room: how far each |s c_j| stays from its bound.
    """
    tiny = jnp.finfo(c.dtype).tiny
    within = jnp.minimum(above / jnp.maximum(c + room, tiny), below / jnp.maximum(room - c, tiny))
    # the s that makes the gap least, if theta may be as long as that
    free = 1.0 + w @ c / jnp.where(inside > 0.0, inside, 1.0)
    s = jnp.clip(free, 0.0, jnp.min(within, initial=jnp.inf) * (1.0 - 4.0 * jnp.finfo(c.dtype).eps))
    cost = jnp.where(w > 0.0, above * w, jnp.where(w < 0.0, -below * w, 0.0))
    return 0.5 * (1.0 - s) ** 2 * inside + jnp.maximum(cost - s * w * c, 0.0).sum(), s
