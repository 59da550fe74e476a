"""One batch, on any number of devices and in groups of any size: the same tasks, the same gradient, the same curve."""

from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxl2o.checks import InputError
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import interleaved
from jaxl2o.models.learner import transformer_learner
from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.lista import ista_as_lista_cp, lista_cp
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.solvers.wrappers import with_matrix
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, advance, mean_loss, start, train
from jaxl2o.training.parallel import compute_dtype, devices_for, layout, mean_over_tasks
from jaxl2o.types import Instance, Learner, Prompt, Task

D, N, BATCH, STEPS = 6, 5, 16, 8
KEY = jax.random.key(7)


def sample(key, matrix=None):
    """A dense linear problem from one draw, which compiles faster than the library's tasks; a given matrix is shared."""
    rows = jax.random.normal(key, (N + 2, D))
    x = rows[:N] if matrix is None else matrix
    prompt = Prompt(x if matrix is None else None, x @ rows[N], rows[N + 1 :], jnp.ones(N, dtype=bool))
    return Instance(prompt, rows[N + 1 :] @ rows[N], rows[N])


TASK = Task(sample, least_squares, linear_prediction)
CONFIG = TransformerConfig(depth=1, heads=2, width=D + 1, attention="softmax", read_out="linear")
TRANSFORMER = transformer_learner(CONFIG, interleaved(D))
LISTA = learned(lambda key, prompt: VaryingLayers(jnp.tile(0.05 * jnp.eye(D), (2, 1, 1)), jnp.full(2, 0.05)), lista_vm)

MATRIX = jnp.asarray(np.random.default_rng(0).normal(size=(N, D)))
ALONE = Task(partial(sample, matrix=MATRIX), least_squares, linear_prediction)
CP = learned(lambda key, prompt: ista_as_lista_cp(MATRIX, 2, 0.1), lambda layers: with_matrix(lista_cp(layers), MATRIX))


class Training(NamedTuple):
    """What is trained, how it answers, on which task, by which loss."""

    learner: Learner
    predict: Callable
    loss: losses.Loss
    task: Task = TASK


TRAININGS = {
    "transformer": Training(TRANSFORMER, TRANSFORMER.prefixes, losses.all_prefixes()),
    "lista-vm": Training(LISTA, LISTA.predict, losses.all_steps(losses.bounded())),
    "lista-cp": Training(CP, CP.predict, losses.last_step(), ALONE),
}


def recipe(name: str, devices: int = 1, at_once: int = 0, sharding: str = "replicated") -> Recipe:
    """Adam on one of the trainings."""
    training = TRAININGS[name]
    layout = {"devices": devices, "at_once": at_once, "sharding": sharding}
    return Recipe(training.predict, lambda step: training.task, training.loss, optax.adam(1e-2), BATCH, **layout)


@cache
def begin(name: str):
    """The parameters before the first step; this kind of key compiles faster."""
    return jax.jit(TRAININGS[name].learner.init)(jax.random.key(7, impl="rbg"), TASK.sample(KEY).prompt)


@cache
def curve(name: str, devices: int = 1, at_once: int = 0, sharding: str = "replicated") -> np.ndarray:
    """The losses of STEPS steps."""
    chunks = []
    plan = recipe(name, devices, at_once, sharding)
    train(plan, start(plan, begin(name), KEY), STEPS, STEPS, lambda chunk: chunks.append(chunk.losses))
    return np.concatenate(chunks)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(("devices", "at_once"), [(8, 0), (1, 2)])
def test_devices_and_groups_do_not_change_the_curve(name, devices, at_once):
    """Over eight steps in float64, where the order of sums is all that differs."""
    assert curve(name).min() < curve(name)[0]
    np.testing.assert_allclose(curve(name, devices, at_once), curve(name), rtol=1e-9)


def test_groups_are_added_in_one_order():
    """With groups of two, the curve of 1, 2 and 8 devices is the same to the last bit."""
    for devices in (2, 8):
        np.testing.assert_array_equal(curve("lista-vm", devices, at_once=2), curve("lista-vm", at_once=2))


