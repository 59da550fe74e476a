"""Every sampler is a pure function of its key, and draws from the law that its docstring states.

A statement about a law is held to the mean over many independent prompts, with a fixed key. One number may be off by four
standard errors; many at once by as much as makes a false alarm as rare.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft, stats

from jaxl2o.tasks import covariates, images, shift, sparse
from jaxl2o.tasks.noise import gaussian_noise, snr

D, N, M = 6, 8, 3
EIGENVALUES = jnp.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.0])
SUPPORT = jnp.array([True, False, True, True, False, True])
MATRICES = jax.random.normal(jax.random.key(7), (3, N, D))
DRAWS = 4000

LAWS = {
    "isotropic": covariates.isotropic(),
    "spectrum": covariates.spectrum(EIGENVALUES),
    "rotated": covariates.rotated(EIGENVALUES),
    "sphere": covariates.sphere(),
    "rademacher": covariates.rademacher(),
    "column-correlated": covariates.column_correlated(-0.7),
    "heavy-tailed": covariates.heavy_tailed(10.0),
    "scaled": covariates.scaled(3.0, covariates.isotropic()),
    "conditioned": covariates.conditioned(10.0),
}

# E x x', averaged over prompts where each has its own
COVARIANCES = {
    "isotropic": np.eye(D),
    "spectrum": np.diag(EIGENVALUES),
    "rotated": np.mean(EIGENVALUES) * np.eye(D),
    "sphere": np.eye(D),
    "rademacher": np.eye(D),
    "column-correlated": (-0.7) ** np.abs(np.subtract.outer(np.arange(D), np.arange(D))),
    "heavy-tailed": np.eye(D),
    "scaled": 9.0 * np.eye(D),
    "conditioned": np.eye(D),
}

# the law of one entry
MARGINALS = {
    "isotropic": stats.norm(),
    "sphere": stats.beta((D - 1) / 2, (D - 1) / 2, loc=-np.sqrt(D), scale=2 * np.sqrt(D)),
    "column-correlated": stats.norm(),
    "heavy-tailed": stats.t(10.0, scale=np.sqrt(8.0 / 10.0)),
}

SIDE = 4
PATCHES = jax.random.uniform(jax.random.key(8), (5, SIDE**2), minval=0.0, maxval=255.0)
CAMERA = images.camera(PATCHES, n=N, noise=2.0)

TASKS = {
    "exactly": sparse.sparse_recovery(sparse.exactly(D, 2), sparse.fresh(N, D), n_queries=M),
    "exactly-on-support": sparse.sparse_recovery(
        sparse.exactly(D, 2, SUPPORT), sparse.fixed(MATRICES[0]), gaussian_noise(0.5), n_queries=M
    ),
    "bernoulli": sparse.sparse_recovery(sparse.bernoulli(D, 0.3), sparse.fresh(N, D, LAWS["spectrum"]), snr(10.0), n_queries=M),
    "blocks": sparse.sparse_recovery(sparse.blocks(D, 2, 2), sparse.pooled(MATRICES), gaussian_noise(0.5), n_queries=M),
    "patches": images.compressed_sensing(CAMERA, PATCHES),
}

SAMPLERS = {
    **{name: task.sample for name, task in TASKS.items()},
    **{name: (lambda key, law=law: law(key, N + M, D)) for name, law in LAWS.items()},
}


@cache
def drawn(name):
    """Many keys, and what the sampler draws from them."""
    keys = jax.random.split(jax.random.key(1), DRAWS)
    return keys, jax.vmap(SAMPLERS[name])(keys)


def same(a, b):
    """Whether two trees hold the same bytes."""
    return jax.tree.all(jax.tree.map(lambda u, v: np.asarray(u).tobytes() == np.asarray(v).tobytes(), a, b))


def assert_mean(samples, expected):
    """The mean over the leading axis is within four standard errors of what is expected, or a little more if it has many."""
    samples = np.asarray(samples, dtype=float)
    error = np.std(samples, axis=0) / np.sqrt(samples.shape[0])
    allowed = stats.norm.isf(stats.norm.sf(4.0) / error.size)
    assert np.all(np.abs(np.mean(samples, axis=0) - expected) <= allowed * error + 1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_key_same_bytes(name):
    """sample(key) is a function of the key alone, and another key gives other numbers."""
    keys, many = drawn(name)
    assert same(jax.vmap(SAMPLERS[name])(keys), many)
    assert not same(*(jax.tree.map(lambda leaf, i=i: leaf[i], many) for i in (0, 1)))


@pytest.mark.parametrize("name", ["exactly", "blocks", "rotated"])
def test_vmap_is_a_loop(name):
    """vmap(sample)(keys)[i] = sample(keys[i]), up to the order of sums."""
    keys, many = drawn(name)
    for i in (0, DRAWS - 1):
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a, b[i], rtol=1e-12, atol=1e-12), SAMPLERS[name](keys[i]), many
        )


def test_jit_changes_nothing():
    """jit(sample)(key) = sample(key), up to the order of sums."""
    key, sample = jax.random.key(5), TASKS["exactly-on-support"].sample
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), jax.jit(sample)(key), sample(key))


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_key_is_used_twice(name):
    """Every key of a sampler is consumed once, and it can be traced."""
    with jax.debug_key_reuse(True):
        jaxpr = jax.make_jaxpr(lambda key: SAMPLERS[name](key))(jax.random.key(0))
    assert jaxpr.out_avals


def test_a_key_used_twice_is_noticed():
    """The check of the test above refuses a sampler whose value and place come from one key."""
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        jax.make_jaxpr(lambda key: jax.random.normal(key, (2,)) * jax.random.uniform(key, (2,)))(jax.random.key(0))


@pytest.mark.parametrize("name", LAWS)
def test_covariance(name):
    """E x = 0 and E x x' is the covariance of the law."""
    _, x = drawn(name)
    assert_mean(np.mean(x, axis=1), 0.0)
    assert_mean(np.einsum("bni,bnj->bij", x, x) / (N + M), COVARIANCES[name])


