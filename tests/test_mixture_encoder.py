"""The encoder for mixtures of regressions: its size, its tokens by hand, and what its estimate does not depend on."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.models.encoding import Stream
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.mutual import marked_summary
from jaxl2o.models.presets import mixture_encoder
from jaxl2o.types import Prompt

D, N, DEPTH, WIDTH = 3, 6, 2, 8
TINY = Prompt.of([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [7.0, 8.0, 9.0], [[1.0, -1.0], [2.0, 0.0]], used=[True, False, True])


@cache
def network(attention):
    """Its parameters and its estimate, compiled."""
    learner = transformer_learner(mixture_encoder(D, DEPTH, WIDTH, 2, attention), marked_summary(D))
    return learner.init(jax.random.key(0), prompt_of(0)), jax.jit(learner.predict)


def prompt_of(seed, used=None):
    """x and y from N(0, 1), no queries."""
    rng = np.random.default_rng(seed)
    return Prompt.of(rng.normal(size=(N, D)), rng.normal(size=N), used=used)


@pytest.mark.parametrize(("width", "depth"), [(32, 4), (64, 1), (128, 4)])
def test_it_has_8_squares_a_layer(width, depth):
    """Layers of 4 D^2 of heads and 4 D^2 + 3 D of an MLP, read-in 10 D + D, read-out D d + d at d = 8: 133,064 at D = 64."""
    learner = transformer_learner(mixture_encoder(8, depth, width), marked_summary(8))
    prompt = Prompt.of(np.zeros((2, 8)), np.zeros(2))
    shapes = jax.eval_shape(learner.init, jax.random.key(0), prompt)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == depth * (8 * width**2 + 3 * width) + 11 * width + 8 * width + 8
    assert 133_064 == 4 * (8 * 64**2 + 3 * 64) + 11 * 64 + 8 * 64 + 8


def test_tokens_by_hand():
    """Examples are marked, the last token is zero; all read what is used and the last one, over how many these are."""
    tokens = marked_summary(2).tokens(TINY)
    np.testing.assert_array_equal(tokens.z, [[1, 2, 7, 1], [0, 0, 0, 0], [5, 6, 9, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(tokens.mask, [[True, False, True, True]] * 4)
    np.testing.assert_array_equal(tokens.scale, np.full(4, 1 / 3))
    assert tokens.z.shape[1] == marked_summary(2).layout.width


def test_answers_by_hand():
    """They are <x, w> for the outputs w of the last token, and w itself where nothing is asked."""
    outputs = jnp.arange(24.0).reshape(3, 4, 2)
    stream = Stream(jnp.zeros((3, 4, 4)), outputs)
    iterates = outputs[:, -1]
    np.testing.assert_array_equal(
        marked_summary(2).read(stream, TINY), np.stack([iterates[:, 0] - iterates[:, 1], 2 * iterates[:, 0]], axis=1)
    )
    np.testing.assert_array_equal(marked_summary(2).read(stream, TINY._replace(x_query=None)), iterates)


@pytest.mark.parametrize("attention", ["relu", "softmax"])
@given(seed=st.integers(0, 2**31 - 1))
def test_an_estimate_is_of_a_set(attention, seed):
    """The order of the examples does not matter, nor where unused ones stand."""
    params, predict = network(attention)
    rng = np.random.default_rng(seed)
    prompt = prompt_of(seed, used=rng.random(N) < 0.7)
    order = rng.permutation(N)
    moved = jax.tree.map(lambda leaf: leaf[order], prompt)
    # sums over at most seven tokens in another order
    np.testing.assert_allclose(predict(params, moved), predict(params, prompt), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("attention", ["relu", "softmax"])
def test_without_examples_there_is_an_estimate(attention):
    """All are unused: the last token reads itself alone, and what it says is finite, whatever the prompt."""
    params, predict = network(attention)
    found = [predict(params, prompt_of(seed, used=np.zeros(N, dtype=bool))) for seed in (1, 2)]
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(*found)
