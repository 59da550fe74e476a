"""The certified Lasso as scikit-learn's estimators: `Lasso`, `ElasticNet` and `LassoCV`, in pipelines and grid searches."""

import warnings
from typing import Any

import numpy as np

from jaxl2o import checks
from jaxl2o.certified.choice import Split, lasso_cv
from jaxl2o.certified.intercept import centred
from jaxl2o.certified.lasso import Certified, lasso
from jaxl2o.certified.problem import Fraction

try:
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import check_cv
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ModuleNotFoundError as missing:
    raise ImportError("jaxl2o.sklearn stands on scikit-learn; install it by: pip install 'jaxl2o[sklearn]'.") from missing


class _Linear(RegressorMixin, BaseEstimator):
    """x -> <x, coef_> + intercept_."""

    coef_: np.ndarray
    intercept_: float
    n_iter_: int
    dual_gap_: float

    def predict(self, X: Any) -> np.ndarray:
        """<x, coef_> + intercept_ for every row of X."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_ + self.intercept_

    def _given(self, X: Any, y: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X, y and how much every example counts, in float64, checked as scikit-learn does."""
        checks.require(not issparse(X), "X is sparse; these solvers multiply dense arrays, so give X.toarray().")
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        return X, y, _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)

    def _take(self, answer: Certified, gap: Any, intercept: Any, d: int) -> None:
        """Keep what an answer says of the first d features; warn if it is not as close as asked."""
        self.coef_, self.intercept_ = np.asarray(answer.solution[:d]), float(intercept)
        self.n_iter_, self.dual_gap_ = int(answer.steps), float(gap)
        if not answer.converged:
            sentence = f"the gap is {self.dual_gap_:.3g} after {self.n_iter_} sweeps; raise max_iter or tol."
            warnings.warn(sentence, ConvergenceWarning, stacklevel=3)


