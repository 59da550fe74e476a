"""The certified Lasso as scikit-learn's estimators: they pass its own checks, and answer what its own estimators answer."""

import importlib.util
import pickle
import sys
from importlib.util import find_spec

import jax
import numpy as np
import pytest
from scipy import sparse
from sklearn import linear_model
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from jaxl2o import sklearn as ours
from jaxl2o.certified.lasso import lasso

TABLE, LABELS = load_diabetes(return_X_y=True, scaled=False)
X, Y = (TABLE[:60] - TABLE.mean(axis=0)) / TABLE.std(axis=0), LABELS[:60]
TIGHT = {"tol": 1e-12, "max_iter": 1_000_000}
COUNTS = np.random.default_rng(0).integers(0, 4, size=len(Y))


# checks that scikit-learn leaves out where what they need is not there: SciPy's array API, which is off, and pandas
NEEDY = {"check_array_api_input"} | (
    set() if find_spec("pandas") else {"check_sample_weights_pandas_series", "check_regressor_data_not_an_array"}
)


@pytest.mark.parametrize("estimator", [ours.Lasso(), ours.ElasticNet(), ours.LassoCV()])
def test_scikit_learns_own_checks(estimator):
    """`check_estimator` passes whole, but for the checks that it does not run here."""
    results = check_estimator(estimator, on_skip=None)
    assert len(results) > 50
    assert {result["check_name"] for result in results if result["status"] != "passed"} == NEEDY
    assert all(result["status"] == "skipped" for result in results if result["check_name"] in NEEDY)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Lasso", {"alpha": 2.0}),
        ("Lasso", {"alpha": 2.0, "fit_intercept": False}),
        ("Lasso", {"alpha": 0.5, "positive": True}),
        ("ElasticNet", {"alpha": 0.5, "l1_ratio": 0.3}),
        ("ElasticNet", {"alpha": 1.0, "l1_ratio": 1.0, "positive": True}),
    ],
)
@pytest.mark.parametrize("weights", [None, COUNTS])
def test_coefficients_are_scikit_learns(name, options, weights):
    """Coefficients, intercept, predictions and score at the same options, with sample weights and without."""
    mine = getattr(ours, name)(**options, **TIGHT).fit(X, Y, weights)
    theirs = getattr(linear_model, name)(**options, **TIGHT).fit(X, Y, weights)
    np.testing.assert_allclose(mine.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(mine.intercept_, theirs.intercept_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X), rtol=1e-6)
    np.testing.assert_allclose(mine.score(X, Y), theirs.score(X, Y), rtol=1e-8)
    assert 0.0 <= mine.dual_gap_ <= 1e-12 * 0.5 * np.average(Y**2, weights=weights)


@pytest.mark.parametrize("weights", [None, COUNTS])
def test_cross_validation_is_scikit_learns(weights):
    """LassoCV's grid, errors, choice and coefficients, for a splitter of scikit-learn's."""
    options = {"alphas": 10, "eps": 1e-2, "cv": KFold(4, shuffle=True, random_state=0), **TIGHT}
    mine, theirs = (module.LassoCV(**options).fit(X, Y, weights) for module in (ours, linear_model))
    np.testing.assert_allclose(mine.alphas_, theirs.alphas_, rtol=1e-12)
    np.testing.assert_allclose(mine.mse_path_, theirs.mse_path_, rtol=1e-7)
    np.testing.assert_allclose(mine.alpha_, theirs.alpha_, rtol=1e-12)
    np.testing.assert_allclose(mine.coef_, theirs.coef_, atol=1e-5)


def test_one_standard_error_is_sparser():
    """The alpha of rule "one_standard_error" is the largest within one standard error of the least mean error."""
    mine = ours.LassoCV(alphas=10, eps=1e-2, cv=4, rule="one_standard_error").fit(X, Y)
    mean, error = mine.mse_path_.mean(axis=1), mine.mse_path_.std(axis=1, ddof=1) / 2.0
    least = np.argmin(mean)
    assert mine.alpha_ == mine.alphas_[mean <= mean[least] + error[least]].max() > mine.alphas_[least]


