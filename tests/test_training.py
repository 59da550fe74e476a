"""The training loop: a pure function of its state, whatever is trained, in whatever chunks; and what it minimises."""

from functools import cache, partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.checks import InputError
from jaxl2o.constructions.construction import gap
from jaxl2o.constructions.learner import constrained_learner
from jaxl2o.constructions.sparse_recovery import lista_vm as lista_vm_theorem
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import interleaved
from jaxl2o.models.learner import transformer_learner
from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.lista import ista_as_lista_cp, lista_cp
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.solvers.wrappers import with_matrix
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.checkpoint import Checkpoints
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Chunk, DivergedError, Recipe, TrainState, advance, start, train
from jaxl2o.training.run import train_in
from jaxl2o.types import TASKS, Instance, Learner, Params, Prompt, Task

D, N, DEPTH, BATCH, STEPS = 6, 5, 2, 32, 20
MATRIX = jnp.asarray(np.random.default_rng(0).normal(size=(N, D)))
KEY = jax.random.key(3)


def sample(key, matrix=None):
    """A dense linear problem from one draw, which compiles faster than the library's tasks; a given matrix is shared."""
    rows = jax.random.normal(key, (N + 2, D))
    x = rows[:N] if matrix is None else matrix
    beta, query = rows[N], rows[N + 1 :]
    own = x if matrix is None else None
    return Instance(Prompt(own, x @ beta, query, jnp.ones(N, dtype=bool)), linear_prediction(beta, query), beta)


def numbers(key):
    """Three labels, of which one is asked: the task of those who need none of the matrices."""
    y = jax.random.normal(key, (3,))
    return Instance(Prompt(None, y[:2], None, jnp.ones(2, dtype=bool)), y[2:], None)


LINEAR = Task(sample, least_squares, linear_prediction)
ALONE = Task(partial(sample, matrix=MATRIX), least_squares, linear_prediction)
NUMBERS = Task(numbers, least_squares, linear_prediction)
SPARSE = sparse_recovery(exactly(D, 2), fresh(N, D))
LAYERS = VaryingLayers(jnp.tile(0.05 * jnp.eye(D), (DEPTH, 1, 1)), jnp.full(DEPTH, 0.05))
run = jax.jit(advance, static_argnums=(0, 2))


def at_least_zero(layers):
    """The same layers with thresholds that are no less than zero."""
    return layers._replace(threshold=jnp.maximum(layers.threshold, 0.0))


class Problem(NamedTuple):
    """Something to train: a learner, its task, its loss, a rate for Adam."""

    learner: Learner
    task: Task
    loss: losses.Loss
    rate: float
    prefixes: bool = False

    def recipe(self, **changes) -> Recipe:
        """The recipe, with some fields changed."""
        predict = self.learner.prefixes if self.prefixes else self.learner.predict
        return Recipe(predict, lambda step: self.task, self.loss, optax.adam(self.rate), BATCH)._replace(**changes)

    def params(self) -> Params:
        """Where training starts; this kind of key compiles faster."""
        return jax.jit(self.learner.init)(jax.random.key(0, impl="rbg"), sample(KEY).prompt)


CONFIG = TransformerConfig(DEPTH, heads=2, width=D + 1, attention="softmax", read_out="linear")
CONSTRAINED = constrained_learner(
    lambda theta: lista_vm_theorem(at_least_zero(theta), N, bound=1e3), lambda key, prompt: LAYERS
)
PROBLEMS = {
    "lista-vm": Problem(
        learned(lambda key, prompt: LAYERS, lambda p: lista_vm(at_least_zero(p))), LINEAR, losses.all_steps(), rate=0.02
    ),
    "lista-cp": Problem(
        learned(
            lambda key, prompt: ista_as_lista_cp(MATRIX, DEPTH, 0.1), lambda p: with_matrix(lista_cp(at_least_zero(p)), MATRIX)
        ),
        ALONE,
        losses.last_step(),
        rate=0.01,
    ),
    "transformer": Problem(
        transformer_learner(CONFIG, interleaved(D)), LINEAR, losses.all_prefixes(), rate=0.01, prefixes=True
    ),
    "constrained": Problem(CONSTRAINED, LINEAR, losses.all_steps(losses.bounded()), rate=0.02),
}
EVERY_PROBLEM = pytest.mark.parametrize("name", PROBLEMS)


