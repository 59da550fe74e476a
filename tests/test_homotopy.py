"""The homotopy of the Lasso: piecewise linear, optimal everywhere, scikit-learn's breakpoints, certified where columns tie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import lars_path

from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.homotopy import Answers, Homotopy, homotopy, largest_level
from jaxl2o.certified.lasso import certified, lasso
from jaxl2o.certified.problem import Fraction, Problem

D, LEVELS = 12, 40
SHARES = np.geomspace(1.0, 1e-4, LEVELS)


def draw(n, seed=0):
    """X (n, d) and y, with three coefficients and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    return x, x[:, :3] @ np.array([1.0, -2.0, 0.5]) + 0.3 * rng.normal(size=n)


def form(x, y, weights=1.0, nonnegative=False, ridge=0.0):
    """The problem whose level t has the penalties t * weights."""
    above = jnp.full(x.shape[1], weights) if np.ndim(weights) == 0 else jnp.asarray(weights)
    below = jnp.full_like(above, jnp.inf) if nonnegative else above
    return Problem(jnp.asarray(x), jnp.asarray(y), above, below, jnp.full(x.shape[1], ridge))


@jax.jit
def walk(given, levels):
    """Answers, breakpoints, and the relative gap of every answer."""
    answers = homotopy(given, levels)

    def gap(w, level):
        return duality_gap(given._replace(above=given.above * level, below=given.below * level), w).bound

    return answers, jax.vmap(gap)(answers.solutions, levels) / given.at_zero


def relative_gaps(given, shares=SHARES):
    """Those of the walk, at shares of the first breakpoint."""
    return np.asarray(walk(given, largest_level(given) * shares)[1])


WEIGHTS = np.linspace(0.5, 3.0, D)
FORMS = {
    "lasso": {},
    "weighted": {"weights": WEIGHTS},
    "nonnegative": {"nonnegative": True},
    "a column left out": {"weights": np.where(np.arange(D) == 1, np.inf, 1.0)},
    "elastic net": {"ridge": 2.0},
    "all of it": {"weights": WEIGHTS, "nonnegative": True, "ridge": 0.5},
}


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("n", [30, 7])
def test_every_form_is_certified_to_rounding(n, options):
    """The relative gap is at most 1e-13 at forty levels, down to 1e-4 of the first breakpoint, for n > d and n < d."""
    given = form(*draw(n), **options)
    assert np.max(relative_gaps(given)) <= 1e-13
    solutions = walk(given, largest_level(given) * SHARES)[0].solutions
    assert np.any(solutions[-1] != 0.0)
    assert np.all(solutions[:, ~np.isfinite(np.asarray(given.above))] == 0.0)
    assert not options.get("nonnegative") or np.all(solutions >= 0.0)


@pytest.fixture(scope="module")
def lars():
    """X, y, and scikit-learn's breakpoints (in "half_sum") and the answers at them, of two data sets of one shape."""
    found = []
    for seed in (0, 5):
        x, y = draw(30, seed)
        alphas, _, solutions = lars_path(x, y, method="lasso")
        found.append((x, y, alphas * len(y), solutions.T))
    return found


def test_breakpoints_are_those_of_lars(lars):
    """At scikit-learn's breakpoints the answers are its own to 1e-12, and half-way between two the mean of both."""
    for x, y, levels, solutions in lars:
        given, bends = form(x, y), len(levels)
        middles = 0.5 * (levels[1:] + levels[:-1])
        asked = np.concatenate([levels, middles, np.full(2 * LEVELS - 2 * bends + 1, levels[0])])
        answers, _ = walk(given, jnp.asarray(asked))
        np.testing.assert_allclose(answers.solutions[:bends], solutions, atol=1e-12)
        means = 0.5 * (solutions[1:] + solutions[:-1])
        np.testing.assert_allclose(answers.solutions[bends : 2 * bends - 1], means, atol=1e-12)
        np.testing.assert_array_equal(answers.breakpoints[bends : 2 * bends - 1], np.arange(1, bends))


def test_stationary_at_every_breakpoint(lars):
    """X'(y - X w) is t sign(w) where w is not zero, and within [-t, t] elsewhere, to 1e-11 |X'y|, at every breakpoint."""
    for x, y, levels, _ in lars:
        padded = np.concatenate([levels, np.full(LEVELS - len(levels), levels[0])])
        solutions = np.asarray(walk(form(x, y), jnp.asarray(padded))[0].solutions)
        correlation = (y[None] - solutions @ x.T) @ x
        rounding = 1e-11 * levels[0]
        assert np.all(np.abs(correlation) <= padded[:, None] + rounding)
        off = np.abs(correlation - padded[:, None] * np.sign(solutions))
        assert np.all(off[np.abs(solutions) > 1e-10] <= rounding)


def test_the_order_of_levels_is_the_callers(lars):
    """Answers and breakpoints of shuffled levels are the shuffled ones, bit by bit."""
    x, y, levels, _ = lars[0]
    order = np.random.default_rng(1).permutation(LEVELS)
    straight, _ = walk(form(x, y), jnp.asarray(levels[0] * SHARES))
    shuffled, _ = walk(form(x, y), jnp.asarray(levels[0] * SHARES[order]))
    np.testing.assert_array_equal(shuffled.solutions, straight.solutions[order])
    np.testing.assert_array_equal(shuffled.breakpoints, straight.breakpoints[order])


