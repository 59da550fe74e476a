"""What all parts share: summaries of heavy-tailed errors."""

import numpy as np
from jaxtyping import Float

LEVELS = (0.05, 0.5, 0.95)  # of the quantiles


def summary(values: Float[np.ndarray, " repeats"]) -> Float[np.ndarray, " 5"]:
    """Mean, its standard error, and the quantiles at 5, 50 and 95 %."""
    values = values.astype(float)
    return np.array([values.mean(), values.std(ddof=1) / np.sqrt(len(values)), *np.quantile(values, LEVELS)])


def summaries(methods: list[Float[np.ndarray, " repeats"]]) -> tuple[Float[np.ndarray, "K 5"], Float[np.ndarray, "K K"]]:
    """The summary of every method, and the covariance of their means, since all methods see the same prompts."""
    stacked = np.stack(methods).astype(float)
    return np.stack([summary(values) for values in stacked]), np.cov(stacked) / stacked.shape[1]