@pytest.mark.parametrize("name", LAWS)
def test_examples_are_uncorrelated(name):
    """E x_i x_j' = 0 for i != j."""
    _, x = drawn(name)
    assert_mean(np.einsum("bi,bj->bij", x[:, 0], x[:, 1]), 0.0)


@pytest.mark.parametrize("name", MARGINALS)
def test_marginal(name):
    """One entry has the law that it is named after: Kolmogorov and Smirnov do not refuse it at one in a thousand."""
    _, x = drawn(name)
    assert stats.kstest(np.asarray(x[:, 0, 1]), MARGINALS[name].cdf).pvalue > 1e-3


def test_sphere_has_radius_sqrt_d():
    """|x|^2 = d for every example."""
    _, x = drawn("sphere")
    np.testing.assert_allclose(np.sum(x**2, axis=-1), D, rtol=1e-13)


def test_rademacher_entries_are_signs():
    """x_ij^2 = 1."""
    _, x = drawn("rademacher")
    assert np.all(np.asarray(x) ** 2 == 1.0)


def test_conditioned_has_its_singular_values():
    """Of X, all rows together: evenly in their logarithm from the largest down to a tenth, and |X|_F^2 = n d."""
    _, x = drawn("conditioned")
    values = np.linalg.svd(x, compute_uv=False)
    np.testing.assert_allclose(values / values[:, :1], np.tile(np.logspace(0, -1, D), (DRAWS, 1)), rtol=1e-10)
    np.testing.assert_allclose(np.sum(values**2, axis=1), (N + M) * D, rtol=1e-12)


def test_spectrum_of_a_zero_eigenvalue():
    """Inputs have nothing in the direction of a zero eigenvalue."""
    _, x = drawn("spectrum")
    assert np.all(np.asarray(x)[..., -1] == 0.0)


def test_each_prompt_has_its_own_rotation():
    """The rank of X is that of the spectrum, but its null space differs between prompts."""
    _, x = drawn("rotated")
    _, values, rows = np.linalg.svd(x[:2])
    assert np.all(values[:, -1] < 1e-12 * values[:, 0])
    assert abs(rows[0, -1] @ rows[1, -1]) < 0.999


