"""Dense linear regression: inputs and solution have the laws that are stated, and labels are exactly <x, w>.

Means over many prompts, with a fixed key, are held to four standard errors, or to a little more where there are many.
"""

from functools import cache

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.solvers.first_order import gradient_descent
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.regression import conditioned_root, gaussian_mixture, linear_regression, rotated_root
from jaxl2o.tasks.shift import at_length, in_dimensions, with_variance
from jaxl2o.tasks.sparse import exactly, fixed, fresh, sparse_recovery

D, N, M, DRAWS = 4, 5, 2, 4000
DEVIATIONS = jnp.array([1.0, 0.5, 0.25, 2.0])
ROOTS = {
    "identity": jnp.eye(D),
    "rotated": rotated_root(jax.random.key(3), DEVIATIONS),
    "triangular": jnp.asarray(np.tril(np.random.default_rng(0).normal(size=(D, D))) + 2.0 * np.eye(D)),
}
MEANS, VARIANCES, WEIGHTS = jnp.array([2.5, 0.0, -1.0]), jnp.array([0.5, 1.0, 2.0]), jnp.array([0.2, 0.3, 0.5])
TASKS = {
    **{name: linear_regression(N, root, M) for name, root in ROOTS.items()},
    "mixture": gaussian_mixture(N, D, MEANS, VARIANCES, WEIGHTS, M),
    **{f"component {c}": gaussian_mixture(N, D, MEANS, VARIANCES, jnp.eye(3)[c], M) for c in range(3)},
}
EVERY_TASK = pytest.mark.parametrize("name", TASKS)
KEY = jax.random.key(1)
noisy = sparse_recovery(exactly(D, 2), fresh(N, D), gaussian_noise(0.5), n_queries=M)


@cache
def drawn(name):
    """Many instances of a task, as NumPy arrays."""
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(TASKS[name].sample))(jax.random.split(KEY, DRAWS)))


def rows_of(name):
    """Examples and queries: all inputs of every prompt."""
    prompt = drawn(name).prompt
    return np.concatenate([prompt.x, prompt.x_query], axis=1)


def assert_mean(samples, expected):
    """The mean over the leading axis is within four standard errors of what is expected, or a little more if it has many."""
    samples = np.asarray(samples, dtype=float)
    error = np.std(samples, axis=0) / np.sqrt(samples.shape[0])
    allowed = stats.norm.isf(stats.norm.sf(4.0) / error.size)
    assert np.all(np.abs(np.mean(samples, axis=0) - expected) <= allowed * error + 1e-12)


