"""The exact losses of the mixture's experts against SciPy and draws; and the networks that are trained as published."""

from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from experiments.memformer.mixture import MEANS, VARIANCES, gaussian_moments, least, loss_matrix
from experiments.memformer.published import SHOWN, network
from jaxl2o.models.encoding import stacked
from jaxl2o.models.learner import transformer_learner
from jaxl2o.tasks.regression import linear_regression

COMPONENTS = pytest.mark.parametrize(("mean", "variance"), list(zip(MEANS, VARIANCES, strict=True)))


@COMPONENTS
def test_moments_are_scipys(mean, variance):
    """E x^k for k up to eight."""
    found = gaussian_moments(Fraction(mean), Fraction(variance), 8)
    expected = [scipy.stats.norm(mean, variance**0.5).moment(k) for k in range(1, 9)]
    np.testing.assert_allclose(np.array(found[1:], dtype=float), expected, rtol=1e-10)


@COMPONENTS
def test_losses_are_those_of_draws(mean, variance):
    """p'M p is the mean of (x w p(H))^2 over draws, within four standard errors, for a polynomial and three examples."""
    rng, p = np.random.default_rng(0), np.array([1.0, -0.2, 0.01])
    x, w, query = (mean + variance**0.5 * rng.normal(size=size) for size in ((400_000, 3), 400_000, 400_000))
    hessian = np.mean(x**2, axis=1)
    errors = (query * w * (p[0] + p[1] * hessian + p[2] * hessian**2)) ** 2
    exact = float(p @ loss_matrix(3, mean, variance, 2).astype(float) @ p)
    assert abs(errors.mean() - exact) <= 4.0 * errors.std() / np.sqrt(errors.size)


def test_one_step_of_a_centred_component():
    """The least loss after one step is E x^2 E w^2 Var(H) / E H^2: for N(0, 1) and n examples 2 / (n + 2)."""
    np.testing.assert_allclose(least(loss_matrix(20, 0.0, 1.0, 1)), [1.0, 2.0 / 22.0], rtol=1e-12)


@pytest.mark.parametrize(("law", "title"), [(law, title) for law, shown in SHOWN.items() for title in shown])
def test_published_networks_are_trees_of_the_module(law, title):
    """theta at a random start gives the parameters of the Transformer that it is said to be, of the same names and shapes."""
    config, start, assemble = network(SHOWN[law][title], 2, n=6)
    prompt = linear_regression(6, jnp.eye(5)).sample(jax.random.key(0)).prompt
    learner = transformer_learner(config, stacked(5))
    expected = jax.eval_shape(learner.init, jax.random.key(0), prompt)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(assemble, start(jax.random.key(1))), expected)


def test_tokens_move_in_gd_plus_plus_alone():
    """The write matrices touch x for GD++, and labels alone for the others."""
    for title, model in SHOWN["rotated"].items():
        _, start, assemble = network(model, 2, n=6)
        write = np.asarray(assemble(start(jax.random.key(0)))["layers"]["attention"]["write"])[:, 0]
        assert np.all(write[:, -1, -1] == 1.0)
        assert np.any(write[:, :-1]) == title.startswith("GD++")
