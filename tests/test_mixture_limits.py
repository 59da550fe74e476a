"""Mixtures of regressions: no linear estimate beats the linear limits, no layer its closed form, and Gibbs is exact.

Means over many draws, with a fixed key, are held to four standard errors, or to a little more where there are many.
"""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import Ridge

from jaxl2o.limits.bayes_mixture import gaussian_components
from jaxl2o.limits.least_squares import lmmse
from jaxl2o.limits.linear_attention import attention_estimate, attention_excess, attention_risk, best_matrix
from jaxl2o.limits.mixture import (
    Moments,
    independent_moments,
    linear_estimate,
    posterior_mean,
    ridge_estimate,
    symmetric_moments,
)
from jaxl2o.tasks.mixture import mixture_per_example, symmetric
from jaxl2o.types import Prompt

N, D, K, NOISE, TAU = 6, 3, 2, 0.3, 0.7
WEIGHTS = jnp.array([0.35, 0.65])
RNG = np.random.default_rng(0)
SPREAD = RNG.normal(size=(D, D))
COVARIANCE = jnp.asarray(SPREAD @ SPREAD.T / D + 0.2 * np.eye(D))
MEANS = RNG.normal(size=(K, D))
# b_k = s m_k + N(0, tau^2 I), one random sign s for all: a law that is even, and whose two moments are not proportional
MEAN = np.asarray(WEIGHTS) @ MEANS
MOMENTS = Moments(
    jnp.asarray(np.einsum("k,ki,kj->ij", WEIGHTS, MEANS, MEANS) + TAU**2 * np.eye(D)),
    jnp.asarray(np.outer(MEAN, MEAN) + float(jnp.sum(WEIGHTS**2)) * TAU**2 * np.eye(D)),
)
ESTIMATES = {
    "linear": lambda prompt: linear_estimate(prompt, MOMENTS, NOISE),
    "ridge": lambda prompt: ridge_estimate(prompt, MOMENTS, NOISE, COVARIANCE),
    "attention": lambda prompt: attention_estimate(prompt, best_matrix(MOMENTS, NOISE, N, COVARIANCE)),
    "posterior mean": lambda prompt: posterior_mean(prompt, jnp.asarray(MEANS), WEIGHTS, NOISE),
}
COMPILED = {name: jax.jit(estimate) for name, estimate in ESTIMATES.items()}
EVERY_ESTIMATE = pytest.mark.parametrize("name", ESTIMATES)


def law(key):
    """Components of the moments above."""
    key_sign, key_normal = jax.random.split(key)
    return jax.random.rademacher(key_sign, (), dtype=float) * MEANS + TAU * jax.random.normal(key_normal, (K, D))


def inputs(key, n, d):
    """x ~ N(0, Lam)."""
    return jax.random.normal(key, (n, d)) @ jnp.linalg.cholesky(COVARIANCE).T


@cache
def drawn(count=60_000):
    """Many prompts of that law: h, x_q, y_q and the oracle's bbar."""
    task = mixture_per_example(N, law, WEIGHTS, NOISE, covariates=inputs)

    def seen(key):
        prompt, y_query, solution = task.sample(key)
        return prompt.x.T @ prompt.y / N, prompt.x_query[0], y_query[0], WEIGHTS @ solution

    return [np.asarray(part) for part in jax.jit(jax.vmap(seen))(jax.random.split(jax.random.key(3), count))]


def prompt_of(seed, n=N, d=D, used=None):
    """x and y from N(0, 1)."""
    rng = np.random.default_rng(seed)
    return Prompt.of(rng.normal(size=(n, d)), rng.normal(size=n), used=used)


def assert_mean(samples, expected):
    """The mean over the leading axis is within four standard errors of what is expected, or a little more if it has many."""
    samples = np.asarray(samples, dtype=float)
    error = np.std(samples, axis=0) / np.sqrt(samples.shape[0])
    allowed = stats.norm.isf(stats.norm.sf(4.0) / error.size)
    assert np.all(np.abs(np.mean(samples, axis=0) - expected) <= allowed * error)


# estimates


