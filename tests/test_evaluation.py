"""Errors of many tasks are those of a plain loop, in any chunks; a curve is a ratio of means, with an honest interval."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.checks import InputError
from jaxl2o.evaluation.curves import QUANTILES, curve, squared_errors
from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.solvers.first_order import gradient_descent
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Instance, Prompt, Task

COUNT, STEPS, KEY = 7, 3, jax.random.key(1)


def sample(key):
    """A linear problem of five examples and two queries."""
    rows = jax.random.normal(key, (8, 4))
    x, query, beta = rows[:5], rows[5:7], rows[7]
    return Instance(Prompt(x, x @ beta, query, jnp.ones(5, dtype=bool)), query @ beta, beta)


TASK = Task(sample, least_squares, linear_prediction)


def descent(prompt):
    """The answers of gradient descent after 0..3 steps."""
    return unroll(gradient_descent(0.3), prompt, STEPS) @ prompt.x_query.T


def half(prompt):
    """A method that answers 1/2, after 0 steps."""
    return jnp.full((1, prompt.x_query.shape[0]), 0.5)


@pytest.fixture(scope="module")
def measured():
    """All errors and sizes, in one chunk."""
    return jax.jit(partial(squared_errors, descent, TASK, count=COUNT))(KEY)


def test_errors_are_those_of_a_plain_loop(measured):
    """Task i is the i-th of split(key, count); its error is the mean square over queries, its size that of predicting zero."""
    errors, sizes = measured
    assert errors.shape == (COUNT, STEPS + 1)
    draw, answer = jax.jit(TASK.sample), jax.jit(descent)
    for i, key in enumerate(jax.random.split(KEY, COUNT)):
        instance = draw(key)
        answers, labels = np.asarray(answer(instance.prompt)), np.asarray(instance.y_query)
        for t in range(STEPS + 1):
            np.testing.assert_allclose(errors[i, t], np.mean((answers[t] - labels) ** 2), rtol=1e-12)
        np.testing.assert_allclose(sizes[i], np.mean(labels**2), rtol=1e-12)
    np.testing.assert_allclose(errors[:, 0], sizes, rtol=1e-12)  # after no step the answer is zero


@pytest.mark.parametrize("chunk", [2, COUNT])
def test_chunks_do_not_matter(measured, chunk):
    """Whether tasks are taken at once, in chunks that fit or in chunks that leave a rest, the errors are the same."""
    errors, sizes = jax.jit(partial(squared_errors, descent, TASK, count=COUNT, chunk=chunk))(KEY)
    np.testing.assert_allclose(errors, measured[0], rtol=1e-12)
    np.testing.assert_allclose(sizes, measured[1], rtol=1e-12)


def test_two_methods_see_the_same_tasks(measured):
    """The same key gives every method the same sizes, bit for bit; another key gives others."""
    other = jax.jit(partial(squared_errors, half, TASK, count=COUNT))
    np.testing.assert_array_equal(other(KEY)[1], measured[1])
    assert not np.any(np.asarray(other(jax.random.key(2))[1]) == np.asarray(measured[1]))


@pytest.mark.parametrize("count", [0, -3])
def test_a_curve_needs_a_task(count):
    """count < 1 is refused."""
    with pytest.raises(InputError, match=f"count is {count}"):
        squared_errors(descent, TASK, KEY, count)


@given(
    errors=st.lists(st.floats(0.0, 1e3, width=32, allow_subnormal=False), min_size=12, max_size=12).map(
        lambda values: np.array(values).reshape(6, 2)
    ),
    sizes=st.lists(st.floats(0.1, 10.0), min_size=6, max_size=6).map(np.array),
)
def test_a_curve_is_a_ratio_of_means(errors, sizes):
    """Mean, quantiles and maximum are NumPy's, of errors over the mean size; a ratio of sums lies within the ratios."""
    found = curve(jnp.asarray(errors), jnp.asarray(sizes), resamples=50)
    relative = errors / np.mean(sizes)
    np.testing.assert_allclose(found.mean, errors.mean(axis=0) / sizes.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.quantiles, [np.quantile(relative, q, axis=0) for q in QUANTILES], rtol=1e-12)
    np.testing.assert_allclose(found.largest, relative.max(axis=0), rtol=1e-12)
    assert found.n_tasks == 6
    ratios = errors / sizes[:, None]
    slack = 1e-12 * (1.0 + ratios.max(axis=0))
    assert np.all(ratios.min(axis=0) - slack <= found.low)
    assert np.all(found.low <= found.high)
    assert np.all(found.high <= ratios.max(axis=0) + slack)


def test_a_curve_of_float32_is_summed_in_float64():
    """Errors in float32 are averaged in float64: many equal numbers have exactly that mean."""
    count = 100_000
    found = curve(jnp.full((count, 1), 0.1, dtype=jnp.float32), jnp.ones(count, dtype=jnp.float32), resamples=2)
    np.testing.assert_allclose(found.mean, np.float64(np.float32(0.1)), rtol=1e-12)


def test_the_interval_covers_the_true_mean():
    """Over 400 draws of 60 exponential errors of mean 1, the 95 % interval contains 1 in 88 to 98 % of them."""
    rng = np.random.default_rng(0)
    drawn = rng.exponential(size=(60, 400))
    found = curve(jnp.asarray(drawn), jnp.ones(60))
    covered = np.mean((found.low <= 1.0) & (found.high >= 1.0))
    assert 0.88 <= covered <= 0.98
    np.testing.assert_allclose(np.mean(found.high - found.low), 2 * 1.96 / np.sqrt(60), rtol=0.1)


def test_the_interval_is_reproducible():
    """The same seed gives the same interval, another seed another; of equal errors it is a point."""
    errors, sizes = jnp.asarray(np.random.default_rng(1).exponential(size=(40, 2))), jnp.ones(40)
    first, again, other = curve(errors, sizes), curve(errors, sizes), curve(errors, sizes, seed=1)
    np.testing.assert_array_equal(first.low, again.low)
    assert np.all(first.low != other.low)
    same = curve(jnp.full((40, 2), 3.0), sizes)
    np.testing.assert_allclose([same.low, same.high], 3.0, rtol=1e-12)


def test_the_interval_is_that_of_a_ratio():
    """Errors that are half the size in every task have a relative error of 1/2 without any uncertainty."""
    sizes = np.exp(np.random.default_rng(0).normal(size=50))
    found = curve(jnp.asarray(0.5 * sizes[:, None]), jnp.asarray(sizes), resamples=50)
    np.testing.assert_allclose([found.low[0], found.mean[0], found.high[0]], 0.5, rtol=1e-12)