@cache
def begun(name: str) -> tuple[Recipe, TrainState]:
    """A problem's recipe and the state before the first step."""
    recipe = PROBLEMS[name].recipe()
    return recipe, start(recipe, PROBLEMS[name].params(), KEY)


@cache
def trained(name: str) -> tuple[TrainState, np.ndarray]:
    """The state after STEPS steps, and the loss of each."""
    return run(*begun(name), STEPS)


@cache
def trained_on(name: str) -> tuple[TrainState, np.ndarray]:
    """The state after STEPS more, and the loss of each."""
    return run(begun(name)[0], trained(name)[0], STEPS)


def assert_same_bytes(a, b):
    """Two trees have the same structure, dtypes, shapes and bytes."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert left.dtype == right.dtype
        if jnp.issubdtype(left.dtype, jax.dtypes.prng_key):
            left, right = jax.random.key_data(left), jax.random.key_data(right)
        assert left.shape == right.shape
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def copied(tree):
    """A copy that outlasts donation."""
    return jax.tree.map(jnp.array, tree)


# what a learner predicts is of no importance to these: parameters move, and the loss is the batch's own
def zero(params, prompt):
    """The answer 0 after 0 and 1 steps, on which no parameter has a say."""
    return 0.0 * params * jnp.ones((2, 1))


def constant(params, prompt):
    """The parameter itself is the answer, after 0 and 1 steps."""
    return params * jnp.ones((2, 1))


@cache
def toy(**changes) -> Recipe:
    """Plain descent on the squared error of one constant; one object for the same changes, so that `run` compiles once."""
    return Recipe(constant, lambda step: NUMBERS, losses.last_step(), optax.sgd(0.1), BATCH)._replace(**changes)


@EVERY_PROBLEM
def test_training_learns(name):
    """On tasks that were not trained on, the loss after training is below the loss before."""
    recipe, before = begun(name)
    after, values = trained_on(name)
    assert values.shape == (STEPS,)
    assert after.step == 2 * STEPS
    unseen = [run(recipe, state._replace(key=jax.random.key(99), step=before.step), STEPS)[1][0] for state in (before, after)]
    assert unseen[1] < 0.98 * unseen[0]


@pytest.mark.parametrize("name", ["lista-vm"])
def test_chunks_do_not_matter(name):
    """advance(m) then advance(n) is advance(m + n), to rounding: parameters, losses, step and key."""
    whole, values = run(*begun(name), 2 * STEPS)
    parts, _ = trained_on(name)
    chex.assert_trees_all_close(whole.params, parts.params, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(np.concatenate([trained(name)[1], trained_on(name)[1]]), values, rtol=1e-9)
    assert_same_bytes((whole.step, whole.key), (parts.step, KEY))


def test_advance_is_pure():
    """The same state, traced anew, gives the same bytes, and is itself left as it was."""
    state = start(toy(), jnp.asarray(5.0), KEY)
    kept = copied(state)
    once, twice = advance(toy(), state, 3), advance(toy(), state, 3)
    assert_same_bytes(once, twice)
    assert_same_bytes(state, kept)
    assert once[0].params != state.params


@pytest.mark.parametrize(("first", "n_steps"), [(0, 7), (3, 4)])
def test_the_batch_of_a_step_is_a_function_of_its_key(first, n_steps):
    """Step t sees the tasks of split(fold_in(key, t), B) and no others, wherever the run began and whatever its parameters."""
    recipe = toy(predict=zero)
    state = start(recipe, jnp.asarray(10.0 * first), KEY)._replace(step=jnp.array(first))
    seen = run(recipe, state, n_steps)[1]
    for t, value in enumerate(np.asarray(seen), start=first):
        labels = jax.vmap(numbers)(jax.random.split(jax.random.fold_in(KEY, t), BATCH)).y_query
        np.testing.assert_allclose(value, np.mean(np.asarray(labels) ** 2), rtol=1e-12)
    assert len(set(np.asarray(seen).tolist())) == n_steps
    other = run(recipe, state._replace(key=jax.random.key(4)), n_steps)[1]
    assert not np.any(np.asarray(other) == np.asarray(seen))


def test_no_key_is_used_twice():
    """JAX's own check finds no reuse in training, and does find it in a task that draws twice from one key."""

    def reuses(key):
        return numbers(key)._replace(y_query=jax.random.normal(key, (1,)))

    def try_on(task):
        # traced anew each time, for the check is made while tracing
        recipe = toy(task_at=lambda step: task)
        return jax.jit(partial(advance, recipe, n_steps=2))(start(recipe, jnp.zeros(()), jax.random.key(8)))

    with jax.debug_key_reuse(True):
        assert try_on(SPARSE)[0].step == 2
        with pytest.raises(jax.errors.KeyReuseError):
            try_on(NUMBERS._replace(sample=reuses))


