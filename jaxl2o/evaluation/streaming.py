"""Error after 0..T steps over any number of tasks, in the memory of one chunk: no array has an axis of all tasks.

What is kept of the tasks that were seen is a `Tally` of one size: sums, the largest errors, and a histogram of every step's
errors, whose bins are as wide as the quantiles are to be right: 32 an octave, 2^-96 .. 2^32, so within 1.1 %.

Task i is drawn from fold_in(key, i), which for JAX's default keys (threefry) is the i-th of split(key, count), so these are the
errors of `curves.squared_errors` with the same key.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxl2o import checks
from jaxl2o.evaluation.curves import QUANTILES, squared_error
from jaxl2o.training.parallel import on_shares
from jaxl2o.types import Instance, Key, Params, Prompt, ScalarLike, Task, answer_tasks

PER_OCTAVE = 32  # bins
LEAST, MOST = -96, 32  # exponents of two at which the histogram begins and ends
BINS = PER_OCTAVE * (MOST - LEAST)
RESOLUTION = 2.0 ** (0.5 / PER_OCTAVE) - 1.0  # the largest relative error of a quantile within the histogram


class Tally(NamedTuple):
    """What is kept of the tasks seen. With e the T+1 errors and size of a task, v = (e, size):

    total, lost: the sums of v, v^2 and v size, and what rounding has left out of them: nothing of a sum that is not finite.
    largest: of every step's errors.
    counts: by step, the errors below the histogram, in every bin of it, and beyond it, NaN among them.
    """

    total: Float[Array, "3 steps+1"]
    lost: Float[Array, "3 steps+1"]
    largest: Float[Array, " steps"]
    counts: Int[Array, "steps bins+2"]


class StreamedCurve(NamedTuple):
    """Relative errors after 0..T steps, as in `curves.Curve`: a task's error over the mean size of all tasks' labels.

    mean, standard_error: (T+1,); of a ratio of means, so the error is that of the ratio, by its linear part. Where the sum of
    the errors' squares is beyond the numbers that the errors have, the standard error is infinite, which says nothing of the
    tasks: in float32 one error above 1.8e19 is enough. An infinite error makes both infinite, and NaN makes both NaN.
    quantiles: (3, T+1), at 50 %, 90 % and 99.9 %: the least error that so many do not exceed, within `RESOLUTION`; 0 below the
    histogram, and the largest error beyond it.  largest: (T+1,).
    below, beyond: (T+1,), how many errors the histogram has no bin for.  n_tasks: how many tasks.
    """

    mean: Float[np.ndarray, " steps"]
    standard_error: Float[np.ndarray, " steps"]
    quantiles: Float[np.ndarray, "levels steps"]
    largest: Float[np.ndarray, " steps"]
    below: Int[np.ndarray, " steps"]
    beyond: Int[np.ndarray, " steps"]
    n_tasks: int


def streamed_curve(
    predict: Callable[[Params, Prompt], Array],
    params: Params,
    task: Task,
    key: Key,
    count: int,
    chunk: int = 256,
    devices: int = 1,
) -> StreamedCurve:
    """The errors of predict(params, prompt), (T+1, m), over `count` tasks, of which a device holds one chunk at a time.

    predict: as `Learner.predict`.  devices: local devices, among which the tasks are shared. Neither these nor the chunks
    change a task, nor the numbers but for rounding; means are right to 1e-6 in float32, however many tasks there are.

    Raises `ValueError` for fewer than two tasks, more than 2^30, and chunks of none.
    """
    checks.require(2 <= count <= 2**30, f"count is {count}; a mean with its error needs 2 to {2**30} tasks.")
    checks.require(chunk >= 1, f"chunk is {chunk}; a chunk needs at least 1 task.")
    return summary(tally(predict, task, params, key, count, chunk, devices), count)


@partial(jax.jit, static_argnames=("predict", "task", "chunk", "devices"))
def tally(
    predict: Callable[[Params, Prompt], Array],
    task: Task,
    params: Params,
    key: Key,
    count: ScalarLike,
    chunk: int,
    devices: int = 1,
) -> Tally:
    """The tallies of all devices, stacked, each of its own part of the tasks: one program, whatever the count."""
    zero = _nothing(predict, task, params, key)

    def share(device: Int[Array, "1"]) -> Tally:
        """Of the tasks of one device, of which each has as many, but for the last."""
        length = (count + devices - 1) // devices
        first, end = device[0] * length, jnp.minimum((device[0] + 1) * length, count)

        def add(i: Array, tally: Tally) -> Tally:
            which = first + i * chunk + jnp.arange(chunk)
            keys = jax.vmap(partial(jax.random.fold_in, key))(which)
            errors, sizes = answer_tasks(predict, params, task.sample, squared_error, keys)
            return _add(tally, errors, sizes, which < end)

        chunks = (jnp.maximum(end - first, 0) + chunk - 1) // chunk
        return jax.tree.map(lambda leaf: leaf[None], lax.fori_loop(0, chunks, add, zero))

    return on_shares(share, devices)(jnp.arange(devices))


def _nothing(predict: Callable[[Params, Prompt], Array], task: Task, params: Params, key: Key) -> Tally:
    """The tally of no tasks."""

    def one(params: Params, key: Key) -> tuple[Array, Array]:
        instance: Instance = task.sample(key)
        return squared_error(predict(params, instance.prompt), instance)

    errors, _ = jax.eval_shape(one, params, key)
    (steps,), kind = errors.shape, errors.dtype
    sums = jnp.zeros((3, steps + 1), kind)
    return Tally(sums, sums, jnp.zeros(steps, kind), jnp.zeros((steps, BINS + 2), jnp.int32))


def _add(tally: Tally, errors: Float[Array, "B steps"], sizes: Float[Array, " B"], counted: Array) -> Tally:
    """The tally with the tasks of a chunk that are counted."""
    values = jnp.where(counted[:, None], jnp.concatenate([errors, sizes[:, None]], axis=1), 0.0)
    part = _sum_in_pairs(jnp.stack([values, values**2, values * values[:, -1:]], axis=1))
    # what is lost in adding the smaller to the larger, exactly (Neumaier 1974)
    total = tally.total + part
    before = jnp.abs(tally.total) >= jnp.abs(part)
    larger, smaller = jnp.where(before, tally.total, part), jnp.where(before, part, tally.total)
    lost = tally.lost + jnp.where(jnp.isfinite(total), (larger - total) + smaller, 0.0)
    bins = 1.0 + PER_OCTAVE * (jnp.log2(errors) - LEAST)
    # NaN is in no order, and counts as beyond
    place = jnp.where(jnp.isnan(errors), BINS + 1, jnp.clip(bins, 0, BINS + 1).astype(jnp.int32))
    steps = jnp.broadcast_to(jnp.arange(errors.shape[1])[None], errors.shape)
    counts = tally.counts.at[steps, place].add(counted[:, None].astype(jnp.int32))
    return Tally(total, lost, jnp.maximum(tally.largest, jnp.max(values[:, :-1], axis=0)), counts)


def _sum_in_pairs(values: Float[Array, "B 3 steps"]) -> Float[Array, "3 steps"]:
    """The sum along the first axis, whose rounding grows with the logarithm of the number of terms."""
    while values.shape[0] > 1:
        half = values.shape[0] // 2
        values = jnp.concatenate([values[:half] + values[half : 2 * half], values[2 * half :]])
    return values[0]


def summary(tally: Tally, count: int) -> StreamedCurve:
    """The curve of so many tasks, from the tallies of all devices; in float64."""
    total, lost = (np.asarray(sums, dtype=np.float64) for sums in (tally.total, tally.lost))
    (mean, square, product), size = (total + lost).sum(axis=0)[:, :-1] / count, (total + lost).sum(axis=0)[:, -1] / count
    ratio, largest = mean / size[0], np.asarray(tally.largest, dtype=np.float64).max(axis=0)
    # the mean square of e - ratio * size, whose mean is zero
    with np.errstate(invalid="ignore"):  # of sums that are infinite
        centred = np.maximum(square - 2.0 * ratio * product + ratio**2 * size[1], 0.0)
    variance = np.where(np.isfinite(square), centred, square)
    counts = np.asarray(tally.counts, dtype=np.int64).sum(axis=0)
    middles = 2.0 ** (LEAST + (np.arange(BINS) + 0.5) / PER_OCTAVE)
    reached = counts.cumsum(axis=1)
    at = [np.argmax(reached >= np.ceil(level * count), axis=1) for level in QUANTILES]
    levels = np.stack([np.where(i == 0, 0.0, np.where(i > BINS, largest, middles[np.clip(i, 1, BINS) - 1])) for i in at])
    return StreamedCurve(
        mean=ratio,
        standard_error=np.sqrt(variance / (count - 1)) / size[0],
        quantiles=levels / size[0],
        largest=largest / size[0],
        below=counts[:, 0],
        beyond=counts[:, -1],
        n_tasks=count,
    )