@EVERY_ESTIMATE
@given(n_used=st.integers(0, N), seed=st.integers(0, 1000))
def test_unused_rows_change_nothing(name, n_used, seed):
    """An estimate from n rows, k of them used, is the same wherever they are; from none it is the prior's mean."""
    used, order = np.arange(N) < n_used, np.random.default_rng(seed).permutation(N)
    prompt = prompt_of(seed, used=used)
    moved = Prompt.of(prompt.x[order], prompt.y[order], used=used[order])
    np.testing.assert_allclose(COMPILED[name](moved), COMPILED[name](prompt), rtol=0.0, atol=1e-12)
    if n_used == 0:
        np.testing.assert_allclose(COMPILED[name](prompt), MEAN if name == "posterior mean" else 0.0, atol=1e-15)


@EVERY_ESTIMATE
def test_padding_changes_nothing(name):
    """An estimate from n rows is that from n rows and three unused ones; no rows are as none used."""
    prompt = prompt_of(1)
    padded = Prompt.of(np.pad(prompt.x, ((0, 3), (0, 0))), np.pad(prompt.y, (0, 3)), used=np.arange(N + 3) < N)
    np.testing.assert_allclose(ESTIMATES[name](padded), COMPILED[name](prompt), atol=1e-13)
    none = ESTIMATES[name](Prompt.of(np.zeros((0, D)), np.zeros(0)))
    np.testing.assert_allclose(none, COMPILED[name](prompt_of(1, used=np.zeros(N, bool))), atol=1e-15)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_ridge_has_its_optimal_scale(count):
    """Unit-norm components of equal weights: scikit-learn's ridge with the penalty d K (sigma^2 + 1 - 1/K)."""
    prompt = prompt_of(2, n=20)
    moments = independent_moments(jnp.ones(count) / count, jnp.eye(D) / D)
    model = Ridge(alpha=D * count * (NOISE**2 + 1.0 - 1.0 / count), fit_intercept=False).fit(prompt.x, prompt.y)
    np.testing.assert_allclose(ridge_estimate(prompt, moments, NOISE), model.coef_, atol=1e-13)


def test_one_component_is_the_lmmse():
    """K = 1: both linear estimates are that of linear regression, whose own answer has a relative 1e-6 more noise."""
    prompt = prompt_of(3)
    moments = independent_moments(jnp.ones(1), COVARIANCE)
    expected = lmmse(prompt, COVARIANCE, NOISE**2)
    for ours in (linear_estimate(prompt, moments, NOISE), ridge_estimate(prompt, moments, NOISE, COVARIANCE)):
        np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_the_balanced_pair_tells_a_linear_estimate_nothing():
    """b and -b with equal weights have bbar = 0, and so have all linear estimates; unequal ones have (2 pi - 1)^2."""
    moments = symmetric_moments(0.5, jnp.eye(D) / D)
    assert np.all(np.asarray(linear_estimate(prompt_of(4), moments, NOISE)) == 0.0)
    assert np.all(np.asarray(best_matrix(moments, NOISE, N, COVARIANCE)) == 0.0)
    pairs = jax.vmap(symmetric(D))(jax.random.split(jax.random.key(5), 4000))
    unequal = symmetric_moments(0.8, jnp.eye(D) / D)
    mean = np.einsum("k,bkd->bd", [0.8, 0.2], pairs)
    assert_mean(np.einsum("bi,bj->bij", mean, mean), np.asarray(unequal.mean))
    assert_mean(np.einsum("k,bki,bkj->bij", [0.8, 0.2], pairs, pairs), np.asarray(unequal.each))


def test_no_linear_estimate_is_better():
    """The error b_hat - bbar is uncorrelated with y given X: E over all K^n assignments, the components, and the noise."""
    prompt = prompt_of(6)
    x = np.asarray(prompt.x)
    # E y y' and E bbar y' by the sum over assignments z; given z, E y_i y_j = x_i' E[b_zi b_zj'] x_j
    joint = np.einsum("ki,lj->klij", MEANS, MEANS) + TAU**2 * np.einsum("kl,ij->klij", np.eye(K), np.eye(D))
    outer, cross = NOISE**2 * np.eye(N), np.zeros((D, N))
    for z in product(range(K), repeat=N):
        p = np.prod(np.asarray(WEIGHTS)[list(z)])
        outer += p * np.einsum("im,jk,ijmk->ij", x, x, joint[np.ix_(z, z)])
        cross += p * np.einsum("k,kimn,in->mi", WEIGHTS, joint[:, list(z)], x)
    matrix = np.asarray(jax.jacfwd(lambda y: linear_estimate(prompt._replace(y=y), MOMENTS, NOISE))(prompt.y))
    np.testing.assert_allclose(matrix @ outer, cross, atol=1e-12)


