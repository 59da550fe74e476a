"""Coordinate descent with working sets: scikit-learn's objective, whatever the set's size, and screening that is safe."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.descent import Descent, Part, descend
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import Problem
from jaxl2o.certified.working_set import excluded

N, D = 20, 40


def data(seed=0, correlated=0.0):
    """X (N, D), neighbouring columns correlated as much as that, and y of five coefficients and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    for j in range(1, D):
        x[:, j] = correlated * x[:, j - 1] + np.sqrt(1.0 - correlated**2) * x[:, j]
    return x, x[:, ::8] @ rng.normal(size=5) + 0.1 * rng.normal(size=N)


def problem(x, y, fraction, below=None, ridge=0.0):
    """The Lasso at that share of its largest penalty."""
    above = np.full(x.shape[1], fraction * np.max(np.abs(x.T @ y)))
    return Problem(*map(jnp.asarray, (x, y, above, above if below is None else below, np.full(x.shape[1], ridge))))


@functools.partial(jax.jit, static_argnums=1, static_argnames="history")
def solve(problem, method, tolerance, start=None, history=0):
    """The certified answer, compiled once for every shape and method."""
    return certified(problem, method, start, tolerance, 100_000, history)


SMALL, LARGE = Descent(12), Descent(64)


@pytest.mark.parametrize("method", [SMALL, LARGE])
@pytest.mark.parametrize(("fraction", "correlated"), [(0.5, 0.0), (0.1, 0.9), (0.001, 0.0)])
def test_the_objective_is_scikit_learns(method, fraction, correlated):
    """P(w) is scikit-learn's to 1e-10 P(0), also where more are non-zero than the working set holds."""
    x, y = data(correlated=correlated)
    lasso = problem(x, y, fraction)
    answer = solve(lasso, method, 1e-11)
    reference = Lasso(alpha=float(lasso.above[0]) / N, fit_intercept=False, tol=1e-13, max_iter=1_000_000).fit(x, y).coef_
    assert answer.converged
    assert abs(lasso.objective(answer.solution) - lasso.objective(jnp.asarray(reference))) <= 1e-10 * lasso.at_zero
    assert fraction > 0.001 or np.sum(answer.solution != 0.0) > SMALL.size


def odd():
    """Problems with a corner each: duplicates and zeros among the columns, w >= 0, columns left out, an elastic net."""
    x, y = data()
    twice = np.concatenate([x[:, :20], x[:, :20]], axis=1) * (np.arange(D) != 3)
    penalty = problem(x, y, 0.05)
    yield problem(twice, y, 0.05)
    yield penalty._replace(below=jnp.full(D, jnp.inf))
    left = jnp.where(jnp.arange(D) % 3 == 0, jnp.inf, penalty.above)
    yield penalty._replace(above=left, below=left)
    yield problem(x, y, 0.05, ridge=3.0)
    yield problem(x, y, 1.5)


@pytest.mark.parametrize("case", range(5))
def test_corners_converge(case):
    """To 1e-12 P(0), with w >= 0 where that is asked, zero where a column is left out and above the largest penalty."""
    lasso = list(odd())[case]
    answer = solve(lasso, SMALL, 1e-12)
    assert answer.converged
    assert np.all(answer.solution[np.isinf(lasso.below)] >= 0.0)
    assert np.all(answer.solution[np.isinf(lasso.above)] == 0.0)
    assert (answer.steps == 0) == (case == 4)


@pytest.mark.parametrize("shape", [(1, 40), (20, 1), (0, 3)])
def test_thin_problems(shape):
    """One example, one feature, no examples."""
    x, y = data()
    x, y = x[: shape[0], : shape[1]], y[: shape[0]]
    lasso = problem(x, y, 0.1) if shape[0] else Problem(*map(jnp.asarray, (x, y, *np.ones((2, 3)), np.zeros(3))))
    assert solve(lasso, SMALL, 1e-12).converged


@pytest.mark.parametrize("method", [SMALL, LARGE])
def test_the_rounds_end_where_rounding_begins(method):
    """At tolerance zero they end of themselves, with a gap of 1e-12 P(0) or less."""
    lasso = problem(*data(), 0.05)
    answer = solve(lasso, method, 0.0)
    assert answer.steps < 100_000
    assert answer.gap <= 1e-12 * lasso.at_zero


@given(seed=st.integers(0, 2**31 - 1), exponent=st.floats(-6.0, 0.0))
def test_screening_is_safe(seed, exponent):
    """No feature that the gap excludes, at any w, is non-zero at the answer; near the answer most of the others are."""
    lasso = problem(*data(seed), 0.2)
    best = solve(lasso, LARGE, 1e-14).solution
    w = best + 10.0**exponent * np.random.default_rng(seed).normal(size=D)

    def out(w):
        return excluded(lasso, w, duality_gap(lasso, w), jnp.sum(lasso.x**2, axis=0) + lasso.ridge)

    assert not np.any(out(w) & (best != 0.0))
    assert np.sum(out(best)) >= D // 2


def test_epochs_never_raise_the_objective():
    """P falls with every epoch through all coordinates."""
    lasso = problem(*data(), 0.01)
    zero = jnp.zeros(D)
    part = Part(lasso.x.T @ lasso.x, zero, lasso.correlation(zero), 2.0 * lasso.at_zero, lasso.above, lasso.below)
    run = jax.jit(lambda most: descend(part, jnp.zeros(()), most))
    answers = [run(jnp.asarray(most)) for most in range(1, 20)]
    assert [int(epochs) for _, epochs in answers] == list(range(1, 20))
    values = np.array([lasso.at_zero, *(lasso.objective(w) for w, _ in answers)])
    assert np.all(np.diff(values) <= 1e-14 * values[0])
    assert values[-1] < 0.1 * values[0]


def test_lanes_are_single_runs():
    """vmap over problems, or over labels of one X with its products shared, gives each its own answer and steps."""
    x, _ = data()
    labels = np.stack([data(seed)[1] for seed in range(3)])
    problems = [problem(x, y, fraction) for y, fraction in zip(labels, (0.5, 0.05, 0.01), strict=True)]
    singles = [solve(one, SMALL, 1e-10) for one in problems]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    axes = Problem(None, 0, 0, 0, 0)  # pyright: ignore[reportArgumentType]
    lanes = [jax.vmap(lambda one: solve(one, SMALL, 1e-10))(stacked)]
    lanes.append(jax.vmap(lambda one: solve(one, Descent(12, shared=True), 1e-10), in_axes=(axes,))(stacked._replace(x=x)))
    for many in lanes:
        assert np.all(many.converged)
        np.testing.assert_allclose(many.solution, np.stack([single.solution for single in singles]), atol=1e-4)
    np.testing.assert_array_equal(lanes[0].steps, [single.steps for single in singles])


def test_a_start_saves_epochs_and_history_has_every_round():
    """From the answer no epoch is needed; from zero the gaps seen begin at that of zero and end at the answer's."""
    lasso = problem(*data(), 0.1)
    cold = solve(lasso, SMALL, 1e-8, history=50)
    warm = solve(lasso, SMALL, 1e-7, start=cold.solution)
    assert warm.steps == 0 < cold.steps
    seen = cold.history[~np.isnan(cold.history)]
    np.testing.assert_allclose(seen[0], duality_gap(lasso, jnp.zeros(D)).bound, rtol=1e-10)
    assert 1e-8 * lasso.at_zero >= seen[-1] > 0.0
