"""What is streamed is what NumPy finds in the array of all errors, and no memory grows with the number of tasks."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxl2o.evaluation.curves import QUANTILES, squared_errors
from jaxl2o.evaluation.streaming import RESOLUTION, streamed_curve, tally
from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.types import Instance, Predict, Prompt, Task

KEY, COUNT = jax.random.key(7), 1001
SHRINK = jnp.array([1.0, 0.5, 0.1])


def sample(key):
    """Two queries whose labels have heavy tails: e^(2z), of either sign."""
    rows = jax.random.normal(key, (4,))
    labels = jnp.sign(rows[:2]) * jnp.exp(2.0 * rows[2:])
    return Instance(Prompt(None, jnp.zeros(1), labels[:, None], jnp.ones(1, dtype=bool)), labels, jnp.ones(1))


TASK = Task(sample, least_squares, linear_prediction)


def shrinking(params, prompt):
    """Answers that leave a part of every label, and after the second step a part that the label itself decides."""
    labels = prompt.x_query[:, 0]
    return labels[None] * (1.0 - params[:, None] * jnp.stack([jnp.ones(2), jnp.ones(2), jnp.cos(labels)]))


@cache
def exact():
    """All errors and sizes at once."""
    errors, sizes = jax.jit(partial(squared_errors, partial(shrinking, SHRINK), TASK, count=COUNT))(KEY)
    return np.asarray(errors), np.asarray(sizes)


@cache
def streamed(chunk=256, devices=1):
    """The same, streamed."""
    return streamed_curve(shrinking, SHRINK, TASK, KEY, COUNT, chunk, devices)


def test_keys_need_no_array():
    """fold_in(key, i) is the i-th of split(key, count), whatever the count."""
    for count in (1, 5, 100):
        folded = jax.vmap(partial(jax.random.fold_in, KEY))(jnp.arange(count))
        np.testing.assert_array_equal(jax.random.key_data(folded), jax.random.key_data(jax.random.split(KEY, count)))


@pytest.mark.parametrize(("chunk", "devices"), [(256, 1), (77, 1), (64, 8)])
def test_sums_are_those_of_all_errors(chunk, devices):
    """Mean, largest, standard error of the ratio; in any chunks, on any devices, whether or not they divide the tasks."""
    (errors, sizes), found = exact(), streamed(chunk, devices)
    size = sizes.mean()
    np.testing.assert_allclose(found.mean, errors.mean(axis=0) / size, rtol=1e-13)
    np.testing.assert_allclose(found.largest, errors.max(axis=0) / size, rtol=1e-13)
    residual = errors - found.mean * sizes[:, None]
    expected = residual.std(axis=0) * np.sqrt(1.0 / (COUNT - 1)) / size
    np.testing.assert_allclose(found.standard_error[2], expected[2], rtol=1e-9)
    # the first errors are multiples of the size, so their ratio is sure
    np.testing.assert_allclose(found.standard_error[:2], 0.0, atol=1e-7)
    assert found.n_tasks == COUNT


@pytest.mark.parametrize(("chunk", "devices"), [(256, 1), (64, 8)])
def test_quantiles_are_those_of_all_errors(chunk, devices):
    """Within the stated resolution of the errors that NumPy names; every error is counted in one bin."""
    (errors, sizes), found = exact(), streamed(chunk, devices)
    expected = np.quantile(errors, QUANTILES, axis=0, method="inverted_cdf") / sizes.mean()
    assert np.abs(found.quantiles / expected - 1.0).max() <= RESOLUTION * (1.0 + 1e-6)
    assert RESOLUTION < 0.011
    counts = np.asarray(tally(shrinking, TASK, SHRINK, KEY, COUNT, chunk, devices).counts).sum(axis=(0, 2))
    np.testing.assert_array_equal(counts, COUNT)


def test_what_the_histogram_cannot_hold_is_counted():
    """Zeros below, infinity and NaN beyond; a quantile below is zero, and one beyond the largest."""

    def answer(params, prompt):
        labels, few = prompt.x_query[:, 0], jnp.where(prompt.x_query[0, 0] > 0.0, 1e30, 0.0)
        return jnp.stack([labels, labels + few])

    found = streamed_curve(answer, None, TASK, KEY, COUNT)
    labels = np.asarray(jax.vmap(sample)(jax.random.split(KEY, COUNT)).y_query)
    positive = int(np.sum(labels[:, 0] > 0.0))
    np.testing.assert_array_equal(found.below, [COUNT, COUNT - positive])
    np.testing.assert_array_equal(found.beyond, [0, positive])
    np.testing.assert_array_equal(found.quantiles[:, 0], 0.0)
    np.testing.assert_array_equal(found.quantiles[1:, 1], found.largest[1])
    spoilt = streamed_curve(lambda params, prompt: jnp.full((1, 2), jnp.nan), None, TASK, KEY, COUNT)
    assert spoilt.beyond == COUNT
    assert np.isnan(spoilt.mean)


def test_a_sum_without_end_is_not_lost():
    """One task of many, in float32: its error's square overflows, or it is infinite, or NaN; all others have the error 1."""
    marked = jax.random.key_data(jax.random.fold_in(KEY, 500))

    def sample_mark(key):
        is_marked = jnp.all(jax.random.key_data(key) == marked).astype(jnp.float32)
        return Instance(Prompt(None, jnp.zeros(1), is_marked[None, None], jnp.ones(1, dtype=bool)), jnp.ones(1), jnp.ones(1))

    def answer(params, prompt):
        return 1.0 + jnp.where(prompt.x_query[0] > 0.0, params, 1.0)[:, None]

    with jax.enable_x64(False):
        task = Task(sample_mark, least_squares, linear_prediction)
        found = streamed_curve(answer, jnp.array([1.0, 1e10, jnp.inf, jnp.nan]), task, KEY, COUNT, chunk=64)
    np.testing.assert_allclose(found.mean, [1.0, 1e20 / COUNT, np.inf, np.nan], rtol=1e-6)
    np.testing.assert_allclose(found.largest, [1.0, 1e20, np.inf, np.nan], rtol=1e-6)
    np.testing.assert_allclose(found.standard_error, [0.0, np.inf, np.inf, np.nan], atol=1e-7)


