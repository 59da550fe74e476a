"""The memory of a sweep, as the compiler plans it, and how many points at once fit into a budget."""

import math
from collections.abc import Callable

import jax

from jaxl2o import checks
from jaxl2o.evaluation.grid import Axes, Point, group, group_size, labels_of, shape_of
from jaxl2o.evaluation.sweep import program
from jaxl2o.types import PyTree


def memory(run: Callable[[Point], PyTree], axes: Axes, at_once: int, devices: int = 1) -> int:
    """The bytes that `sweep` needs on each device, the results of a group among them, as the compiler plans them.

    Nothing is run. Raises `RuntimeError` where the compiler does not say.
    """
    answer, labels = program(run, devices), labels_of(axes)
    size = group_size(math.prod(shape_of(labels)), at_once, devices)
    plan = answer.lower(group(labels, 0, size)).compile().memory_analysis()
    if plan is None:
        raise RuntimeError(
            f"the compiler for {jax.default_backend()} does not say what memory it needs; choose at_once by hand."
        )
    return plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes


def at_once_for(run: Callable[[Point], PyTree], axes: Axes, budget: int, devices: int = 1) -> int:
    """How many points at once fit into a budget of bytes of each device: at least one, at most its share of all.

    The memory of one point and of four give a straight line, and that of what the line proposes is planned too. As long as it
    is too much, its own line proposes less; so `memory` of the answer is within the budget, unless that of one point is not.
    """
    checks.positive("budget", budget)
    least = memory(run, axes, 1, devices)
    share = math.ceil(math.prod(shape_of(labels_of(axes))) / devices)

    def proposed(size: int, needed: int) -> int:
        return max(1, min(share, 1 + (budget - least) * (size - 1) // max(needed - least, 1)))

    if share == 1:
        return 1
    size = min(4, share)
    size = proposed(size, memory(run, axes, size, devices))
    while size > 1 and (needed := memory(run, axes, size, devices)) > budget:
        size = proposed(size, needed)
    return size
