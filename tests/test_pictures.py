"""The pictures of the compressed-sensing experiment: split, scored and resampled as it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.compressed_sensing import methods
from experiments.compressed_sensing.in_context import NOISE_VARIANCE, learned_in_context_alista, solver, whitening
from experiments.compressed_sensing.pictures import DATA, SIDE, photographs, psnr, psnr_interval
from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.tasks.images import measure
from jaxl2o.training.loop import start, train
from jaxl2o.types import Prompt

ERRORS = np.array([0.01, 0.03, 0.02, 0.04])
ONE, EACH = np.zeros(4, dtype=int), np.arange(4)


@pytest.mark.parametrize("name", DATA)
def test_training_and_test_patches_are_disjoint(name):
    """No test patch is among the training patches, all are grey values in [0, 1], and every test patch has its place."""
    pictures = DATA[name]()
    training = {patch.tobytes() for patch in np.ascontiguousarray(pictures.training)}
    busy = [patch for patch in np.ascontiguousarray(pictures.test) if np.ptp(patch) > 0]
    assert len(busy) >= 500
    assert not any(patch.tobytes() in training for patch in busy)
    assert pictures.training.shape[1] == pictures.test.shape[1] == SIDE**2
    assert min(pictures.training.min(), pictures.test.min()) >= 0.0
    assert max(pictures.training.max(), pictures.test.max()) <= 1.0
    assert len(pictures.test) == len(pictures.picture) == len(pictures.blocks)


def test_blocks_of_the_photograph_are_32_pixels_wide():
    """Two patches share a block exactly if their corners lie in the same 32 x 32 square."""
    pictures = photographs()
    row, column = np.divmod(np.arange(len(pictures.test)), pictures.columns)
    square = np.stack([row * SIDE // 32, column * SIDE // 32], axis=1)
    blocks = np.unique(pictures.blocks)
    assert len(blocks) == len(np.unique(square, axis=0))
    for block in blocks:
        assert len(np.unique(square[pictures.blocks == block], axis=0)) == 1


def test_psnr_pools_within_a_picture():
    """One picture: 10 log10(1 / mean MSE).  Several: the mean over pictures of each one's PSNR."""
    assert psnr(ERRORS, ONE) == pytest.approx(-10 * np.log10(0.025), rel=1e-12)
    assert psnr(ERRORS, EACH) == pytest.approx(np.mean(-10 * np.log10(ERRORS)), rel=1e-12)


@pytest.mark.parametrize("picture", [ONE, EACH], ids=["one", "several"])
def test_intervals(picture):
    """Equal errors have an interval of no width; a constant ratio of errors is a difference without one, in both cases."""
    same = psnr_interval(np.full(4, 0.01), picture, EACH)
    np.testing.assert_allclose(same, [20.0, 20.0], rtol=1e-12)
    np.testing.assert_allclose(psnr_interval(0.1 * ERRORS, picture, EACH, minus=ERRORS), [10.0, 10.0], rtol=1e-9)
    low, high = psnr_interval(ERRORS, picture, EACH)
    assert low < psnr(ERRORS, picture) < high


def test_the_interval_has_the_standard_error():
    """Of many pictures, the interval is +-1.96 standard errors of their mean PSNR, to the bootstrap's own precision."""
    errors = np.exp(np.random.default_rng(3).normal(size=400))
    low, high = psnr_interval(errors, np.arange(400), np.arange(400), resamples=4000)
    deviation = np.std(-10 * np.log10(errors), ddof=1) / 20.0
    assert (high - low) == pytest.approx(2 * 1.96 * deviation, rel=0.1)


@pytest.fixture(scope="module")
def setting():
    """A small prior, LISTA-VM's start on it, and the Transformer filled with it."""
    patches = jnp.asarray(DATA["digits"]().training[:64])
    prior = methods.learn_prior(patches, 8)
    learned, layers = methods.learned_lista_vm(prior, depth=2)
    prompt = measure(prior.camera, patches[0], jax.random.key(1)).prompt
    return patches, prior, layers(learned.init(jax.random.key(0), prompt)), prompt


