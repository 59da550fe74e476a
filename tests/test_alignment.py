"""Read-outs are ridge regressions, cosines those of a plain loop; a construction is decoded as the solver that it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from jaxl2o.checks import InputError
from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.evaluation.alignment import alignment, decode, implied, observe, read_outs
from jaxl2o.models.encoding import Stream, alternating, interleaved, scratch, scratch_with_constant, stacked
from jaxl2o.models.learner import residual_stream, transformer_learner
from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.types import Instance, Prompt, Task, design_matrix, over_tasks

SEEDS = st.integers(0, 2**31)
TASKS, LAYERS, WIDTH, D = 40, 3, 7, 4


def rotation(rng, size: int):
    """A random orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def draw(rng, tasks: int = TASKS):
    """Features with unequal variances and large means, after three layers, and solutions that partly depend on them."""
    features = rng.normal(size=(tasks, LAYERS, WIDTH)) * np.geomspace(0.1, 10.0, WIDTH) + 5.0 * rng.normal(size=WIDTH)
    solutions = features.sum(axis=1) @ rng.normal(size=(WIDTH, D)) + rng.normal(size=(tasks, D)) + 3.0
    return features, solutions


def mean_variance(features):
    """v_t: the mean over features of their variance over tasks."""
    return np.mean(np.var(features, axis=0), axis=-1)


# ridge read-outs


