"""Parts of a run that are kept with what they took, so that an interrupted run still knows what it took in all."""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept

SECONDS = "seconds/"


def clocked(run: Run, title: str, compute: Callable[[], Results]) -> Results:
    """What `kept` gives, and among it the seconds that `compute` took."""

    def computed() -> Results:
        began = perf_counter()
        found = compute()
        return found | {f"{SECONDS}{title}": np.array(perf_counter() - began)}

    return kept(run, title, computed)


def total(results: Results) -> np.ndarray:
    """Seconds of all clocked parts."""
    return np.array(sum(float(value) for key, value in results.items() if key.startswith(SECONDS)))