def test_the_filled_transformer_gives_the_same_pixels(setting):
    """(c) = (b): the Transformer filled with LISTA-VM's layers answers every pixel after every layer as it does."""
    _, _, layers, prompt = setting
    construction, transformer = methods.filled(layers, 8)
    np.testing.assert_allclose(
        transformer.predict(construction.params, prompt), methods.unrolled_lista_vm(layers, prompt), atol=1e-12
    )


def test_training_on_moves_what_the_theorem_learns_and_nothing_else(setting):
    """Training (d) moves the M of all heads and the thresholds; identities, the mask constant and zeros stay bit for bit."""
    patches, prior, layers, _ = setting
    construction, transformer = methods.filled(layers, 8)
    recipe = methods.transformer_recipe(prior, patches, transformer, layers, lambda step: 1e-3, batch=4)
    after = train(recipe, start(recipe, construction.params, jax.random.key(2)), 2, 2).params
    one, two = (
        lista_vm(VaryingLayers(jnp.full_like(layers.matrix, v), jnp.full_like(layers.threshold, v)), 8, bound=1e3).params
        for v in (1.0, 2.0)
    )
    free = jax.tree.map(lambda a, b: np.asarray(a != b), one, two)
    moved = jax.tree.map(lambda a, b: np.asarray(a != b), after, construction.params)
    for path, may in jax.tree_util.tree_leaves_with_path(free):
        (did,) = [leaf for other, leaf in jax.tree_util.tree_leaves_with_path(moved) if other == path]
        assert not np.any(did & ~may), path
        assert not may.any() or did.any(), path


@pytest.fixture(scope="module")
def in_context(setting):
    """The same prior's in-context ALISTA, its start with some momentum, and one compiled predict."""
    _, prior, _, prompt = setting
    learner = learned_in_context_alista(prior, depth=3)
    params = learner.init(jax.random.key(0), prompt)._replace(momentum=jnp.array([0.0, 0.2, -0.3]))
    return prior, params, prompt, jax.jit(learner.predict), jax.jit(lambda params, prompt: unroll(solver(params), prompt, 3))


def test_in_context_alista_is_the_solver_on_scaled_data(in_context):
    """Its answers are the pixels of S u, where u are in-context ALISTA's iterates on the matrix X S; S S' = C."""
    prior, params, prompt, predict, iterates = in_context
    units = np.asarray(whitening(prior))
    np.testing.assert_allclose(units @ units.T, prior.covariance, atol=1e-12)
    u = np.asarray(iterates(params, Prompt.of(np.asarray(prompt.x) @ units, prompt.y)))
    np.testing.assert_allclose(predict(params, prompt), u @ units.T @ np.asarray(prompt.x_query).T, atol=1e-10)


def test_a_first_full_step_without_thresholds_is_lmmse(in_context):
    """The first answer is that of C X'(X C X' + s^2 I)^-1 y."""
    prior, params, prompt, predict, _ = in_context
    free = params._replace(threshold=jnp.full(3, -jnp.inf), residual_threshold=jnp.full(3, -jnp.inf), momentum=jnp.zeros(3))
    x, covariance = np.asarray(prompt.x), np.asarray(prior.covariance)
    total = x @ covariance @ x.T + NOISE_VARIANCE * np.eye(len(x))
    best = np.asarray(prompt.x_query) @ covariance @ x.T @ np.linalg.solve(total, prompt.y)
    np.testing.assert_allclose(predict(free, prompt)[1], best, atol=1e-10)


def test_rotated_measurements_change_nothing(in_context):
    """Q X and Q y with an orthogonal Q have the answers of X and y: weights, residuals and the safeguard turn with them."""
    _, params, prompt, predict, _ = in_context
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(8, 8)))[0]
    turned = prompt._replace(x=turn @ prompt.x, y=turn @ prompt.y)
    np.testing.assert_allclose(predict(params, turned), predict(params, prompt), atol=1e-10)
