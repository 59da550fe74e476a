"""Choosing the penalty: errors, criteria and choices are scikit-learn's, and the order of examples is nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LassoCV, LassoLarsIC, lars_path
from sklearn.model_selection import KFold

from jaxl2o.certified.choice import Split, lasso_cv
from jaxl2o.certified.criteria import information_criteria
from jaxl2o.certified.lasso import lasso
from jaxl2o.certified.problem import Fraction

TIGHT = {"tolerance": 1e-12, "max_steps": 1_000_000}
SHAPE, FOLDS = (23, 30), 4


def synthetic(n=SHAPE[0], d=SHAPE[1], seed=0):
    """X, y with means that are not zero, three coefficients and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + 0.5
    return x, 2.0 + x @ np.where(np.arange(d) < 3, 1.0, 0.0) + 0.5 * rng.normal(size=n)


X, Y = synthetic()
PENALTIES = np.geomspace(0.5, 0.02, 8)
NUMBERS = np.random.default_rng(1).permutation(np.arange(SHAPE[0]) % FOLDS)


@pytest.mark.parametrize(("intercept", "rows"), [(True, 442), (False, 103)])
def test_diabetes_is_scikit_learns(intercept, rows):
    """The errors, the grid, the penalty and the answer of contiguous folds are LassoCV's; no count is a multiple of 5."""
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:rows], y[:rows]
    theirs = LassoCV(alphas=12, eps=1e-2, fit_intercept=intercept, tol=1e-12, max_iter=1_000_000).fit(x, y)
    ours = lasso_cv(x, y, Fraction(np.geomspace(1.0, 1e-2, 12)), intercept=intercept, **TIGHT)
    np.testing.assert_allclose(ours.penalties, theirs.alphas_, rtol=1e-12)
    np.testing.assert_allclose(ours.errors, theirs.mse_path_, rtol=1e-7)
    np.testing.assert_allclose(ours.penalties[ours.minimum], theirs.alpha_, rtol=1e-12)
    np.testing.assert_allclose(ours.answer.solution, theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=1e-6)
    assert ours.converged.all()
    assert ours.answer.converged


def test_shuffled_folds_are_scikit_learns():
    """By fold numbers, on more features than examples: KFold(shuffle)'s own splits give the same errors."""
    splits = list(KFold(FOLDS, shuffle=True, random_state=0).split(X))
    numbers = np.empty(SHAPE[0], dtype=int)
    for fold, (_, test) in enumerate(splits):
        numbers[test] = fold
    theirs = LassoCV(alphas=PENALTIES, cv=splits, tol=1e-13, max_iter=1_000_000).fit(X, Y)
    ours = lasso_cv(X, Y, PENALTIES[::-1], numbers, intercept=True, tolerance=1e-13)
    np.testing.assert_array_equal(ours.penalties, theirs.alphas_)
    np.testing.assert_allclose(ours.errors, theirs.mse_path_, rtol=1e-5)
    assert ours.penalties[ours.minimum] == theirs.alpha_


def test_the_one_standard_error_rule_by_hand():
    """The largest penalty whose mean error is at most min + std(ddof=1) / sqrt(K); it is not the minimum's, and is solved."""
    found = lasso_cv(X, Y, PENALTIES, NUMBERS, intercept=True, rule="one_standard_error", **TIGHT)
    mean = found.errors.mean(axis=1)
    error = np.sqrt(np.sum((found.errors - mean[:, None]) ** 2, axis=1) / (FOLDS - 1) / FOLDS)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-12)
    least = min(range(len(mean)), key=lambda i: mean[i])
    largest = max(p for p, m in zip(PENALTIES, mean, strict=True) if m <= mean[least] + error[least])
    assert found.minimum == least
    assert found.penalties[found.one_standard_error] == largest > found.penalties[found.minimum]
    alone = lasso(X - X.mean(axis=0), Y - Y.mean(), largest, tolerance=1e-12)
    np.testing.assert_allclose(found.answer.solution, alone.solution, atol=1e-6)
    np.testing.assert_allclose(found.intercept, Y.mean() - X.mean(axis=0) @ found.answer.solution, rtol=1e-12)


