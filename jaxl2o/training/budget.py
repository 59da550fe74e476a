"""What a training would need on a pod: arithmetic, memory of a device, communication and days, before anything is run.

A step on p chips, of which a chip has B/p of the step's B tasks, takes

    compute        3 sum 2 m [k] [n] / (p f peak)  +  operations t_op  +  traffic / bandwidth
    communication  bytes sent / link  +  hops t_hop

and at least the greater of the two, where they run side by side; at most their sum. [k] is k rounded up to the side of the unit
that multiplies, which a narrow model does not fill; f is the fraction of peak that is reached by what fills it. An operation is
a product with all that is fused to it; `operations` is their number one after another, three for every product of the forward
pass, and no number of chips makes them fewer. The optimiser reads and writes the gradient, the parameters and its state.

What chips send (ring algorithms, as in Thakur et al. 2005, doi:10.1177/1094342005051521); P the bytes of the parameters, G
those of the gradient and of the loss, which is summed with it:

    replicated             2 (p-1)/p G    the gradient's sum, on every chip
    replicated, in groups  log2(p) G      the same in pairs, in an order that does not depend on p (`Recipe.at_once`)
    fsdp                   (p-1)/p (P+G)  each parameter gathered once, each gradient summed to the chip that keeps it

What a chip holds (A: activations of its tasks, or of one group of them; S: the optimiser's state):

    replicated    P + S + (1 + w) G + A
    fsdp          (P + S)/p + P + (1 + w) G + A

With fsdp a chip keeps its share between steps; in a step parameters are gathered whole, and a gradient is whole before it is
shared. w, gradients that wait: log2 of a chip's groups, since of every level of the pairs a sum waits for its other half; where
their number is no power of two, as often as it is halved, and once for the odd rest. One group alone lets none wait.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxl2o import checks
from jaxl2o.training.accounting import Product, matrix_products
from jaxl2o.training.loop import Recipe, TrainState, mean_loss, task_keys
from jaxl2o.training.parallel import Sharding

DAY = 86_400.0


class Device(NamedTuple):
    """A chip, as its maker describes it.

    peak: FLOP/s of products of bfloat16.  memory, bandwidth: bytes and bytes/s of its own memory.  link: bytes/s that it sends
    within its island of so many chips; network: to other islands.  axes: of the torus that joins an island;
    0: a switch does.  side: of the matrices that its unit multiplies at once.  operation, hop: seconds that nothing shortens.
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
    """What a step costs whoever does it.

    products: of a forward pass.  parameters, gradient, state, activation: bytes; the gradient's with the loss, the state is the
    optimiser's, and activations are of one task.
    """

    batch: int
    at_once: int
    products: tuple[Product, ...]
    parameters: int
    gradient: int
    state: int
    activation: int

    @property
    def flops(self) -> int:
        """Model FLOP of a step: three times those of the products, as in `accounting`."""
        return 3 * sum(product.flops for product in self.products)


class Plan(NamedTuple):
    """A step on a pod. chips: that have tasks.  memory: bytes of a device.  sent: bytes that a chip sends.

    arithmetic, operations, update, communication: seconds, of the products, of the operations' floor, of the optimiser.
    """

    chips: int
    memory: float
    sent: float
    arithmetic: float
    operations: float
    update: float
    communication: float

    @property
    def compute(self) -> float:
        """Seconds of a step but for communication."""
        return self.arithmetic + self.operations + self.update

    @property
    def least(self) -> float:
        """Seconds of a step where communication runs beside all that is computed."""
        return max(self.compute, self.communication)

    @property
    def most(self) -> float:
        """Seconds of a step where nothing runs beside communication."""
        return self.compute + self.communication

    @property
    def bound(self) -> str:
        """The part that takes longest."""
        return max(("arithmetic", "operations", "update", "communication"), key=lambda part: getattr(self, part))


def work_of(recipe: Recipe, state: TrainState) -> Work:
    """The work of a recipe's step; nothing is computed, so `state` may be one of shapes, as `jax.eval_shape` gives it."""
    keys = jax.eval_shape(partial(task_keys, recipe), state.step, state.key)
    products = matrix_products(jax.make_jaxpr(partial(mean_loss, recipe))(state.params, state.step, keys).jaxpr)
    # what does not grow with the tasks is parameters
    one, two = (residuals(recipe, state, tasks) for tasks in (1, 2))
    parameters = size(state.params)
    gradient = parameters + size(jax.eval_shape(partial(mean_loss, recipe), state.params, state.step, keys))
    return Work(recipe.batch_size, recipe.at_once, tuple(products), parameters, gradient, size(state.opt_state), two - one)


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
    groups = tasks // group
    shards = p if sharding == "fsdp" else 1
    kept = (work.parameters + work.state) / shards
    gathered = work.parameters if shards > 1 else 0
    # gradient, parameters and state are read, and all but the gradient written
    traffic = (3 * work.parameters + 2 * work.state) / shards
    sent = bytes_sent(work, p, sharding)
    return Plan(
        chips=p,
        memory=kept + gathered + (1 + waiting(groups)) * work.gradient + group * work.activation,
        sent=sent,
        arithmetic=3 * sum(filled(product, device.side) for product in work.products) / (p * fraction * device.peak),
        operations=3 * sum(product.times for product in work.products) * groups * device.operation,
        update=traffic / device.bandwidth,
        communication=sent / speed(device, p) + hops(device, p) * device.hop,
    )


def fitting(work: Work, device: Device, chips: int, fraction: float = 0.4) -> tuple[Sharding, Plan]:
    """The plan with everything on every chip if that fits into the device's memory, else with parameters sharded."""
    replicated = plan(work, device, chips, "replicated", fraction)
    if replicated.memory <= device.memory:
        return "replicated", replicated
    return "fsdp", plan(work, device, chips, "fsdp", fraction)


def waiting(groups: int) -> int:
    """Whole gradients that wait while a group is computed, as `parallel` sums in pairs: a scan's carry for every level."""
    halvings = (groups & -groups).bit_length() - 1
    return halvings + (groups >> halvings > 1)


def filled(product: Product, side: int) -> int:
    """FLOP of a product where k and n are rounded up to the side of the unit that multiplies; m flows through it."""
    k, n = (side * math.ceil(length / side) for length in (product.k, product.n))
    return product._replace(k=k, n=n).flops


def bytes_sent(work: Work, chips: int, sharding: Sharding) -> float:
    """Bytes that a chip sends in a step."""
    if sharding == "replicated" and work.at_once and chips & (chips - 1) == 0:
        return math.log2(chips) * work.gradient
    first = work.gradient if sharding == "replicated" else work.parameters
    return (chips - 1) / chips * (first + work.gradient)


def speed(device: Device, chips: int) -> float:
    """Bytes/s by which a ring sends: it enters and leaves an island once, by the network of all chips of the island."""
    return device.link if chips <= device.island else min(device.link, device.island * device.network)


def hops(device: Device, chips: int) -> float:
    """Hops of a sum, or of a gathering and a scattering: along every axis of a torus and back, or up and down a tree."""
    return 2 * (device.axes * (chips ** (1 / device.axes) - 1) if device.axes else math.log2(chips))


def most_chips(work: Work, device: Device, fraction: float = 0.4) -> int:
    """The most chips, a power of two, each of which does at least half of what one does alone, communication not hidden."""
    alone = fitting(work, device, 1, fraction)[1].most
    counts = [2**i for i in range(work.batch.bit_length()) if work.batch % 2**i == 0]
    return max(p for p in counts if alone >= 0.5 * p * fitting(work, device, p, fraction)[1].most)