def test_exactly_has_exactly_s_coefficients():
    """|beta|_0 = S always, each place is drawn with probability S / d, and E |beta|^2 = S."""
    beta = np.asarray(drawn("exactly")[1].solution)
    assert np.all(np.sum(beta != 0.0, axis=1) == 2)
    assert_mean(beta != 0.0, 2 / D)
    assert_mean(beta, 0.0)
    assert_mean(np.sum(beta**2, axis=1), 2.0)


def test_pairs_of_places_are_uniform():
    """Both of two places are drawn with probability S (S - 1) / (d (d - 1))."""
    drawn_places = np.asarray(drawn("exactly")[1].solution) != 0.0
    both = np.einsum("bi,bj->bij", drawn_places, drawn_places)[:, *np.triu_indices(D, 1)]
    assert_mean(both, 2 / (D * (D - 1)))


def test_support_holds_all_coefficients():
    """On a support of s places: beta is zero outside, and each inside is drawn with probability S / s."""
    beta = np.asarray(drawn("exactly-on-support")[1].solution)
    assert np.all(beta[:, ~np.asarray(SUPPORT)] == 0.0)
    assert np.all(np.sum(beta != 0.0, axis=1) == 2)
    assert_mean(beta[:, np.asarray(SUPPORT)] != 0.0, 2 / 4)


@pytest.mark.parametrize("sparsity", [0, D])
def test_exactly_none_and_all(sparsity):
    """S = 0 gives zero and S = d gives a dense vector."""
    beta = sparse.exactly(D, sparsity)(jax.random.key(0))
    assert np.sum(np.asarray(beta) != 0.0) == sparsity


def test_bernoulli_has_its_rate():
    """Entries are non-zero independently with probability p: |beta|_0 has mean d p and variance d p (1 - p)."""
    beta = np.asarray(drawn("bernoulli")[1].solution)
    count = np.sum(beta != 0.0, axis=1)
    assert_mean(beta != 0.0, 0.3)
    assert_mean((count - 0.3 * D) ** 2, D * 0.3 * 0.7)
    assert_mean(beta**2, 0.3)


