"""Every method by name: theorems are their solvers, and both are what others compute."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso, OrthogonalMatchingPursuit, Ridge

from jaxl2o.methods import METHODS, lasso_at
from jaxl2o.methods.method import RIDGE, SHARE
from jaxl2o.methods.theorems import THEOREMS
from jaxl2o.recover import recover
from jaxl2o.solvers.unroll import unroll

N, D = 12, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)) * RNG.uniform(0.5, 3.0, size=D)
Y = X @ np.array([1.5, 0.0, -2.0, 0.0, 0.1]) + 0.05 * RNG.normal(size=N)
# what has reached the least-squares answer after its last step, by name, and how near it is
LEAST_SQUARES = {
    "gradient_descent": 1e-9,
    "heavy_ball": 1e-12,
    "nesterov": 1e-5,
    "conjugate_gradient": 1e-10,
    "newton": 1e-10,
    "transformer_gradient_descent": 1e-4,
    "transformer_momentum": 1e-4,
    "transformer_nesterov": 1e-3,
    "transformer_gradient_descent_plus_plus": 1e-10,
    "transformer_conjugate_gradient": 1e-7,
    "transformer_newton": 1e-10,
}


def normalised(x, y):
    """Columns and labels of mean square one, and what they were divided by."""
    column, label = np.sqrt(np.mean(x**2, axis=0)), np.sqrt(np.mean(y**2))
    return x / column, y / label, label / column


@pytest.fixture(scope="module")
def answers():
    """What methods answer to X and Y, each asked once."""
    return {name: recover(X, Y, name) for name in METHODS if name.startswith("transformer_") or name in LEAST_SQUARES}


@pytest.mark.parametrize("name", THEOREMS)
def test_a_theorem_is_its_solver(name, answers):
    """The Transformer that a theorem fills answers what its solver does, step by step, in the same units."""
    theorem = THEOREMS[name]

    def by_solver(prompt):
        filled = theorem.construction(D)  # made while JAX traces, as its many operations would else be compiled one by one
        n_steps, _ = filled.at[-1]
        return unroll(filled.solver, prompt, n_steps, keep="last")

    expected = recover(X, Y, theorem.units(by_solver))
    np.testing.assert_allclose(answers[f"transformer_{name}"], expected, rtol=0.0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_least_squares(name, answers):
    """First-order methods, Newton's and their Transformers end at LAPACK's answer."""
    expected = np.linalg.lstsq(X, Y)[0]
    np.testing.assert_allclose(answers[name], expected, rtol=0.0, atol=LEAST_SQUARES[name] * np.abs(expected).max())


def test_ridge_is_scikit_learns(answers):
    """Ridge with a share of the largest eigenvalue of X'X / n, on normalised data: closed form and Transformer."""
    x, y, unit = normalised(X, Y)
    expected = Ridge(alpha=RIDGE * np.linalg.norm(x, 2) ** 2, fit_intercept=False).fit(x, y).coef_ * unit
    for found in (recover(X, Y, "ridge"), answers["transformer_ridge"]):
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9 * np.abs(expected).max())


def test_ista_ends_at_scikit_learns_lasso():
    """400 steps, on normalised data, with the penalty of the share."""
    x, y, unit = normalised(X, Y)
    alpha = SHARE * np.abs(x.T @ y).max() / N
    expected = Lasso(alpha=alpha, fit_intercept=False, tol=1e-13, max_iter=1_000_000).fit(x, y).coef_ * unit
    np.testing.assert_allclose(recover(X, Y, "ista"), expected, rtol=0.0, atol=1e-6 * np.abs(expected).max())


def test_lista_vm_is_ista_by_hand(answers):
    """With M = 2 I and a threshold of the share: 40 steps of size 2n / (2n + 1) where L = 1 and |X'y|_inf = n."""
    x, y, unit = normalised(X, Y)
    largest = np.linalg.norm(x, 2) ** 2 / N
    threshold, w = SHARE * np.abs(x.T @ y).max() / N / largest, np.zeros(D)
    for _ in range(40):
        u = w - 2.0 / (2 * N + 1) * x.T @ (x @ w - y) / largest
        w = np.sign(u) * np.maximum(np.abs(u) - threshold, 0.0)
    np.testing.assert_allclose(answers["transformer_lista_vm"], w * unit, rtol=0.0, atol=1e-12)


def test_matching_pursuit_is_scikit_learns():
    """Columns of mean square one, as many as half the rows."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(10, 20)) * rng.uniform(0.5, 3.0, size=20)
    y = x @ np.where(np.arange(20) % 7 == 0, 1.0, 0.0) + 0.1 * rng.normal(size=10)
    own_x, own_y, unit = normalised(x, y)
    expected = OrthogonalMatchingPursuit(n_nonzero_coefs=5, fit_intercept=False).fit(own_x, own_y).coef_ * unit
    np.testing.assert_allclose(recover(x, y, "matching_pursuit"), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "error"), [("message_passing", 1e-9), ("orthogonal_message_passing", 1e-3), ("in_context_alista", 0.1)]
)
def test_a_sparse_signal_is_found(name, error):
    """Without noise, from half as many rows of N(0, I) as columns."""
    rng = np.random.default_rng(2)
    x, beta = rng.normal(size=(60, 120)), np.where(np.arange(120) % 30 == 0, 1.0, 0.0)
    assert np.linalg.norm(recover(x, x @ beta, name) - beta) <= error * np.linalg.norm(beta)


def test_fista_has_its_rate():
    """After k steps from zero its objective is at most 2 L |w*|^2 / (k + 1)^2 above the least (Beck and Teboulle 2009)."""
    x, y, unit = normalised(X, Y)
    penalty = SHARE * np.abs(x.T @ y).max() / N

    def objective(w):
        return 0.5 * np.mean((x @ w - y) ** 2) + penalty * np.abs(w).sum()

    least = recover(X, Y, lasso_at(SHARE, tolerance=1e-12)) / unit
    excess = objective(recover(X, Y, "fista") / unit) - objective(least)
    assert excess <= 2.0 * np.linalg.norm(x, 2) ** 2 / N * (least @ least) / 401**2


@pytest.mark.parametrize("name", ["ista", "conjugate_gradient", "matching_pursuit", "transformer_gradient_descent_plus_plus"])
def test_nothing_to_recover(name):
    """Without rows, or with y = 0 or X = 0, the answer is exactly zero; one row and one column are enough to answer."""
    for x, y in ((np.zeros((0, D)), np.zeros(0)), (X, np.zeros(N)), (np.zeros((N, D)), Y)):
        assert np.all(recover(x, y, name) == 0.0)
    assert np.all(np.isfinite(recover(X[:1], Y[:1], name)))
    assert np.all(np.isfinite(recover(X[:, :1], Y, name)))
