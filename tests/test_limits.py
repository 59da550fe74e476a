"""The closed forms are what they say, and no other member of their class does better."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from jaxl2o.limits.least_squares import lmmse, minimum_norm, ridge
from jaxl2o.solvers.first_order import gradient_descent
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt

# tall, wide and square prompts
SHAPES = [(12, 5), (5, 12), (6, 6)]
N, D = 8, 5
NOISE = 0.3
SPREAD = np.random.default_rng(5).normal(size=(D, D))
COVARIANCE = jnp.asarray(SPREAD @ SPREAD.T / D)

ESTIMATES = {
    "minimum-norm": minimum_norm,
    "ridge": lambda prompt: ridge(prompt, 0.1),
    "lmmse": lambda prompt: lmmse(prompt, COVARIANCE, NOISE**2),
}
COMPILED = {name: jax.jit(estimate) for name, estimate in ESTIMATES.items()}


def draw(n=N, d=D, seed=0):
    """X and y from N(0, 1)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=n)


@pytest.mark.parametrize("name", ESTIMATES)
def test_no_examples_give_the_priors_mean(name):
    """n = 0, in no rows or in unused rows, gives zero."""
    x, y = draw()
    assert np.all(np.asarray(ESTIMATES[name](Prompt.of(x[:0], y[:0]))) == 0.0)
    assert np.all(np.asarray(COMPILED[name](Prompt.of(x, y, used=np.zeros(N, dtype=bool)))) == 0.0)


@pytest.mark.parametrize("name", ESTIMATES)
@given(n_used=st.integers(1, N), seed=st.integers(0, 1000))
def test_unused_rows_change_nothing(name, n_used, seed):
    """An estimate from n rows, k of them used and anywhere among them, does not depend on where they are."""
    x, y = draw(seed=seed)
    used = np.arange(N) < n_used
    order = np.random.default_rng(seed).permutation(N)
    first = COMPILED[name](Prompt.of(x, y, used=used))
    np.testing.assert_allclose(COMPILED[name](Prompt.of(x[order], y[order], used=used[order])), first, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ESTIMATES)
def test_padding_changes_nothing(name):
    """An estimate from n rows is that from n rows and three unused ones."""
    x, y = draw()
    rows = Prompt.of(np.pad(x, ((0, 3), (0, 0))), np.pad(y, (0, 3)), used=np.arange(N + 3) < N)
    np.testing.assert_allclose(ESTIMATES[name](rows), COMPILED[name](Prompt.of(x, y)), rtol=1e-12)


@pytest.mark.parametrize("name", ESTIMATES)
@given(a=st.floats(-5, 5), b=st.floats(-5, 5))
def test_estimates_are_linear_in_the_labels(name, a, b):
    """w_hat(a y + b z) = a w_hat(y) + b w_hat(z)."""
    x, y = draw()
    _, z = draw(seed=1)
    estimate = [np.asarray(COMPILED[name](Prompt.of(x, labels))) for labels in (a * y + b * z, y, z)]
    np.testing.assert_allclose(estimate[0], a * estimate[1] + b * estimate[2], atol=1e-11)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_minimum_norm_is_numpys(n, d):
    """X^+ y is the least-squares answer of LAPACK."""
    x, y = draw(n, d)
    np.testing.assert_allclose(minimum_norm(Prompt.of(x, y)), np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-12)


def test_minimum_norm_of_low_rank():
    """Two equal columns share their weight, as in LAPACK."""
    x, y = draw()
    x[:, 1] = x[:, 0]
    w = np.asarray(minimum_norm(Prompt.of(x, y)))
    np.testing.assert_allclose(w, np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-12)
    np.testing.assert_allclose(w[0], w[1], atol=1e-12)


def test_gradient_descent_converges_to_the_minimum_norm():
    """Of all w that fit X w = y, gradient descent from zero finds the shortest."""
    x, y = draw(3, 8)
    prompt = Prompt.of(x, y)
    last = unroll(gradient_descent(3.0 / np.linalg.norm(x, ord=2) ** 2), prompt, 5000, keep="last")
    np.testing.assert_allclose(last, minimum_norm(prompt), atol=1e-12)


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_ridge_is_scikit_learns(n, d, penalty):
    """ridge(penalty) is scikit-learn's Ridge(alpha = n * penalty)."""
    x, y = draw(n, d)
    expected = Ridge(alpha=n * penalty, fit_intercept=False, solver="svd").fit(x, y).coef_
    np.testing.assert_allclose(ridge(Prompt.of(x, y), penalty), expected, rtol=1e-9, atol=1e-12)


def test_ridge_is_bayes():
    """For w ~ N(0, I) and noise s^2, ridge at s^2 / n is E[w | y], from the joint Gaussian law of w and y."""
    x, y = draw()
    covariance = np.block([[np.eye(D), x.T], [x, x @ x.T + NOISE**2 * np.eye(N)]])
    precision = np.linalg.inv(covariance)
    mean = -np.linalg.solve(precision[:D, :D], precision[:D, D:] @ y)
    np.testing.assert_allclose(ridge(Prompt.of(x, y), NOISE**2 / N), mean, atol=1e-12)
    np.testing.assert_allclose(lmmse(Prompt.of(x, y), jnp.eye(D), NOISE**2), mean, atol=1e-4)