# constructors are without types: by scikit-learn's convention they take anything, and `fit` says what is wrong with it
class ElasticNet(_Linear):
    """Minimise 1/(2n) |X w + b - y|^2 + alpha l1_ratio |w|_1 + alpha (1 - l1_ratio)/2 |w|^2, with a certificate.

    alpha: > 0; at zero only an exact fit would have a certificate, and scikit-learn's LinearRegression is the right tool.
    l1_ratio: in (0, 1].  fit_intercept: b, or zero.  positive: w >= 0.  tol: the relative gap, that is the duality gap over
    the objective at w = 0; scikit-learn divides by twice that, so its tol is half as strict.  max_iter: the most sweeps
    through all features.

    coef_: (d,), and dual_gap_ >= the objective minus its minimum on the centred numbers, both in float64 whatever the dtype
    of X, as the gap is that of these numbers.  intercept_, n_iter_, n_features_in_, feature_names_in_: scikit-learn's;
    n_iter_ is zero where w = 0 is the answer. Where tol is not reached a `ConvergenceWarning` says how far it came.
    """

    def __init__(
        self,
        alpha=1.0,
        *,
        l1_ratio=0.5,
        fit_intercept=True,
        positive=False,
        tol=1e-4,
        max_iter=100_000,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ElasticNet":
        """w and b for X (n, d), y (n,) and how much every example counts, (n,) or one number for all.

        Raises `ValueError` for what `lasso` refuses, and scikit-learn's errors for sparse, complex or non-finite data.
        """
        return self._fit(X, y, sample_weight, self.l1_ratio)

    def _fit(self, X: Any, y: Any, sample_weight: Any, l1_ratio: float) -> Any:
        checks.require(self.alpha > 0.0, f"alpha is {self.alpha}; it must be greater than zero, or use LinearRegression.")
        checks.require(0.0 < l1_ratio <= 1.0, f"l1_ratio is {l1_ratio}; it must be above zero, or use Ridge, and at most 1.")
        X, y, counts = self._given(X, y, sample_weight)
        given = centred(X, y, counts, self.fit_intercept)
        rows, labels, _, weights = _padded(given.x, given.y, counts)
        strength = float(self.alpha * given.total)
        answer = lasso(
            rows,
            labels,
            strength * l1_ratio,
            ridge=strength * (1.0 - l1_ratio),
            weights=weights,
            nonnegative=self.positive,
            scaling="half_sum",
            tolerance=self.tol,
            max_steps=int(self.max_iter),
        )
        d = X.shape[1]
        self._take(answer, answer.gap / given.total, given.intercept(answer.solution[:d]), d)
        return self


class Lasso(ElasticNet):
    """Minimise 1/(2n) |X w + b - y|^2 + alpha |w|_1, with a certificate: `ElasticNet` of l1_ratio 1."""

    def __init__(
        self,
        alpha=1.0,
        *,
        fit_intercept=True,
        positive=False,
        tol=1e-4,
        max_iter=100_000,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Lasso":
        """w and b for X (n, d), y (n,) and how much every example counts, (n,) or one number for all."""
        return self._fit(X, y, sample_weight, 1.0)


class LassoCV(_Linear):
    """The `Lasso` whose alpha is chosen by cross-validation, all folds solved at once.

    eps, alphas: a number of alphas, in geometric steps from the smallest whose answer is zero to eps times that; or the
    alphas themselves, > 0.  cv: a number of folds, or any splitter or list of splits of scikit-learn; None is 5.  rule:
    "minimum", or "one_standard_error" for the largest alpha within one standard error of the least mean error.  The others
    are those of `Lasso`.

    alpha_: the one chosen.  alphas_: (k,), descending.  mse_path_: (k, folds), the mean squared errors.  coef_, intercept_,
    dual_gap_, n_iter_: of the fit to all data, which starts from that at the alpha before.
    """

    def __init__(
        self,
        *,
        eps=1e-3,
        alphas=100,
        fit_intercept=True,
        positive=False,
        tol=1e-4,
        max_iter=100_000,
        cv=None,
        rule="minimum",
    ):
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.cv: Any = cv
        self.rule = rule

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LassoCV":
        """alpha, w and b for X (n, d), y (n,) and how much every example counts, in fits and in errors."""
        X, y, counts = self._given(X, y, sample_weight)
        n, d = X.shape
        folds: Any = check_cv(self.cv)
        train, test = zip(*folds.split(X, y), strict=True)
        checks.require(0.0 < self.eps < 1.0, f"eps is {self.eps}; it must be between 0 and 1.")
        shares = np.geomspace(1.0, self.eps, self.alphas) if np.ndim(self.alphas) == 0 else None
        rows, labels, counts, weights = _padded(X, y, counts)
        found = lasso_cv(
            rows,
            labels,
            self.alphas if shares is None else Fraction(shares),
            Split(_counted(train, n, len(labels)), _counted(test, n, len(labels))),
            rule=self.rule,
            intercept=self.fit_intercept,
            sample_weight=counts,
            weights=weights,
            nonnegative=self.positive,
            tolerance=self.tol,
            max_steps=int(self.max_iter),
        )
        self.alphas_, self.mse_path_ = found.penalties, found.errors
        self.alpha_ = float(found.penalties[found.chosen])
        if not found.converged.all():
            sentence = f"{(~found.converged).sum()} fits of folds are not as close as tol; raise max_iter or tol."
            warnings.warn(sentence, ConvergenceWarning, stacklevel=2)
        self._take(found.answer, found.answer.gap, found.intercept, d)
        return self


def _counted(rows: Any, n: int, size: int) -> Any:
    """How often each of `size` examples is named, by index or mask among the first n, in every fold."""
    return np.stack([np.bincount(np.arange(n)[some], minlength=size) for some in rows]).astype(float)


def _padded(x: Any, y: Any, counts: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, y and counts with examples that do not count, and features that are left out by their weights, the fourth.

    Both sizes are rounded up to one of four in each octave, so that one compiled program serves many shapes.
    """
    n, d = x.shape
    below, right = _rounded(n, 32) - n, _rounded(d, 8) - d
    weights = np.pad(np.ones(d), (0, right), constant_values=np.inf)
    return np.pad(x, ((0, below), (0, right))), np.pad(y, (0, below)), np.pad(counts, (0, below)), weights


def _rounded(size: int, least: int) -> int:
    """The next multiple of a quarter of the power of two below, or of `least` where that is more."""
    step = max(least, 2 ** (size.bit_length() - 3))
    return -(-size // step) * step
