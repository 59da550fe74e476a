"""The exponents of power laws, from what was measured at a few sizes."""

import numpy as np
from jaxtyping import Float, Int

from experiments.intervals import student


def upper(sizes: Int[np.ndarray, " k"]) -> slice:
    """Which of rising sizes are fitted: those above the geometric middle of the range, and at least the last two.

    What does not grow matters least there.
    """
    above = int(np.searchsorted(sizes, np.sqrt(float(sizes[0]) * float(sizes[-1]))))
    return slice(min(above, len(sizes) - 2), None)


def exponents(sizes: Int[np.ndarray, " k"], values: Float[np.ndarray, "*rounds k"]) -> Float[np.ndarray, "*rounds"]:
    """The least-squares slope of log value by log size over the upper half of the range; one for every row of values."""
    fitted = upper(sizes)
    x = np.log(sizes[fitted])
    x = x - x.mean()
    return np.log(values[..., fitted]) @ x / (x @ x)


def mean_exponent(sizes: Int[np.ndarray, " k"], values: Float[np.ndarray, "*rounds k"]) -> tuple[float, float]:
    """The mean of the rounds' exponents, and half of its interval of 95 %, by Student's law; NaN where there are no rounds."""
    found = exponents(sizes, np.atleast_2d(values))
    return float(found.mean()), student(found)