def test_the_order_of_examples_is_nothing():
    """Examples permuted together with their fold numbers give the same errors."""
    order = np.random.default_rng(2).permutation(SHAPE[0])
    one = lasso_cv(X, Y, PENALTIES, NUMBERS, intercept=True, **TIGHT)
    other = lasso_cv(X[order], Y[order], PENALTIES, NUMBERS[order], intercept=True, **TIGHT)
    np.testing.assert_allclose(one.errors, other.errors, rtol=1e-5)


def test_counts_are_repetitions():
    """An example that counts c times is c examples of the same fold, none if c = 0; a `Split` is what fold numbers make."""
    counts = np.random.default_rng(3).integers(0, 4, size=SHAPE[0])
    fewer = Fraction(np.array([0.5, 0.1, 0.05]))
    test = (np.arange(FOLDS)[:, None] == NUMBERS[None]).astype(float)
    weighted = lasso_cv(X, Y, fewer, Split(1.0 - test, test), intercept=True, sample_weight=counts, **TIGHT)
    many = np.repeat(np.arange(SHAPE[0]), counts)
    repeated = lasso_cv(X[many], Y[many], fewer, NUMBERS[many], intercept=True, **TIGHT)
    np.testing.assert_allclose(weighted.penalties, repeated.penalties, rtol=1e-12)
    np.testing.assert_allclose(weighted.errors, repeated.errors, rtol=1e-5)
    np.testing.assert_allclose(weighted.answer.solution, repeated.answer.solution, atol=1e-6)
    np.testing.assert_allclose(weighted.answer.gap, repeated.answer.gap, atol=1e-12)


def test_traced_and_by_many():
    """jit(vmap) over labels answers what the calls with numbers answer, and the errors' derivative is that of differences."""
    x, labels = X[:, :5], np.stack([Y, Y[::-1]])
    penalties = np.array([0.3, 0.1])

    def errors(y, scale=1.0):
        return lasso_cv(x, y, scale * jnp.asarray(penalties), 3, nonnegative=True, **TIGHT).errors

    many = jax.jit(jax.vmap(errors))(labels)
    for y, found in zip(labels, many, strict=True):
        np.testing.assert_allclose(found, lasso_cv(x, y, penalties, 3, nonnegative=True, **TIGHT).errors, rtol=1e-6)
    slope = jax.jit(jax.jacfwd(errors, argnums=1))(jnp.asarray(Y), 1.0)
    step = 1e-4
    near = [lasso_cv(x, Y, scale * penalties, 3, nonnegative=True, **TIGHT).errors for scale in (1.0 + step, 1.0 - step)]
    np.testing.assert_allclose(slope, (near[0] - near[1]) / (2.0 * step), rtol=1e-4, atol=1e-4)


def test_answers_are_float64_whatever_jax_is_set_to():
    """NumPy arrays in float64 come back, and a gap of 1e-12 is certified, where JAX is set to 32 bits."""
    with jax.enable_x64(False):
        found = lasso_cv(X, Y, PENALTIES, NUMBERS, intercept=True, **TIGHT)
        criteria = information_criteria(np.zeros((1, 5)), X[:, :5], Y)
    assert found.answer.converged
    assert all(isinstance(part, np.ndarray) for part in jax.tree.leaves((found, criteria)))
    assert {part.dtype for part in (found.errors, found.answer.solution, found.intercept, criteria.bic)} == {np.dtype("f8")}


