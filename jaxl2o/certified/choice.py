"""Choosing the penalty by K-fold cross-validation: all folds at once, each along the penalties."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.certified.descent import Descent
from jaxl2o.certified.intercept import centred
from jaxl2o.certified.lasso import Certified, check_run
from jaxl2o.certified.method import Method
from jaxl2o.certified.paths import GRID, Path, certified_path, check_penalties
from jaxl2o.certified.problem import Fraction, largest, problem, widened
from jaxl2o.types import ScalarLike


class Split(NamedTuple):
    """How much every example counts in what each fold is fitted to, and in what it is tested on."""

    train: Float[Array, "folds n"]
    test: Float[Array, "folds n"]


class CrossValidation(NamedTuple):
    """What `lasso_cv` found.

    penalties: (k,), descending, in scaling "mean".  errors: the mean squared error of every fold on what it was not fitted
    to.  mean, standard_error: over folds.  converged: whether the folds' fits are certified to the tolerance.  minimum,
    one_standard_error: the index that each rule chooses.  chosen: that of the rule asked.  path, intercepts: the fits to
    all data, at every penalty.
    """

    penalties: Float[Array, " k"]
    errors: Float[Array, "k folds"]
    mean: Float[Array, " k"]
    standard_error: Float[Array, " k"]
    converged: Bool[Array, "k folds"]
    minimum: Int[Array, ""]
    one_standard_error: Int[Array, ""]
    chosen: Int[Array, ""]
    path: Path
    intercepts: Float[Array, " k"]

    @property
    def answer(self) -> Certified:
        """The fit to all data at the chosen penalty."""
        path, at = self.path, self.chosen
        return Certified(path.solutions[at], path.gaps[at], path.converged[at], path.steps[at], None)

    @property
    def intercept(self) -> Any:
        """Its intercept, zero if none was asked."""
        return self.intercepts[self.chosen]


def lasso_cv(
    x: Any,
    y: Any,
    penalties: Any = GRID,
    folds: Any = 5,
    *,
    rule: str = "minimum",
    intercept: bool = False,
    sample_weight: Any = None,
    weights: Any = None,
    nonnegative: bool = False,
    method: Method | None = None,
    tolerance: ScalarLike = 1e-8,
    max_steps: int = 100_000,
) -> CrossValidation:
    """The penalty of `lasso`, in scaling "mean", by K-fold cross-validation, and the answer at it on all data.

    x: (n, d); y: (n,).  penalties: (k,), > 0, or `Fraction` of shares (k,) of the smallest penalty whose answer on all data
    is zero; 100 shares from 1 to 1e-3 in geometric steps by default.  folds: a number of folds, which are then contiguous and
    of n // K or one more examples; or for every example the number 0..K-1 of the fold that tests it (permute them, to
    shuffle); or a `Split`.  rule: "minimum", or "one_standard_error" for the largest penalty of a mean error no more than
    the least one plus its standard error (Breiman et al. 1984), std(errors, ddof=1) / sqrt(K).  intercept: fit one, each
    fold by its own means.  sample_weight: (n,), >= 0, how much each example counts.  The others are those of `lasso`.

    The folds and all data are solved at once, along the penalties from the largest on, every fit started from the one
    before it.
    Numbers are answered in float64, as NumPy arrays; traced (the folds apart, unless they are a `Split`) it is pure JAX.

    Raises `ValueError` for what `lasso` refuses, and for a fold that is fitted to nothing or tested on nothing.
    """
    checks.require(
        rule in ("minimum", "one_standard_error"), f"rule is {rule!r}; it must be 'minimum' or 'one_standard_error'."
    )
    checks.shape("x", x, (None, None))
    checks.shape("y", y, (np.shape(x)[0],))
    n, d = np.shape(x)
    sample_weight = np.ones(n) if sample_weight is None else sample_weight
    weights = np.ones(d) if weights is None else weights
    checks.shape("sample_weight", sample_weight, (n,))
    checks.nonnegative("sample_weight", sample_weight)
    check_penalties(penalties)
    split = folds if isinstance(folds, Split) else _split(folds, n)
    several = rule == "minimum" or np.shape(split.train)[0] > 1
    checks.require(several, "one fold has no standard error; give more folds, or choose by rule='minimum'.")
    _check(split, sample_weight)
    check_run(Descent() if method is None else method, tolerance, max_steps)
    options = (intercept, nonnegative, method, max_steps)
    given = (x, y, penalties, split, sample_weight, weights, tolerance, rule == "one_standard_error")
    if not checks.concrete(given):
        return _solve(*options, *given)
    with jax.enable_x64(True):
        problem(x, y, 1.0, weights=weights)  # refuses, by their names, what it would not see when traced
        given = [jax.tree.map(widened, part) if isinstance(part, Split) else widened(part) for part in given]
        return jax.tree.map(np.asarray, _compiled(*options, *given))


def _split(folds: Any, n: int) -> Split:
    """A number of folds as scikit-learn's KFold, or the number of the fold that tests each example, as a `Split`."""
    if np.ndim(folds) == 0:
        whole = isinstance(folds, int | np.integer) and bool(2 <= folds <= n)
        checks.require(whole, f"folds is {folds}, for {n} examples; it must be a whole number between 2 and theirs.")
        folds = np.repeat(np.arange(folds), n // folds + (np.arange(folds) < n % folds))
    checks.shape("folds", folds, (n,))
    test = np.arange(np.max(folds, initial=-1) + 1)[:, None] == np.asarray(folds)[None]
    checks.require(len(test) > 1 and bool(test.any(axis=0).all()), "folds must number the examples' folds from 0 on.")
    return Split((~test).astype(float), test.astype(float))  # pyright: ignore


def _check(split: Split, sample_weight: Any) -> None:
    """Refuse a fold without an example that counts, on either side."""
    for name, counts in (("fitted to", split.train), ("tested on", split.test)):
        checks.shape(f"what folds are {name}", counts, (None, np.shape(sample_weight)[0]))
        checks.nonnegative(f"what folds are {name}", counts)
        if checks.concrete((counts, sample_weight)):
            least = float(np.min(np.asarray(counts) @ np.asarray(sample_weight, dtype=float)))
            checks.require(least > 0.0, f"a fold is {name} no example that counts; give fewer folds, or other ones.")


def _solve(
    intercept: bool,
    nonnegative: bool,
    method: Method | None,
    max_steps: int,
    x: Any,
    y: Any,
    penalties: Any,
    split: Split,
    sample_weight: Any,
    weights: Any,
    tolerance: Any,
    late: Any,
) -> CrossValidation:
    """`lasso_cv` as a pure function, all being checked; late: whether the rule is "one_standard_error"."""
    x, y, split, sample_weight, weights = (
        jax.tree.map(partial(jnp.asarray, dtype=float), part) for part in (x, y, split, sample_weight, weights)
    )
    whole = centred(x, y, sample_weight, intercept)
    if isinstance(penalties, Fraction):
        penalties = penalties.of_largest * (largest(whole.x, whole.y, weights, nonnegative) / whole.total)
    penalties = jnp.sort(jnp.asarray(penalties, dtype=x.dtype), descending=True)

    def fold(train: Float[Array, " n"], test: Float[Array, " n"]) -> tuple[Path, Array, Array]:
        given, counts = centred(x, y, train * sample_weight, intercept), test * sample_weight
        made = problem(given.x, given.y, 1.0, weights=weights, nonnegative=nonnegative, n_used=given.total)
        path = certified_path(made, penalties, method, tolerance, max_steps)
        intercepts = given.intercept(path.solutions)
        error = x @ path.solutions.T + intercepts[None] - y[:, None]
        return path._replace(gaps=path.gaps / given.total), intercepts, counts @ error**2 / counts.sum()

    # all data are one more fold, so that one program solves everything
    every = jnp.ones((1, y.shape[0]), dtype=x.dtype)
    paths, intercepts, errors = jax.vmap(fold)(*(jnp.concatenate([part, every]) for part in split))
    errors, converged = errors[:-1].T, paths.converged[:-1].T
    mean, standard_error = errors.mean(axis=1), errors.std(axis=1, ddof=1) / jnp.sqrt(errors.shape[1])
    minimum = jnp.argmin(mean)
    one_standard_error = jnp.argmax(mean <= mean[minimum] + standard_error[minimum])
    chosen = jnp.where(late, one_standard_error, minimum)
    path = jax.tree.map(lambda leaf: leaf[-1], paths)
    return CrossValidation(
        penalties, errors, mean, standard_error, converged, minimum, one_standard_error, chosen, path, intercepts[-1]
    )


_compiled = jax.jit(_solve, static_argnums=(0, 1, 2, 3))
