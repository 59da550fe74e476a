"""The posterior mean under exact sparsity is the sum over supports, and no other estimate errs less."""

from functools import cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import multivariate_normal, norm

from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import prompt_problem
from jaxl2o.checks import InputError
from jaxl2o.limits.bayes_sparse import exactly_sparse, least_squares_on
from jaxl2o.limits.least_squares import lmmse, minimum_norm, ridge
from jaxl2o.tasks import sparse
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.types import Prompt, prefixes

N, D, S = 8, 7, 3
NOISE = 0.2


@cache
def compiled(deviation, d=D, sparsity=S):
    """The estimate for prompts stacked on a first axis."""
    return jax.jit(jax.vmap(exactly_sparse(d, sparsity, deviation)))


def estimate(x, y, deviation, sparsity=S):
    """The posterior mean from n <= N examples, padded to N rows so that all n are one computation."""
    rows = N - len(y)
    used = np.arange(N) < len(y)
    prompt = Prompt.of(np.pad(x, ((0, rows), (0, 0))), np.pad(y, (0, rows)), used=used)
    stacked = jax.tree.map(lambda leaf: leaf[None], prompt)
    return np.asarray(compiled(deviation, x.shape[1], sparsity)(stacked)[0])


def draw(seed, n, d=D, sparsity=S, deviation=0.0):
    """X, beta and y of the model."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    beta = np.zeros(d)
    beta[rng.choice(d, sparsity, replace=False)] = rng.normal(size=sparsity)
    return x, beta, x @ beta + deviation * rng.normal(size=n)


def sum_over_supports(x, y, deviation, sparsity=S):
    """E[beta | y] with every support's covariance of the n labels written out; it must be regular."""
    n, d = x.shape
    log_evidence, means = [], []
    for support in map(list, combinations(range(d), sparsity)):
        columns = x[:, support]
        covariance = columns @ columns.T + deviation**2 * np.eye(n)
        log_evidence.append(multivariate_normal(np.zeros(n), covariance).logpdf(y))
        mean = np.zeros(d)
        mean[support] = columns.T @ np.linalg.solve(covariance, y)
        means.append(mean)
    return softmax(log_evidence) @ np.array(means)


