"""What a training would need on a pod: arithmetic, memory of a device, communication and days, before anything is run.

A step on p chips, of which a chip has B/p of the step's B tasks, takes

    compute        3 sum 2 m [k] [n] / (p f peak)  +  operations t_op  +  traffic / bandwidth
    communication  bytes sent / link  +  hops t_hop

and at least the greater of the two, where they run side by side; at most their sum. [k] is k rounded up to the side of the unit
that multiplies, which a narrow model does not fill; f is the fraction of peak that is reached by what fills it. An operation is
a product with all that is fused to it; `operations` is their number one after another, three for every product of the forward
pass, and no number of chips makes them fewer. The optimiser reads and writes the gradient, the parameters and its state.

What chips send (ring algorithms, as in Thakur et al. 2005, doi:10.1177/1094342005051521), G the gradient's bytes, P = G the
parameters':

    replicated             2 (p-1)/p G    the gradient's sum, on every chip
    replicated, in groups  log2(p) G      the same in pairs, in an order that does not depend on p (`Recipe.at_once`)
    fsdp                   2 (p-1)/p P    each parameter gathered once, each gradient summed to the chip that keeps it

What a chip holds (A: activations of its tasks, or of one group of them; S: the optimiser's state):

    replicated    P + S + G + A
    fsdp          (P + S)/p + P + G + A    parameters are gathered whole for a step, and a gradient is whole before it is shared
"""

import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax

from jaxl2o import checks
from jaxl2o.training.accounting import Product, matrix_products
from jaxl2o.training.loop import Recipe, TrainState, mean_loss, task_keys

Sharding = Literal["replicated", "fsdp"]
DAY = 86_400.0


class Device(NamedTuple):
    """A chip, as its maker describes it.

    peak: FLOP/s of products of bfloat16.  memory, bandwidth: bytes and bytes/s of its own memory.  link: bytes/s that it sends
    to the chips of its island, of which there are `island`; network: to others.  axes: of the torus that joins an island; 0: a
    switch does.  side: of the matrices that its unit multiplies at once.  operation, hop: seconds that nothing shortens.
    """

    peak: float
    memory: float
    bandwidth: float
    link: float
    island: int
    network: float
    axes: int
    side: int
    operation: float
    hop: float


class Work(NamedTuple):
    """What a step costs whoever does it. parameters, state, activation: bytes, the last of one task.

    flops: three times the products of a forward pass, as in `accounting`.
    """

    batch: int
    at_once: int
    products: tuple[Product, ...]
    parameters: int
    state: int
    activation: int

    @property
    def flops(self) -> int:
        """Model FLOP of a step."""
        return 3 * sum(product.flops for product in self.products)


class Plan(NamedTuple):
    """A step on a pod. chips: that have tasks.  memory: bytes of a device.  sent: bytes that a chip sends.

    compute, communication, least, most: seconds.
    """

    chips: int
    memory: float
    sent: float
    compute: float
    communication: float
    least: float
    most: float


def work_of(recipe: Recipe, state: TrainState) -> Work:
    """The work of a recipe's step; nothing is computed, so `state` may be one of shapes, as `jax.eval_shape` gives it."""
    keys = jax.eval_shape(partial(task_keys, recipe), state.step, state.key)
    products = matrix_products(jax.make_jaxpr(partial(mean_loss, recipe))(state.params, state.step, keys).jaxpr)
    # what does not grow with the tasks is parameters
    one, two = (residuals(recipe, state, tasks) for tasks in (1, 2))
    return Work(recipe.batch_size, recipe.at_once, tuple(products), size(state.params), size(state.opt_state), two - one)


def size(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def residuals(recipe: Recipe, state: TrainState, tasks: int) -> int:
    """Bytes that the forward pass over so many tasks keeps for the backward pass, parameters among them."""
    keys = jax.eval_shape(partial(task_keys, recipe._replace(batch_size=tasks)), state.step, state.key)

    def kept(params: Any, step: Any, keys: Any) -> Any:
        return jax.vjp(lambda params: mean_loss(recipe, params, step, keys), params)[1]

    return size(jax.eval_shape(kept, state.params, state.step, keys))


def plan(work: Work, device: Device, chips: int, sharding: Sharding = "replicated", fraction: float = 0.4) -> Plan:
    """The plan of a step on so many chips, of which as many work as divide the batch. fraction: of peak, f above.

    Raises `ValueError` for no chip, and for a fraction that is not between 0 and 1.
    """
    checks.require(chips >= 1, f"chips is {chips}; a step needs at least one.")
    checks.require(0.0 < fraction <= 1.0, f"fraction is {fraction:g}; it is of the peak, so above 0 and at most 1.")
    p = max(count for count in range(1, min(chips, work.batch) + 1) if work.batch % count == 0)
    tasks = work.batch // p
    group = min(work.at_once or tasks, tasks)
    shards = p if sharding == "fsdp" else 1
    kept = (work.parameters + work.state) / shards
    whole = work.parameters * (2 if sharding == "fsdp" and p > 1 else 1)
    # gradient, parameters and state are read, and all but the gradient written
    traffic = (3 * work.parameters + 2 * work.state) / shards
    arithmetic = 3 * sum(filled(product, device.side) for product in work.products)
    operations = 3 * sum(product.times for product in work.products) * (tasks // group)
    compute = arithmetic / (p * fraction * device.peak) + operations * device.operation + traffic / device.bandwidth
    sent = bytes_sent(work, p, sharding)
    link = device.link if p <= device.island else min(device.link, device.network)
    communication = sent / link + hops(device, p) * device.hop
    return Plan(
        p,
        kept + whole + group * work.activation,
        sent,
        compute,
        communication,
        max(compute, communication),
        compute + communication,
    )


def filled(product: Product, side: int) -> int:
    """FLOP of a product where k and n are rounded up to the side of the unit that multiplies; m flows through it."""
    k, n = (side * math.ceil(length / side) for length in (product.k, product.n))
    return product._replace(k=k, n=n).flops


def bytes_sent(work: Work, chips: int, sharding: Sharding) -> float:
    """Bytes that a chip sends in a step."""
    if sharding == "replicated" and work.at_once and chips & (chips - 1) == 0:
        return math.log2(chips) * work.parameters
    return 2 * (chips - 1) / chips * work.parameters


def hops(device: Device, chips: int) -> float:
    """Hops of a sum over chips, or of a gathering and a scattering: along every axis of a torus and back, or up and down a tree."""
    return 2 * (device.axes * (chips ** (1 / device.axes) - 1) if device.axes else math.log2(chips))


def most_chips(work: Work, device: Device, sharding: Sharding = "replicated", fraction: float = 0.4) -> int:
    """The most chips, a power of two, of which each does at least half the work of one alone, communication not hidden."""
    alone = plan(work, device, 1, sharding, fraction).most
    counts = [2**i for i in range(work.batch.bit_length()) if work.batch % 2**i == 0]
    return max(p for p in counts if alone >= 0.5 * p * plan(work, device, p, sharding, fraction).most)
