"""What all parts share: iterates of a constructed Transformer, summaries of heavy-tailed errors, and parts that are kept."""

import io
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run, readable, write_atomically
from jaxl2o.constructions.construction import Construction
from jaxl2o.models.learner import transformer_learner
from jaxl2o.types import Params, Prompt

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


def iterates_of(construction: Construction) -> Callable[[Params, Prompt], Float[Array, "T k"]]:
    """(params, prompt) -> the iterate after 0..T steps, for prompts without queries. Parameters as constants compile slowly."""
    learner = transformer_learner(construction.config, construction.encoding)
    layers = jnp.array([layer for _, layer in construction.at])
    return lambda params, prompt: learner.predict(params, prompt)[layers]


def summary(values: Float[np.ndarray, " repeats"]) -> Float[np.ndarray, " 5"]:
    """Mean, its standard error, and the quantiles at 5, 50 and 95 %."""
    values = values.astype(float)
    return np.array([values.mean(), values.std(ddof=1) / np.sqrt(len(values)), *np.quantile(values, LEVELS)])


def summaries(methods: list[Float[np.ndarray, " repeats"]]) -> tuple[Float[np.ndarray, "K 5"], Float[np.ndarray, "K K"]]:
    """The summary of every method, and the covariance of their means, since all methods see the same prompts."""
    stacked = np.stack(methods).astype(float)
    return np.stack([summary(values) for values in stacked]), np.cov(stacked) / stacked.shape[1]
