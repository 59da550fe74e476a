"""The one file that knows of devices: the tasks of a step are shared among them, and what is learned is the same on all.

Which tasks a step has does not depend on the number of devices, so every number gives the same curve up to the order of sums.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array
from jaxtyping import Key as Keys

from jaxl2o import checks

AXIS = "tasks"
Shared = TypeVar("Shared")
Mean = TypeVar("Mean")
TaskKeys = Keys[Array, " tasks"]


def mesh_of(devices: int) -> jax.sharding.Mesh:
    """The first so many local devices in a row, the axis of tasks. Raises `ValueError` if there are not so many."""
    local = jax.local_devices()
    checks.require(
        1 <= devices <= len(local),
        f"devices is {devices}, but this process has {len(local)}; ask for 1 to {len(local)}, or set JAX_NUM_CPU_DEVICES.",
    )
    return jax.make_mesh((devices,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=local[:devices])


def devices_for(tasks: int) -> int:
    """The most local devices among which so many tasks can be shared equally."""
    return max(count for count in range(1, jax.local_device_count() + 1) if tasks % count == 0)


def replicate(state: Shared, devices: int) -> Shared:
    """The same arrays on every one of the first so many devices."""
    return jax.device_put(state, jax.NamedSharding(mesh_of(devices), jax.P()))


def share_out(arrays: Shared, devices: int) -> Shared:
    """The first axis of every array cut into equal shares, one on each of the first so many devices."""
    return jax.device_put(arrays, jax.NamedSharding(mesh_of(devices), jax.P(AXIS)))


def mean_over_tasks(
    function: Callable[[Shared, TaskKeys], Mean], devices: int, at_once: int = 0
) -> Callable[[Shared, TaskKeys], Mean]:
    """(shared, keys) -> function(shared, keys), a mean over the keys' tasks, computed in shares.

    Every device takes its share of the keys, in groups of `at_once` (0: all together), whose results are added up: memory is
    that of one group. Raises `ValueError` if the keys do not divide into such groups.
    """

    def share(shared: Shared, keys: TaskKeys) -> Mean:
        groups = keys.reshape(-1, at_once or keys.shape[0])

        def add(total: Any, group: TaskKeys) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, function(shared, group)), None

        if groups.shape[0] == 1:
            mean = function(shared, groups[0])
        else:
            shapes = jax.eval_shape(function, shared, groups[0])
            nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            total, _ = lax.scan(add, nothing, groups)
            mean = jax.tree.map(lambda leaf: leaf / groups.shape[0], total)
        return lax.pmean(mean, AXIS) if devices > 1 else mean

    def mean(shared: Shared, keys: TaskKeys) -> Mean:
        parts = devices * (at_once or 1)
        checks.require(
            keys.shape[0] % parts == 0,
            f"a batch of {keys.shape[0]} tasks does not divide into groups of {at_once or 1} on {devices} devices; "
            f"choose a multiple of {parts}.",
        )
        if devices == 1:
            return share(shared, keys)
        # unchecked: a solver's zero start is the same on all devices and its next iterate is not, which the check refuses
        run = jax.shard_map(share, mesh=mesh_of(devices), in_specs=(jax.P(), jax.P(AXIS)), out_specs=jax.P(), check_vma=False)
        return run(shared, keys)

    return mean