@pytest.mark.parametrize("n", range(1, N + 1))
def test_noisy_is_the_sum_over_supports(n):
    """sum_S p(S | y) X_S' K_S^-1 y with K_S = X_S X_S' + s^2 I, every n."""
    x, _, y = draw(n, n, deviation=NOISE)
    np.testing.assert_allclose(estimate(x, y, NOISE), sum_over_supports(x, y, NOISE), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n", range(1, S + 1))
def test_few_noiseless_examples_leave_every_support(n):
    """For n <= S Gaussian examples all supports explain y, by the densities N(y; 0, X_S X_S')."""
    x, beta, y = draw(n, n)
    mean = estimate(x, y, 0.0)
    np.testing.assert_allclose(mean, sum_over_supports(x, y, 0.0), rtol=1e-9, atol=1e-11)
    assert np.linalg.norm(mean - beta) > 0.1


def test_one_noiseless_label_in_closed_form():
    """n = S = 1: p_j is proportional to exp(-y^2 / 2 x_j^2) / |x_j|, and beta_j = y / x_j."""
    x, _, y = draw(3, 1, sparsity=1)
    weights = norm.pdf(y / x[0]) / np.abs(x[0])
    np.testing.assert_allclose(estimate(x, y, 0.0, 1), weights / weights.sum() * y / x[0], rtol=1e-12)


@pytest.mark.parametrize("n", [S + 1, N])
@given(seed=st.integers(0, 2**31 - 1))
def test_one_more_noiseless_example_than_entries_recovers_beta(n, seed):
    """From n = S + 1 Gaussian examples on only the true support explains y."""
    x, beta, y = draw(seed, n)
    condition = np.linalg.cond(x[:, beta != 0.0])
    np.testing.assert_allclose(estimate(x, y, 0.0), beta, atol=1e-13 * condition)


@pytest.mark.parametrize("n", [1, 2, 3, 4, N])
def test_noiseless_is_the_limit_of_little_noise(n):
    """|E[beta | y] at s - at 0| = O(s^2) for n < S, n = S and n > S: a tenth of the noise, a hundredth of the distance."""
    x, _, y = draw(10 + n, n)
    far, near = (np.linalg.norm(estimate(x, y, s) - estimate(x, y, 0.0)) for s in (1e-3, 1e-4))
    assert near < 1e-5
    np.testing.assert_allclose(near / far, 1e-2, rtol=1e-2)


def test_rounding_of_noiseless_labels_is_no_noise():
    """At a noise far below rounding the estimate is the noiseless one, not the support that happens to round best."""
    for n in (2, S, S + 1, N):
        x, _, y = draw(20 + n, n)
        np.testing.assert_allclose(estimate(x, y, 1e-25), estimate(x, y, 0.0), atol=1e-12)


def test_supports_that_explain_equally_share_by_density():
    """S = 1, x_1 = 2 x_0, y = b x_0: beta_0 = b or beta_1 = b / 2, odds exp(-b^2 / 2) to exp(-b^2 / 8) / 2."""
    x, _, _ = draw(4, 5)
    x[:, 1] = 2.0 * x[:, 0]
    b = 1.3
    odds = np.array([norm.pdf(b), norm.pdf(b / 2.0) / 2.0])
    expected = np.zeros(D)
    expected[:2] = odds / odds.sum() * [b, b / 2.0]
    np.testing.assert_allclose(estimate(x, b * x[:, 0], 0.0, 1), expected, atol=1e-13)


def test_the_support_of_least_rank_explains_best():
    """x_1 = 2 x_0, y = b x_0: of the supports {0, j}, {1, j} only {0, 1} says that y is on a line; its mean is shortest."""
    x, _, _ = draw(5, 6)
    x[:, 1] = 2.0 * x[:, 0]
    expected = np.zeros(D)
    expected[:2] = [0.2, 0.4]
    np.testing.assert_allclose(estimate(x, x[:, 0], 0.0, 2), expected, atol=1e-13)
    # with noise the others weigh in proportion to s: so rarely is a coefficient as small as that
    far, near = (np.linalg.norm(sum_over_supports(x, x[:, 0], s, 2) - expected) for s in (1e-3, 1e-4))
    np.testing.assert_allclose(near / far, 0.1, rtol=1e-2)
    np.testing.assert_allclose(estimate(x, x[:, 0], NOISE, 2), sum_over_supports(x, x[:, 0], NOISE, 2), rtol=1e-11, atol=1e-12)


def test_rank_counts_only_among_the_supports_that_explain():
    """x_1 = 2 x_0 and beta elsewhere: the rank of {0, 1} is least, but it leaves a residual."""
    x, _, _ = draw(15, 6)
    x[:, 1] = 2.0 * x[:, 0]
    beta = np.zeros(D)
    beta[2:4] = [1.0, -0.5]
    np.testing.assert_allclose(estimate(x, x @ beta, 0.0, 2), beta, atol=1e-13)


def test_columns_that_nearly_cancel():
    """y = x_0 - x_1, a millionth of either, and x_2 = 3 x_1: {0, 1} and {0, 2} explain y, up to rounding of x, not of y.

    beta is (1, -1, 0) or (1, 0, -1/3), odds exp(-1) to exp(-5 / 9) / 3.
    """
    x, _, _ = draw(16, 5)
    x[:, 1] = x[:, 0] + 1e-6 * x[:, 1]
    x[:, 2] = 3.0 * x[:, 1]
    odds = np.array([np.exp(-1.0), np.exp(-5.0 / 9.0) / 3.0])
    first, second = odds / odds.sum()
    expected = np.zeros(D)
    expected[:3] = [1.0, -first, -second / 3.0]
    # the condition number times eps is 1e-9
    np.testing.assert_allclose(estimate(x, x[:, 0] - x[:, 1], 0.0, 2), expected, atol=1e-8)


def test_labels_that_no_support_explains():
    """s = 0 and labels off every range: the support of least residual alone, by least squares."""
    x, _, _ = draw(6, N)
    y = np.random.default_rng(6).normal(size=N)
    answers = {s: np.linalg.lstsq(x[:, s], y, rcond=None) for s in combinations(range(D), S)}
    best = min(answers, key=lambda s: answers[s][1][0])
    expected = np.zeros(D)
    expected[list(best)] = answers[best][0]
    np.testing.assert_allclose(estimate(x, y, 0.0), expected, atol=1e-13)


@pytest.mark.parametrize("deviation", [0.0, NOISE])
def test_prefixes_are_prompts_of_their_own(deviation):
    """Under one trace each prefix, of fewer examples than S or more, gets the estimate of its own examples."""
    x, beta, y = draw(7, N, deviation=deviation)
    means = np.asarray(compiled(deviation)(prefixes(Prompt.of(x, y, np.ones((1, D))))))
    assert np.all(means[0] == 0.0)
    for n in range(1, N + 1):
        known = deviation == 0.0 and n > S
        expected = beta if known else sum_over_supports(x[:n], y[:n], deviation)
        np.testing.assert_allclose(means[n], expected, rtol=1e-9, atol=1e-11)


def test_no_examples_give_the_priors_mean():
    """n = 0, in no rows or in unused rows, gives zero."""
    nothing = Prompt.of(np.zeros((0, D)), np.zeros(0))
    stacked = jax.tree.map(lambda leaf: leaf[None], nothing)
    for deviation in (0.0, NOISE):
        assert np.all(np.asarray(compiled(deviation)(stacked)) == 0.0)
        assert np.all(estimate(nothing.x, nothing.y, deviation) == 0.0)
    assert np.all(np.asarray(least_squares_on(nothing, jnp.arange(D) < S)) == 0.0)


def test_no_entries_and_all_entries():
    """S = 0 is zero whatever the labels; S = d is ridge at s^2 / n, and at s = 0 the minimum norm."""
    x, _, y = draw(8, 4)
    prompt = Prompt.of(x, y)
    assert np.all(estimate(x, y, NOISE, 0) == 0.0)
    np.testing.assert_allclose(estimate(x, y, NOISE, D), ridge(prompt, NOISE**2 / 4), atol=1e-12)
    np.testing.assert_allclose(estimate(x, y, 0.0, D), minimum_norm(prompt), atol=1e-12)


@pytest.mark.parametrize("n", [2, 6])
@pytest.mark.parametrize("deviation", [0.0, NOISE])
@given(order=st.permutations(range(D)), signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
def test_signed_permutations(deviation, n, order, signs):
    """The estimate from X P, for a signed permutation P of coordinates, is P' times that from X."""
    x, _, y = draw(9, n, deviation=deviation)
    moved = estimate(x[:, order] * signs, y, deviation)
    np.testing.assert_allclose(moved, estimate(x, y, deviation)[order] * signs, atol=1e-11)


@pytest.mark.parametrize("n", [2, 6])
@pytest.mark.parametrize("deviation", [0.0, NOISE])
@given(seed=st.integers(0, 2**31 - 1))
def test_rotations_of_the_labels_and_unused_rows_change_nothing(deviation, n, seed):
    """The estimate from (Q X, Q y) with Q'Q = I is that from (X, y), also for Q of more rows: n is not read."""
    x, _, y = draw(10, n, deviation=deviation)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(N, n)))[0]
    expected = estimate(x, y, deviation)
    np.testing.assert_allclose(estimate(rotation @ x, rotation @ y, deviation), expected, atol=1e-11)
    rows = np.random.default_rng(seed).permutation(N)
    padded_x, padded_y = np.pad(x, ((0, N - n), (0, 0)))[rows], np.pad(y, (0, N - n))[rows]
    np.testing.assert_allclose(estimate(padded_x, padded_y, deviation), expected, atol=1e-11)