@given(seed=st.integers(0, 1000))
def test_the_posterior_mean_is_scipys(seed):
    """The mean of the components, weighted by pi_k times the normal density of y around X b_k."""
    prompt = prompt_of(seed)
    density = [stats.multivariate_normal.logpdf(prompt.y, prompt.x @ b, NOISE**2 * np.eye(N)) for b in MEANS]
    evidence = np.log(WEIGHTS) + np.array(density)
    share = np.exp(evidence - evidence.max())
    np.testing.assert_allclose(COMPILED["posterior mean"](prompt), share @ MEANS / share.sum(), rtol=0.0, atol=1e-10)


# one layer of linear attention


def test_the_best_matrix_solves_the_normal_equations():
    """Least squares of y_q on the products h x_q', over many prompts, is A*, to its standard errors."""
    h, x, y, _ = drawn()
    features = np.einsum("bi,bj->bij", h, x).reshape(len(y), -1)
    gram = features.T @ features
    fit = np.linalg.solve(gram, features.T @ y)
    scores = features * (y - features @ fit)[:, None]
    error = np.sqrt(np.diag(np.linalg.solve(gram, np.linalg.solve(gram, scores.T @ scores).T)))
    expected = np.asarray(best_matrix(MOMENTS, NOISE, N, COVARIANCE)).ravel()
    assert np.all(np.abs(fit - expected) <= 4.0 * error)
    assert error.max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("best_for", [N, 50, None])
def test_the_risk_is_the_mean_of_the_squared_error(best_for):
    """For A*, for the best matrix of another length, and for any matrix; the excess is that over <x_q, bbar>."""
    h, x, y, best = drawn()
    matrix = jnp.asarray(SPREAD) / 5.0 if best_for is None else best_matrix(MOMENTS, NOISE, best_for, COVARIANCE)
    estimate = h @ np.asarray(matrix)
    assert_mean((y - np.sum(x * estimate, axis=1)) ** 2, float(attention_risk(matrix, MOMENTS, NOISE, N, COVARIANCE)))
    assert_mean(np.sum(x * (estimate - best), axis=1) ** 2, float(attention_excess(matrix, MOMENTS, NOISE, N, COVARIANCE)))


def test_terms_even_in_the_components_do_not_help():
    """y_q is odd: it is uncorrelated with even functions of the prompt, such as those of the layer's other blocks."""
    h, x, y, _ = drawn()
    even = np.stack([np.ones_like(y), x[:, 0], x[:, 1] ** 2, h[:, 0] * h[:, 1], x[:, 2] * h[:, 0] ** 2], axis=1)
    assert_mean(even * y[:, None], np.zeros(5))


@given(n=st.integers(1, 100), weight=st.floats(0.0, 1.0), noise=st.floats(0.0, 3.0))
def test_the_isotropic_matrix_is_a_number(n, weight, noise):
    """A* = a I, a = kappa n / ((n - 1) kappa + d + 2 + sigma^2 / tau^2), and the excess is kappa tau^2 d (1 - a)."""
    kappa = weight**2 + (1.0 - weight) ** 2
    moments = independent_moments(jnp.array([weight, 1.0 - weight]), TAU**2 * jnp.eye(D))
    a = kappa * n / ((n - 1) * kappa + D + 2 + noise**2 / TAU**2)
    matrix, excess = BEST(moments, noise, n, jnp.eye(D))
    np.testing.assert_allclose(matrix, a * np.eye(D), atol=1e-12)
    np.testing.assert_allclose(excess, kappa * TAU**2 * D * (1.0 - a), atol=1e-12)