def swept_rates():
    """One state for each learning rate."""
    recipe = toy(optimizer=optax.inject_hyperparams(optax.sgd)(learning_rate=0.1))

    def at(rate):
        state = start(recipe, jnp.asarray(1.0), KEY)
        inner = state.opt_state
        return state._replace(opt_state=inner._replace(hyperparams={**inner.hyperparams, "learning_rate": rate}))

    return recipe, [at(jnp.asarray(rate)) for rate in (0.0, 0.01, 0.3)]


def swept_keys():
    """One state for each key."""
    state = start(toy(), jnp.asarray(5.0), KEY)
    return toy(), [state._replace(key=jax.random.key(seed)) for seed in range(3)]


@pytest.mark.parametrize("sweep", [swept_rates, swept_keys])
def test_a_sweep_is_a_vmap(sweep):
    """vmap of advance over states gives the runs that a loop gives, and they differ."""
    recipe, states = sweep()
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    swept, values = jax.jit(jax.vmap(lambda state: advance(recipe, state, 5)))(stacked)
    for i, state in enumerate(states):
        alone, losses_alone = run(recipe, state, 5)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], swept.params), alone.params, rtol=1e-10)
        np.testing.assert_allclose(values[i], losses_alone, rtol=1e-10)
    finals = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(swept.params)[0]]
    assert len(set(finals)) == len(states)


@jax.jit
def EXACT(theta):
    """On one prompt: the gap of the theorem at theta, the Learner's two kinds of answers, and the solver's."""
    prompt = sample(jax.random.key(11)).prompt
    answers = unroll(lista_vm(theta), prompt, DEPTH) @ prompt.x_query.T
    return (
        gap(lista_vm_theorem(theta, N, bound=1e3), prompt),
        CONSTRAINED.predict(theta, prompt)[:, 0],
        CONSTRAINED.prefixes(theta, prompt)[:, -1],
        answers[:, 0],
    )