def test_what_is_cut_trains_on_the_same_curve():
    """Parameters and optimiser cut over two devices: to rounding, and with groups to the last bit."""
    np.testing.assert_allclose(curve("transformer", 2, 0, "fsdp"), curve("transformer"), rtol=1e-9)
    np.testing.assert_array_equal(curve("transformer", 2, 2, "fsdp"), curve("transformer", at_once=2))


def test_arrays_are_cut_along_the_first_axis_that_fits():
    """Of eight devices; what has no such axis, a number and a key among them, is whole on all."""
    shapes = {(8, 3): ("tasks",), (3, 16): (None, "tasks"), (16, 8): ("tasks",), (3, 4): (), (): (), (0,): ()}
    state = [jax.ShapeDtypeStruct(shape, float) for shape in shapes]
    assert [place.spec for place in layout(state, 8, "fsdp")] == [jax.P(*spec) for spec in shapes.values()]
    assert layout(KEY, 8, "fsdp").spec == jax.P()
    assert {place.spec for place in layout(state, 8, "replicated")} == {jax.P()}


WIDE = {"matrix": jnp.full((16, D), 0.1), "odd": jnp.ones(3), "offset": jnp.asarray(0.5)}
NORM, RATE = 0.1, 0.5


def wide(devices: int, sharding: str, at_once: int = 0) -> Recipe:
    """A linear map as a sum of 16, a factor and an offset, trained by clipped steps with a memory."""

    def predict(params, prompt):
        answer = prompt.x_query @ params["matrix"].sum(axis=0) * params["odd"].mean() + params["offset"]
        return jnp.stack([jnp.zeros(1), answer])

    optimizer = optax.chain(optax.clip_by_global_norm(NORM), optax.sgd(RATE, momentum=0.5))
    return Recipe(
        predict, lambda step: TASK, losses.last_step(), optimizer, BATCH, sharding=sharding, devices=devices, at_once=at_once
    )


def bytes_of_a_device(tree) -> int:
    """What its first device holds of a tree of arrays."""
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


