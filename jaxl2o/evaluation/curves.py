"""Error after 0..T steps over many thousands of tasks, in chunks: mean and quantiles, since errors are heavy-tailed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Instance, Key, Prompt, Task

QUANTILES = (0.5, 0.9, 0.999)


def squared_errors(
    predict: Callable[[Prompt], Float[Array, "steps m"]], task: Task, key: Key, count: int, chunk: int = 256
) -> tuple[Float[Array, "count steps"], Float[Array, " count"]]:
    """For `count` tasks: the squared error after each step, averaged over the queries, and the same of predicting zero.

    Task i is drawn from the i-th of split(key, count), so the same key gives the same tasks to every method. Chunks of
    tasks run one after another, each vmapped; memory is that of one chunk.
    """
    checks.require(count >= 1, f"count is {count}; an error curve needs at least one task.")

    def one(key: Key) -> tuple[Float[Array, " steps"], Float[Array, ""]]:
        instance: Instance = task.sample(key)
        return squared_error(predict(instance.prompt), instance)

    return lax.map(one, jax.random.split(key, count), batch_size=min(chunk, count))


def squared_error(answers: Float[Array, "steps m"], instance: Instance) -> tuple[Float[Array, " steps"], Float[Array, ""]]:
    """Of one task: the squared error after each step, averaged over the queries, and the same of predicting zero."""
    error = answers - instance.y_query[None]
    return jnp.mean(error**2, axis=-1), jnp.mean(instance.y_query**2)


class Curve(NamedTuple):
    """Relative errors after 0..T steps. A task's error is its squared error over the mean size of all tasks' labels.

    mean, low, high: (T+1,), with the 95 % interval of the mean by bootstrap over tasks.
    quantiles: (3, T+1), at 50 %, 90 % and 99.9 %.  largest: (T+1,).  n_tasks: how many.
    """

    mean: Float[np.ndarray, " steps"]
    low: Float[np.ndarray, " steps"]
    high: Float[np.ndarray, " steps"]
    quantiles: Float[np.ndarray, "levels steps"]
    largest: Float[np.ndarray, " steps"]
    n_tasks: int


def curve(errors: Float[Array, "count steps"], sizes: Float[Array, " count"], seed: int = 0, resamples: int = 1000) -> Curve:
    """Summarise `squared_errors`: the mean is a ratio of means, over all tasks, none left out."""
    error, size = np.asarray(errors, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    relative, count = error / size.mean(), len(size)
    generator = np.random.default_rng(seed)
    drawn = (np.bincount(generator.integers(count, size=count), minlength=count) for _ in range(resamples))
    low, high = np.quantile([weights @ error / (weights @ size) for weights in drawn], [0.025, 0.975], axis=0)
    return Curve(
        mean=relative.mean(axis=0),
        low=low,
        high=high,
        quantiles=np.quantile(relative, QUANTILES, axis=0),
        largest=relative.max(axis=0),
        n_tasks=count,
    )
