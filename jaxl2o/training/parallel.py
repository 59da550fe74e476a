"""The one file that knows of devices: the tasks of a step are shared among them, and what is learned is the same on all.

Which tasks a step has does not depend on the number of devices, so every number gives the same curve up to the order of sums;
and where groups of tasks are asked for, their sum has one order.
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
Groups = Keys[Array, "groups at_once"]


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


def compute_dtype() -> str | None:
    """The dtype of a `TransformerConfig` for speed: bfloat16 on TPUs, and on GPUs but NVIDIA's before Ampere; else None.

    Parameters keep theirs, and so do gradients and the optimiser. Constructions are exact only in the dtype of parameters.
    """
    device = jax.local_devices()[0]
    # NVIDIA's is a number such as 8.0; other makers' names stand for cards that all have it
    capability = str(getattr(device, "compute_capability", ""))
    too_old = capability.replace(".", "").isdigit() and float(capability) < 8
    return "bfloat16" if device.platform in ("tpu", "gpu") and not too_old else None


def replicate(state: Shared, devices: int) -> Shared:
    """The same arrays on every one of the first so many devices; for one device, where they are."""
    return state if devices == 1 else jax.device_put(state, jax.NamedSharding(mesh_of(devices), jax.P()))


def settle(state: Shared, devices: int) -> Shared:
    """Arrays that are the same on so many devices, on the first of them alone."""
    return state if devices == 1 else jax.device_put(state, jax.local_devices()[0])


def share_out(arrays: Shared, devices: int) -> Shared:
    """The first axis of every array cut into equal shares, one on each of the first so many devices."""
    return jax.device_put(arrays, jax.NamedSharding(mesh_of(devices), jax.P(AXIS)))


def mean_over_tasks(
    function: Callable[[Shared, TaskKeys], Mean], devices: int, at_once: int = 0
) -> Callable[[Shared, TaskKeys], Mean]:
    """(shared, keys) -> function(shared, keys), a mean over the keys' tasks, computed in shares.

    Every device takes its share of the keys, in groups of `at_once` (0: all together): memory is that of one group. Groups
    are added in pairs, pairs in pairs, and so on, first on a device and then among devices. So with `at_once` set the sum has
    one order on every number of devices that is a power of two, and differs by no more than what the compiler makes of it.

    Raises `ValueError` if the keys do not divide into such groups.
    """

    def share(shared: Shared, keys: TaskKeys) -> Mean:
        groups = keys.reshape(-1, at_once or keys.shape[0])
        count = devices * groups.shape[0]

        def part(group: TaskKeys) -> Mean:
            # divided here, so that what uses the sum is the same formula on one device and on many
            return jax.tree.map(lambda leaf: leaf / count, function(shared, group))

        if groups.shape[0] == 1:
            return _sum_over_devices(part(groups[0]), devices, in_pairs=at_once > 0)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(part, groups[0]))
        return _sum_over_devices(_sum_in_pairs(part, groups, nothing), devices, in_pairs=True)

    def mean(shared: Shared, keys: TaskKeys) -> Mean:
        parts = devices * (at_once or 1)
        checks.require(at_once >= 0, f"at_once is {at_once}; give the number of tasks of a group, or 0 for all.")
        mesh = mesh_of(devices)
        checks.require(
            keys.shape[0] % parts == 0,
            f"a batch of {keys.shape[0]} tasks does not divide into groups of {at_once or 1} on {devices} devices; "
            f"choose a multiple of {parts}.",
        )
        if devices == 1:
            return share(shared, keys)
        # unchecked: a solver's zero start is the same on all devices and its next iterate is not, which the check refuses
        run = jax.shard_map(share, mesh=mesh, in_specs=(jax.P(), jax.P(AXIS)), out_specs=jax.P(), check_vma=False)
        return run(shared, keys)

    return mean


def _sum_in_pairs(function: Callable[[TaskKeys], Mean], groups: Groups, nothing: Mean) -> Mean:
    """The sum of a function of every group: each half is summed by itself, as long as there are halves."""
    count = groups.shape[0]
    if count == 1:
        return function(groups[0])
    parts = groups.reshape(2, count // 2, groups.shape[1]) if count % 2 == 0 else groups[:, None]

    def add(total: Any, part: Groups) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, _sum_in_pairs(function, part, nothing)), None

    return lax.scan(add, nothing, parts)[0]


def _sum_over_devices(part: Mean, devices: int, in_pairs: bool) -> Mean:
    """The sum of all devices' parts, on every device; in pairs: neighbours first, then pairs of neighbours, and so on."""
    if devices == 1:
        return part
    if not in_pairs or devices & (devices - 1):
        return lax.psum(part, AXIS)
    for distance in (2**i for i in range(devices.bit_length() - 1)):
        pairs = [[device, device + distance] for device in range(devices) if not device & distance]
        part = lax.psum(part, AXIS, axis_index_groups=pairs)
    return part


def on_shares(function: Callable[[Shared], Mean], devices: int) -> Callable[[Shared], Mean]:
    """arrays -> function(arrays), computed in shares: each device has its part of the first axis, and results are joined.

    The function treats the entries along the first axis of its arrays one by one, as a `vmap` does, and so must give what the
    whole gives. Raises `ValueError` if there are not so many local devices; the first axis must divide by them.
    """
    mesh = mesh_of(devices)
    if devices == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=jax.P(AXIS), out_specs=jax.P(AXIS), check_vma=False)
