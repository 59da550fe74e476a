"""Intervals of 95 % for what a few independent repetitions, such as seeds, have given."""

import numpy as np
from jaxtyping import Float
from scipy import stats


def student(values: Float[np.ndarray, " k"]) -> float:
    """Half of the interval of a mean, by Student's law with k - 1 degrees of freedom; NaN for a single value."""
    count = len(values)
    return float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")


def geometric_mean(ratios: Float[np.ndarray, " k"]) -> tuple[float, tuple[float, float] | None]:
    """Of positive ratios, and its interval: Student's for their logarithms; none for a single one."""
    logs = np.log(ratios)
    half = student(logs)
    value = float(np.exp(logs.mean()))
    return value, None if len(logs) < 2 else (float(value * np.exp(-half)), float(value * np.exp(half)))
