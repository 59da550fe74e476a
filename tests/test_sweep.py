"""A sweep is the loop over its points: whatever runs, in groups of whatever size, with the axes in whatever order."""

import itertools
from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.checks import InputError
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.evaluation.grid import group, group_size
from jaxl2o.evaluation.memory import at_once_for, memory
from jaxl2o.evaluation.sweep import Sweep, sweep
from jaxl2o.solvers.first_order import gradient_descent, start_at_zero
from jaxl2o.solvers.learned import learned
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.tasks.shift import with_variance
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, advance, start, train
from jaxl2o.types import Solver

AXES = {"factor": [0.5, 2.0, 3.0], "seed": range(2), "power": np.array([1, 3])}
D, N, DEPTH, STEPS, COUNT = 3, 6, 2, 5, 8
TRAINING = {"rate": [0.003, 0.01, 0.03], "seed": [0, 7]}


def mix(point):
    """A number, a vector and a count for one point: what each axis says has a part in them."""
    noise = jax.random.normal(jax.random.key(point["seed"]), (4,))
    return {
        "vector": point["factor"] * noise ** point["power"],
        "sum": jnp.sum(noise) + point["factor"],
        "which": point["power"],
    }


def looped(run, axes):
    """The same by a Python loop: every point alone, compiled once."""
    compiled = jax.jit(run)
    names, columns = list(axes), [np.asarray(list(axis)) for axis in axes.values()]
    found = [compiled(dict(zip(names, map(jnp.asarray, labels), strict=True))) for labels in itertools.product(*columns)]
    shape = [column.size for column in columns]
    return jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*shape, *np.shape(leaves[0])), *found)


def assert_same(found, expected, tolerance=1e-13):
    """Two trees of arrays with the same shapes and dtypes, and, up to rounding, the same numbers."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert isinstance(a, np.ndarray)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@cache
def mixed(at_once=12):
    """The sweep of `mix`."""
    return sweep(mix, AXES, at_once)


# what a sweep is


@pytest.mark.parametrize("at_once", [1, 5, 7, 12, 1000])
def test_a_sweep_is_the_loop_over_its_points(at_once):
    """Of any group size, whether or not it divides the 12 points."""
    assert_same(mixed(at_once).values, looped(mix, AXES))


@pytest.mark.parametrize("order", [("seed", "factor", "power"), ("power", "seed", "factor")])
def test_the_order_of_axes_is_that_of_the_result(order):
    """Other axes first: the same numbers, transposed."""
    places = [list(AXES).index(name) for name in order]
    expected = jax.tree.map(lambda leaf: leaf.transpose(*places, *range(3, leaf.ndim)), mixed().values)
    found = sweep(mix, {name: AXES[name] for name in order}, 5)
    assert list(found.axes) == list(order)
    assert_same(found.values, expected)


@pytest.mark.parametrize("total", range(1, 8))
def test_every_point_is_run_in_its_place(total):
    """The sweep of the identity is the axis, for every size of groups."""
    for at_once in range(1, total + 2):
        np.testing.assert_array_equal(sweep(lambda point: point["i"], {"i": range(total)}, at_once).values, np.arange(total))


@pytest.mark.parametrize(("at_once", "devices"), [(1, 8), (2, 4), (12, 3)])
def test_devices_share_the_points(at_once, devices):
    """Of any number, whether or not it divides the points, and whether or not there are as many points as devices."""
    assert_same(sweep(mix, AXES, at_once, devices).values, looped(mix, AXES))


@given(total=st.integers(1, 60), at_once=st.integers(1, 20), devices=st.integers(1, 8))
def test_groups_are_cut_in_equal_shares(total, at_once, devices):
    """Their size divides by the devices, no share is larger than asked, and no fewer groups would do; cut they are the row."""
    size = group_size(total, at_once, devices)
    assert size % devices == 0
    assert size <= at_once * devices
    assert -(-total // size) == -(-total // (at_once * devices))
    row = np.concatenate([group({"i": np.arange(total)}, first, size)["i"] for first in range(0, total, size)])
    np.testing.assert_array_equal(row, np.minimum(np.arange(len(row)), total - 1))


def test_at_most_so_many_points_share_a_vmap():
    """Groups are as few as can be, of one size that is at most `at_once`: seen by a callback that gets a group at a time."""
    seen = []

    def look(i):
        seen.append(np.size(i))
        return i

    def run(point):
        return jax.pure_callback(look, jax.typeof(point["i"]), point["i"], vmap_method="broadcast_all")

    for at_once, size, count in ((1, 1, 7), (2, 2, 4), (3, 3, 3), (5, 4, 2), (7, 7, 1), (50, 7, 1)):
        seen.clear()
        sweep(run, {"i": range(7)}, at_once)
        assert seen == [size] * count


# labels


@given(factor=st.sampled_from(AXES["factor"]), seed=st.sampled_from(AXES["seed"]), power=st.sampled_from([1, 3]))
def test_labels_select_what_they_name(factor, seed, power):
    """at(all labels) is what `run` gives for that point; axes can be named at once, or one after another in any order."""
    alone = jax.tree.map(np.asarray, compiled_mix({"factor": factor, "seed": seed, "power": power}))
    found = mixed().at(factor=factor, seed=seed, power=power)
    assert found.axes == {}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), found.values, alone)
    stepwise = mixed().at(power=power).at(factor=factor)
    assert list(stepwise.axes) == ["seed"]
    jax.tree.map(np.testing.assert_array_equal, stepwise.at(seed=seed).values, found.values)


compiled_mix = jax.jit(mix)


def test_no_label_leaves_all():
    """at() is the sweep itself."""
    assert_same(mixed().at().values, mixed().values, 0.0)
    assert list(mixed().at().axes) == list(AXES)


def test_labels_of_float32_are_found():
    """A label is compared in its axis's own precision."""
    found = Sweep({"rate": np.asarray([0.1, 0.2], dtype=np.float32)}, np.array([1.0, 2.0]))
    assert found.at(rate=0.1).values == 1.0


