"""The homotopy of the Lasso: its exact answers at every penalty, from one walk along a piecewise linear path."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxl2o import checks
from jaxl2o.certified.descent import Descent
from jaxl2o.certified.method import Method, Run
from jaxl2o.certified.problem import Problem

# the tableau has d^2 numbers for every problem of a batch, and every breakpoint costs as many operations
LARGEST = 64


class Answers(NamedTuple):
    """The minimisers at k levels, and how many breakpoints were passed before each."""

    solutions: Float[Array, "k d"]
    breakpoints: Int[Array, " k"]


class Walk(NamedTuple):
    """Where a walk is: the level t, the signs s of w (zero off the active set), the swept tableau, and the answers so far."""

    level: Float[Array, ""]
    signs: Float[Array, " d"]
    tableau: Float[Array, "d d+2"]
    taken: Int[Array, ""]
    answers: Answers


def largest_level(problem: Problem) -> Float[Array, ""]:
    """The smallest t >= 0 at which zero minimises P with its penalties times t: the first breakpoint."""
    correlation = problem.x.T @ problem.y
    return jnp.max(jnp.maximum(correlation / problem.above, -correlation / problem.below), initial=0.0)


def homotopy(problem: Problem, levels: Float[Array, " k"]) -> Answers:
    """The minimisers of 1/2 |X w - y|^2 + t sum_j penalty_j(w_j) + 1/2 sum_j e_j w_j^2 at all levels t, by one walk.

    Osborne, Presnell and Turlach 2000; Efron, Hastie, Johnstone and Tibshirani 2004 (LARS). With c = X'(y - X w) - e w,
    G = X'X + diag e, A the coordinates that are not zero and m_j = a_j or -b_j by their signs, w is optimal as long as

        c_A = t m_A,   -t b <= c <= t a,   hence   w_A = G_AA^-1 (X'y)_A - t G_AA^-1 m_A,

    which is linear in t. From the first breakpoint t falls, until a coordinate off A reaches its bound and joins, or one of A
    reaches zero and leaves. The tableau [G, X'y, m] is swept at A (Goodnight 1979): one exchange is a change of rank one, and
    its last two columns p, q give

        p - t q = w on A,   c off A

    so that every breakpoint is read off what was not accumulated. A column that the active ones span needs no place beside
    them and gets none: its c_j is a fixed multiple of t.

    levels: t >= 0, in any order; those from the first breakpoint on give zero. Ties and rounding can put an answer off, and
    the walk ends after 20 d breakpoints: certify what is used. Pure; vmap it over problems, which then walk together.

    symbol   code            shape
    t        level           ()
    m        `slopes`        (d,)
    p, q     last columns    (d,)

    Raises `ValueError` for d > 64.
    """
    d = problem.x.shape[1]
    checks.require(d <= LARGEST, f"the homotopy is for d <= {LARGEST} columns and got {d}; use Descent() or Fista() instead.")
    gram, correlation = problem.x.T @ problem.x + jnp.diag(problem.ridge), problem.x.T @ problem.y
    above, below = jnp.isfinite(problem.above), jnp.isfinite(problem.below)
    a, b = jnp.where(above, problem.above, 0.0), jnp.where(below, problem.below, 0.0)
    independent = 64 * d * jnp.finfo(gram.dtype).eps * jnp.diagonal(gram)
    lowest, columns = jnp.min(levels), jnp.arange(d + 2)

    def active(walk: Walk) -> Float[Array, "m d"]:
        """w at all levels, were they on the segment that begins here."""
        p, q = walk.tableau[:, d], walk.tableau[:, d + 1]
        return jnp.where(walk.signs[None] != 0.0, p[None] - levels[:, None] * q[None], 0.0)

    def step(walk: Walk) -> Walk:
        """Down to the next breakpoint: the answers on the way, and the exchange there."""
        p, q = walk.tableau[:, d], walk.tableau[:, d + 1]
        value = p - walk.level * q
        free = (walk.signs == 0.0) & (jnp.diagonal(walk.tableau[:, :d]) > independent)
        rise = _until_zero(walk.level * a - value, a + q, free & above)
        fall = _until_zero(walk.level * b + value, b - q, free & below)
        leave = _until_zero(walk.signs * value, -walk.signs * q, walk.signs != 0.0)
        distance = jnp.minimum(jnp.minimum(rise, fall), leave)
        k = jnp.argmin(distance)
        # where nothing is ahead, the distance is infinite, and this is the last segment
        level = jnp.maximum(walk.level - distance[k], 0.0)
        here = (level <= levels) & (levels <= walk.level)
        answers = Answers(
            jnp.where(here[:, None], active(walk), walk.answers.solutions),
            jnp.where(here, walk.taken, walk.answers.breakpoints),
        )
        old = walk.signs[k]
        new = jnp.where(old != 0.0, 0.0, jnp.where(rise[k] <= fall[k], 1.0, -1.0))
        entry = (jnp.arange(d)[:, None] == k) & (columns[None] == d + 1)
        slopes = (jnp.where(s > 0.0, a[k], jnp.where(s < 0.0, -b[k], 0.0)) for s in (new, old))
        joins, leaves = (jnp.where(entry, slope, 0.0) for slope in slopes)
        swept = _sweep(walk.tableau + joins, k) - leaves
        return Walk(level, jnp.where(jnp.arange(d) == k, new, walk.signs), swept, walk.taken + 1, answers)

    def unfinished(walk: Walk) -> Array:
        return (walk.level > lowest) & (walk.taken < 20 * d)

    tableau = jnp.concatenate([gram, correlation[:, None], jnp.zeros_like(correlation)[:, None]], axis=1)
    none = Answers(jnp.zeros((levels.shape[0], d), dtype=gram.dtype), jnp.zeros(levels.shape[0], dtype=int))
    first = Walk(largest_level(problem), jnp.zeros_like(a), tableau, jnp.zeros((), dtype=int), none)
    last = lax.while_loop(unfinished, step, first)
    missed = levels < last.level
    return Answers(
        jnp.where(missed[:, None], active(last), last.answers.solutions),
        jnp.where(missed, last.taken, last.answers.breakpoints),
    )


def _until_zero(slack: Float[Array, " d"], rate: Float[Array, " d"], possible: Array) -> Float[Array, " d"]:
    """How far t may fall until slack - rate * (that) is zero; a slack below zero is rounding."""
    nears = possible & (rate > 0.0)
    return jnp.where(nears, jnp.maximum(slack, 0.0) / jnp.where(nears, rate, 1.0), jnp.inf)


def _sweep(tableau: Float[Array, "d d+2"], k: Array) -> Float[Array, "d d+2"]:
    """Row and column k exchanged: into the active set if the pivot is above zero, out of it if below.

    Swept at A, [G, B] has -G_AA^-1, G_AA^-1 G_AO and G_AA^-1 B_A in the rows of A, G_OO - G_OA G_AA^-1 G_AO and
    B_O - G_OA G_AA^-1 B_A in the others; its first d columns stay symmetric.
    """
    row, column = tableau[k], tableau[:, k]
    pivot = row[k]
    at_row = (jnp.arange(column.shape[0]) == k)[:, None]
    at_column = (jnp.arange(row.shape[0]) == k)[None]
    others = tableau - column[:, None] * (row / pivot)[None]
    across = jnp.where(at_row, row[None], column[:, None]) / jnp.abs(pivot)
    return jnp.where(at_row & at_column, -1.0 / pivot, jnp.where(at_row | at_column, across, others))


class Homotopy(NamedTuple):
    """The walk from the first breakpoint down to the penalty; steps count breakpoints. For d <= 64 columns.

    Where ties or rounding put the answer off, `finish` goes on from it, and its steps are counted too.
    """

    finish: Method = Descent()

    def __call__(
        self, problem: Problem, start: Float[Array, " d"], limit: Float[Array, ""], max_steps: int, history: int
    ) -> Run:
        """The walk begins at zero, whatever the start is; `history` holds the gaps of the finish."""
        answers = homotopy(problem, jnp.ones(1, dtype=start.dtype))
        w, taken = answers.solutions[0], answers.breakpoints[0]
        w = jnp.where(problem.objective(w) < problem.objective(start), w, start)
        run = self.finish(problem, w, limit, max_steps, history)
        return run._replace(steps=taken + run.steps)