def test_blocks_are_whole():
    """A block is all zero or all non-zero, `count` of them are drawn, uniformly."""
    blocks = np.asarray(drawn("blocks")[1].solution).reshape(DRAWS, D // 2, 2) != 0.0
    assert np.all(np.all(blocks, axis=2) == np.any(blocks, axis=2))
    assert np.all(np.sum(blocks[:, :, 0], axis=1) == 2)
    assert_mean(blocks[:, :, 0], 2 / 3)


def matrices_of(name):
    """X of every drawn prompt."""
    prompt = drawn(name)[1].prompt
    return np.broadcast_to(MATRICES[0], (DRAWS, N, D)) if prompt.x is None else np.asarray(prompt.x)


def noise_of(name):
    """y - X beta, and X beta."""
    instance = drawn(name)[1]
    clean = np.einsum("bnd,bd->bn", matrices_of(name), instance.solution)
    return np.asarray(instance.prompt.y) - clean, clean


def test_noiseless_labels():
    """y = X beta."""
    noise, _ = noise_of("exactly")
    np.testing.assert_allclose(noise, 0.0, atol=1e-14)


@pytest.mark.parametrize("name", ["exactly-on-support", "blocks"])
def test_gaussian_noise_has_its_deviation(name):
    """y - X beta ~ N(0, s^2): its mean, its variance and its law."""
    noise, _ = noise_of(name)
    assert_mean(noise, 0.0)
    assert_mean(noise**2, 0.25)
    assert_mean(noise[:, 0] * noise[:, 1], 0.0)
    assert stats.kstest(noise[:, 0], stats.norm(scale=0.5).cdf).pvalue > 1e-3


def test_snr_is_that_of_each_prompt():
    """(y - X beta) / (std(X beta) 10^(-dB / 20)) ~ N(0, 1), and no noise is added to no signal."""
    noise, clean = noise_of("bernoulli")
    deviation = np.std(clean, axis=1, keepdims=True) * 10.0 ** (-10.0 / 20.0)
    silent = deviation[:, 0] == 0.0
    assert np.all(noise[silent] == 0.0)
    ratio = noise[~silent] / deviation[~silent]
    assert_mean(ratio, 0.0)
    assert_mean(ratio**2, 1.0)


@pytest.mark.parametrize("name", ["exactly", "exactly-on-support", "bernoulli", "blocks"])
def test_queries_ask_the_solution(name):
    """y_query = <x_query, beta> without noise, and queries have the law of the inputs or are N(0, I)."""
    instance = drawn(name)[1]
    answers = np.einsum("bmd,bd->bm", instance.prompt.x_query, instance.solution)
    np.testing.assert_allclose(instance.y_query, answers, atol=1e-13)
    law = COVARIANCES["spectrum" if name == "bernoulli" else "isotropic"]
    assert_mean(np.einsum("bmi,bmj->bij", instance.prompt.x_query, instance.prompt.x_query) / M, law)


def test_without_queries_the_signal_is_asked():
    """n_queries = 0: the prompt asks nothing, what is scored is beta, and prompts and signals are what they were."""
    task = sparse.sparse_recovery(sparse.exactly(D, 2), sparse.pooled(MATRICES), n_queries=0)
    plain = sparse.sparse_recovery(sparse.exactly(D, 2), sparse.pooled(MATRICES), n_queries=M)
    instance, other = task.sample(jax.random.key(2)), plain.sample(jax.random.key(2))
    assert instance.prompt.x_query is None
    np.testing.assert_array_equal(instance.y_query, instance.solution)
    np.testing.assert_array_equal(instance.solution, other.solution)
    np.testing.assert_array_equal(instance.prompt.y, other.prompt.y)


def test_shorter_prompts():
    """The first k examples are kept, the others are unused and zero; k is given, or uniform from the shortest to all."""
    keys = jax.random.split(jax.random.key(3), DRAWS)
    for task in (TASKS["exactly"], TASKS["exactly-on-support"]):
        whole = task.sample(keys[0])
        short = shift.at_length(task, 2).sample(keys[0])
        np.testing.assert_array_equal(short.prompt.used, np.arange(N) < 2)
        np.testing.assert_array_equal(short.prompt.y, np.where(np.arange(N) < 2, whole.prompt.y, 0.0))
        assert (short.prompt.x is None) == (whole.prompt.x is None)
        np.testing.assert_array_equal(short.y_query, whole.y_query)
    drawn_at_random = jax.vmap(shift.random_length(TASKS["exactly"], 1).sample)(keys).prompt
    lengths = np.sum(drawn_at_random.used, axis=1)
    for length in range(1, N + 1):
        assert_mean(lengths == length, 1.0 / N)
    unused = ~np.asarray(drawn_at_random.used)
    assert np.all(np.asarray(drawn_at_random.x)[unused] == 0.0)
    assert np.all(np.asarray(drawn_at_random.y)[unused] == 0.0)


@pytest.mark.parametrize("m", [0, 3])
def test_fewer_dimensions(m):
    """Coordinates from the k-th on are zero in X, queries and beta; labels fit beta, and the noise is what it was."""
    law = sparse.fresh(N, D)
    noisy, clean = (
        sparse.sparse_recovery(sparse.exactly(D, 2), law, gaussian_noise(noise), n_queries=m) for noise in (0.3, 0.0)
    )
    key = jax.random.key(5)
    whole, exact = noisy.sample(key), clean.sample(key)
    restricted = jax.jit(lambda k: shift.in_dimensions(noisy, k).sample(key))
    for k in range(D + 1):
        prompt, answer, beta = restricted(k)
        kept = np.arange(D) < k
        np.testing.assert_array_equal(beta, np.where(kept, whole.solution, 0.0))
        np.testing.assert_array_equal(prompt.x, np.where(kept, whole.prompt.x, 0.0))
        noise = np.asarray(whole.prompt.y - exact.prompt.y)
        np.testing.assert_allclose(prompt.y, np.asarray(prompt.x) @ np.asarray(beta) + noise, atol=1e-14)
        expected = beta if m == 0 else np.asarray(prompt.x_query) @ np.asarray(beta)
        np.testing.assert_allclose(answer, expected, atol=1e-14)
        assert m == 0 or not np.any(np.asarray(prompt.x_query)[:, k:])


def test_a_hidden_partition():
    """Coordinates of one block are zero together, and are those that the order sends there."""
    order = jnp.asarray([3, 0, 5, 1, 4, 2])
    hidden = jax.vmap(sparse.blocks(6, 2, 1, order))(jax.random.split(jax.random.key(7), DRAWS))
    adjacent = jax.vmap(sparse.blocks(6, 2, 1))(jax.random.split(jax.random.key(7), DRAWS))
    block = np.asarray(order) // 2
    inside = np.asarray(hidden) != 0.0
    for which in range(3):
        np.testing.assert_array_equal(inside[:, block == which].all(axis=1), inside[:, block == which].any(axis=1))
        np.testing.assert_array_equal(inside[:, block == which][:, 0], np.asarray(adjacent)[:, 2 * which] != 0.0)


def test_a_training_set():
    """Of a finite number of instances every sample is one, each as often as the others; another key gives other ones."""
    task = TASKS["exactly"]
    few = shift.among(task, 3, jax.random.key(8))
    drawn_few = jax.vmap(few.sample)(jax.random.split(jax.random.key(9), DRAWS))
    _, which = np.unique(np.asarray(drawn_few.solution), axis=0, return_inverse=True)
    for number in range(3):
        assert_mean(which.ravel() == number, 1.0 / 3.0)
    assert which.max() == 2
    same = task.sample(jax.random.fold_in(jax.random.key(8), 1))
    assert np.any(np.all(np.asarray(drawn_few.prompt.x) == np.asarray(same.prompt.x), axis=(1, 2)))
    other = shift.among(task, 3, jax.random.key(10)).sample(jax.random.key(9))
    assert not np.any(np.all(np.asarray(drawn_few.prompt.x) == np.asarray(other.prompt.x), axis=(1, 2)))


@pytest.mark.parametrize("sparsity", [0, 2, D])
def test_supports_of_a_curriculum(sparsity):
    """The first k coordinates, k traced: the signal is that of the same support given, and all of a smaller one is not zero."""
    key = jax.random.key(6)
    grown = jax.jit(lambda k: sparse.exactly(D, sparsity, jnp.arange(D) < k)(key))
    for k in range(D + 1):
        beta, inside = np.asarray(grown(k)), np.arange(D) < k
        assert np.count_nonzero(beta) == min(k, sparsity)
        assert not np.any(beta[~inside])
        if k >= sparsity:
            np.testing.assert_array_equal(beta, sparse.exactly(D, sparsity, jnp.asarray(inside))(key))


@pytest.mark.parametrize("name", ["exactly", "blocks"])
def test_signal_and_matrix_are_independent(name):
    """E x_ij beta_j = 0 and E x_ij^2 beta_j^2 = E x_ij^2 E beta_j^2."""
    x, beta = matrices_of(name), np.asarray(drawn(name)[1].solution)[:, None, :]
    assert_mean(x * beta, 0.0) if name == "exactly" else assert_mean((x * beta).sum(axis=(1, 2)), 0.0)
    centred = (x**2 - np.mean(x**2, axis=0)) * (beta**2 - np.mean(beta**2, axis=0))
    assert_mean(centred, 0.0)


def test_fixed_matrices_are_not_carried():
    """A prompt of a shared matrix has no x of its own; its task closes over it."""
    assert drawn("exactly-on-support")[1].prompt.x is None


def test_pooled_matrices_are_drawn_uniformly():
    """X is one of p matrices, each with probability 1 / p."""
    equal = np.all(matrices_of("blocks")[:, None] == np.asarray(MATRICES), axis=(2, 3))
    assert np.all(np.sum(equal, axis=1) == 1)
    assert_mean(equal, 1 / 3)


@given(scale=st.floats(-3.0, 3.0))
def test_objective_is_the_lasso(scale):
    """objective(w, prompt) = 1/(2n) |X w - y|^2 + penalty |w|_1, whether the prompt carries X or not."""
    for name in ("exactly", "exactly-on-support"):
        instance = jax.tree.map(lambda leaf: leaf[0], drawn(name)[1])
        x, y, w = matrices_of(name)[0], np.asarray(instance.prompt.y), scale * np.asarray(instance.solution) + 0.1
        expected = np.sum((x @ w - y) ** 2) / (2 * N) + 0.1 * np.abs(w).sum()
        np.testing.assert_allclose(TASKS[name].objective(jnp.asarray(w), instance.prompt), expected, rtol=1e-12)
        np.testing.assert_allclose(TASKS[name].predict(jnp.asarray(w), instance.prompt.x_query), instance.prompt.x_query @ w)


@pytest.mark.parametrize("side", [1, 8])
def test_basis_is_the_orthonormal_dct(side):
    """Phi' p is the two-dimensional DCT-II of the patch, and Phi' Phi = I."""
    basis = np.asarray(images.dct_basis(side))
    patch = np.asarray(jax.random.normal(jax.random.key(side), (side, side)))
    np.testing.assert_allclose(patch.ravel() @ basis, fft.dctn(patch, norm="ortho").ravel(), atol=1e-13)
    np.testing.assert_allclose(basis.T @ basis, np.eye(side**2), atol=1e-14)


@pytest.mark.parametrize(("rows", "columns", "side"), [(6, 9, 3), (7, 11, 3), (4, 4, 4)])
def test_patches_are_put_back(rows, columns, side):
    """picture_of inverts patches_of on the whole patches, which are those that NumPy cuts."""
    picture = np.arange(float(rows * columns)).reshape(rows, columns)
    patches = images.patches_of(jnp.asarray(picture), side)
    cut = [
        picture[i : i + side, j : j + side] for i in range(0, rows - side + 1, side) for j in range(0, columns - side + 1, side)
    ]
    np.testing.assert_array_equal(patches, [patch.ravel() for patch in cut])
    whole = picture[: rows // side * side, : columns // side * side]
    np.testing.assert_array_equal(images.picture_of(patches, columns // side), whole)


def test_a_measured_patch():
    """beta = Phi' p - mean, y = X beta, the targets are pixels less the mean patch, and pixels gives p back."""
    camera = images.camera(PATCHES, N, rows=LAWS["sphere"])
    prompt, targets, solution = images.measure(camera, PATCHES[0], jax.random.key(3))
    centred = np.asarray(PATCHES[0]) - np.mean(PATCHES, axis=0)
    beta = fft.dctn(centred.reshape(SIDE, SIDE), norm="ortho").ravel()
    np.testing.assert_allclose(solution, beta, atol=1e-11)
    np.testing.assert_allclose(np.sum(prompt.x**2, axis=1), SIDE**2, rtol=1e-13)
    np.testing.assert_allclose(prompt.y, prompt.x @ beta, atol=1e-10)
    np.testing.assert_allclose(targets, centred, atol=1e-11)
    np.testing.assert_allclose(prompt.x_query @ solution, centred, atol=1e-11)
    np.testing.assert_allclose(images.pixels(camera, targets), PATCHES[0], atol=1e-11)
    np.testing.assert_allclose(
        images.pixels(camera, jnp.stack([targets, 0 * targets]))[1], np.mean(PATCHES, axis=0), atol=1e-11
    )


def test_measurements_of_patches():
    """Every patch has its own X ~ N(0, I), and y - X beta ~ N(0, s^2) in the pixels' units."""
    instance = drawn("patches")[1]
    noise, _ = noise_of("patches")
    assert_mean(np.einsum("bni,bnj->bij", instance.prompt.x, instance.prompt.x) / N, np.eye(SIDE**2))
    assert_mean(noise, 0.0)
    assert_mean(noise**2, 2.0**2)


def test_patches_are_drawn_uniformly():
    """compressed_sensing measures each given patch with probability 1 / p."""
    pictures = images.pixels(CAMERA, drawn("patches")[1].y_query)
    equal = np.max(np.abs(np.asarray(pictures)[:, None] - np.asarray(PATCHES)), axis=2) < 1e-10
    assert np.all(np.sum(equal, axis=1) == 1)
    assert_mean(equal, 1 / 5)
