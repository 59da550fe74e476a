"""How fast the training steps of the presets are, and how near to the device's own matrix products."""

from functools import partial
from time import perf_counter
from typing import Any

import jax
import numpy as np

from experiments import common
from experiments.accelerator.clock import clocked
from experiments.accelerator.config import Config
from experiments.common import Results, Run
from jaxl2o.training.accounting import matrix_peak, model_flops, peak_memory
from jaxl2o.training.loop import Chunk, train
from jaxl2o.training.parallel import compute_dtype


def timings(config: Config, run: Run) -> Results:
    """Every shape at the batch of its own, and on an accelerator also at a large one; the peak in each dtype that is used."""
    shapes = common.load("speed.shapes").SHAPES
    dtypes = sorted({"float32", compute_dtype() or "float32"})
    found = clocked(run, "the peak of matrix products", lambda: {f"peak/{dtype}": peak(dtype) for dtype in dtypes})
    for name in config.shapes:
        shape = shapes[name]._replace(depth=config.depth)
        large = 2 ** int(np.log2(config.tokens // (2 * shape.n + 1)))
        for batch in (shape.batch,) if jax.default_backend() == "cpu" else (shape.batch, large):
            compute = partial(timed, config, shape._replace(batch=batch), f"{name}/{batch}")
            found |= clocked(run, f"{name}, {batch} tasks a step", compute)
    return found | {"dtype": np.array(compute_dtype() or "float32"), "memory": np.array(peak_memory()), **before(config)}


def peak(dtype: str) -> np.ndarray:
    """FLOP/s of large products on all devices."""
    return np.array(matrix_peak(jax.local_device_count(), dtype))


def timed(config: Config, shape: Any, key: str) -> Results:
    """Seconds of a step in every call but the first, seconds to compile, model FLOP of a step."""
    ours = common.load("speed.ours")
    recipe, state = ours.prepare(shape, ours.Settings(unroll=config.unroll))
    chunks: list[Chunk] = []
    began = perf_counter()
    train(recipe, state, config.calls * config.steps, config.steps, chunks.append)
    seconds = np.array([chunk.seconds for chunk in chunks])
    return {
        f"{key}/seconds": seconds[1:] / config.steps,
        f"{key}/compiling": np.array(perf_counter() - began - seconds.sum()),
        f"{key}/flops": np.array(model_flops(recipe, state)),
        f"{key}/devices": np.array(recipe.devices),
    }


def before(config: Config) -> Results:
    """Tasks a second of our step after all changes, on the two cores of the kept results of `speed.training`."""
    with np.load(common.RESULTS / "speed.training" / "quick" / "results.npz", allow_pickle=False) as kept:
        last = {name: np.flatnonzero(kept[f"{name}/roles"] == "ours")[-1] for name in config.shapes}
        speeds = [kept[f"{name}/batch"] / np.median(kept[f"{name}/seconds"][:, last[name]]) for name in config.shapes]
    return {"shapes": np.array(config.shapes), "two-cores": np.array(speeds)}