@given(seed=SEEDS, decade=st.floats(-4.0, 2.0))
def test_read_outs_are_ridge_regressions(seed, decade):
    """Every layer's read-out is scikit-learn's Ridge, whose penalty on the sum over tasks is B v_t penalty."""
    features, solutions = draw(np.random.default_rng(seed))
    found = read_outs(features, solutions, 10.0**decade)
    estimates = decode(found, features)
    for t, variance in enumerate(mean_variance(features)):
        oracle = Ridge(alpha=TASKS * variance * 10.0**decade, solver="svd").fit(features[:, t], solutions)
        np.testing.assert_allclose(found.weight[t], oracle.coef_.T, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.bias[t], oracle.intercept_, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(estimates[:, t], oracle.predict(features[:, t]), rtol=1e-8, atol=1e-8)


@given(seed=SEEDS)
def test_a_planted_solution_is_decoded(seed):
    """Where the solution is an affine image of the features, other tasks are decoded to it, up to O(penalty)."""
    rng = np.random.default_rng(seed)
    mixing, shift = rotation(rng, WIDTH), rng.normal(size=WIDTH)

    def plant(tasks):
        hidden = rng.normal(size=(tasks, WIDTH))
        return np.stack([hidden @ mixing * scale + shift for scale in (1.0, 30.0)], axis=1), hidden[:, :D]

    read_out = read_outs(*plant(TASKS), 1e-12)
    features, solutions = plant(25)
    for t in range(2):
        np.testing.assert_allclose(decode(read_out, features)[:, t], solutions, atol=1e-10)


@given(seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_rotated_and_scaled_features_decode_alike(seed, scale):
    """At any penalty z -> scale Q z + c, with Q orthogonal, leaves the estimates: the penalty is relative to the variance."""
    rng = np.random.default_rng(seed)
    features, solutions = draw(rng)
    moved = scale * (features @ rotation(rng, WIDTH) + rng.normal(size=WIDTH))
    first, second = (decode(read_outs(z, solutions, 0.1), z) for z in (features, moved))
    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-9)


def test_any_basis_decodes_alike_without_penalty():
    """An invertible change of basis moves the estimates by O(penalty): a hundredth of the penalty, a hundredth of the move."""
    rng = np.random.default_rng(3)
    features, solutions = draw(rng)
    basis = rotation(rng, WIDTH) * np.geomspace(0.5, 5.0, WIDTH) @ rotation(rng, WIDTH)

    def move(penalty):
        first, second = (decode(read_outs(z, solutions, penalty), z) for z in (features, features @ basis))
        return np.max(np.abs(first - second))

    moves = [move(penalty) for penalty in (1e-6, 1e-8, 1e-10)]
    assert moves[0] > 1e-4  # with a penalty the basis matters
    np.testing.assert_allclose(np.divide(moves[1:], moves[:-1]), 1e-2, rtol=1e-2)


def test_features_without_variance_decode_to_the_mean_solution():
    """A constant stream, zero or not, tells nothing, and a constant slot takes no part."""
    features, solutions = draw(np.random.default_rng(0))
    mean = np.broadcast_to(solutions.mean(axis=0)[:, None], (D, LAYERS)).T
    for constant in (0.0, 0.1):
        estimates = decode(read_outs(np.full_like(features, constant), solutions, 1e-6), features[:5] * 0.0 + constant)
        np.testing.assert_allclose(estimates, np.broadcast_to(mean, (5, *mean.shape)), rtol=1e-12)
    features[:, :, 2] = 1.0
    assert np.all(np.abs(read_outs(features, solutions, 1e-6).weight[:, 2]) < 1e-12)


def test_features_in_single_precision_are_summed_in_double():
    """Float32 on a common offset of a thousand spreads: the read-out is that of the same numbers, taken in float64."""
    rng = np.random.default_rng(1)
    features = jnp.asarray(1000.0 + rng.normal(size=(20_000, 1, 3)), dtype=jnp.float32)
    solutions = jnp.asarray(rng.normal(size=(20_000, 2)), dtype=jnp.float32)
    z, beta = np.asarray(features[:, 0], dtype=np.float64), np.asarray(solutions, dtype=np.float64)
    oracle = Ridge(alpha=len(z) * np.mean(np.var(z, axis=0)) * 1e-3, solver="svd").fit(z, beta)
    found = read_outs(features, solutions, 1e-3)
    np.testing.assert_allclose(found.weight[0], oracle.coef_.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("penalty", [0.0, -1.0, np.nan])
def test_a_penalty_is_positive(penalty):
    """Without a penalty a constant slot would make the read-out ambiguous."""
    with pytest.raises(InputError, match="penalty"):
        read_outs(*draw(np.random.default_rng(0)), penalty)


# alignment


def draw_paths(rng):
    """Estimates after 0..2 layers, iterates after 0..4 steps, solutions; of twenty tasks."""
    return rng.normal(size=(20, 3, D)), rng.normal(size=(20, 5, D)), rng.normal(size=(20, D))


@given(seed=SEEDS)
def test_alignment_is_that_of_a_plain_loop(seed):
    """error_t is a ratio of sums; cosine_ts is the mean over tasks of the cosine of two errors."""
    estimates, iterates, solutions = draw_paths(np.random.default_rng(seed))
    found = alignment(jnp.asarray(estimates), jnp.asarray(iterates), jnp.asarray(solutions))
    for t in range(3):
        e = estimates[:, t] - solutions
        np.testing.assert_allclose(found.error[t], np.sum(e**2) / np.sum(solutions**2), rtol=1e-12)
        for s in range(5):
            f = iterates[:, s] - solutions
            cosines = [u @ v / np.sqrt((u @ u) * (v @ v)) for u, v in zip(e, f, strict=True)]
            np.testing.assert_allclose(found.cosine[t, s], np.mean(cosines), rtol=0, atol=1e-14)


@given(seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_alignment_knows_no_basis_and_no_unit(seed, scale):
    """A rotation and a scaling of the signal space change neither errors nor cosines; swapping roles transposes cosines."""
    rng = np.random.default_rng(seed)
    paths, turn = draw_paths(rng), scale * rotation(rng, D)
    first, second = alignment(*paths), alignment(*(values @ turn for values in paths))
    np.testing.assert_allclose(second.error, first.error, rtol=1e-10)
    np.testing.assert_allclose(second.cosine, first.cosine, rtol=0, atol=1e-12)
    estimates, iterates, solutions = paths
    np.testing.assert_allclose(alignment(iterates, estimates, solutions).cosine, first.cosine.T, rtol=0, atol=1e-14)


def test_an_error_of_zero_has_cosine_zero():
    """A solved task adds nothing to the mean, whoever solved it; no number is NaN."""
    rng = np.random.default_rng(5)
    estimates, iterates, solutions = draw_paths(rng)
    full = alignment(estimates[:15], iterates[:15], solutions[:15]).cosine

    def solved(values):
        return np.concatenate([values[:15], np.broadcast_to(solutions[15:, None], values[15:].shape)])

    for paths in ((solved(estimates), iterates), (estimates, solved(iterates)), (solved(estimates), solved(iterates))):
        np.testing.assert_allclose(alignment(*paths, solutions).cosine, full * 15 / 20, rtol=0, atol=1e-14)
    exact = alignment(np.repeat(solutions[:, None], 3, axis=1), iterates, solutions)
    assert np.all(exact.error == 0.0)
    assert np.all(exact.cosine == 0.0)


# networks

DEPTH, COUNT, KEY = 3, 60, jax.random.key(1)
TASK = sparse_recovery(exactly(D, 2), fresh(6, D), gaussian_noise(0.0))

# LISTA-VM with three unlike layers, as a Transformer
MATRIX = jnp.asarray(np.eye(D) + 0.1 * np.random.default_rng(0).normal(size=(DEPTH, D, D)))
CONSTRUCTION = lista_vm(VaryingLayers(MATRIX, jnp.asarray([0.1, 0.05, 0.02])), n=6)
STREAM = residual_stream(CONSTRUCTION.config, CONSTRUCTION.encoding)
LEARNER = transformer_learner(CONSTRUCTION.config, CONSTRUCTION.encoding)
SLOT = CONSTRUCTION.encoding.layout.slice("w")


def path(prompt):
    """LISTA-VM after 0..3 steps."""
    return unroll(CONSTRUCTION.solver, prompt, DEPTH)


@jax.jit
def watch(params, key):
    """A Transformer of the construction's architecture beside LISTA-VM."""
    return observe(lambda prompt: STREAM(params, prompt)[:, -1], path, TASK, key, COUNT)


@pytest.fixture(scope="module")
def seen():
    """The construction's own observations."""
    return watch(CONSTRUCTION.params, KEY)


def test_the_iterate_in_the_stream_is_the_solvers(seen):
    """Slot w of the query token errs exactly as LISTA-VM does: cosine 1 on the diagonal, and the same errors."""
    raw = alignment(seen.features[:, :, SLOT], seen.iterates, seen.solutions)
    solver = alignment(seen.iterates, seen.iterates, seen.solutions)
    np.testing.assert_allclose(np.diag(raw.cosine), 1.0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(raw.error, solver.error, rtol=1e-12)
    away = raw.cosine[~np.eye(DEPTH + 1, dtype=bool)]
    assert np.all(away < 0.999)


def test_a_decoded_construction_is_no_worse_than_its_solver(seen):
    """Slot w is one read-out, of squared norm d: where it is fitted the best one errs by at most penalty v_t d more."""
    penalty = 1e-8
    estimates = decode(read_outs(seen.features, seen.solutions, penalty), seen.features)
    decoded = alignment(estimates, seen.iterates, seen.solutions).error
    solver = alignment(seen.iterates, seen.iterates, seen.solutions).error
    size = np.mean(np.sum(np.asarray(seen.solutions) ** 2, axis=-1))
    assert np.all(decoded <= solver + penalty * D * mean_variance(np.asarray(seen.features)) / size)
    assert decoded[-1] < 0.9 * decoded[0]


def test_random_parameters_are_a_control(seen):
    """The same functions watch random parameters on the same tasks; other tasks are decoded worse than by the theorem."""
    rng = np.random.default_rng(7)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape)), CONSTRUCTION.params)
    control = watch(params, KEY)
    np.testing.assert_array_equal(control.solutions, seen.solutions)
    np.testing.assert_array_equal(control.iterates, seen.iterates)

    def held_out(params, fitted):
        test = watch(params, jax.random.key(2))
        estimates = decode(read_outs(fitted.features, fitted.solutions, 1e-2), test.features)
        return alignment(estimates, test.iterates, test.solutions)

    trusted, random = held_out(CONSTRUCTION.params, seen), held_out(params, control)
    assert trusted.error[-1] < 0.8 * random.error[-1]
    # before the first layer both streams hold the query alone
    np.testing.assert_allclose(trusted.error[0], random.error[0], rtol=1e-12)


def test_tasks_are_those_of_a_plain_loop():
    """Task i is the i-th of split(key, count), whoever looks on and in whatever chunks; another key gives other tasks."""

    def sample(key):
        rows = jax.random.normal(key, (4, D))
        return Instance(Prompt(rows[:3], rows[:3] @ rows[3], None, jnp.ones(3, dtype=bool)), jnp.zeros(0), rows[3])

    task = Task(sample, least_squares, linear_prediction)
    run = jax.jit(
        lambda key, chunk: observe(design_matrix, lambda p: design_matrix(p).T @ design_matrix(p), task, key, 7, chunk),
        static_argnums=1,
    )
    found = run(KEY, 7)
    for i, key in enumerate(jax.random.split(KEY, 7)):
        rows = np.asarray(jax.random.normal(key, (4, D)))
        np.testing.assert_array_equal(found.features[i], rows[:3])
        np.testing.assert_array_equal(found.solutions[i], rows[3])
        np.testing.assert_allclose(found.iterates[i], rows[:3].T @ rows[:3], rtol=0, atol=1e-13)
    for chunked, whole in zip(run(KEY, 3), found, strict=True):
        np.testing.assert_allclose(chunked, whole, rtol=0, atol=1e-13)
    assert not np.any(np.asarray(run(jax.random.key(3), 7).features) == np.asarray(found.features))


@pytest.mark.parametrize("count", [0, -3])
def test_there_is_a_task(count):
    """count < 1 is refused."""
    with pytest.raises(InputError, match=f"count is {count}"):
        observe(path, path, TASK, KEY, count)


def test_answers_are_read_from_the_residual_stream(seen):
    """Many prompts have the streams of each alone, and the learner's answers are what the encoding reads there."""

    @jax.jit
    def run(params, keys):
        prompts = jax.vmap(lambda key: TASK.sample(key).prompt)(keys)
        streams = STREAM.many(params, prompts)
        return (
            streams,
            jax.vmap(CONSTRUCTION.encoding.read)(Stream(streams), prompts),
            over_tasks(LEARNER.predict)(params, prompts),
        )

    streams, read, predicted = run(CONSTRUCTION.params, jax.random.split(KEY, COUNT))
    assert streams.shape == (COUNT, DEPTH + 1, 2 * 6 + 1, CONSTRUCTION.config.width)
    np.testing.assert_allclose(streams[:, :, -1], seen.features, rtol=0, atol=1e-13)
    np.testing.assert_allclose(read, predicted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("encoding", [stacked, scratch, scratch_with_constant, interleaved, alternating])
def test_the_last_token_is_the_querys(encoding):
    """In every encoding the last token alone depends on the one query, and it may read all used examples, no others."""
    rng = np.random.default_rng(0)
    x, y, used = rng.normal(size=(5, D)), rng.normal(size=5), np.array([True, False, True, True, True])
    tokens = jax.jit(encoding(D).tokens)
    first, second = (tokens(Prompt.of(x, y, query, used)) for query in rng.normal(size=(2, 1, D)))
    changed = np.any(np.asarray(first.z) != np.asarray(second.z), axis=-1)
    np.testing.assert_array_equal(np.flatnonzero(changed), [len(changed) - 1])
    tokens_of_an_example = (len(changed) - 1) // 5
    np.testing.assert_array_equal(first.mask[-1, :-1], np.repeat(used, tokens_of_an_example))


# what answers imply


@given(seed=SEEDS)
def test_answers_imply_the_iterate_that_gives_them(seed):
    """Labels <x, w_t> imply w_t; what is added across all queries' own space is not seen."""
    rng = np.random.default_rng(seed)
    queries, iterates, across = rng.normal(size=(9, D)), rng.normal(size=(LAYERS, D)), rng.normal(size=(LAYERS, 9))
    across -= across @ queries @ np.linalg.pinv(queries)
    prompt = Prompt(jnp.zeros((1, D)), jnp.zeros(1), jnp.ones((1, D)), jnp.ones(1, bool))

    def predict(prompt):
        assert prompt.x_query is not None
        return jnp.asarray(iterates) @ prompt.x_query.T + across

    np.testing.assert_allclose(implied(predict, jnp.asarray(queries))(prompt), iterates, rtol=1e-9, atol=1e-9)


def test_too_few_queries_are_refused():
    """Fewer answers than coordinates imply no signal."""
    with pytest.raises(InputError, match="3 queries for 4 coordinates"):
        implied(lambda prompt: jnp.zeros((1, 3)), jnp.ones((3, D)))
