"""What a method of the certified Lasso is, and the loop of those that iterate: until the gap is small, or known no better."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxl2o.certified.problem import Problem


class Run(NamedTuple):
    """What a method found: w (d,), the steps it took, and the gaps it saw at first, after every check; NaN where none was."""

    solution: Float[Array, " d"]
    steps: Int[Array, ""]
    history: Float[Array, " checks"]


# (problem, start (d,), limit, max_steps, history) -> Run, pure: from the start until the gap is at most `limit`, keeping the
# first `history` gaps. It may stop where rounding hides further progress, and need not be right: its answer is certified.
Method = Callable[[Problem, Array, Array, int, int], Run]


def until_small(
    step: Callable[[Any], Any],
    gap: Callable[[Any], tuple[Float[Array, ""], Float[Array, ""]]],
    state: Any,
    limit: Float[Array, ""],
    max_steps: int,
    history: int,
    steps_a_check: int = 1,
) -> tuple[Any, Int[Array, ""], Float[Array, " checks"]]:
    """`step` until `gap` of the state is at most `limit`, or half of it is rounding, or `max_steps`.

    gap: state -> (gap, the part of it that is rounding).  Returns the state, the steps taken, and the first `history` gaps,
    before the first step and after every `steps_a_check`.
    """

    def unfinished(carry: Any) -> Array:
        _, taken, _, (now, rounding) = carry
        return (now > jnp.maximum(limit, 2.0 * rounding)) & (taken < max_steps)

    def turn(carry: Any) -> Any:
        state, taken, seen, _ = carry
        size = jnp.minimum(steps_a_check, max_steps - taken)
        state = step(state) if steps_a_check == 1 else lax.fori_loop(0, size, lambda _, s: step(s), state)
        taken, now = taken + size, gap(state)
        return state, taken, note(seen, taken // steps_a_check, now[0]), now

    def note(seen: Array, check: Any, value: Array) -> Array:
        return seen.at[check].set(value, mode="drop") if history else seen

    first = gap(state)
    seen = note(jnp.full(history, jnp.nan, dtype=first[0].dtype), 0, first[0])
    state, taken, seen, _ = lax.while_loop(unfinished, turn, (state, jnp.zeros((), dtype=int), seen, first))
    return state, taken, seen
