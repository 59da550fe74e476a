"""What all parts share: iterates of a constructed Transformer, summaries of heavy-tailed errors, and parts that are kept."""

import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from experiments.common import Results, Run, readable, write_atomically

LEVELS = (0.05, 0.5, 0.95)  # of the quantiles


def kept(run: Run, title: str, compute: Callable[[], Results]) -> Results:
    """What `compute` gives, from the run's folder if it is there: an interrupted run goes on behind it."""
    path = run.folder / "training" / f"{title.replace(' ', '-').replace(',', '')}.npz"
    if path.exists():
        with readable(path), np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return dict(file)
    with run.stage(title):
        found = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: np.savez(temporary, allow_pickle=False, **found))
    return found


def summary(values: Float[np.ndarray, " repeats"]) -> Float[np.ndarray, " 5"]:
    """Mean, its standard error, and the quantiles at 5, 50 and 95 %."""
    values = values.astype(float)
    return np.array([values.mean(), values.std(ddof=1) / np.sqrt(len(values)), *np.quantile(values, LEVELS)])


def summaries(methods: list[Float[np.ndarray, " repeats"]]) -> tuple[Float[np.ndarray, "K 5"], Float[np.ndarray, "K K"]]:
    """The summary of every method, and the covariance of their means, since all methods see the same prompts."""
    stacked = np.stack(methods).astype(float)
    return np.stack([summary(values) for values in stacked]), np.cov(stacked) / stacked.shape[1]
