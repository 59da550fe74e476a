"""A contender at work: it finds its tolerance, says how good its answers are, and is timed by turns."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from experiments.speed.lasso import ours, theirs
from experiments.speed.lasso.problems import GAP, Case, draw, largest_penalties, relative_gaps


def run(job: dict[str, Any], turn: Callable[[dict[str, float]], Callable[[list[float]], None]]) -> None:
    """Solve the problems without end; what `turn` makes is given the seconds of every time."""
    case, name = Case(**job["case"]), job["contender"]
    data = draw(case)
    penalties = job["share"] * largest_penalties(data)
    make = theirs.SOLVERS.get(name)
    solve = make(data, penalties, case.together) if make else ours.solver(name, data, penalties, case.together)
    first = clocked(solve, job["tolerances"][0])
    tolerance, gap = loosest(job["tolerances"], lambda given: float(relative_gaps(data, solve(given), penalties).max()))
    report = turn({"tolerance": tolerance, "gap": gap, "first": first})
    report([0.0])  # this was the warming up
    while True:
        report([clocked(solve, tolerance)])


def clocked(solve: Callable[[float], np.ndarray], tolerance: float) -> float:
    """The seconds of one time."""
    began = perf_counter()
    solve(tolerance)
    return perf_counter() - began


def loosest(tolerances: Sequence[float], worst: Callable[[float], float]) -> tuple[float, float]:
    """The first of the tolerances, from the loosest on, that gives no gap above 1e-6, else the last; and its worst gap."""
    gap = float("inf")
    for tolerance in tolerances:
        gap = worst(tolerance)
        if gap <= GAP:
            return tolerance, gap
    return tolerances[-1], gap