def test_zero_from_the_first_breakpoint_on():
    """Levels from the largest on give exactly zero, before any breakpoint."""
    given = form(*draw(30))
    answers, _ = walk(given, largest_level(given) * jnp.linspace(1.0, 5.0, LEVELS))
    assert np.all(answers.solutions[1:] == 0.0)
    assert np.all(answers.breakpoints[1:] == 0)
    assert np.max(np.abs(answers.solutions[0])) <= 1e-15


def test_the_end_of_the_path_fits_exactly_where_it_can():
    """For n < d the residual falls to zero with the level, in proportion once n coordinates are active."""
    x, y = draw(7)
    given = form(x, y)
    levels = largest_level(given) * jnp.asarray(np.geomspace(1e-5, 1e-9, LEVELS))
    residuals = np.linalg.norm(y[None] - np.asarray(walk(given, levels)[0].solutions) @ x.T, axis=1)
    np.testing.assert_allclose(residuals / levels, residuals[0] / levels[0], rtol=1e-4)


def tied(kind):
    """Data whose columns tie: duplicates, opposites and sums, random signs, integers, equal labels on an identity, zeros."""
    rng = np.random.default_rng(2)
    x, y = draw(12)
    if kind == "duplicates":
        x[:, 4:8], x[:, 8:10], x[:, 10:] = x[:, :4], -x[:, :2], x[:, :2] + x[:, 2:4]
    elif kind == "signs":
        x = np.sign(rng.normal(size=x.shape))
        y = x[:, :3] @ np.array([1.0, 1.0, -1.0])
    elif kind == "integers":
        x, y = rng.integers(-2, 3, size=x.shape).astype(float), rng.integers(-3, 4, size=12).astype(float)
    elif kind == "identity":
        x, y = np.eye(D), np.ones(D)
    elif kind == "one example":
        x, y = x * (np.arange(12) < 1)[:, None], y * (np.arange(12) < 1)
    elif kind == "zeros":
        x[:, ::2] = 0.0
    return x, y


@pytest.mark.parametrize("kind", ["duplicates", "signs", "integers", "identity", "one example", "zeros"])
def test_ties_end_and_are_optimal(kind):
    """Where columns tie or depend on each other the walk ends, and its answers have relative gaps of at most 1e-13."""
    given = form(*tied(kind))
    assert np.max(relative_gaps(given)) <= 1e-13
    assert walk(given, largest_level(given) * SHARES)[0].breakpoints.max() < 20 * D


def test_what_rounding_spoils_is_told():
    """Columns that differ by 1e-7: where the walk misses 1e-10, the finish goes on and tells how far it came."""
    rng = np.random.default_rng(3)
    x, y = draw(30)
    x[:, 6:] = x[:, :6] + 1e-7 * rng.normal(size=(30, 6))
    given = form(x, y)
    levels = largest_level(given) * SHARES
    answers, gaps = walk(given, levels)
    missed = np.flatnonzero(gaps > 1e-10)
    assert 0 < len(missed) < LEVELS

    @jax.jit
    def solve(level):
        one = given._replace(above=level * given.above, below=level * given.below)
        return certified(one, Homotopy(), None, 1e-10, 100)

    for at in (0, missed[0], missed[-1]):
        one = given._replace(above=levels[at] * given.above, below=levels[at] * given.below)
        answer = solve(levels[at])
        assert answer.converged == (answer.gap <= 1e-10 * given.at_zero)
        assert (answer.steps > answers.breakpoints[at]) == (at in missed)
        assert one.objective(answer.solution) <= one.objective(answers.solutions[at]) * (1.0 + 1e-14)


def test_an_answer_that_is_off_is_finished(monkeypatch):
    """Were the walk wrong by .1 everywhere, or not a number, the method would still reach a relative gap of 1e-12."""
    x, y = draw(30)
    given = form(x, y, 0.05 * np.max(np.abs(x.T @ y)))
    exact = certified(given, Homotopy(), None, 1e-12)
    for error in (0.1, np.nan):
        wrong = Answers(jnp.asarray(exact.solution + error)[None], jnp.zeros(1, dtype=int))
        monkeypatch.setattr("jaxl2o.certified.homotopy.homotopy", lambda problem, levels, wrong=wrong: wrong)
        answer = certified(given, Homotopy(), None, 1e-12)
        assert answer.converged
        assert answer.steps > 0
        np.testing.assert_allclose(answer.solution, exact.solution, atol=1e-6)


def test_homotopy_is_a_method_of_lasso():
    """lasso(method=Homotopy()) is the path at that penalty; its steps are the breakpoints; y = 0 and n = 0 give zero."""
    x, y = draw(30)
    given = form(x, y)
    answer = lasso(x, y, Fraction(0.05), method=Homotopy(), tolerance=1e-12)
    answers, _ = walk(given, jnp.full(LEVELS, 0.05) * largest_level(given))
    np.testing.assert_allclose(answer.solution, answers.solutions[0], atol=1e-13)
    assert answer.converged
    assert answer.steps == answers.breakpoints[0] > 2
    for rows, labels in ((x, 0.0 * y), (x[:0], y[:0])):
        answer = lasso(rows, labels, 0.1, method=Homotopy())
        assert np.all(answer.solution == 0.0)
        assert answer.converged
        assert answer.steps == 0


def test_too_many_columns_are_refused(refused):
    """The walk is for up to 64 columns."""
    refused(lambda: lasso(np.zeros((3, 65)), np.ones(3), 0.1, method=Homotopy()), ["d <= 64", "got 65", "Descent()"])