# training is a point

LEARNER = learned(
    lambda key, prompt: 0.1 * jax.random.uniform(key, (DEPTH,)),
    lambda step_sizes: Solver(
        start_at_zero, lambda w, prompt, step_size: gradient_descent(step_size).step(w, prompt, None), lambda w: w, step_sizes
    ),
)
TASK = linear_regression(N, jnp.diag(jnp.array([1.0, 0.5, 2.0])))


def begin(point):
    """A recipe and its first state, for traced or for given numbers."""
    recipe = Recipe(LEARNER.predict, lambda step: TASK, losses.last_step(losses.bounded()), optax.adam(point["rate"]), 4)
    key_params, key_run = jax.random.split(jax.random.key(point["seed"]))
    params = LEARNER.init(key_params, TASK.sample(key_params).prompt)
    return recipe, start(recipe, params, key_run)


def train_and_evaluate(point):
    """Learned step sizes of gradient descent, the loss of every step, and the error on fresh tasks at each depth."""
    state, history = advance(*begin(point), STEPS)
    errors, _ = squared_errors(lambda prompt: LEARNER.predict(state.params, prompt), TASK, jax.random.key(99), COUNT)
    return {"params": state.params, "losses": history, "error": jnp.mean(errors, axis=0)}


@cache
def trained(at_once):
    """Trainings for three learning rates times two seeds."""
    return sweep(train_and_evaluate, TRAINING, at_once)


@pytest.mark.parametrize("at_once", [6, 4])
def test_trainings_of_a_sweep_are_those_of_the_loop(at_once):
    """Step sizes, losses and errors of all trainings, in one vmap or in groups, equal those of each training alone."""
    found = trained(at_once).values
    assert found["losses"].shape == (3, 2, STEPS)
    assert found["error"].shape == (3, 2, DEPTH + 1)
    assert_same(found, looped(train_and_evaluate, TRAINING), 1e-12)


def test_a_training_of_a_sweep_is_that_of_train():
    """The impure driver, in chunks, with the rate and the seed as numbers, ends at the same step sizes and losses."""
    reports = []
    recipe, state = begin({"rate": 0.03, "seed": 7})
    end = train(recipe, state, STEPS, 3, lambda chunk: reports.append(chunk.losses))
    found = trained(6).at(rate=0.03, seed=7).values
    np.testing.assert_allclose(found["params"], end.params, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["losses"], np.concatenate(reports), rtol=1e-12, atol=1e-12)


def test_points_of_a_sweep_differ():
    """Each rate and each seed has its own step sizes: nothing is shared by mistake."""
    assert len(np.unique(trained(6).values["params"].reshape(6, -1).round(12), axis=0)) == 6


def test_a_task_may_be_an_axis():
    """On the scaled task the error of the zero start is variance^2 times that on the plain one, from the same keys."""

    def run(point):
        task = with_variance(TASK, point["variance"])
        return jnp.mean(squared_errors(lambda prompt: jnp.zeros((1, 1)), task, jax.random.key(0), COUNT)[0])

    variances = np.array([1.0, 0.5, 3.0])
    errors = sweep(run, {"variance": variances}, 2).values
    np.testing.assert_allclose(errors, variances**2 * errors[0], rtol=1e-12)


# memory

SIZE = 64


def heavy(point):
    """A point that holds a few matrices of 32 KiB."""
    matrix = jax.random.normal(jax.random.key(point["seed"]), (SIZE, SIZE))
    return jnp.sum(jnp.linalg.matrix_power(matrix, 3) @ jnp.tanh(matrix))


SEEDS = {"seed": range(24)}


def test_memory_grows_with_the_group():
    """Each point of a group takes at least its own matrix, and its results count."""
    needed = [memory(heavy, SEEDS, at_once) for at_once in (1, 2, 4, 8)]
    for (few, less), (many, more) in itertools.pairwise(zip((1, 2, 4, 8), needed, strict=True)):
        assert more - less >= (many - few) * SIZE**2 * 8
    wide = memory(lambda point: jnp.full(10**5, point["seed"]), SEEDS, 3)
    assert wide >= 3 * 10**5 * 8