@pytest.mark.parametrize("deviation", [0.0, NOISE])
def test_single_precision(deviation):
    """float32 in, float32 out: for every prefix the answer of float64 to float32's digits."""
    x, beta, _ = draw(11, N)
    noise = deviation * np.random.default_rng(11).normal(size=N)
    x, beta, noise = x.astype(np.float32), beta.astype(np.float32), noise.astype(np.float32)
    used, query = jnp.ones(N, dtype=bool), jnp.ones((1, D), dtype=jnp.float32)
    single = compiled(deviation)(prefixes(Prompt(jnp.asarray(x), jnp.asarray(x @ beta + noise), query, used)))
    assert single.dtype == jnp.float32
    # each precision makes its own labels: once rounded to float32 they are explained by no support in float64
    labels = x.astype(float) @ beta.astype(float) + noise.astype(float)
    np.testing.assert_allclose(single, compiled(deviation)(prefixes(Prompt.of(x, labels, query))), atol=5e-6)


@pytest.mark.parametrize("n", [1, 4, 10])
def test_importance_sampling(n):
    """E[beta | y] for d = 20, S = 3 is a mean over draws, weighed by prior times likelihood over proposal, to 4 s.e.

    Each of the 1,140 supports proposes as often, from a Gaussian twice as wide as its posterior: 2^S bounds the weights.
    """
    d, per_support = 20, 300
    rng = np.random.default_rng(n)
    x, _, y = draw(100 + n, n, d, deviation=NOISE)
    supports = np.array(list(combinations(range(d), S)))
    columns = x[:, supports].transpose(1, 0, 2)
    precision = np.eye(S) + columns.transpose(0, 2, 1) @ columns / NOISE**2
    center = np.linalg.solve(precision, (columns.transpose(0, 2, 1) @ y / NOISE**2)[..., None])[..., 0]
    root = 2.0 * np.linalg.cholesky(np.linalg.inv(precision))
    z = rng.normal(size=(len(supports), per_support, S))
    beta = center[:, None] + z @ root.transpose(0, 2, 1)
    error = y - beta @ columns.transpose(0, 2, 1)
    log_proposal = -0.5 * np.sum(z**2, axis=2) - np.log(np.linalg.det(root))[:, None]
    log_weight = -0.5 * np.sum(beta**2, axis=2) - 0.5 * np.sum(error**2, axis=2) / NOISE**2 - log_proposal
    weight = softmax(log_weight)
    assert 1.0 / np.sum(weight**2) > 200.0
    place = np.eye(d)[supports]
    mean = np.einsum("sr,sri,sid->d", weight, beta, place, optimize=True)
    away = np.einsum("sri,sid->srd", beta, place, optimize=True) - mean
    standard_error = np.sqrt(np.einsum("sr,srd->d", weight**2, away**2))
    prompt = jax.tree.map(lambda leaf: leaf[None], Prompt.of(x, y))
    exact = np.asarray(compiled(NOISE, d)(prompt)[0])
    assert np.all(np.abs(exact - mean) <= 4.0 * standard_error)
    assert np.max(standard_error) < 0.05