def test_many_terms_in_float32_are_right_to_a_ten_millionth():
    """Errors of a known kind, in small chunks: the mean is that of the same float32 numbers in float64."""
    count = 2 * 10**5

    def sample_number(key):
        size = 1.0 + jax.random.key_data(key)[:1].astype(jnp.float32) * 2.0**-32
        return Instance(Prompt(None, jnp.zeros(1), size[:, None], jnp.ones(1, dtype=bool)), size, jnp.ones(1))

    with jax.enable_x64(False):
        key, task = jax.random.key(7), Task(sample_number, least_squares, linear_prediction)
        found = streamed_curve(lambda params, prompt: prompt.x_query.T * 1.1, None, task, key, count, chunk=64)
        keys = jax.random.split(key, count)
        sizes = np.asarray(1.0 + jax.random.key_data(keys)[:, 0].astype(jnp.float32) * 2.0**-32)
        errors = ((sizes * np.float32(1.1) - sizes) ** 2).astype(np.float64)
    expected = errors.mean() / (sizes**2).astype(np.float64).mean()
    np.testing.assert_allclose(found.mean, expected, rtol=1e-7)


def test_many_prompts_are_answered_together():
    """A learner with a faster way for many prompts is asked that way alone."""

    def never(params, prompt):
        raise AssertionError("asked one by one")

    together = Predict(lambda params, prompt: shrinking(params, prompt), jax.vmap(shrinking, in_axes=(None, 0)))
    found = streamed_curve(together, SHRINK, TASK, KEY, COUNT)
    np.testing.assert_allclose(found.mean, streamed().mean, rtol=1e-13)


@pytest.mark.parametrize("devices", [1, 8])
def test_memory_does_not_grow_with_the_tasks(devices):
    """The compiler plans the same bytes for ten thousand tasks and for a million, and far fewer than an error a task."""

    def planned(count):
        plan = tally.lower(shrinking, TASK, SHRINK, KEY, count, 256, devices).compile().memory_analysis()
        return plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes

    assert planned(10**4) == planned(10**6) < 3 * 8 * 10**5


BAD = {
    "no tasks": ({"count": 0}, ("count is 0", "2 to 1073741824 tasks")),
    "one task": ({"count": 1}, ("count is 1", "2 to 1073741824 tasks")),
    "too many tasks": ({"count": 2**30 + 1}, ("count is 1073741825", "2 to 1073741824 tasks")),
    "chunks of none": ({"chunk": 0}, ("chunk is 0", "at least 1")),
    "devices that are not there": ({"devices": 9}, ("devices is 9", "has 8")),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused(what, refused):
    """One sentence, with what was given and what is needed."""
    change, parts = BAD[what]
    refused(lambda: streamed_curve(shrinking, SHRINK, TASK, KEY, **({"count": COUNT} | change)), parts)
