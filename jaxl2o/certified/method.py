"""What a method of the certified Lasso is, and the loop of those that iterate: rounds, until the gap is small."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxl2o.certified.certificate import Gap, duality_gap
from jaxl2o.certified.problem import Problem


class Run(NamedTuple):
    """What a method found: w (d,), its steps, and, if asked, the gaps it saw, at first and after every round; NaN beyond."""

    solution: Float[Array, " d"]
    steps: Int[Array, ""]
    history: Float[Array, " checks"] | None


# (problem, start (d,), limit, max_steps, history) -> Run, pure: from the start until the gap is at most `limit`, keeping the
# first `history` gaps. It may stop where rounding hides further progress, and need not be right: its answer is certified.
Method = Callable[[Problem, Array, Array, int, int], Run]


class Progress(NamedTuple):
    """Between two rounds: the state, whose `w` is the iterate; steps and rounds so far; the gap of w, and the first gaps."""

    state: Any
    steps: Int[Array, ""]
    rounds: Int[Array, ""]
    gap: Gap
    seen: Float[Array, " checks"] | None

    @property
    def run(self) -> Run:
        """What there is of it if it ends here."""
        return Run(self.state.w, self.steps, self.seen)


def begin(problem: Problem, state: Any, history: int) -> Progress:
    """No step yet; `history` gaps are to be kept, and there is no array of them if that is 0."""
    gap, none = duality_gap(problem, state.w), jnp.zeros((), dtype=int)
    seen = jnp.full(history, jnp.nan, dtype=gap.bound.dtype).at[0].set(gap.bound) if history else None
    return Progress(state, none, none, gap, seen)


def until_small(
    problem: Problem,
    turn: Callable[[Any, Gap, Array], tuple[Any, Array]],
    progress: Progress,
    limit: Float[Array, ""],
    max_steps: int,
    may: Callable[[Any], Array | bool] = lambda state: True,
) -> Progress:
    """Rounds, until the gap is at most `limit`, or half of it is rounding, or `max_steps` are taken, or `may` says no.

    turn: (state, its gap, the most steps) -> (state, steps taken).
    """

    def unfinished(now: Progress) -> Array:
        return (now.gap.bound > jnp.maximum(limit, 2.0 * now.gap.rounding)) & (now.steps < max_steps) & may(now.state)

    def advance(now: Progress) -> Progress:
        state, taken = turn(now.state, now.gap, max_steps - now.steps)
        gap, rounds = duality_gap(problem, state.w), now.rounds + 1
        seen = None if now.seen is None else now.seen.at[rounds].set(gap.bound, mode="drop")
        return Progress(state, now.steps + taken, rounds, gap, seen)

    return lax.while_loop(unfinished, advance, progress)