@jax.jit
def BEST(moments, noise, n, covariance):
    """A* and its excess."""
    matrix = best_matrix(moments, noise, n, covariance)
    return matrix, attention_excess(matrix, moments, noise, n, covariance)


@pytest.mark.parametrize("n", [1, 7, 100])
def test_one_component_without_noise_is_known(n):
    """A* = Gamma^-1 with Gamma = (1 + 1/n) Lam + tr(Lam) / n I, of Zhang, Frei and Bartlett."""
    matrix = best_matrix(independent_moments(jnp.ones(1), jnp.eye(D)), 0.0, n, COVARIANCE)
    gamma = (1.0 + 1.0 / n) * np.asarray(COVARIANCE) + np.trace(COVARIANCE) / n * np.eye(D)
    np.testing.assert_allclose(matrix, np.linalg.inv(gamma), atol=1e-12)


def test_many_components_have_their_own_gamma():
    """Independent N(0, tau^2 I): (1 - 1/n + 2 / (n kappa)) Lam + (tr(Lam) + sigma^2 / tau^2) / (n kappa) I."""
    kappa = float(jnp.sum(WEIGHTS**2))
    matrix = best_matrix(independent_moments(WEIGHTS, TAU**2 * jnp.eye(D)), NOISE, N, COVARIANCE)
    level = (np.trace(COVARIANCE) + NOISE**2 / TAU**2) / (N * kappa)
    gamma = (1.0 - 1.0 / N + 2.0 / (N * kappa)) * np.asarray(COVARIANCE) + level * np.eye(D)
    np.testing.assert_allclose(matrix, np.linalg.inv(gamma), atol=1e-12)


def test_the_best_matrix_is_the_one_minimum_of_the_risk():
    """The gradient is zero by jax.grad, and the Hessian positive definite; the risk there is tr(S Lam) + sigma^2 - gain."""
    matrix = best_matrix(MOMENTS, NOISE, N, COVARIANCE)

    def risk(flat):
        return attention_risk(flat.reshape(D, D), MOMENTS, NOISE, N, COVARIANCE)

    np.testing.assert_allclose(jax.grad(risk)(matrix.ravel()), 0.0, atol=1e-13)
    assert np.linalg.eigvalsh(jax.hessian(risk)(matrix.ravel())).min() > 0.0
    gain = np.trace(matrix.T @ COVARIANCE @ MOMENTS.mean @ COVARIANCE)
    np.testing.assert_allclose(risk(matrix.ravel()), np.trace(MOMENTS.each @ COVARIANCE) + NOISE**2 - gain, rtol=1e-12)


def test_long_prompts_leave_no_excess():
    """As n grows A* tends to Lam^-1, and the excess falls to zero as 1 / n."""
    excess = [float(BEST(MOMENTS, NOISE, n, COVARIANCE)[1]) for n in (10, 100, 1000, 10_000, 100_000)]
    assert np.all(np.diff(excess) < 0.0)
    np.testing.assert_allclose(excess[-2] / excess[-1], 10.0, rtol=1e-2)
    np.testing.assert_allclose(BEST(MOMENTS, NOISE, 1e9, COVARIANCE)[0], np.linalg.inv(COVARIANCE), rtol=1e-6)


# the posterior mean under Gaussian components


def enumerated(x, y, deviation, noise):
    """E[bbar | X, y] by the sum over all K^n assignments, each with its evidence in closed form."""
    weights, evidence, means = np.asarray(WEIGHTS), [], []
    for z in product(range(K), repeat=len(y)):
        chosen = np.array(z)
        own, mean = np.log(weights[chosen]).sum(), np.zeros(x.shape[1])
        for k in set(z):
            rows, labels = x[chosen == k], y[chosen == k]
            total = deviation**2 * rows @ rows.T + noise**2 * np.eye(len(labels))
            own += stats.multivariate_normal.logpdf(labels, np.zeros(len(labels)), total)
            mean += weights[k] * deviation**2 * rows.T @ np.linalg.solve(total, labels)
        evidence.append(own)
        means.append(mean)
    share = np.exp(np.array(evidence) - max(evidence))
    return share @ np.array(means) / share.sum()


BAYES = jax.jit(jax.vmap(gaussian_components(WEIGHTS, TAU, NOISE, n_chains=64, n_annealing=100, n_sweeps=20)))