def test_a_constrained_theorem_stays_exact():
    """Training moves theta along the theorem's surface: the Transformer at theta is the solver at theta, before and after."""
    before, after = (at_least_zero(state.params) for state in (begun("constrained")[1], trained_on("constrained")[0]))
    assert np.abs(np.asarray(after.matrix - before.matrix)).max() > 0.05
    for theta in (before, after):
        distance, queried, last_prefix, solver = EXACT(theta)
        assert distance <= 1e-12
        np.testing.assert_allclose(queried, solver, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(last_prefix, solver, rtol=1e-12, atol=1e-12)


VALUES = st.lists(st.floats(-1e3, 1e3), min_size=12, max_size=12).map(np.array)


@given(trajectory=VALUES, y=VALUES)
def test_losses_are_their_formulas(trajectory, y):
    """last_step, all_steps and all_prefixes are means over queries, over steps 1..T, and over the n + 1 prefixes."""
    answers = trajectory.reshape(3, 4)
    prompt = Prompt.of(None, y[:3])
    four = Instance(prompt, jnp.asarray(y[4:8]), None)
    one = Instance(prompt, jnp.asarray(y[4:5]), None)
    labels = np.append(y[:3], y[4])
    for penalty, formula in ((losses.squared, np.square), (losses.bounded(2.0), lambda e: np.log(1.0 + (e / 2.0) ** 2))):
        expected = {
            losses.last_step: (four, np.mean([formula(answers[2, q] - y[4 + q]) for q in range(4)])),
            losses.all_steps: (four, np.mean([formula(answers[t, q] - y[4 + q]) for t in (1, 2) for q in range(4)])),
            losses.all_prefixes: (one, np.mean([formula(answers[2, k] - labels[k]) for k in range(4)])),
        }
        for loss, (instance, value) in expected.items():
            np.testing.assert_allclose(loss(penalty)(jnp.asarray(answers), instance, jnp.array(0)), value, rtol=1e-12)


def test_log_relative_is_the_mean_of_decibels():
    """log_relative is log(10) / 10 times the mean decibels of |error|^2 / |label|^2; labels that are all zero have size 1."""
    rng = np.random.default_rng(1)
    answers, y = rng.normal(size=(4, 5)), rng.normal(size=5)
    decibels = [10.0 * np.log10(np.sum((answer - y) ** 2) / np.sum(y**2)) for answer in answers[1:]]
    instance = Instance(Prompt.of(None, y), jnp.asarray(y), None)
    loss = losses.log_relative(1e-300)
    np.testing.assert_allclose(loss(jnp.asarray(answers), instance, jnp.array(0)), np.log(10.0) / 10.0 * np.mean(decibels))
    nothing = instance._replace(y_query=jnp.zeros(5))
    sizes = [np.log(np.sum(answer**2)) for answer in answers[1:]]
    np.testing.assert_allclose(loss(jnp.asarray(answers), nothing, jnp.array(0)), np.mean(sizes))
    perfect = jnp.tile(instance.y_query, (4, 1))
    np.testing.assert_allclose(losses.log_relative(1e-6)(perfect, instance, jnp.array(0)), np.log(1e-6))


def test_log_mean_relative_is_the_ratio_of_sums():
    """Its mean over tasks is the mean over steps of log(mean |error|^2 / mean |label|^2), and so is its gradient."""
    rng = np.random.default_rng(2)
    answers, y = jnp.asarray(rng.normal(size=(6, 4, 5))), jnp.asarray(rng.normal(size=(6, 5)))
    prompt = Prompt(None, jnp.zeros(3), None, jnp.ones(3, dtype=bool))

    def ours(answers):
        def one(trajectory, label):
            return losses.log_mean_relative(1e-6)(trajectory, Instance(prompt, label, None), jnp.array(0))

        return jnp.mean(jax.vmap(one, axis_name=TASKS)(answers, y))

    def ratio(answers):
        errors = jnp.mean(jnp.sum((answers[:, 1:] - y[:, None]) ** 2, axis=2), axis=0)
        return jnp.mean(jnp.log(errors / jnp.mean(jnp.sum(y**2, axis=1)) + 1e-6))

    for found, expected in zip(*(jax.jit(jax.value_and_grad(mean))(answers) for mean in (ours, ratio)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    perfect = jnp.broadcast_to(y[:, None], answers.shape)
    np.testing.assert_allclose(ours(perfect), np.log(1e-6))


SCALES = (1e-3, 1.0, 50.0)


@jax.jit
def BOUNDED(error):
    """The bounded penalties of one error, and their derivatives, one for each scale."""
    return [jax.value_and_grad(losses.bounded(scale))(error) for scale in SCALES]


@given(error=st.floats(-1e6, 1e6))
def test_the_bounded_penalty_is_bounded(error):
    """0 <= log(1 + u^2) <= u^2 at u = error / scale, and its derivative is at most 1 / scale in size."""
    for scale, (value, slope) in zip(SCALES, BOUNDED(error), strict=True):
        u = error / scale
        assert 0.0 <= value <= (1.0 + 1e-12) * u**2
        assert abs(slope) <= (1.0 + 1e-12) / scale
        np.testing.assert_allclose(slope, 2.0 * u / (1.0 + u**2) / scale, rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_the_bounded_penalty_needs_a_positive_scale(scale):
    """A scale that is zero, negative or not finite is refused."""
    with pytest.raises(InputError, match="scale"):
        losses.bounded(scale)


def test_parameters_may_depend_on_the_step():
    """`params_at` that unmasks at step k keeps the parameter out of the loss before, and lets it in from k on."""
    unmask = 3
    recipe = toy(params_at=lambda params, step: jnp.where(step >= unmask, params, 0.0))
    state, path = start(recipe, jnp.asarray(5.0), KEY), [5.0]
    for _ in range(6):
        state, _ = run(recipe, state, 1)
        path.append(float(state.params))
    assert path[: unmask + 1] == [5.0] * (unmask + 1)
    assert all(a != b for a, b in zip(path[unmask:], path[unmask + 1 :], strict=False))


def test_tasks_may_depend_on_the_step():
    """`task_at` is asked at every traced step: the losses of a curriculum are those of each step's own task."""

    def scaled(step):
        def larger(key):
            instance = numbers(key)
            return instance._replace(y_query=(1.0 + step) * instance.y_query)

        return NUMBERS._replace(sample=larger)

    state = start(toy(), jnp.asarray(0.0), KEY)
    plain = run(toy(predict=zero), state, 4)[1]
    grown = run(toy(predict=zero, task_at=scaled), state, 4)[1]
    np.testing.assert_allclose(grown, plain * (1.0 + np.arange(4.0)) ** 2, rtol=1e-12)


def test_the_loss_may_depend_on_the_step():
    """The third argument of a loss is the training step."""
    recipe = toy(loss=lambda trajectory, instance, step: 0.0 * jnp.sum(trajectory) + step)
    np.testing.assert_array_equal(run(recipe, start(recipe, jnp.asarray(0.0), KEY), 4)[1], [0.0, 1.0, 2.0, 3.0])


FROZEN = VaryingLayers(matrix=False, threshold=True)
FREEZING = {
    "partition": optax.partition(
        {"move": optax.sgd(0.1), "keep": optax.set_to_zero()}, VaryingLayers(matrix="move", threshold="keep")
    ),
    "masked": optax.chain(optax.sgd(0.1), optax.masked(optax.set_to_zero(), FROZEN)),
}


def pair(params, prompt):
    """The answer that both leaves of the parameters have a say in, after 0 and 1 steps."""
    return (jnp.sum(params.matrix) + jnp.sum(params.threshold)) * jnp.ones((2, 1))


@pytest.mark.parametrize("way", FREEZING)
def test_freezing_is_the_optimizers_business(way):
    """The frozen leaf keeps its bytes, although it has a gradient; the other moves as plain descent moves it."""
    recipes = (toy(predict=pair, optimizer=FREEZING[way]), toy(predict=pair))
    frozen, free = (run(recipe, start(recipe, LAYERS, KEY), 1)[0].params for recipe in recipes)
    assert_same_bytes(frozen.threshold, LAYERS.threshold)
    assert np.all(np.asarray(free.threshold) != np.asarray(LAYERS.threshold))
    np.testing.assert_allclose(frozen.matrix, free.matrix, rtol=1e-12)
    assert np.all(np.asarray(frozen.matrix) != np.asarray(LAYERS.matrix))


@pytest.mark.parametrize("chunk_size", [3, 7, 100])
def test_train_is_advance_in_chunks(chunk_size):
    """train reports every chunk once, the last one shorter, and ends where advance does; its own input is left alone."""
    state, reports = start(toy(), jnp.asarray(5.0), KEY), []
    end = train(toy(), state, 7, chunk_size, lambda chunk: reports.append((int(chunk.state.step), chunk.losses, chunk.seconds)))
    assert [step for step, _, _ in reports] == [*range(chunk_size, 7, chunk_size), 7]
    assert all(seconds > 0.0 for _, _, seconds in reports)
    expected, values = run(toy(), state, 7)
    np.testing.assert_allclose(np.concatenate([part for _, part, _ in reports]), values, rtol=1e-12)
    chex.assert_trees_all_close(end.params, expected.params, rtol=1e-12)
    assert_same_bytes((end.step, end.key, state.params), (jnp.array(7), KEY, jnp.asarray(5.0)))


def test_training_on_from_a_copy_gives_the_same_bytes():
    """A run stopped after any chunk and continued in chunks of the same size ends in the same bytes."""
    states = []
    end = train(toy(), start(toy(), jnp.asarray(5.0), KEY), 6, 2, lambda chunk: states.append(copied(chunk.state)))
    assert len(states) == 3
    for state in states:
        assert_same_bytes(train(toy(), state, 6, 2), end)


@pytest.mark.parametrize("n_steps", [0, 4, 5])
def test_a_finished_state_is_returned(n_steps):
    """A state that has come as far as asked, or further, comes back with the same bytes, and nothing is reported."""
    state = start(toy(), jnp.asarray(5.0), KEY)._replace(step=jnp.array(5))

    def never(chunk: Chunk) -> None:
        raise AssertionError("a finished run reported a chunk")

    assert_same_bytes(train(toy(), state, n_steps, 2, never), state)


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_has_a_step(chunk_size):
    """chunk_size < 1 is refused."""
    with pytest.raises(InputError, match=r"chunk_size is .* at least 1"):
        train(toy(), start(toy(), jnp.asarray(0.0), KEY), 3, chunk_size)


@pytest.mark.parametrize(("bad", "word", "first"), [(jnp.inf, "inf", 1), (jnp.nan, "nan", 5), (jnp.inf, "inf", 6)])
def test_divergence_is_told_and_keeps_the_last_good_state(tmp_path, bad, word, first):
    """The first loss that is not finite is named; its chunk is not reported; the checkpoint of the chunk before can be used."""
    recipe = toy(loss=lambda trajectory, instance, step: jnp.mean(trajectory) + jnp.where(step >= first - 1, bad, 0.0))
    state, reported = start(recipe, jnp.asarray(5.0), KEY), []
    with pytest.raises(DivergedError, match=rf"the loss of step {first} is {word};.*last good checkpoint is kept"):
        train_in(tmp_path, recipe, state, 9, 2, report=lambda chunk: reported.append(copied(chunk.state)))
    good = (first - 1) // 2 * 2
    assert [int(state.step) for state in reported] == list(range(2, good + 1, 2))
    assert state.params == 5.0
    with Checkpoints(tmp_path / "checkpoints", {}) as checkpoints:
        saved = checkpoints.restore(state)
    if reported:
        assert_same_bytes(saved, reported[-1])
        assert np.isfinite(saved.params)
    else:
        assert saved is None


def test_an_update_that_is_not_finite_is_not_reported():
    """Finite losses whose last update makes parameters infinite stop the run before that state could be saved."""
    recipe = line_recipe(optax.sgd(np.inf))
    reported = []
    with pytest.raises(DivergedError, match="parameters after step 1 are not finite"):
        train(recipe, start(recipe, {"slope": jnp.zeros(())}, jax.random.key(0)), 5, 1, reported.append)
    assert reported == []


def line_recipe(optimizer):
    """Fit one slope to one prompt of y = 2 x."""
    prompt = Prompt.of(np.ones((3, 1)), 2.0 * np.ones(3), np.ones((1, 1)))
    instance = Instance(prompt, 2.0 * jnp.ones(1), 2.0 * jnp.ones(1))
    task = Task(lambda key: instance, lambda w, prompt: jnp.zeros(()), lambda w, x: x @ w)

    def predict(params, prompt):
        return prompt.x_query @ params["slope"][None, None]

    return Recipe(predict, lambda step: task, losses.last_step(), optimizer, 1)


@pytest.mark.parametrize("wild", [np.inf, -np.inf, np.nan])
def test_a_guarded_optimiser_survives_wild_gradients(wild):
    """After a gradient that is not finite, parameters and Adam's memory are finite, and it learns on as before."""
    optimizer = guarded(optax.adam(0.1))
    params = jnp.array([1.0, 2.0])
    state = optimizer.init(params)
    for gradient in (jnp.array([wild, 3.0]), jnp.array([3.0, 4.0])):
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((params, state)))
    assert np.all(params < np.array([1.0, 2.0]))


def test_a_guarded_optimiser_clips():
    """A gradient of norm 5 reaches the optimiser with norm 2, in its direction; a smaller one as it is."""
    optimizer = guarded(optax.sgd(1.0), 2.0)
    state = optimizer.init(jnp.zeros(2))
    for gradient, expected in (([3.0, 4.0], [-1.2, -1.6]), ([0.3, 0.4], [-0.3, -0.4])):
        np.testing.assert_allclose(optimizer.update(jnp.array(gradient), state)[0], expected, rtol=1e-12)
