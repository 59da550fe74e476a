"""The exact losses of the mixture's experts against SciPy and draws; and a method that is trained as published."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from experiments.memformer.claims import level
from experiments.memformer.mixture import (
    MEANS,
    VARIANCES,
    WEIGHTS,
    by_quadrature,
    components,
    gaussian_moments,
    least,
    loss_matrix,
    routed,
)
from experiments.memformer.published.config import Config
from experiments.memformer.published.first_stage import first_stage
from experiments.memformer.published.protocols import extracted
from experiments.memformer.scales import by_gate
from jaxl2o.constructions.first_order import optimal
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.limits.polynomial import optimal_momentum
from jaxl2o.models.experts import gated, inverse_variance
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers.momentum import Steps
from jaxl2o.tasks.regression import gaussian_mixture, linear_regression

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


def test_the_gated_method_is_the_gated_transformer():
    """The solver whose losses are measured answers as the optimal construction does behind the same gate, after every layer."""
    gate, steps = inverse_variance(5.0), Steps(*map(jnp.asarray, optimal_momentum(20, 5, 4)))
    construction = optimal(20, jnp.eye(5), 4)
    layers = transformer_learner(construction.config, gated(construction.encoding, gate)).predict
    prompt = linear_regression(20, jnp.eye(5)).sample(jax.random.key(3)).prompt
    prompt = prompt._replace(x=1.7 * prompt.x)
    np.testing.assert_allclose(by_gate(gate, steps, 4, None, prompt), layers(construction.params, prompt), rtol=1e-10)


def test_a_level_has_the_wider_interval():
    """Of seeds that agree it is the prompts' normal one, of seeds that do not Student's with four degrees of freedom."""
    errors = np.full((5, 1), 0.1)
    alike = level({"a/loss": np.full((5, 1), 2.0), "a/error": errors}, "a")
    np.testing.assert_allclose(alike.interval, np.log(2.0) + 1.96 * 0.1 / 5**0.5 / 2.0 * np.array([-1.0, 1.0]), rtol=1e-12)
    losses = np.array([[1.0], [2.0], [4.0], [2.5], [3.0]])
    apart = level({"a/loss": losses, "a/error": errors}, "a")
    half = 2.7764451 * scipy.stats.sem(losses[:, 0]) / 2.5
    np.testing.assert_allclose(apart.interval, [np.log(2.5) - half, np.log(2.5) + half], rtol=1e-7)


def test_the_first_stage_is_adam_on_clipped_matrices():
    """300 steps have the effect of 200, on two draws of prompts: by NumPy's own Adam, gradients of norm .01 a matrix."""
    config, key = Config(prompts=3, first_steps=300), jax.random.key(4)
    task = linear_regression(4, jnp.eye(2), n_queries=2)
    weights, first = np.array([1.0, -2.0, 0.5]), {"a": np.ones((2, 2, 2)), "b": np.full(2, 0.3)}

    def loss(params, instances):
        targets = jnp.mean(instances.y_query)
        return jnp.sum((params["a"] - targets) ** 2) + jnp.sum(params["b"] ** 2) * weights.sum()

    found = jax.jit(lambda key: first_stage(config, task, loss, jax.tree.map(jnp.asarray, first), key))(key)
    draws = [jax.vmap(task.sample)(jax.random.split(own, 3)) for own in jax.random.split(key, 2)]
    for name, slope in (("a", 2.0), ("b", 2.0 * weights.sum())):
        value = first[name].copy()
        mean, square = np.zeros_like(value), np.zeros_like(value)
        for step in range(200):
            target = float(jnp.mean(draws[step // 100].y_query)) if name == "a" else 0.0
            gradient = slope * (value - target)
            norm = np.abs(gradient) if name == "b" else np.linalg.norm(gradient, axis=(1, 2), keepdims=True)
            gradient = gradient * np.minimum(1.0, 0.01 / norm)
            mean, square = 0.99 * mean + 0.01 * gradient, 0.9 * square + 0.1 * gradient**2
            corrected = mean / (1.0 - 0.99 ** (step + 1)), square / (1.0 - 0.9 ** (step + 1))
            value = value - 1e-2 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        np.testing.assert_allclose(found[name], value, rtol=1e-6)


@pytest.fixture(scope="module")
def experts():
    """The routed Transformer of three experts, for three examples and two layers."""
    return routed(components(3, 2))


def test_quadrature_is_the_mean_of_draws(experts):
    """The routed experts' losses after every layer are those of drawn prompts, within four standard errors."""
    task = gaussian_mixture(3, 1, jnp.asarray(MEANS), jnp.asarray(VARIANCES), jnp.asarray(WEIGHTS))
    errors = np.asarray(jax.jit(lambda key: squared_errors(experts, task, key, 200_000, 2000)[0])(jax.random.key(0)))
    exact = by_quadrature(experts, 3, 30)
    assert np.all(np.abs(errors.mean(axis=0) - exact) <= 4.0 * errors.std(axis=0) / np.sqrt(len(errors)))


def test_quadrature_is_exact_without_a_gate():
    """For a polynomial of the inputs' second moment it is p'M p of each component, to rounding, with few nodes."""
    steps = jnp.array([0.2, 0.05])

    def descent(prompt):
        hessian = jnp.mean(prompt.x**2)
        return 1.0 - jnp.concatenate([jnp.ones(1), jnp.cumprod(1.0 - steps * hessian)])[:, None]

    p = np.array([1.0, -0.25, 0.01])
    exact = np.average([float(p @ part.astype(float) @ p) for part in components(3, 2)], weights=WEIGHTS)
    np.testing.assert_allclose(by_quadrature(descent, 3, 12)[-1], exact, rtol=1e-10)


def test_extracted_method_is_its_recursion():
    """w_{k+1} = w_k - sum_{i <= k} Gamma_i * X'(X w_i - y), written out in NumPy."""
    config, rng = Config(n=6, depth=3), np.random.default_rng(0)
    theta = 0.05 * rng.normal(size=(3, 5))
    prompt = linear_regression(6, jnp.eye(5)).sample(jax.random.key(0)).prompt
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    w, gradients = np.zeros(5), []
    for _ in range(3):
        gradients.append(x.T @ (x @ w - y))
        w = w - sum(weights * gradient for weights, gradient in zip(theta, gradients, strict=False))
    found = extracted(config, 10).predict(jnp.asarray(theta), prompt)
    np.testing.assert_allclose(found, np.asarray(prompt.x_query) @ w, rtol=1e-10)
