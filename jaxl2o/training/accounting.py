"""What a training step costs: the arithmetic of its model, the device's measured peak, and the memory it took.

Model FLOP of a step are the multiplications and additions of the matrix products of one forward pass over its tasks, times
three: the backward pass has two products for each. Recomputation is not counted, so remat does not look like speed. Drawing
the labels and reading what no loss uses are counted like the rest; in a Transformer they are below one per cent.
"""

import math
import resource
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core
from jaxtyping import Array, Float

from jaxl2o.training import metrics
from jaxl2o.training.hosts import is_first_process
from jaxl2o.training.loop import Recipe, TrainState, mean_loss, task_keys
from jaxl2o.training.parallel import share_out

STATUS = Path("/proc/self/status")  # of Linux: VmHWM is the most memory that this program held, in KiB


def model_flops(recipe: Recipe, state: TrainState) -> int:
    """The model FLOP of one step: three times those of the matrix products of a forward pass."""
    keys = jax.eval_shape(partial(task_keys, recipe), state.step, state.key)
    return 3 * matrix_flops(jax.make_jaxpr(partial(mean_loss, recipe))(state.params, state.step, keys).jaxpr)


class Product(NamedTuple):
    """Products of (m, k) by (k, n) matrices: `batch` of them at a time, `times` in a row."""

    times: int
    batch: int
    m: int
    k: int
    n: int

    @property
    def flops(self) -> int:
        """Of all of them: 2 m k n for each."""
        return 2 * self.times * self.batch * self.m * self.k * self.n


def matrix_flops(jaxpr: core.Jaxpr) -> int:
    """2 m k n for every product of `matrix_products`."""
    return sum(product.flops for product in matrix_products(jaxpr))


def matrix_products(jaxpr: core.Jaxpr) -> list[Product]:
    """Every product of matrices, in order; a scan counts as often as it goes round, a while once.

    Of the branches of a condition the dearest counts.
    """
    found: list[Product] = []
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, [matrix_products(part) for part in _parts(equation.params)]
        if name == "dot_general":
            (contracted, _), (batched, _) = equation.params["dimension_numbers"]
            left: Any = equation.invars[0].aval
            out: Any = equation.outvars[0].aval
            k, batch = (math.prod(left.shape[axis] for axis in axes) for axes in (contracted, batched))
            m = math.prod(left.shape) // max(k * batch, 1)
            found.append(Product(1, batch, m, k, math.prod(out.shape) // max(m * batch, 1)))
        elif name == "cond":
            found += max(inner, key=lambda branch: sum(product.flops for product in branch))
        else:
            times = equation.params["length"] if name == "scan" else 1
            found += [product._replace(times=times * product.times) for part in inner for product in part]
    return found


def _parts(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    for value in jax.tree.leaves(list(params.values()), is_leaf=lambda leaf: isinstance(leaf, core.ClosedJaxpr)):
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value


def matrix_peak(devices: int, dtype: str = "float32") -> float:
    """FLOP/s of large products in this dtype on so many devices at once: the best of eight runs."""
    size, times = 1024 if jax.default_backend() == "cpu" else 8192, 4

    @jax.jit
    def multiply(matrices: Float[Array, "devices size size"]) -> Float[Array, "devices size size"]:
        return lax.fori_loop(0, times, lambda _, product: jnp.einsum("bij,bjk->bik", product, matrices), matrices)

    matrices = share_out(jnp.full((devices, size, size), 1.0 / size, dtype=dtype), devices)
    jax.block_until_ready(multiply(matrices))
    seconds = []
    for _ in range(8):
        began = perf_counter()
        jax.block_until_ready(multiply(matrices))
        seconds.append(perf_counter() - began)
    return devices * times * 2 * size**3 / min(seconds)


def peak_memory() -> int:
    """The most bytes that were in use so far: of the fullest local device where it counts them, else of this process."""
    counts = [device.memory_stats() or {} for device in jax.local_devices()]
    return max(count.get("peak_bytes_in_use", 0) for count in counts) or _peak_resident()


def _peak_resident() -> int:
    """Of this process. On Linux what `getrusage` says starts at the peak of whoever started it, and VmHWM does not."""
    if STATUS.exists():
        for name, _, value in (line.partition(":") for line in STATUS.read_text().splitlines()):
            if name == "VmHWM":
                return 1024 * int(value.split()[0])
    # macOS counts in bytes, others in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def steps_in_the_time_of(slow: Path, fast: Path) -> int:
    """As many steps of the training in folder `fast` as take the time that the one in folder `slow` took; both are finished."""
    clock, other = metrics.read(slow / "timing.jsonl"), metrics.read(fast / "timing.jsonl")
    a_step = sum(chunk["seconds"] for chunk in other) / other[-1]["step"]
    return max(1, round(sum(chunk["seconds"] for chunk in clock) / a_step))


def summarise(folder: Path) -> dict[str, Any]:
    """What the trainings below a folder cost: medians over their chunks, beside the measured peak of as many devices.

    tasks_per_second; flops_per_second, model FLOP; fraction_of_peak, of float32 products; peak_memory_bytes: `peak_memory`
    of this process, which after a resumption has seen the rest alone.

    Of several processes the first one alone reads and measures, the peak of n devices as n times that of its own first one; the
    others have no trainings. None waits for another.
    """
    memory = peak_memory()  # before the peak is measured, which takes some of its own
    several = jax.process_count() > 1
    paths = sorted(folder.rglob("timing.jsonl")) if is_first_process() else []
    clocks = {path.parent: metrics.read(path) for path in paths}
    counts = {chunk["devices"] for clock in clocks.values() for chunk in clock}
    peaks = {devices: devices * matrix_peak(1) if several else matrix_peak(devices) for devices in counts}
    trainings = {}
    for path, clock in clocks.items():
        if clock:
            trainings[path.relative_to(folder).as_posix()] = {
                "steps": clock[-1]["step"],
                "seconds": sum(chunk["seconds"] for chunk in clock),
                "devices": clock[-1]["devices"],
                "tasks_per_second": float(np.median([chunk["tasks_per_second"] for chunk in clock])),
                "flops_per_second": float(np.median([chunk["flops_per_second"] for chunk in clock])),
                "fraction_of_peak": float(np.median([c["flops_per_second"] / peaks[c["devices"]] for c in clock])),
            }
    return {
        "peak_flops_per_second": {str(devices): peak for devices, peak in peaks.items()},
        "peak_memory_bytes": memory,
        "trainings": trainings,
    }