def estimator(x, covariance, noise_variance):
    """lmmse as a matrix K, w_hat = K y."""
    columns = jax.vmap(lambda label: lmmse(Prompt.of(x, label), covariance, noise_variance))(jnp.eye(len(x)))
    return np.asarray(columns).T


def expected_error(k, x, covariance, noise_variance):
    """E |K y - w|^2 for y = X w + noise: trace((I - K X) C (I - K X)') + s^2 |K|_F^2."""
    bias = np.eye(x.shape[1]) - k @ x
    return np.trace(bias @ covariance @ bias.T) + noise_variance * np.sum(k**2)


def jitter(x, covariance):
    """The relative 10^-6 of the mean diagonal that lmmse adds to the noise."""
    return 1e-6 * np.trace(x @ covariance @ x.T) / len(x)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_lmmse_closed_form(n, d):
    """C X' (X C X' + s^2 I)^-1 y is (C^-1 + X'X / s^2)^-1 X'y / s^2, with the jitter as part of the noise."""
    x, y = draw(n, d)
    spread = np.random.default_rng(1).normal(size=(d, d))
    covariance = spread @ spread.T / d
    variance = NOISE**2 + jitter(x, covariance)
    expected = np.linalg.solve(np.linalg.inv(covariance) + x.T @ x / variance, x.T @ y / variance)
    np.testing.assert_allclose(lmmse(Prompt.of(x, y), jnp.asarray(covariance), NOISE**2), expected, rtol=1e-8, atol=1e-10)


def test_lmmse_has_the_least_error():
    """Its exact expected error is the Bayes error trace(C) - trace(K X C) to a relative 10^-6."""
    x, _ = draw()
    covariance = np.asarray(COVARIANCE)
    cross = covariance @ x.T
    best = np.trace(covariance - cross @ np.linalg.solve(x @ cross + NOISE**2 * np.eye(N), cross.T))
    error = expected_error(estimator(x, COVARIANCE, NOISE**2), x, covariance, NOISE**2)
    assert best * (1.0 - 1e-12) <= error <= best * (1.0 + 1e-6)


X, _ = draw()
K = estimator(X, COVARIANCE, NOISE**2)
VARIANCE = NOISE**2 + jitter(X, np.asarray(COVARIANCE))


@given(seed=st.integers(0, 2**31 - 1), size=st.floats(1e-6, 10.0))
def test_no_linear_estimate_does_better(seed, size):
    """E |K'y - w|^2 >= E |K y - w|^2 for every other matrix K', by exactly its distance in the metric of Cov(y)."""
    step = size * np.random.default_rng(seed).normal(size=K.shape)
    labels = X @ np.asarray(COVARIANCE) @ X.T + VARIANCE * np.eye(N)
    least, other = (expected_error(k, X, np.asarray(COVARIANCE), VARIANCE) for k in (K, K + step))
    assert other >= least
    np.testing.assert_allclose(other - least, np.trace(step @ labels @ step.T), rtol=1e-9, atol=1e-12)


def test_the_error_is_orthogonal_to_the_labels():
    """E (w_hat - w) y' = 0: what is left cannot be told from the labels linearly."""
    labels = X @ np.asarray(COVARIANCE) @ X.T + VARIANCE * np.eye(N)
    np.testing.assert_allclose(K @ labels - np.asarray(COVARIANCE) @ X.T, 0.0, atol=1e-12)


def test_the_least_error_is_met_by_draws():
    """Over many w ~ N(0, C) and noises, the mean squared error of lmmse is its exact expectation."""
    rng = np.random.default_rng(2)
    w = rng.normal(size=(20_000, D)) @ np.linalg.cholesky(np.asarray(COVARIANCE)).T
    y = w @ X.T + NOISE * rng.normal(size=(20_000, N))
    estimates = jax.vmap(lambda labels: lmmse(Prompt.of(X, labels), COVARIANCE, NOISE**2))(y)
    errors = np.sum((np.asarray(estimates) - w) ** 2, axis=1)
    exact = expected_error(K, X, np.asarray(COVARIANCE), NOISE**2)
    assert abs(np.mean(errors) - exact) <= 4.0 * np.std(errors) / np.sqrt(len(errors))


def test_noiseless_labels_are_fitted():
    """Without noise and with fewer examples than features the labels are fitted to the relative 10^-6 of the jitter."""
    x, y = draw(4, 9)
    w = np.asarray(lmmse(Prompt.of(x, y), jnp.eye(9), 0.0))
    np.testing.assert_allclose(x @ w, y, atol=1e-4)
    np.testing.assert_allclose(w, minimum_norm(Prompt.of(x, y)), atol=1e-4)