@EVERY_TASK
def test_labels_are_exact(name):
    """y = X w and y_query = X_query w; all examples are used, and w minimises the objective, which is then zero."""
    prompt, y_query, w = drawn(name)
    np.testing.assert_allclose(prompt.y, np.einsum("bnd,bd->bn", prompt.x, w), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(y_query, np.einsum("bmd,bd->bm", prompt.x_query, w), rtol=1e-12, atol=1e-12)
    assert prompt.x.shape == (DRAWS, N, D)
    assert prompt.x_query.shape == (DRAWS, M, D)
    assert prompt.used.all()
    costs = jax.vmap(TASKS[name].objective)(jnp.asarray(w), jax.tree.map(jnp.asarray, prompt))
    np.testing.assert_allclose(costs, 0.0, rtol=0.0, atol=1e-24)
    assert TASKS[name].objective is least_squares
    assert TASKS[name].predict is linear_prediction


@pytest.mark.parametrize("name", ROOTS)
def test_inputs_have_covariance_sigma(name):
    """E x = 0, E x x' = Sigma = root root', and examples of one prompt are uncorrelated."""
    x, root = rows_of(name), np.asarray(ROOTS[name])
    assert_mean(np.mean(x, axis=1), 0.0)
    assert_mean(np.einsum("bni,bnj->bij", x, x) / (N + M), root @ root.T)
    assert_mean(np.einsum("bi,bj->bij", x[:, 0], x[:, -1]), 0.0)


@pytest.mark.parametrize("name", ROOTS)
def test_solutions_have_the_inverse_covariance(name):
    """E w = 0, E w w' = Sigma^-1, and w is uncorrelated with the inputs."""
    w, root = drawn(name).solution, np.asarray(ROOTS[name])
    assert_mean(w, 0.0)
    assert_mean(np.einsum("bi,bj->bij", w, w), np.linalg.inv(root @ root.T))
    assert_mean(np.einsum("bi,bj->bij", w, rows_of(name)[:, 0]), 0.0)


@pytest.mark.parametrize("name", ROOTS)
def test_labels_have_variance_d(name):
    """E y = 0 and E y^2 = d, whatever the root; indeed root changes no label: <root x0, root^-T w0> = <x0, w0>."""
    y, y_query = drawn(name).prompt.y, drawn(name).y_query
    assert_mean(np.mean(y, axis=1), 0.0)
    assert_mean(np.mean(y**2, axis=1), D)
    assert_mean(np.mean(y_query**2, axis=1), D)
    np.testing.assert_allclose(y, drawn("identity").prompt.y, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(y_query, drawn("identity").y_query, rtol=1e-10, atol=1e-10)


def test_the_law_whitens():
    """A step of descent preconditioned by Sigma^-1 answers, on every root, what a plain step answers on isotropic inputs."""
    for name, root in ROOTS.items():
        inverse = np.linalg.inv(np.asarray(root @ root.T))
        prompt = jax.tree.map(lambda leaf: leaf[0], drawn(name).prompt)
        w = inverse @ prompt.x.T @ prompt.y / N
        plain = jax.tree.map(lambda leaf: leaf[0], drawn("identity").prompt)
        np.testing.assert_allclose(prompt.x @ w, plain.x @ (plain.x.T @ plain.y) / N, rtol=1e-10, atol=1e-10)


@given(seed=st.integers(0, 2**31))
def test_a_rotated_root_has_its_deviations(seed):
    """root' root = diag(deviations^2) exactly, and the columns are singular vectors of the uniform matrix."""
    key = jax.random.key(seed)
    root = np.asarray(rotated_root(key, DEVIATIONS))
    np.testing.assert_allclose(root.T @ root, np.diag(DEVIATIONS**2), rtol=0.0, atol=1e-13)
    matrix = np.asarray(jax.random.uniform(key, (D, D), minval=-1.0, maxval=1.0))
    rotated = (root / np.asarray(DEVIATIONS)).T @ matrix @ matrix.T @ (root / np.asarray(DEVIATIONS))
    np.testing.assert_allclose(rotated, np.diag(np.linalg.svd(matrix, compute_uv=False) ** 2), rtol=0.0, atol=1e-12)


@given(seed=st.integers(0, 2**31), condition=st.floats(1.001, 1000.0))
def test_a_conditioned_root_has_its_condition(seed, condition):
    """Eigenvalues of root root': the largest in [1, 100], the least that over the condition, the others between them."""
    root = np.asarray(conditioned_root(jax.random.key(seed), D, condition))
    eigenvalues = np.linalg.svd(root, compute_uv=False) ** 2
    assert 1.0 <= eigenvalues[0] <= 100.0
    np.testing.assert_allclose(eigenvalues[0] / eigenvalues[-1], condition, rtol=1e-9)
    # in the order of its columns the root has the two ends first
    np.testing.assert_allclose(np.sum(root**2, axis=0)[:2], eigenvalues[[0, -1]], rtol=1e-9)


def test_the_law_of_a_conditioned_root():
    """The largest eigenvalue has mean (1 + 100) / 2, the others lie between the ends evenly; U is Haar, so E U = 0."""
    keys = jax.random.split(jax.random.key(4), DRAWS)
    roots = np.asarray(jax.jit(jax.vmap(lambda key: conditioned_root(key, D, 5.0)))(keys))
    eigenvalues = np.sum(roots**2, axis=1)
    assert_mean(eigenvalues[:, 0], 50.5)
    assert_mean(eigenvalues[:, 2:] / eigenvalues[:, :1], (1.0 + 0.2) / 2.0)
    rotations = roots / np.sqrt(eigenvalues)[:, None]
    assert_mean(rotations, 0.0)
    assert_mean(rotations**2, 1.0 / D)
    np.testing.assert_array_equal(conditioned_root(KEY, D, 1.0), np.eye(D))


def test_noise_and_a_law_of_w_by_itself():
    """y = <x, w> + N(0, 0.5^2) with w ~ N(0, I) for any Sigma; queries have no noise, and inputs and w are as without it."""
    root = ROOTS["rotated"]
    clean, noisy_draws = (
        jax.jit(jax.vmap(linear_regression(N, root, M, noise, jnp.eye(D)).sample))(jax.random.split(KEY, DRAWS))
        for noise in (None, gaussian_noise(0.5))
    )
    jax.tree.map(np.testing.assert_array_equal, clean._replace(prompt=None), noisy_draws._replace(prompt=None))
    np.testing.assert_array_equal(clean.prompt.x, noisy_draws.prompt.x)
    error = np.asarray(noisy_draws.prompt.y - clean.prompt.y)
    assert_mean(error, 0.0)
    assert_mean(np.einsum("bi,bj->bij", error, error), 0.25 * np.eye(N))
    assert_mean(np.einsum("bi,bj->bij", clean.solution, clean.solution), np.eye(D))
    assert_mean(np.einsum("bi,bn->bin", clean.solution, error), 0.0)
    # the whitened inputs too: noise that was drawn from their key would be one of them
    whitened = np.concatenate([clean.prompt.x, clean.prompt.x_query], axis=1) @ np.linalg.inv(np.asarray(root)).T
    assert_mean(np.einsum("bid,bn->bidn", whitened, error), 0.0)


def test_a_curriculum_on_points_and_dimensions():
    """Dimensions 2 and 3, points 3 and 4, by a traced stage: the rest is zero or unused, and labels are <x, w> still."""
    task = linear_regression(N, ROOTS["rotated"], M, solution_root=jnp.eye(D))
    sample = jax.jit(lambda stage: in_dimensions(at_length(task, 3 + stage), 2 + stage).sample(KEY))
    for stage in (0, 1):
        prompt, y_query, w = sample(jnp.asarray(stage))
        assert prompt.used.sum() == 3 + stage
        assert (np.asarray(w) != 0.0).sum() == 2 + stage
        np.testing.assert_allclose(prompt.y, prompt.x @ w, rtol=0.0, atol=1e-14)
        np.testing.assert_allclose(y_query, prompt.x_query @ w, rtol=0.0, atol=1e-14)


def test_a_root_may_be_traced():
    """A root of each prompt's own, drawn under jit, gives the instances of the same root given as numbers."""
    key = jax.random.key(9)
    traced = jax.jit(lambda key: linear_regression(N, rotated_root(key, DEVIATIONS), M).sample(KEY))(key)
    given_root = linear_regression(N, rotated_root(key, DEVIATIONS), M).sample(KEY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), traced, given_root)


@pytest.mark.parametrize("component", range(3))
def test_a_component_has_its_law(component):
    """With a one-hot weight all entries of x, queries and w are independent N(mean, variance): moments and law."""
    entries = np.concatenate([rows_of(f"component {component}"), drawn(f"component {component}").solution[:, None]], axis=1)
    centred = (entries.reshape(DRAWS, -1) - MEANS[component]) / np.sqrt(VARIANCES[component])
    assert_mean(centred, 0.0)
    assert_mean(np.einsum("bi,bj->bij", centred, centred), np.eye(centred.shape[1]))
    for place in (0, -1):
        assert stats.kstest(np.asarray(centred[:, place]), stats.norm().cdf).pvalue > 1e-3


def test_a_mixture_has_its_moments():
    """Entries have the mixture's mean and second moment, and share their component: E u v = sum_c P(c) mean_c^2."""
    w, x = drawn("mixture").solution, rows_of("mixture")
    mean, square, shared = np.sum(WEIGHTS * MEANS), np.sum(WEIGHTS * (VARIANCES + MEANS**2)), np.sum(WEIGHTS * MEANS**2)
    for entries in (w, x[:, 0], x[:, -1]):
        assert_mean(entries, mean)
        assert_mean(entries**2, square)
        assert_mean(entries[:, 0] * entries[:, 1], shared)
    assert_mean(w[:, 0] * x[:, 0, 0], shared)
    assert_mean(x[:, 0, 1] * x[:, -1, 1], shared)


def test_components_have_their_probabilities():
    """Where variances are tiny a prompt shows its component: each is drawn with its weight, and one of weight zero never."""
    task = gaussian_mixture(N, D, MEANS, 1e-12 * VARIANCES, jnp.array([0.25, 0.0, 0.75]), M)
    w = np.asarray(jax.vmap(task.sample)(jax.random.split(KEY, DRAWS)).solution)
    nearest = np.argmin(np.abs(w[:, :1] - np.asarray(MEANS)), axis=1)
    assert not np.any(nearest == 1)
    assert_mean(nearest == 0, 0.25)


@pytest.mark.parametrize(
    "build",
    [lambda n, m: linear_regression(n, ROOTS["rotated"], m), lambda n, m: gaussian_mixture(n, D, MEANS, VARIANCES, WEIGHTS, m)],
)
def test_without_queries_or_examples(build):
    """n_queries = 0: the prompt asks nothing and the answer is w; n = 0: no examples, no NaN."""
    prompt, answer, w = build(N, 0).sample(KEY)
    assert prompt.x_query is None
    np.testing.assert_array_equal(answer, w)
    np.testing.assert_allclose(prompt.y, prompt.x @ w, rtol=0.0, atol=1e-13)
    empty = build(0, M).sample(KEY)
    assert empty.prompt.x.shape == (0, D)
    assert np.isfinite(empty.y_query).all()


@EVERY_TASK
def test_samples_are_pure(name):
    """sample(key) is a function of the key alone, and consumes it once."""
    sample = TASKS[name].sample
    jax.tree.map(np.testing.assert_array_equal, sample(KEY), sample(KEY))
    assert np.any(np.asarray(sample(KEY).solution != sample(jax.random.key(2)).solution))
    with jax.debug_key_reuse(True):
        assert jax.make_jaxpr(lambda key: sample(key))(KEY).out_avals


# scale

SCALED = {
    "regression": TASKS["rotated"],
    "mixture": TASKS["mixture"],
    "noisy": noisy,
    "without queries": linear_regression(N, ROOTS["rotated"], 0),
    "padded": at_length(TASKS["rotated"], 3),
}


@cache
def scaled_sampler(name):
    """Compiled once: (key, c) -> the task's draw, and that of the task with variance c^2, which is traced."""
    return jax.jit(lambda key, c: (SCALED[name].sample(key), with_variance(SCALED[name], c**2).sample(key)))


@pytest.mark.parametrize("name", SCALED)
@given(seed=st.integers(0, 2**31), c=st.floats(0.1, 10.0))
def test_with_variance_scales_the_same_draw(name, seed, c):
    """Variance c^2: inputs, queries and w are c times those of the same key, labels c^2 times, and the rest is the same."""
    one, other = scaled_sampler(name)(jax.random.key(seed), jnp.asarray(c))
    exactly_scaled = {"rtol": 1e-15 * 4, "atol": 0.0}
    np.testing.assert_allclose(other.prompt.x, c * np.asarray(one.prompt.x), **exactly_scaled)
    np.testing.assert_allclose(other.solution, c * np.asarray(one.solution), **exactly_scaled)
    np.testing.assert_allclose(other.prompt.y, c**2 * np.asarray(one.prompt.y), **exactly_scaled)
    np.testing.assert_array_equal(other.prompt.used, one.prompt.used)
    if one.prompt.x_query is None:
        assert other.prompt.x_query is None
        np.testing.assert_array_equal(other.y_query, other.solution)
    else:
        np.testing.assert_allclose(other.prompt.x_query, c * np.asarray(one.prompt.x_query), **exactly_scaled)
        np.testing.assert_allclose(other.y_query, c**2 * np.asarray(one.y_query), **exactly_scaled)


def test_a_power_of_four_scales_exactly():
    """Variance 4: every number is doubled or quadrupled to the last bit; variance 1 changes none."""
    one, four = TASKS["rotated"].sample(KEY), with_variance(TASKS["rotated"], 4.0).sample(KEY)
    np.testing.assert_array_equal(four.prompt.x, 2.0 * one.prompt.x)
    np.testing.assert_array_equal(four.prompt.y, 4.0 * one.prompt.y)
    np.testing.assert_array_equal(four.solution, 2.0 * one.solution)
    jax.tree.map(np.testing.assert_array_equal, with_variance(TASKS["rotated"], 1.0).sample(KEY), one)


@given(seed=st.integers(0, 2**31), c=st.floats(0.3, 3.0))
def test_descent_is_scale_equivariant(seed, c):
    """A step size divided by the variance makes descent's answers on the scaled prompt c^2 times those on the plain one."""
    one, other = scaled_sampler("regression")(jax.random.key(seed), jnp.asarray(c))
    np.testing.assert_allclose(
        answers(other.prompt, 0.3 / c**2), c**2 * np.asarray(answers(one.prompt, 0.3)), rtol=1e-9, atol=1e-9
    )


@jax.jit
def answers(prompt, step_size):
    """What the iterates of gradient descent answer."""
    return unroll(gradient_descent(step_size), prompt, 4) @ prompt.x_query.T


# refusals

ONE, TWO = jnp.ones(1), jnp.ones(2)
BAD = {
    "a root that is not square": (lambda: linear_regression(N, jnp.ones((2, 3))), ("root has shape (2, 3)", "(2, 2)")),
    "a singular root": (lambda: linear_regression(N, jnp.ones((3, 3))), ("root is 3 x 3", "rank is 1", "have an inverse")),
    "a root with NaN": (lambda: linear_regression(N, jnp.nan * jnp.eye(2)), ("root has 4 non-finite", "finite numbers")),
    "negative n": (lambda: linear_regression(-1, jnp.eye(2)), ("n is -1", "zero or greater")),
    "negative queries": (lambda: linear_regression(N, jnp.eye(2), -1), ("n_queries is -1", "zero or greater")),
    "a root of w of other d": (
        lambda: linear_regression(N, jnp.eye(2), solution_root=jnp.eye(3)),
        ("solution_root has shape (3, 3)", "(2, 2)"),
    ),
    "a condition below one": (lambda: conditioned_root(KEY, D, 0.5), ("condition is 0.5", "1 or more")),
    "one dimension of condition 2": (lambda: conditioned_root(KEY, 1, 2.0), ("d is 1", "at least 2 features")),
    "no deviation": (lambda: rotated_root(KEY, jnp.zeros(2)), ("deviations is 0", "greater than zero")),
    "variances of other number": (lambda: gaussian_mixture(N, D, TWO, ONE, TWO / 2), ("variances has shape (1,)", "(2,)")),
    "weights of other number": (lambda: gaussian_mixture(N, D, TWO, TWO, ONE), ("weights has shape (1,)", "(2,)")),
    "a matrix of means": (lambda: gaussian_mixture(N, D, jnp.eye(2), TWO, TWO / 2), ("means has shape (2, 2)", "(any,)")),
    "weights that sum to 2": (lambda: gaussian_mixture(N, D, TWO, TWO, TWO), ("weights sum to 2", "divide them by their sum")),
    "a negative weight": (
        lambda: gaussian_mixture(N, D, TWO, TWO, jnp.array([1.5, -0.5])),
        ("weights is -0.5", "zero or greater"),
    ),
    "a negative variance": (lambda: gaussian_mixture(N, D, TWO, -TWO, TWO / 2), ("variances is -1", "zero or greater")),
    "no dimension": (lambda: gaussian_mixture(N, 0, TWO, TWO, TWO / 2), ("d is 0", "greater than zero")),
    "no variance": (lambda: with_variance(TASKS["identity"], 0.0), ("variance is 0", "greater than zero")),
    "a shared matrix": (
        lambda: with_variance(sparse_recovery(exactly(2, 1), fixed(jnp.eye(2))), 2.0).sample(KEY),
        ("no x of its own",),
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused(what, refused):
    """One sentence, with what was given and what is needed; shapes unchecked by annotations, as for users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        refused(*BAD[what])
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