def test_a_device_keeps_its_share_and_the_norm_is_of_all_shares():
    """On eight devices: an eighth of what divides, twice with the memory; steps as long, and as far, as on one."""
    held, moved, found = {}, {}, {}
    for devices, sharding in ((1, "replicated"), (8, "fsdp")):
        plan = wide(devices, sharding)

        def report(chunk, devices=devices):
            held[devices] = bytes_of_a_device((chunk.state.params, chunk.state.opt_state))
            moves = jax.tree.map(lambda a, b: np.sum((np.asarray(a) - b) ** 2), chunk.state.params, WIDE)
            moved.setdefault(devices, np.sqrt(sum(jax.tree.leaves(moves))))

        found[devices] = train(plan, start(plan, WIDE, KEY), 4, 1, report)
    assert held == {1: 2 * 8 * (16 * D + 4), 8: 2 * 8 * (16 * D // 8 + 4)}
    chex.assert_trees_all_close(found[8].params, found[1].params, rtol=1e-12)
    assert moved == pytest.approx({1: NORM * RATE, 8: NORM * RATE}, rel=1e-12)  # of the first step
    assert {frozenset(leaf.devices()) for leaf in jax.tree.leaves(found[8])} == {frozenset(jax.devices()[:1])}


def times_taken(jaxpr, name: str) -> int:
    """How often a program does an operation; what is in a loop counts as often as it goes round."""
    own = sum(equation.primitive.name == name for equation in jaxpr.eqns)
    for equation in jaxpr.eqns:
        inner = [value for value in equation.params.values() if hasattr(value, "eqns") or hasattr(value, "jaxpr")]
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        own += times * sum(times_taken(getattr(value, "jaxpr", value), name) for value in inner)
    return own


def test_a_step_gathers_and_scatters_once():
    """However many groups there are, the one array that is cut is gathered once, and its gradient scattered once."""
    for at_once in (0, 1, 2):
        plan = wide(2, "fsdp", at_once)
        program = jax.make_jaxpr(partial(advance, plan, n_steps=1))(start(plan, WIDE, KEY)).jaxpr
        assert [times_taken(program, name) for name in ("all_gather", "reduce_scatter")] == [1, 1]


@pytest.mark.parametrize(("devices", "at_once"), [(1, 0), (1, 3), (1, 4), (2, 0), (2, 3), (4, 1), (3, 0), (6, 1)])
def test_a_mean_over_tasks_is_the_mean(devices, at_once):
    """Shares and groups of a function that is a mean over keys: the whole tree, to rounding."""

    def function(shared, keys):
        numbers = jax.vmap(jax.random.normal)(keys)
        return {"mean": jnp.mean(numbers), "scaled": shared * jnp.mean(numbers**2)}

    keys = jax.random.split(KEY, 12)
    found = jax.jit(mean_over_tasks(function, devices, at_once))(jnp.arange(3.0), keys)
    chex.assert_trees_all_close(found, function(jnp.arange(3.0), keys), rtol=1e-13, atol=1e-14)


def test_what_tasks_share_stays_one():
    """One matrix that all tasks share is not copied for each; matrices of their own are an array with an axis of tasks."""

    def copies(task, learner):
        plan = Recipe(learner.predict, lambda step: task, losses.last_step(), optax.adam(1e-3), BATCH)
        params = learner.init(KEY, task.sample(KEY).prompt)
        jaxpr = jax.make_jaxpr(partial(mean_loss, plan))(params, jnp.zeros((), int), jax.random.split(KEY, BATCH))
        return str(jaxpr).count(f"f64[{BATCH},{N},{D}]")

    assert copies(ALONE, CP) == 0
    assert copies(TASK, LISTA) > 0


def test_the_trained_state_is_on_one_device():
    """What follows a training on many devices runs on one, once."""
    plan = recipe("lista-vm", devices=4)
    state = train(plan, start(plan, begin("lista-vm"), KEY), 3, 3)
    assert {frozenset(leaf.devices()) for leaf in jax.tree.leaves(state)} == {frozenset(jax.devices()[:1])}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"at_once": -1}, "at_once is -1"),
        ({"devices": 3}, "16 tasks does not divide into groups of 1 on 3 devices; choose a multiple of 3"),
        ({"devices": 2, "at_once": 5}, "groups of 5 on 2 devices; choose a multiple of 10"),
        ({"devices": 9}, "devices is 9, but this process has 8"),
        ({"devices": 0}, "devices is 0"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(changes, words):
    """One sentence with what was asked and what would do."""
    with pytest.raises(InputError, match=words):
        curve("lista-vm", **changes)


def test_nothing_is_compiled_after_the_first_chunk():
    """The loss is traced once for chunks of one size, and once more for a shorter last one, before any step is taken."""
    traces, seen = [], []

    def counted(trajectory, instance, step):
        traces.append(1)
        return TRAININGS["lista-vm"].loss(trajectory, instance, step)

    plan = recipe("lista-vm", devices=2)._replace(loss=counted)
    train(plan, start(plan, begin("lista-vm"), KEY), 22, 5, lambda chunk: seen.append(len(traces)))
    assert len(seen) == 5
    assert set(seen) == {seen[0]}


@pytest.mark.parametrize(("tasks", "devices"), [(1, 1), (3, 3), (4, 4), (12, 6), (64, 8), (7, 7), (11, 1)])
def test_devices_that_share_equally(tasks, devices):
    """Of the eight devices here, the most whose number divides the tasks."""
    assert devices_for(tasks) == devices


@pytest.mark.parametrize(
    ("platform", "capability", "dtype"),
    [
        ("cpu", None, None),
        ("gpu", "7.5", None),
        ("gpu", "8.0", "bfloat16"),
        ("gpu", "gfx90a", "bfloat16"),
        ("gpu", "12.0", "bfloat16"),
        ("tpu", None, "bfloat16"),
    ],
)
def test_the_dtype_of_products_is_what_the_device_is_made_for(monkeypatch, platform, capability, dtype):
    """bfloat16 on TPUs and on GPUs since Ampere."""
    device = SimpleNamespace(platform=platform, compute_capability=capability)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert compute_dtype() == dtype
