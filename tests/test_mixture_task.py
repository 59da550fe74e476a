"""Mixtures of regressions: components, labels and starts have the laws that are stated, and the likelihood is SciPy's.

Means over many prompts, with a fixed key, are held to four standard errors, or to a little more where there are many.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given as drawn_by
from hypothesis import strategies as st
from scipy import special, stats

from jaxl2o.objectives import least_squares, linear_prediction, mixture_loss
from jaxl2o.tasks.covariates import spectrum
from jaxl2o.tasks.mixture import (
    anywhere,
    gaussian,
    given,
    mixture_per_example,
    mixture_per_prompt,
    near,
    oracle,
    oracle_labels,
    symmetric,
    tied,
    unit_norm,
)
from jaxl2o.types import Prompt

D, N, M, DRAWS = 4, 6, 2, 4000
WEIGHTS, PAIR = jnp.array([0.2, 0.3, 0.5]), jnp.array([0.7, 0.3])
NOISE = 0.25
FIXED = jnp.asarray(np.random.default_rng(1).normal(size=(3, D)))
EIGENVALUES = jnp.array([2.0, 1.0, 0.5, 0.1])
KEY = jax.random.key(2)

# name -> law, weights, E sum_k pi_k b_k b_k'
LAWS = {
    "symmetric": (symmetric(D), PAIR, np.eye(D) / D),
    "unit-norm": (unit_norm(D, 3), WEIGHTS, np.eye(D) / D),
    "gaussian": (gaussian(D, 3, 0.6), WEIGHTS, 0.36 * np.eye(D)),
    "given": (given(FIXED), WEIGHTS, np.einsum("k,ki,kj->ij", WEIGHTS, FIXED, FIXED)),
}
EVERY_LAW = pytest.mark.parametrize("name", LAWS)


def per_example(name, noise=NOISE, **options):
    """The task of a law, with a component per example."""
    components, weights, _ = LAWS[name]
    return mixture_per_example(N, components, weights, noise, M, **options)


@cache
def sampled(name, noise=NOISE):
    """Many instances, as NumPy arrays."""
    return draw(per_example(name, noise))


def draw(task, count=DRAWS):
    """Many instances of a task, as NumPy arrays."""
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(task.sample))(jax.random.split(KEY, count)))


def all_rows(instance):
    """Inputs and labels of examples and queries together."""
    x = np.concatenate([instance.prompt.x, instance.prompt.x_query], axis=1)
    return x, np.concatenate([instance.prompt.y, instance.y_query], axis=1)


def assert_mean(samples, expected):
    """The mean over the leading axis is within four standard errors of what is expected, or a little more if it has many."""
    samples = np.asarray(samples, dtype=float)
    error = np.std(samples, axis=0) / np.sqrt(samples.shape[0])
    allowed = stats.norm.isf(stats.norm.sf(4.0) / error.size)
    assert np.all(np.abs(np.mean(samples, axis=0) - expected) <= allowed * error + 1e-12)


@EVERY_LAW
def test_components_have_their_second_moment(name):
    """E sum_k pi_k b_k b_k' is I / d for unit norm, tau^2 I for N(0, tau^2 I), and what it is for given ones."""
    _, weights, moment = LAWS[name]
    solution = sampled(name).solution
    assert_mean(np.einsum("k,bki,bkj->bij", weights, solution, solution), moment)


def test_components_have_their_shapes():
    """Unit norm is exact, the symmetric pair is b and -b, and given ones never change."""
    np.testing.assert_allclose(np.linalg.norm(sampled("unit-norm").solution, axis=-1), 1.0, rtol=1e-14)
    pairs = sampled("symmetric").solution
    np.testing.assert_array_equal(pairs[:, 0], -pairs[:, 1])
    np.testing.assert_allclose(np.linalg.norm(pairs, axis=-1), 1.0, rtol=1e-14)
    assert np.all(sampled("given").solution == np.asarray(FIXED))