@pytest.mark.parametrize("intercept", [True, False])
def test_criteria_are_scikit_learns(intercept):
    """AIC, BIC and the noise are those of LassoLarsIC at the knots of its own path; EBIC - BIC counts the supports."""
    x, y = load_diabetes(return_X_y=True)
    x = x + 0.01
    centre = (x - x.mean(axis=0), y - y.mean()) if intercept else (x, y)
    knots, _, path = lars_path(*centre, method="lasso")
    found = information_criteria(path.T, x, y, intercept=intercept)
    for name, values in (("aic", found.aic), ("bic", found.bic)):
        theirs = LassoLarsIC(criterion=name, fit_intercept=intercept).fit(x, y)
        np.testing.assert_allclose(theirs.alphas_, knots, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(values, theirs.criterion_, rtol=1e-10)
        np.testing.assert_allclose(found.noise_variance, theirs.noise_variance_, rtol=1e-10)
    binomials = [1, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1]
    expected = 2.0 * np.log([binomials[f] for f in found.degrees_of_freedom])
    np.testing.assert_allclose(found.ebic - found.bic, expected, atol=1e-9)


def test_criteria_with_known_noise():
    """With s^2 given n may be below d, and AIC = n log(2 pi s^2) + |X w - y|^2 / s^2 + 2 f for certified answers."""
    w = np.stack([lasso(X, Y, penalty).solution for penalty in (0.5, 0.1)])
    found = information_criteria(w, X, Y, noise_variance=0.25)
    freedom = np.sum(w != 0.0, axis=1)
    assert 0 < freedom[0] < freedom[1]
    np.testing.assert_array_equal(found.degrees_of_freedom, freedom)
    expected = len(Y) * np.log(0.5 * np.pi) + np.sum((w @ X.T - Y) ** 2, axis=1) / 0.25 + 2 * freedom
    np.testing.assert_allclose(found.aic, expected, rtol=1e-12)


HOLE = X.copy()
HOLE[0, 0] = np.nan
REFUSED = [
    (lambda: lasso_cv(X, Y, rule="median"), ("rule is 'median'", "one_standard_error")),
    (lambda: lasso_cv(X, Y, folds=1), ("folds is 1, for 23 examples", "between 2")),
    (lambda: lasso_cv(X, Y, folds=2.5), ("folds is 2.5", "whole number between 2")),
    (
        lambda: lasso_cv(X, Y, folds=Split(np.ones((1, 23)), np.ones((1, 23))), rule="one_standard_error"),
        ("one fold", "minimum"),
    ),
    (lambda: information_criteria(np.zeros((1, 9)), X[:, :9], 0.0 * Y), ("without an error", "noise_variance")),
    (lambda: lasso_cv(X, Y, folds=24), ("folds is 24, for 23 examples", "between 2")),
    (lambda: lasso_cv(X, Y, folds=NUMBERS + 1), ("a fold is tested on no example", "fewer folds")),
    (lambda: lasso_cv(X, Y, folds=NUMBERS - 1), ("number the examples' folds from 0",)),
    (lambda: lasso_cv(X, Y, folds=NUMBERS[:-1]), ("folds has shape (22,)", "(23,)")),
    (lambda: lasso_cv(X, Y, sample_weight=np.zeros(23)), ("a fold is fitted to no example", "fewer folds")),
    (lambda: lasso_cv(X, Y, sample_weight=-np.ones(23)), ("sample_weight is -1 at its smallest",)),
    (lambda: lasso_cv(X, Y, [0.1, 0.0]), ("penalties is 0 at its smallest", "greater than zero")),
    (lambda: lasso_cv(X, Y, []), ("penalties has no number", "at least one")),
    (lambda: lasso_cv(X, Y, 0.1), ("penalties has shape ()",)),
    (lambda: lasso_cv(HOLE, Y), ("x has 1 non-finite values",)),
    (lambda: lasso_cv(X, Y[:-1]), ("y has shape (22,)", "(23,)")),
    (lambda: information_criteria(np.zeros((1, 30)), X, Y), ("x has 23 rows", "more than 30", "noise_variance")),
    (lambda: information_criteria(np.zeros(30), X, Y), ("solutions has shape (30,)", "(any, 30)")),
    (lambda: information_criteria(np.zeros((1, 30)), X, Y, noise_variance=0.0), ("noise_variance is 0", "greater than zero")),
]


@pytest.mark.parametrize(("call", "parts"), REFUSED)
def test_bad_input_is_refused(call, parts, refused):
    """One sentence says what was given and what is needed."""
    refused(call, parts)
