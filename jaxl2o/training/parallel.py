"""The one file that knows of devices: the tasks of a step are shared among them, and so may be what is learned.

A mesh is a row of devices of all processes, as many of each. Which tasks a step has does not depend on their number, so every
number gives the same curve up to the order of sums; and where groups of tasks are asked for, their sum has one order.

What is learned lies on the mesh in one of two ways. "replicated": whole on every device. "fsdp": every array with an axis
that the devices divide is cut along the first such axis; in a step it is gathered, once, and the sum of its gradients is
scattered, once, so that parameters, gradients and optimiser are in between a device's share alone (Rajbhandari et al. 2020,
arXiv:1910.02054, the third stage).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from jaxtyping import Key as Keys

from jaxl2o import checks

AXIS = "tasks"
Sharding = Literal["replicated", "fsdp"]
Shared = TypeVar("Shared")
Mean = TypeVar("Mean")
TaskKeys = Keys[Array, " tasks"]
Groups = Keys[Array, "groups at_once"]


def mesh_of(devices: int) -> jax.sharding.Mesh:
    """So many devices in a row, the axis of tasks: the first ones of every process, as many of each.

    One device is every process's own first one, on which each computes the same. Raises `ValueError` if there are not so many,
    or if the processes cannot have as many each.
    """
    processes, own = jax.process_count(), _devices_of_a_process()
    whose = "this process has" if processes == 1 else f"the {processes} processes together have"
    choices = f"1 to {own}" if processes == 1 else f"1, or for a multiple of {processes} up to {processes * own}"
    checks.require(
        devices == 1 or (devices in range(processes, processes * own + 1, processes)),
        f"devices is {devices}, but {whose} {processes * own}; ask for {choices}, or set JAX_NUM_CPU_DEVICES.",
    )
    row = [device for process in range(processes) for device in jax.local_devices(process)[: devices // processes]]
    row = jax.local_devices()[:1] if devices == 1 else row
    return jax.make_mesh((devices,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=row)


def devices_for(tasks: int) -> int:
    """The most devices, as many of every process, among which so many tasks can be shared equally; else 1."""
    processes = jax.process_count()
    counts = range(processes, processes * _devices_of_a_process() + 1, processes)
    return max([count for count in counts if tasks % count == 0], default=1)


def _devices_of_a_process() -> int:
    """How many devices every process has, at least."""
    return min(len(jax.local_devices(process)) for process in range(jax.process_count()))


def compute_dtype() -> str | None:
    """The dtype of a `TransformerConfig` for speed: bfloat16 on TPUs, and on GPUs but NVIDIA's before Ampere; else None.

    Parameters keep theirs, and so do gradients and the optimiser. Constructions are exact only in the dtype of parameters.
    """
    device = jax.local_devices()[0]
    # NVIDIA's is a number such as 8.0; other makers' names stand for cards that all have it
    capability = str(getattr(device, "compute_capability", ""))
    too_old = capability.replace(".", "").isdigit() and float(capability) < 8
    return "bfloat16" if device.platform in ("tpu", "gpu") and not too_old else None


def layout(state: Shared, devices: int, sharding: Sharding) -> Shared:
    """Where every array of a state lies on the mesh, a `NamedSharding` each: cut along an axis, or whole on all devices.

    What one device trains is whole on the first one of every process: so it is one array of all, which a checkpoint can hold.
    """
    checks.require(sharding in get_args(Sharding), f"sharding is {sharding!r}; choose one of {', '.join(get_args(Sharding))}.")
    mesh = mesh_of(jax.process_count() if devices == 1 else devices)

    def of(leaf: Any) -> jax.NamedSharding:
        axis = _cut_axis(leaf, devices) if sharding == "fsdp" else None
        return jax.NamedSharding(mesh, jax.P() if axis is None else jax.P(*(None,) * axis, AXIS))

    return jax.tree.map(of, state)


def _cut_axis(leaf: Any, devices: int) -> int | None:
    """The first axis of an array that so many devices divide; None if there is none, or nothing to divide."""
    return next((i for i, length in enumerate(leaf.shape) if length and length % devices == 0), None) if devices > 1 else None


def place(state: Shared, devices: int, sharding: Sharding = "replicated") -> Shared:
    """A copy of a state that every process has, laid out over so many devices."""
    if devices == jax.process_count() == 1:
        return jax.tree.map(jnp.array, state)
    return jax.tree.map(_put, state, layout(state, devices, sharding))


def _put(leaf: Any, where: jax.NamedSharding) -> Array:
    """A copy of one array, laid out; no device has more of it than its share, but for the time of copying."""
    leaf = jnp.array(leaf)
    if where.is_fully_addressable or not leaf.is_fully_addressable:
        return jax.device_put(leaf, where)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(leaf), where), impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, where, lambda index: np.array(whole[index]))


def stay(state: Shared, devices: int, sharding: Sharding) -> Shared:
    """The same state, which a compiled program leaves in its layout."""
    return (
        state if devices == jax.process_count() == 1 else lax.with_sharding_constraint(state, layout(state, devices, sharding))
    )


def settle(state: Shared, devices: int) -> Shared:
    """A state that lies on so many devices, whole on the first device of every process: all processes are to call this."""
    if devices == jax.process_count() == 1:
        return state
    if jax.process_count() > 1:
        whole = jax.jit(lambda state: state, out_shardings=layout(state, devices, "replicated"))(state)
        state = jax.tree.map(lambda leaf: leaf.addressable_data(0), whole)
    return jax.device_put(state, jax.local_devices()[0])


def share_out(arrays: Shared, devices: int) -> Shared:
    """The first axis of every array cut into equal shares, one on each of so many devices."""
    return jax.device_put(arrays, jax.NamedSharding(mesh_of(devices), jax.P(AXIS)))


def mean_over_tasks(
    function: Callable[[Shared, TaskKeys], Mean], devices: int, at_once: int = 0, sharding: Sharding = "replicated"
) -> Callable[[Shared, TaskKeys], Mean]:
    """(shared, keys) -> function(shared, keys), a mean over the keys' tasks, computed in shares.

    Every device takes its share of the keys, in groups of `at_once` (0: all together): memory is that of one group, and of the
    log2(groups) sums that wait for theirs. Groups are added in pairs, pairs in pairs, and so on, first on a device and then
    among devices. So with `at_once` set the sum has one order on every number of devices that is a power of two, and differs
    by no more than what the compiler makes of it.

    With "fsdp" what is shared comes cut and is gathered first, and the mean is left cut, both as `layout` says.

    Raises `ValueError` if the keys do not divide into such groups.
    """

    def mean(shared: Shared, keys: TaskKeys) -> Mean:
        parts = devices * (at_once or 1)
        checks.require(at_once >= 0, f"at_once is {at_once}; give the number of tasks of a group, or 0 for all.")
        places = layout(shared, devices, sharding)
        checks.require(
            keys.shape[0] % parts == 0,
            f"a batch of {keys.shape[0]} tasks does not divide into groups of {at_once or 1} on {devices} devices; "
            f"choose a multiple of {parts}.",
        )
        size = at_once or keys.shape[0] // devices
        count = keys.shape[0] // size

        def part(shared: Shared, group: TaskKeys) -> Mean:
            # divided here, so that what uses the sum is the same formula on one device and on many
            return jax.tree.map(lambda leaf: leaf / count, function(shared, group))

        def share(shared: Shared, keys: TaskKeys) -> Mean:
            shared, groups = jax.tree.map(_gather, shared, places), keys.reshape(-1, size)
            if groups.shape[0] == 1:
                total = part(shared, groups[0])
            else:
                nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), found)
                total = _sum_in_pairs(partial(part, shared), groups, nothing)
            return _sum_over_devices(total, devices, in_pairs=at_once > 0, sharding=sharding)

        one_group = jax.ShapeDtypeStruct((size,), keys.dtype)
        cut = sharding == "fsdp" and devices > 1
        found = jax.eval_shape(part, shared, one_group) if count > devices or cut else None
        if devices == 1:
            return share(shared, keys)
        before = jax.tree.map(lambda place: place.spec, places)
        after = jax.tree.map(lambda place: place.spec, layout(found, devices, sharding)) if cut else jax.P()
        # unchecked: a solver's zero start is the same on all devices and its next iterate is not, which the check refuses
        run = jax.shard_map(share, mesh=mesh_of(devices), in_specs=(before, jax.P(AXIS)), out_specs=after, check_vma=False)
        return run(shared, keys)

    return mean


def _gather(share: Array, place: jax.NamedSharding) -> Array:
    """The whole array on every device, from the share that a device has."""
    return share if AXIS not in place.spec else lax.all_gather(share, AXIS, axis=place.spec.index(AXIS), tiled=True)


def _sum_in_pairs(function: Callable[[TaskKeys], Mean], groups: Groups, nothing: Mean) -> Mean:
    """The sum of a function of every group: each half is summed by itself, as long as there are halves."""
    count = groups.shape[0]
    if count == 1:
        return function(groups[0])
    parts = groups.reshape(2, count // 2, groups.shape[1]) if count % 2 == 0 else groups[:, None]

    def add(total: Any, part: Groups) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, _sum_in_pairs(function, part, nothing)), None

    return lax.scan(add, nothing, parts)[0]


def _sum_over_devices(part: Mean, devices: int, in_pairs: bool, sharding: Sharding) -> Mean:
    """The sum of all devices' parts, on every device, or of an array that is cut a device's share of it.

    In pairs: neighbours first, then pairs of neighbours, and so on.
    """
    if devices == 1:
        return part
    in_pairs = in_pairs and not devices & (devices - 1)

    def total(leaf: Array) -> Array:
        axis = _cut_axis(leaf, devices) if sharding == "fsdp" else None
        if axis is None:
            for pairs in _pairs(devices) if in_pairs else [None]:
                leaf = lax.psum(leaf, AXIS, axis_index_groups=pairs)
            return leaf
        if not in_pairs:
            return lax.psum_scatter(leaf, AXIS, scatter_dimension=axis, tiled=True)
        # a device's number in binary is the place of its share: with every sum the pair halves the axis of its digit
        digits = devices.bit_length() - 1
        leaf = leaf.reshape(*leaf.shape[:axis], *(2,) * digits, -1, *leaf.shape[axis + 1 :])
        for digit, pairs in enumerate(_pairs(devices)):
            leaf = lax.psum_scatter(leaf, AXIS, scatter_dimension=axis + digits - 1 - digit, axis_index_groups=pairs)
        return leaf

    return jax.tree.map(total, part)


def _pairs(devices: int) -> list[list[list[int]]]:
    """For every binary digit of a device's number, the lowest first, the pairs of devices that differ in it alone."""
    distances = [2**digit for digit in range(devices.bit_length() - 1)]
    return [[[i, i + distance] for i in range(devices) if not i & distance] for distance in distances]


def on_shares(function: Callable[[Shared], Mean], devices: int) -> Callable[[Shared], Mean]:
    """arrays -> function(arrays), computed in shares: each device has its part of the first axis, and results are joined.

    The function treats the entries along the first axis of its arrays one by one, as a `vmap` does, and so must give what the
    whole gives; the first axis must divide by the devices. Raises `ValueError` if one process has not so many.
    """
    mesh = mesh_of(devices)
    checks.require(
        devices == 1 or jax.process_count() == 1,
        f"devices is {devices}, and there are {jax.process_count()} processes; run this in one, or on one device of each.",
    )
    if devices == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=jax.P(AXIS), out_specs=jax.P(AXIS), check_vma=False)