@EVERY_LAW
def test_every_label_is_of_one_component_and_components_have_their_weights(name):
    """Without much noise all labels, those of queries too, are <x, b_z>; z is drawn anew for every example, with P(z) = pi."""
    weights = np.asarray(LAWS[name][1])
    instance = sampled(name, 1e-9)
    x, y = all_rows(instance)
    gaps = np.abs(y[:, :, None] - np.einsum("bnd,bkd->bnk", x, instance.solution))
    assert gaps.min(axis=2).max() < 1e-7
    z = np.eye(len(weights))[gaps.argmin(axis=2)]
    assert_mean(z, np.broadcast_to(weights, z.shape[1:]))
    # two examples, and an example and a query, are independent given the components
    assert_mean(np.einsum("bk,bl->bkl", z[:, 0], z[:, 1]), np.outer(weights, weights))
    assert_mean(np.einsum("bk,bl->bkl", z[:, 0], z[:, N]), np.outer(weights, weights))


@EVERY_LAW
def test_labels_have_their_variance(name):
    """E y^2 = tr S + sigma^2 for isotropic inputs, examples and queries alike."""
    _, y = all_rows(sampled(name))
    assert_mean(y**2, np.full(N + M, np.trace(LAWS[name][2]) + NOISE**2))


def test_inputs_may_have_another_law():
    """E x x' = diag(eigenvalues), and E y^2 = tr(S Lam) + sigma^2."""
    x, y = all_rows(draw(per_example("gaussian", covariates=spectrum(EIGENVALUES))))
    assert_mean(np.einsum("bni,bnj->bij", x, x) / (N + M), np.diag(EIGENVALUES))
    assert_mean(y**2, np.full(N + M, 0.36 * float(EIGENVALUES.sum()) + NOISE**2))


@EVERY_LAW
def test_the_oracle_has_the_least_error(name):
    """E y x = bbar: no linear prediction errs less than <x, bbar>, which errs by sigma^2 + sum_k pi_k |b_k - bbar|^2."""
    _, weights, _ = LAWS[name]
    instance = sampled(name)
    best = np.asarray(jax.vmap(oracle, in_axes=(0, None))(jnp.asarray(instance.solution), weights))
    x, y = instance.prompt.x_query[:, 0], instance.y_query[:, 0]
    assert_mean(y[:, None] * x - best, np.zeros(D))
    spread = np.einsum("k,bkd->b", weights, (instance.solution - best[:, None]) ** 2)
    assert_mean((y - np.sum(x * best, axis=1)) ** 2 - spread, NOISE**2)


@EVERY_LAW
def test_oracle_labels_change_nothing_else(name):
    """The prompt is the same, and queries are labelled <x, bbar>, as the task predicts from its solution."""
    instance, plain = draw(oracle_labels(per_example(name)), 5), draw(per_example(name), 5)
    jax.tree.map(np.testing.assert_array_equal, instance.prompt, plain.prompt)
    best = np.einsum("k,bkd->bd", LAWS[name][1], plain.solution)
    np.testing.assert_allclose(instance.y_query, np.einsum("bmd,bd->bm", plain.prompt.x_query, best), atol=1e-14)


def test_a_prompt_of_one_component():
    """With a component per prompt all labels are <x, b_z> for one z, which is the solution; P(z) = pi."""
    task = mixture_per_prompt(N, given(FIXED), WEIGHTS, 0.0, M)
    instance = draw(task)
    x, y = all_rows(instance)
    np.testing.assert_allclose(y, np.einsum("bnd,bd->bn", x, instance.solution), atol=1e-13)
    assert_mean((instance.solution[:, None] == np.asarray(FIXED)[None]).all(axis=2), np.asarray(WEIGHTS))
    assert task.objective is least_squares
    assert task.predict is linear_prediction
    noisy = draw(mixture_per_prompt(N, given(FIXED), WEIGHTS, NOISE, M))
    x, y = all_rows(noisy)
    assert_mean((y - np.einsum("bnd,bd->bn", x, noisy.solution)) ** 2, np.full(N + M, NOISE**2))