def test_groups_fit_the_budget():
    """A smaller budget gets smaller groups, whose memory is within it, and that of twice as many is not."""
    least, all_points = memory(heavy, SEEDS, 1), memory(heavy, SEEDS, 24)
    budgets = [least + fraction * (all_points - least) // 100 for fraction in (110, 50, 15)]
    sizes = [at_once_for(heavy, SEEDS, budget) for budget in budgets]
    assert sizes[0] == 24
    assert sizes[0] > sizes[1] > sizes[2] > 1
    for size, budget in zip(sizes, budgets, strict=True):
        assert memory(heavy, SEEDS, size) <= budget
    for size, budget in zip(sizes[1:], budgets[1:], strict=True):
        assert memory(heavy, SEEDS, 2 * size) > budget


def test_the_budget_is_of_each_device():
    """Four devices hold four times the points in the same memory each; with more devices than points each has one."""
    alone = memory(heavy, SEEDS, 6)
    assert memory(heavy, SEEDS, 6, devices=4) <= 1.05 * alone
    assert at_once_for(heavy, {"seed": range(7)}, 2**50, devices=8) == 1


def test_a_group_has_at_least_one_point_and_at_most_all():
    """A budget below that of one point gives one; a budget without end gives all."""
    assert at_once_for(heavy, SEEDS, 1) == 1
    assert at_once_for(heavy, SEEDS, 2**50) == 24
    assert at_once_for(heavy, {"seed": [3]}, 2**50) == 1


@given(
    fixed=st.integers(0, 1000),
    jumps=st.lists(st.integers(0, 50), min_size=12, max_size=12),
    budget=st.integers(1, 1500),
)
def test_the_budget_is_kept_for_any_growth(fixed, jumps, budget):
    """Memory need not be a straight line: whatever it is, the answer is within the budget, or it is one point."""
    needed = fixed + np.cumsum(jumps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxl2o.evaluation.memory.memory", lambda run, axes, at_once, devices: int(needed[at_once - 1]))
        size = at_once_for(heavy, {"seed": range(12)}, budget)
    assert 1 <= size <= 12
    assert size == 1 or needed[size - 1] <= budget
    if len(set(jumps)) == 1 and jumps[0] > 0:
        assert size == max(1, np.sum(needed <= budget))


def test_a_compiler_that_does_not_say(monkeypatch):
    """Where nothing is known of memory the error says so, and what to do."""
    silent = SimpleNamespace(
        lower=lambda groups: SimpleNamespace(compile=lambda: SimpleNamespace(memory_analysis=lambda: None))
    )
    monkeypatch.setattr("jaxl2o.evaluation.memory.program", lambda run, devices: silent)
    with pytest.raises(RuntimeError, match=r"compiler for cpu does not say .* choose at_once by hand"):
        at_once_for(heavy, SEEDS, 2**30)


# refusals


def test_seeds_that_would_wrap_are_refused():
    """Without 64-bit integers 2^40 would become 0 on the device, and with it another seed."""
    with jax.enable_x64(False), pytest.raises(InputError, match=r"1099511627776\], which int32 cannot hold; give smaller"):
        sweep(mix, AXES | {"seed": [1, 2**40]}, 1)
    assert sweep(lambda point: point["seed"], {"seed": [2**40]}, 1).values == [2**40]


BAD = {
    "no axes": (lambda: sweep(mix, {}, 1), ("no axes", "at least one")),
    "an empty axis": (lambda: sweep(mix, AXES | {"seed": []}, 1), ("'seed' is empty", "at least one number")),
    "words": (lambda: sweep(mix, {"task": ["a", "b"]}, 1), ("'task' is ['a', 'b']", "list of numbers")),
    "rows": (lambda: sweep(mix, {"root": np.eye(2)}, 1), ("'root' is [[1.0, 0.0], [0.0, 1.0]]", "list of numbers")),
    "a label twice": (lambda: sweep(mix, AXES | {"seed": [0, 1, 0]}, 1), ("'seed' is [0, 1, 0]", "only once")),
    "groups of none": (lambda: sweep(mix, AXES, 0), ("at_once is 0", "at least 1")),
    "memory of groups of none": (lambda: memory(mix, AXES, 0), ("at_once is 0", "at least 1")),
    "devices that are not there": (lambda: sweep(mix, AXES, 1, 9), ("devices is 9", "has 8")),
    "no devices": (lambda: at_once_for(mix, AXES, 2**30, 0), ("devices is 0", "ask for 1 to 8")),
    "no budget": (lambda: at_once_for(mix, AXES, 0), ("budget is 0", "greater than zero")),
    "an unknown axis": (lambda: mixed().at(rate=0.1), ("no axis 'rate'", "['factor', 'seed', 'power']")),
    "an unknown label": (lambda: mixed().at(factor=0.7), ("'factor' has no label 0.7", "[0.5, 2.0, 3.0]")),
    "an axis that is gone": (lambda: mixed().at(seed=1).at(seed=1), ("no axis 'seed'", "['factor', 'power']")),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused(what, refused):
    """One sentence, with what was given and what is needed."""
    refused(*BAD[what])
