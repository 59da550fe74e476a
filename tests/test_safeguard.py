"""One rule for solvers and for what only answers: an iterate that fits the data worse than zero is not taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.solvers.proximal import ista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.solvers.wrappers import fits, safeguarded, safeguarded_answers
from jaxl2o.types import Predict, Prompt, over_tasks

N, D, STEPS, TASKS = 4, 6, 9, 5


def wild(scale, prompt: Prompt):
    """A path from zero that fits now and then: steps of random size along X^+ y and noise, of any magnitude."""
    toward = jnp.linalg.pinv(prompt.x) @ prompt.y
    waves = jnp.cos(jnp.arange(1.0, STEPS + 1.0)[:, None] * scale * jnp.arange(1.0, D + 1.0)[None])
    path = jnp.linspace(0.0, 3.0, STEPS)[:, None] * toward[None] + 0.3 * scale * waves
    return jnp.concatenate([jnp.zeros((1, D)), path])


def draw(seed, count: int = 1) -> Prompt:
    """Gaussian prompts, stacked."""
    rng = np.random.default_rng(seed)
    used = np.ones((count, N), dtype=bool)
    return Prompt(*map(jnp.asarray, (rng.normal(size=(count, N, D)), rng.normal(size=(count, N)))), None, jnp.asarray(used))


def longest(x, y):
    """10 sqrt(d) |y| / |X|_F."""
    return 10.0 * np.sqrt(D) * np.linalg.norm(y) / np.linalg.norm(x)


BATCHED = Predict(wild, jax.vmap(wild, in_axes=(None, 0)))
guarded = jax.jit(over_tasks(safeguarded_answers(wild)))
guarded_many = jax.jit(over_tasks(safeguarded_answers(BATCHED)))


@given(seed=st.integers(0, 2**31 - 1), scale=st.floats(0.01, 3.0))
def test_the_last_answer_that_fits(seed, scale):
    """A loop over the answers: each that fits is taken, and else the last that did; by any way of answering many prompts."""
    prompts = draw(seed, TASKS)
    found, again = guarded(scale, prompts), guarded_many(scale, prompts)
    np.testing.assert_allclose(found, again, atol=1e-13)
    for index in range(TASKS):
        x, y = (np.asarray(leaf)[index] for leaf in prompts[:2])
        kept = np.zeros(D)
        for t, w in enumerate(np.asarray(wild(scale, jax.tree.map(lambda leaf, index=index: leaf[index], prompts)))):
            misfit, size = np.sum((y - x @ w) ** 2), np.sum(y**2)
            if abs(misfit - size) < 1e-9 * size:
                break  # rounding decides
            kept = w if misfit <= size * (1.0 + 1e-6) and np.linalg.norm(w) <= longest(x, y) else kept
            np.testing.assert_allclose(found[index, t], kept, atol=1e-13)


@given(seed=st.integers(0, 2**31 - 1), exponent=st.floats(-1.0, 150.0))
def test_no_explosion_where_x_sees_nothing(seed, exponent):
    """Fewer examples than coefficients: steps along the null space of X leave the misfit as it is, and are still bounded."""
    prompt = jax.tree.map(lambda leaf: leaf[0], draw(seed))
    path = np.asarray(along_the_null_space(10.0**exponent, prompt))
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    assert np.all(np.linalg.norm(path, axis=1) <= longest(x, y) * (1.0 + 1e-12))
    assert np.all(np.linalg.norm(y[None] - path @ x.T, axis=1) <= np.linalg.norm(y) * (1.0 + 1e-6))


@jax.jit
def along_the_null_space(size, prompt: Prompt):
    """LISTA-VM whose every move has a part along the null space, of any size."""
    unseen = jnp.eye(D) - jnp.linalg.pinv(prompt.x) @ prompt.x
    matrix = 0.3 * jnp.eye(D) + size * unseen @ jnp.ones((D, D))
    return unroll(safeguarded(lista_vm(VaryingLayers(jnp.tile(matrix, (STEPS, 1, 1)), jnp.zeros(STEPS)))), prompt, STEPS)


@given(seed=st.integers(0, 2**31 - 1), of_x=st.floats(1e-3, 1e3), of_y=st.floats(1e-3, 1e3))
def test_the_rule_has_no_units(seed, of_x, of_y):
    """What fits (X, y) fits (a X, b y) when it is multiplied by b / a."""
    prompt = jax.tree.map(lambda leaf: leaf[0], draw(seed))
    scaled = prompt._replace(x=of_x * prompt.x, y=of_y * prompt.y)
    path = wild(1.0, prompt)[1:] * jnp.linspace(0.1, 20.0, STEPS)[:, None]
    np.testing.assert_array_equal(fit_all(of_y / of_x * path, scaled), fit_all(path, prompt))


fit_all = jax.jit(jax.vmap(fits, in_axes=(0, None)))


def test_good_answers_are_what_they_were():
    """ISTA never fits worse than zero, from which it starts."""
    prompt = jax.tree.map(lambda leaf: leaf[0], draw(1))
    path = unroll(ista(0.05), prompt, STEPS)
    assert np.asarray(jax.vmap(fits, in_axes=(0, None))(path, prompt)).all()
    np.testing.assert_array_equal(
        safeguarded_answers(lambda params, prompt: unroll(ista(params), prompt, STEPS))(0.05, prompt), path
    )


@pytest.mark.parametrize("huge", [1e200, np.inf, np.nan])
def test_what_is_refused_has_no_gradient(huge):
    """An answer that overflowed is not taken, and the gradient does not see it."""
    prompt = jax.tree.map(lambda leaf: leaf[0], draw(2))

    def last(scale):
        path = jnp.stack([jnp.zeros(D), scale * 0.1 * prompt.x.T @ prompt.y / N, jnp.full(D, huge)])
        return jnp.sum(safeguarded_answers(lambda params, prompt: path)(None, prompt)[-1])

    value, slope = jax.value_and_grad(last)(1.0)
    np.testing.assert_allclose(value, np.sum(0.1 * np.asarray(prompt.x).T @ np.asarray(prompt.y) / N), rtol=1e-12)
    np.testing.assert_allclose(slope, value, rtol=1e-12)