def many(count=16):
    """Prompts of two Gaussian components in two dimensions, stacked."""
    rng = np.random.default_rng(8)
    x, components = rng.normal(size=(count, N, 2)), TAU * rng.normal(size=(count, K, 2))
    z = rng.choice(K, (count, N), p=np.asarray(WEIGHTS))
    y = np.einsum("bnd,bnd->bn", x, np.take_along_axis(components, z[..., None], axis=1))
    return x, y + NOISE * rng.normal(size=y.shape)


def stacked(x, y, used=True):
    """Prompts of stacked arrays."""
    return Prompt(jnp.asarray(x), jnp.asarray(y), None, jnp.full(y.shape, used))


def test_gibbs_is_the_exact_posterior_mean():
    """It agrees with the sum over all assignments to its own standard errors, which are small and of the right size."""
    x, y = many()
    estimate = BAYES(jax.random.split(jax.random.key(9), len(y)), stacked(x, y))
    exact = np.array([enumerated(*one, TAU, NOISE) for one in zip(x, y, strict=True)])
    z = (np.asarray(estimate.mean) - exact) / np.asarray(estimate.error)
    assert np.abs(z).max() < 4.0
    assert 0.75 < np.sqrt(np.mean(z**2)) < 1.25
    assert np.asarray(estimate.error).max() < 0.1
    assert np.asarray(estimate.error).mean() < 0.03
    assert np.asarray(estimate.chains).min() > 10.0
    assert np.asarray(estimate.chains).max() <= 64.0


def test_gibbs_without_examples_is_the_prior_mean():
    """Exactly zero, with all chains alike."""
    x, y = many()
    estimate = BAYES(jax.random.split(jax.random.key(10), len(y)), stacked(0.0 * x, 0.0 * y, used=False))
    assert np.all(np.asarray(estimate.mean) == 0.0)
    assert np.all(np.asarray(estimate.error) == 0.0)
    np.testing.assert_allclose(estimate.chains, 64.0, rtol=1e-12)


def test_one_gaussian_component_is_ridge():
    """K = 1: every sweep gives scikit-learn's ridge with the penalty sigma^2 / tau^2."""
    prompt = prompt_of(11)
    estimate = gaussian_components(jnp.ones(1), TAU, NOISE, 2, 1, 1)(jax.random.key(12), prompt)
    model = Ridge(alpha=NOISE**2 / TAU**2, fit_intercept=False).fit(prompt.x, prompt.y)
    np.testing.assert_allclose(estimate.mean, model.coef_, atol=1e-12)
    np.testing.assert_allclose(estimate.error, 0.0, atol=1e-12)


REFUSED = {
    "weights": (lambda: independent_moments(jnp.array([0.5, 0.6]), COVARIANCE), ("weights sum to 1.1", "divide")),
    "length": (lambda: best_matrix(MOMENTS, NOISE, 0, COVARIANCE), ("n is 0", "greater than zero")),
    "noise": (lambda: best_matrix(MOMENTS, -1.0, N, COVARIANCE), ("noise is -1", "zero or greater")),
    "covariance": (lambda: best_matrix(MOMENTS, NOISE, N, jnp.eye(2)), ("covariance has shape (2, 2)", "(3, 3)")),
    "posterior": (lambda: posterior_mean(prompt_of(0), jnp.asarray(MEANS), WEIGHTS, 0.0), ("noise is 0", "greater than zero")),
    "chains": (lambda: gaussian_components(WEIGHTS, TAU, NOISE, 1, 1, 1), ("n_chains is 1", "at least two")),
    "annealing": (lambda: gaussian_components(WEIGHTS, TAU, NOISE, 2, 0, 1), ("n_annealing is 0", "one or greater")),
    "sweeps": (lambda: gaussian_components(WEIGHTS, TAU, NOISE, 2, 1, 0), ("n_sweeps is 0", "one or greater")),
    "deviation": (lambda: gaussian_components(WEIGHTS, 0.0, NOISE, 2, 1, 1), ("deviation is 0", "greater than zero")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_in_one_sentence(name, refused):
    """What was given, and what is needed."""
    refused(*REFUSED[name])
