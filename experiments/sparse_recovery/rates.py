"""How fast errors fall: a power of the step, as those of ISTA and FISTA, or a factor a step, as those of learned solvers."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LEAST = 1e-12  # medians below it are rounding


class Rates(NamedTuple):
    """Least squares of log(error): exponent * log(step) + c and log(factor) * step + c; the share of variance each explains."""

    exponent: float
    factor: float
    power_fit: float
    geometric_fit: float


def rates(errors: Float[np.ndarray, " steps"]) -> Rates:
    """Of the errors after 1..T steps."""
    steps, logs = np.arange(1, len(errors) + 1), np.log(np.maximum(errors, LEAST))
    slopes, shares = [], []
    for axis in (np.log(steps), steps.astype(float)):
        slope, constant = np.polyfit(axis, logs, 1)
        slopes.append(float(slope))
        left = logs - slope * axis - constant
        total = float(np.sum((logs - logs.mean()) ** 2))
        shares.append(1.0 - float(left @ left) / total if total > 0.0 else 1.0)
    return Rates(slopes[0], float(np.exp(slopes[1])), *shares)
