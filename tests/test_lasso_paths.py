"""Paths of the certified Lasso: scikit-learn's answers at all penalties, and all prefixes of many prompts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso
from sklearn.linear_model import lasso_path as scikit_learn_path

from jaxl2o.certified.descent import Descent
from jaxl2o.certified.homotopy import Homotopy
from jaxl2o.certified.lasso import lasso
from jaxl2o.certified.paths import lasso_path, prefix_lassos
from jaxl2o.certified.problem import Fraction

METHODS = [Homotopy(), Descent()]
PENALTIES = np.array([0.02, 1.0, 0.005, 0.3, 0.1])
B, N, D = 3, 6, 5


@pytest.fixture(scope="module")
def diabetes():
    """The diabetes table, its columns and labels centred."""
    x, y = load_diabetes(return_X_y=True)
    return x - x.mean(axis=0), y - y.mean()


@pytest.fixture(scope="module")
def prompts():
    """Three prompts of six examples; the labels of the last begin with two zeros."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(B, N, D))
    y = x[..., 0] - 2.0 * x[..., 1] + 0.1 * rng.normal(size=(B, N))
    y[-1, :2] = 0.0
    return x, y


def test_the_path_of_the_diabetes_table_is_scikit_learns(diabetes):
    """The default grid and all its answers are those of scikit-learn's lasso_path (tol 1e-12), to 1e-8 of the largest."""
    x, y = diabetes
    alphas, reference, _ = scikit_learn_path(x, y, tol=1e-12, max_iter=1_000_000)
    path = lasso_path(x, y, method=Homotopy(), tolerance=1e-12)
    np.testing.assert_allclose(path.penalties, alphas, rtol=1e-12)
    np.testing.assert_allclose(path.solutions, reference.T, atol=1e-8 * np.max(np.abs(reference)))
    assert path.converged.all()
    assert np.all(np.diff(path.steps) >= 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_path_is_its_single_answers(prompts, method):
    """In any order, at absolute penalties, every answer is that of `lasso`, with its gap in the same unit."""
    x, y = prompts[0][0], prompts[1][0]
    path = lasso_path(x, y, PENALTIES, method=method, tolerance=1e-12)
    np.testing.assert_array_equal(path.penalties, PENALTIES)
    for i, penalty in enumerate(PENALTIES):
        single = lasso(x, y, penalty, tolerance=1e-12)
        np.testing.assert_allclose(path.solutions[i], single.solution, atol=1e-7)
        assert path.converged[i]
        assert path.gaps[i] <= 1e-12 * np.mean(y**2) / 2
    assert path.solutions.dtype == path.gaps.dtype == np.float64


def test_every_form_has_a_path(diabetes):
    """Weights, w >= 0 and a ridge in the "half_sum" scaling: the walk and descent agree, at shares of the largest penalty."""
    x, y = diabetes
    options = {"weights": np.linspace(0.5, 2.0, 10), "nonnegative": True, "ridge": 0.1, "scaling": "half_sum"}
    shares = np.array([0.5, 0.01, 1.0])
    walked, descended = (lasso_path(x, y, Fraction(shares), method=m, tolerance=1e-12, **options) for m in METHODS)
    scale = np.max(walked.solutions)
    np.testing.assert_allclose(walked.solutions, descended.solutions, atol=1e-5 * scale)
    np.testing.assert_allclose(walked.penalties, shares * np.max(x.T @ y / options["weights"]), rtol=1e-13)
    assert np.max(np.abs(walked.solutions[2])) <= 1e-13 * scale
    assert np.all(walked.solutions >= 0.0)
    assert walked.converged.all()


def test_labels_of_zero_give_a_path_of_zeros(diabetes):
    """y = 0: zero at every penalty, converged, without a step."""
    path = lasso_path(diabetes[0], 0.0 * diabetes[1], method=Homotopy(), tolerance=1e-12)
    assert np.all(path.solutions == 0.0)
    assert path.converged.all()
    assert np.all(path.steps == 0)


def test_prefixes_are_single_answers(prompts):
    """Every prefix at every penalty is scikit-learn's Lasso of its rows alone, n = 1 among them, certified; y = 0 gives 0."""
    x, y = prompts
    found = prefix_lassos(x, y, PENALTIES, tolerance=1e-12)
    assert found.solutions.shape == (B, N, len(PENALTIES), D)
    assert found.converged.all()
    for b, i, j in np.ndindex(B, N, len(PENALTIES)):
        rows, labels = x[b, : i + 1], y[b, : i + 1]
        solver = Lasso(alpha=PENALTIES[j], fit_intercept=False, tol=1e-12, max_iter=1_000_000)
        np.testing.assert_allclose(found.solutions[b, i, j], solver.fit(rows, labels).coef_, atol=1e-6)
        assert found.gaps[b, i, j] <= 1e-12 * np.mean(labels**2) / 2
    assert np.all(found.solutions[-1, :2] == 0.0)


def test_prefixes_can_be_traced(prompts):
    """Under jit the answers are those for numbers, in JAX arrays."""
    found = jax.jit(lambda x, y: prefix_lassos(x, y, PENALTIES, tolerance=1e-12))(*prompts)
    assert isinstance(found.solutions, jax.Array)
    np.testing.assert_allclose(found.solutions, prefix_lassos(*prompts, PENALTIES, tolerance=1e-12).solutions, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_a_path_is_differentiable(prompts, method):
    """d w / d penalties and d w / d y through a path are the central differences, also for w >= 0."""
    x, y = jnp.asarray(prompts[0][0]), jnp.asarray(prompts[1][0])

    def total(y, penalties):
        path = lasso_path(x, y, penalties, nonnegative=True, method=method, tolerance=1e-14)
        return jnp.sum(path.solutions @ jnp.arange(1.0, D + 1.0))

    value = jax.jit(total)
    penalties = jnp.array([0.1, 0.05])
    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(y, penalties)
    for at, slope in enumerate(slopes):
        step = 1e-4 * jnp.eye(slope.size)
        for k in range(slope.size):
            moved = [
                value(*((y + sign * step[k], penalties) if at == 0 else (y, penalties + sign * step[k]))) for sign in (1, -1)
            ]
            np.testing.assert_allclose(slope[k], (moved[0] - moved[1]) / 2e-4, atol=1e-4)


def test_bad_penalties_are_refused(prompts, refused):
    """A scalar, no number, and numbers not above zero are no penalties; the shapes of x and y must fit."""
    x, y = prompts
    refused(lambda: lasso_path(x[0], y[0], 0.1), ["penalties has shape ()", "(any,)"])
    refused(lambda: lasso_path(x[0], y[0], []), ["penalties has no number", "at least one"])
    refused(lambda: prefix_lassos(x, y, [0.1, 0.0]), ["penalties is 0 at its smallest", "greater than zero"])
    refused(lambda: prefix_lassos(x, y[:2], [0.1]), ["y has shape (2, 6)", "(3, 6)"])