TASK_D, TASK_S, TASK_N, TASK_NOISE = 8, 2, 4, 0.3


@cache
def draws(deviation):
    """Four thousand instances of the task that has this prior, and their posterior means."""
    law = gaussian_noise(deviation)
    task = sparse.sparse_recovery(sparse.exactly(TASK_D, TASK_S), sparse.fresh(TASK_N, TASK_D), law)
    instances = jax.jit(jax.vmap(task.sample))(jax.random.split(jax.random.key(12), 4000))
    return instances, np.asarray(compiled(deviation, TASK_D, TASK_S)(instances.prompt))


def at_most_chance(values):
    """Whether the mean of independent values is within 4 standard errors of zero."""
    return abs(np.mean(values)) <= 4.0 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("deviation", [0.0, TASK_NOISE])
def test_the_error_is_orthogonal_to_every_estimate(deviation):
    """E <beta_hat - beta, f(X, y)> = 0 for every f: the estimate itself, X'y, and signs."""
    instances, mean = draws(deviation)
    error = mean - np.asarray(instances.solution)
    correlation = np.einsum("bnd,bn->bd", instances.prompt.x, instances.prompt.y)
    for f in (mean, correlation, np.sign(correlation), np.ones_like(mean)):
        assert at_most_chance(np.sum(error * f, axis=1))