def test_starts_have_their_distance():
    """`near` is at its distance from every component, `anywhere` has its norm; both have mean direction zero."""
    close = draw(per_example("gaussian", start=near(0.3)))
    move = close.prompt.start - close.solution
    np.testing.assert_allclose(np.linalg.norm(move, axis=-1), 0.3, rtol=1e-12)
    assert_mean(move, np.zeros((3, D)))
    far = draw(per_example("gaussian", start=anywhere(2.0))).prompt.start
    np.testing.assert_allclose(np.linalg.norm(far, axis=-1), 2.0, rtol=1e-12)
    assert_mean(far, np.zeros((3, D)))
    assert sampled("gaussian").prompt.start is None


def test_a_tied_task_is_the_same_task():
    """Prompts are the same; b stands for (b, -b) in objective, prediction, solution and start."""
    task = per_example("symmetric", start=near(0.3))
    single = tied(task)
    ours, theirs = single.sample(KEY), task.sample(KEY)
    np.testing.assert_array_equal(ours.prompt.y, theirs.prompt.y)
    np.testing.assert_array_equal(ours.solution, theirs.solution[0])
    np.testing.assert_array_equal(ours.prompt.start, theirs.prompt.start[0])
    np.testing.assert_allclose(
        single.objective(ours.solution, ours.prompt), task.objective(theirs.solution, theirs.prompt), rtol=1e-15
    )
    x_query = ours.prompt.x_query
    np.testing.assert_allclose(single.predict(ours.solution, x_query), 0.4 * x_query @ ours.solution, rtol=1e-12)


@drawn_by(seed=st.integers(0, 1000), n_used=st.integers(0, N))
def test_the_likelihood_is_scipys(seed, n_used):
    """-1/n sum_i log sum_k pi_k N(y_i; <x_i, b_k>, sigma^2), over the used examples, wherever they are; zero for none."""
    rng = np.random.default_rng(seed)
    x, y, components = rng.normal(size=(N, D)), 2.0 * rng.normal(size=N), rng.normal(size=(3, D))
    used = rng.permutation(N) < n_used
    density = stats.norm.logpdf(y[used, None], x[used] @ components.T, NOISE) + np.log(WEIGHTS)
    expected = -np.mean(special.logsumexp(density, axis=1)) if n_used else 0.0
    np.testing.assert_allclose(LOSS(jnp.asarray(components), Prompt.of(x, y, used=used)), expected, rtol=1e-12)


LOSS = jax.jit(lambda components, prompt: mixture_loss(components, prompt, WEIGHTS, NOISE))

# a call, and parts of what its refusal says
REFUSED = {
    "sum": (lambda: mixture_per_example(N, symmetric(D), jnp.array([0.7, 0.7]), NOISE), ("weights sum to 1.4", "divide")),
    "negative": (lambda: mixture_per_example(N, symmetric(D), jnp.array([1.5, -0.5]), NOISE), ("weights is -0.5", "zero")),
    "count": (lambda: mixture_per_example(N, symmetric(D), WEIGHTS, NOISE), ("2 components", "3 weights")),
    "noise": (lambda: mixture_per_example(N, symmetric(D), PAIR, 0.0), ("noise is 0", "greater than zero")),
    "queries": (lambda: mixture_per_example(N, symmetric(D), PAIR, NOISE, 0), ("n_queries is 0", "at least one")),
    "length": (lambda: mixture_per_prompt(-1, symmetric(D), PAIR, NOISE), ("n is -1", "zero or greater")),
    "tied": (lambda: tied(per_example("gaussian")), ("the solution has shape (3, 4)", "(2, any)")),
    "dimension": (lambda: unit_norm(0, 2), ("d is 0", "greater than zero")),
    "distance": (lambda: near(-1.0), ("distance is -1", "zero or greater")),
    "norm": (lambda: anywhere(0.0), ("norm is 0", "greater than zero")),
    "given": (lambda: given(jnp.full((2, 2), jnp.nan)), ("components has 4 non-finite values", "finite")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_in_one_sentence(name, refused):
    """What was given, and what is needed."""
    refused(*REFUSED[name])
