"""Heads that have not joined yet do nothing and are not moved."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import interleaved
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import gpt2, small_tf
from jaxl2o.models.unmasking import AXES, first_heads
from jaxl2o.types import Prompt

D, N, HEADS = 3, 4, 4
RNG = np.random.default_rng(0)
PROMPT = Prompt.of(RNG.normal(size=(N, D)), RNG.normal(size=N), RNG.normal(size=(1, D)))
SHAPES: dict[str, TransformerConfig] = {
    "small-tf": small_tf(D, depth=2),
    "gpt2": replace(gpt2(D, depth=2, heads=HEADS, width=8, positions=2 * N + 1), read_in=D + 1),
    "merged": replace(small_tf(D, depth=2), score="merged", write="merged", head_dim=0),
}
EVERY_SHAPE = pytest.mark.parametrize("name", SHAPES)


@cache
def model(name: str):
    """A Transformer's prediction, and random parameters without a zero, biases too."""
    learner = transformer_learner(SHAPES[name], interleaved(D))
    leaves, tree = jax.tree.flatten(learner.init(jax.random.key(0), PROMPT))
    params = tree.unflatten([jnp.asarray(0.3 * RNG.normal(size=leaf.shape)) for leaf in leaves])
    return jax.jit(lambda params, count: learner.predict(first_heads(params, count), PROMPT)), params, learner


def cut(params, count):
    """The parameters of the Transformer that has only the first heads."""
    attention = {
        name: jnp.asarray(np.take(np.asarray(leaf), np.arange(count), axis=AXES[name])) if name in AXES else leaf
        for name, leaf in params["layers"]["attention"].items()
    }
    return {**params, "layers": {**params["layers"], "attention": attention}}


@EVERY_SHAPE
@pytest.mark.parametrize("count", [1, 3, HEADS])
def test_it_is_the_transformer_with_fewer_heads(name, count):
    """The answers are those of a Transformer that has only the first heads."""
    predict, params, _ = model(name)
    fewer = transformer_learner(replace(SHAPES[name], heads=count), interleaved(D))
    expected = jax.jit(fewer.predict)(cut(params, count), PROMPT)
    np.testing.assert_allclose(predict(params, count), expected, rtol=1e-11, atol=1e-12)


@EVERY_SHAPE
def test_only_the_first_heads_get_a_gradient(name):
    """The gradient of the others is zero, and that of the first is not."""
    predict, params, _ = model(name)
    gradient = jax.grad(lambda params: jnp.sum(predict(params, 2)[-1]))(params)["layers"]["attention"]
    for leaf, values in gradient.items():
        if leaf in AXES:
            joined, waiting = np.split(np.asarray(values), [2], axis=AXES[leaf])
            assert not np.any(waiting)
            # a softmax does not see what all its scores have in common, so a bias of keys moves nothing
            assert np.abs(joined).max() > 1e-9 or leaf == "key_bias"