def test_weights_are_repeated_rows():
    """An integer weight is that many equal rows, zero is none, and one factor on all weights is nothing."""
    many = np.repeat(np.arange(len(Y)), COUNTS)
    repeated = ours.Lasso(1.0, **TIGHT).fit(X[many], Y[many])
    for factor in (1.0, 0.3):
        weighted = ours.Lasso(1.0, **TIGHT).fit(X, Y, factor * COUNTS)
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-5)
        np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-6)


def test_it_is_the_certified_lasso():
    """Without an intercept it is `lasso`: padding to other sizes changes neither answer nor, but for rounding, its gap."""
    mine = ours.Lasso(2.0, fit_intercept=False, tol=1e-6).fit(X, Y)
    answer = lasso(X, Y, 2.0, tolerance=1e-6)
    np.testing.assert_allclose(mine.coef_, answer.solution, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mine.dual_gap_, answer.gap, rtol=1e-3)
    assert mine.n_iter_ == answer.steps > 0


def test_in_a_pipeline_and_a_grid_search():
    """GridSearchCV over a pipeline finds scikit-learn's alpha; clones carry parameters alone, pickles the fit too."""
    grid = {"lasso__alpha": [0.3, 3.0, 30.0]}
    found = [
        GridSearchCV(make_pipeline(StandardScaler(), module.Lasso(tol=1e-10, max_iter=100_000)), grid, cv=3).fit(X, Y)
        for module in (ours, linear_model)
    ]
    assert found[0].best_params_ == found[1].best_params_
    np.testing.assert_allclose(*(search.cv_results_["mean_test_score"] for search in found), rtol=1e-4)
    best = found[0].best_estimator_[-1]
    assert not hasattr(clone(best), "coef_")
    assert clone(best).get_params() == best.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found[0])).predict(X), found[0].predict(X))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_answers_are_float64_whatever_jax_is_set_to(dtype):
    """Where JAX is set to 32 bits a gap of 1e-12 is reached, for the numbers as they are in any dtype."""
    x = np.round(10.0 * X).astype(dtype)
    with jax.enable_x64(False):
        mine = ours.Lasso(1.0, tol=1e-12).fit(x, Y.astype(dtype))
    assert mine.coef_.dtype == mine.predict(x).dtype == np.float64
    np.testing.assert_allclose(mine.coef_, ours.Lasso(1.0, tol=1e-12).fit(np.round(10.0 * X), Y).coef_, atol=1e-9)


def test_a_loose_answer_warns():
    """One sweep is not enough for 1e-12: the estimator says so, as scikit-learn's does, and keeps the gap that it has."""
    with pytest.warns(ConvergenceWarning, match="after 1 sweeps; raise max_iter or tol"):
        mine = ours.Lasso(0.1, tol=1e-12, max_iter=1).fit(X, Y)
    assert mine.n_iter_ == 1
    assert mine.dual_gap_ > 0.0
    with pytest.warns(ConvergenceWarning) as caught:
        ours.LassoCV(alphas=10, eps=1e-2, cv=4, tol=1e-17, max_iter=1).fit(X, Y)
    assert ["fits of folds" in str(warning.message) for warning in caught][:1] == [True]


REFUSED = [
    (lambda: ours.Lasso(0.0).fit(X, Y), ("alpha is 0.0", "LinearRegression")),
    (lambda: ours.Lasso(-1.0).fit(X, Y), ("alpha is -1.0", "greater than zero")),
    (lambda: ours.ElasticNet(l1_ratio=0.0).fit(X, Y), ("l1_ratio is 0.0", "Ridge")),
    (lambda: ours.LassoCV(alphas=[0.0, 1.0]).fit(X, Y), ("penalties is 0 at its smallest", "greater than zero")),
    (lambda: ours.LassoCV(rule="mean").fit(X, Y), ("rule is 'mean'", "one_standard_error")),
    (lambda: ours.Lasso().fit(sparse.csr_array(X), Y), ("X is sparse", "X.toarray()")),
]


@pytest.mark.parametrize(("call", "parts"), REFUSED)
def test_bad_input_is_refused(call, parts, refused):
    """One sentence says what was given and what is needed."""
    refused(call, parts)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    """The import fails in one sentence."""
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    specification = importlib.util.spec_from_file_location("alone", ours.__file__)
    with pytest.raises(
        ImportError, match=r"^jaxl2o.sklearn stands on scikit-learn; install it by: pip install 'jaxl2o\[sklearn\]'\.$"
    ):
        specification.loader.exec_module(importlib.util.module_from_spec(specification))
