"""Measuring a method: its errors on patches, each with a matrix of its own, and its time."""

from functools import partial
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.compressed_sensing.methods import Method
from jaxl2o.tasks.images import Camera, measure
from jaxl2o.types import Instance, Key, Params, answer_tasks

CHUNK = 256  # patches evaluated at a time, if there are so many


@partial(jax.jit, static_argnums=1)
def measure_and_answer(
    camera: Camera, method: Method, params: Params, patches: Float[Array, "c d"], keys: Key
) -> tuple[Float[Array, "c steps"], Float[Array, "c d"]]:
    """For each patch, measured by its key: the mean squared error after every step, and the last answers."""

    def judge(answers: Float[Array, "steps d"], instance: Instance) -> tuple[Float[Array, " steps"], Float[Array, " d"]]:
        return jnp.mean((answers - instance.y_query[None]) ** 2, axis=1), answers[-1]

    return answer_tasks(method, params, partial(measure, camera), judge, patches, keys)


def evaluate(
    camera: Camera, method: Method, params: Params, patches: Float[Array, "q d"], key: int
) -> tuple[Float[np.ndarray, "q steps"], Float[np.ndarray, "q d"]]:
    """`measure_and_answer` for any number of patches, in chunks of one size; patch i has the i-th matrix of the key."""
    count = len(patches)
    size = min(CHUNK, count)
    place = jnp.arange(-(-count // size) * size).reshape(-1, size) % count
    keys = jax.random.split(jax.random.key(key), count)
    parts = [measure_and_answer(camera, method, params, patches[index], keys[index]) for index in place]
    errors, last = (np.concatenate([np.asarray(part) for part in side])[:count] for side in zip(*parts, strict=True))
    return errors, last


def seconds_per_patch(camera: Camera, method: Method, params: Params, patches: Float[Array, "q d"]) -> float:
    """The median of three timed chunks, compiled before; drawing the matrices and measuring are a part of it."""
    batch = patches[:CHUNK]
    keys = jax.random.split(jax.random.key(9), len(batch))
    times = []
    for _ in range(3):
        began = perf_counter()
        jax.block_until_ready(measure_and_answer(camera, method, params, batch, keys))
        times.append(perf_counter() - began)
    return float(np.median(times)) / len(batch)