RIVALS = {
    "lasso-0.1": lambda prompt: certified(prompt_problem(prompt, 0.1), tolerance=1e-3).solution,
    "lasso-0.3": lambda prompt: certified(prompt_problem(prompt, 0.3), tolerance=1e-3).solution,
    "ridge": lambda prompt: ridge(prompt, TASK_NOISE**2 / TASK_N),
    "least-squares": minimum_norm,
    "linear": lambda prompt: lmmse(prompt, TASK_S / TASK_D * jnp.eye(TASK_D), TASK_NOISE**2),
    "zero": lambda prompt: jnp.zeros(TASK_D),
}


@pytest.mark.parametrize("name", RIVALS)
def test_no_other_estimate_errs_less(name):
    """E |w - beta|^2 = E |beta_hat - beta|^2 + E |w - beta_hat|^2: the excess of every w is its distance, to 4 s.e."""
    instances, mean = draws(TASK_NOISE)
    other = np.asarray(jax.jit(jax.vmap(RIVALS[name]))(instances.prompt))
    beta = np.asarray(instances.solution)
    excess = np.sum((other - beta) ** 2 - (mean - beta) ** 2, axis=1)
    assert np.mean(excess) > 4.0 * np.std(excess) / np.sqrt(len(excess))
    assert at_most_chance(excess - np.sum((other - mean) ** 2, axis=1))


@cache
def told():
    """Least squares on a told support, compiled."""
    return jax.jit(least_squares_on)


@pytest.mark.parametrize("n", range(N + 1))
def test_told_least_squares_is_numpys(n):
    """On the columns of the support LAPACK's least squares, of minimum norm for n < |S|, and zero elsewhere."""
    x, _, y = draw(13, N, deviation=NOISE)
    support = np.array([True, False, True, True, False, True, False])
    prompt = Prompt.of(x, y, used=np.arange(N) < n)
    w = np.asarray(told()(prompt, jnp.asarray(support)))
    assert np.all(w[~support] == 0.0)
    np.testing.assert_allclose(w[support], np.linalg.lstsq(x[:n, support], y[:n], rcond=None)[0], atol=1e-12)


@given(seed=st.integers(0, 2**31 - 1))
def test_told_least_squares_recovers_beta(seed):
    """Without noise, n >= |S| Gaussian examples give beta; no support gives zero."""
    x, beta, y = draw(seed, N)
    prompt = Prompt.of(x, y)
    np.testing.assert_allclose(told()(prompt, jnp.asarray(beta != 0.0)), beta, atol=1e-11)
    assert np.all(np.asarray(told()(prompt, jnp.zeros(D, dtype=bool))) == 0.0)


def test_told_least_squares_shares_among_equal_columns():
    """Two equal columns of the support get the same weight."""
    x, _, y = draw(14, N)
    x[:, 1] = x[:, 0]
    w = told()(Prompt.of(x, y), jnp.arange(D) < S)
    np.testing.assert_allclose(w[0], w[1], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((5, 6, 0.1), "sparsity is 6, but there are 5 coordinates"),
        ((5, -1, 0.1), "sparsity is -1"),
        ((500, 50, 0.1), "supports of 50 in 500"),
        ((5, 2, -0.1), "deviation is -0.1;"),
        ((5, 2, float("nan")), "deviation is nan"),
    ],
)
def test_bad_input(arguments, sentence):
    """Refused when built, with what was given."""
    with pytest.raises(InputError, match=sentence):
        exactly_sparse(*arguments)


def test_a_prompt_of_other_dimension_is_refused():
    """The prompt must have d columns."""
    with pytest.raises(InputError, match=r"x has shape \(8, 7\); it must have shape \(any, 9\)"):
        exactly_sparse(9, S, NOISE)(Prompt.of(*draw(0, N)[::2]))
