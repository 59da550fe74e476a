"""Weights from the prompt's own matrix, ALISTA with them, and the Transformer of linear attention that runs both.

Every X is U S V' with S in [0.5, 2], so that errors are those of rounding, and its rows stand anywhere among unused ones.
"""

from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxl2o.checks import InputError
from jaxl2o.constructions.construction import gap
from jaxl2o.constructions.in_context import in_context_alista as transformer
from jaxl2o.models.tabulated import tabulated
from jaxl2o.models.transformer import Transformer
from jaxl2o.solvers.in_context import InContextLayers, from_logarithms, in_context_alista, in_context_start, to_logarithms
from jaxl2o.solvers.pseudo_inverse import (
    analytic_weights,
    newton_schulz,
    normalised,
    pseudo_inverse,
    relative_ridge,
    ridge_inverse,
)
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.types import Prompt

SEEDS = st.integers(0, 2**31 - 1)
D, STEPS = 8, 6
# examples, and how many of them are used: fewer than D, as many, and more
SIZES = {
    "few": (6, 6),
    "few, some unused": (6, 4),
    "as many": (8, 8),
    "many, few used": (14, 5),
    "many, as many used": (14, 8),
    "many, more used": (14, 11),
    "many": (14, 14),
}
EVERY_SIZE = pytest.mark.parametrize("size", SIZES)
WEIGHTS = {
    "pseudo-inverse": pseudo_inverse,
    "analytic": analytic_weights,
    "ridge": ridge_inverse(0.3),
    "relative-ridge": relative_ridge(0.1),
    **{f"newton-schulz-{k}": newton_schulz(k) for k in (0, 1, 3, 8, 17)},
}


def orthonormal(rng, n: int, k: int):
    """n x k with orthonormal columns."""
    return np.linalg.qr(rng.normal(size=(n, k)))[0]


def draw_matrix(rng, n: int, d: int):
    """U S V' with singular values in [0.5, 2]."""
    k = min(n, d)
    return (orthonormal(rng, n, k) * rng.uniform(0.5, 2.0, k)) @ orthonormal(rng, d, k).T


def draw(rng, size: str, **start) -> Prompt:
    """A prompt of one of the sizes, its labels from N(0, 1)."""
    n, n_used = SIZES[size]
    used = rng.permutation(n) < n_used
    x, y = np.zeros((n, D)), rng.normal(size=n) * used
    x[used] = draw_matrix(rng, n_used, D)
    return Prompt(jnp.asarray(x), jnp.asarray(y), None, jnp.asarray(used), **start)


@cache
def compiled(name: str):
    """prompt -> W."""
    return jax.jit(WEIGHTS[name])


def weights(name: str, prompt: Prompt):
    """W of a prompt."""
    return np.asarray(compiled(name)(prompt))


# --- the weights ----------------------------------------------------------------------------------------------------------


@EVERY_SIZE
@settings(max_examples=10)
@given(seed=SEEDS)
def test_pseudo_inverse(size, seed):
    """X^+ is NumPy's, by the SVD; unused rows have columns of zeros."""
    prompt = draw(np.random.default_rng(seed), size)
    found = weights("pseudo-inverse", prompt)
    np.testing.assert_allclose(found, np.linalg.pinv(prompt.x), atol=1e-13)
    assert (found[:, ~np.asarray(prompt.used)] == 0.0).all()


@EVERY_SIZE
@settings(max_examples=10)
@given(seed=SEEDS)
def test_ridge_inverse(size, seed):
    """X'(XX' + s^2 I)^-1 = V diag(sigma / (sigma^2 + s^2)) U': towards X^+ as s falls; zero columns for unused rows."""
    prompt = draw(np.random.default_rng(seed), size)
    found, used = weights("ridge", prompt), np.asarray(prompt.used)
    u, sigma, v = np.linalg.svd(np.asarray(prompt.x)[used], full_matrices=False)
    np.testing.assert_allclose(found[:, used], (v.T * (sigma / (sigma**2 + 0.3))) @ u.T, atol=1e-13)
    assert (found[:, ~used] == 0.0).all()


@EVERY_SIZE
@settings(max_examples=10)
@given(seed=SEEDS, scale=st.floats(0.1, 10.0))
def test_relative_ridge(size, seed, scale):
    """(X'X + s I)^-1 X' = V diag(sigma / (sigma^2 + s)) U' with s = 0.1 mean sigma^2 over d; W(c X) = W(X) / c."""
    prompt = draw(np.random.default_rng(seed), size)
    found, used = weights("relative-ridge", prompt), np.asarray(prompt.used)
    u, sigma, v = np.linalg.svd(np.asarray(prompt.x)[used], full_matrices=False)
    ridge = 0.1 * np.sum(sigma**2) / D
    np.testing.assert_allclose(found[:, used], (v.T * (sigma / (sigma**2 + ridge))) @ u.T, atol=1e-13)
    assert (found[:, ~used] == 0.0).all()
    scaled = weights("relative-ridge", prompt._replace(x=prompt.x * scale))
    np.testing.assert_allclose(scaled * scale, found, atol=1e-12)


@pytest.mark.parametrize("size", ["few, some unused", "many, few used", "many, more used"])
@pytest.mark.parametrize("name", ["pseudo-inverse", "analytic", "ridge", "relative-ridge", "newton-schulz-3"])
def test_weights_are_differentiable_in_the_matrix(name, size):
    """The derivative along a random change of the used rows is the central difference, to O(h^2)."""
    rng, step = np.random.default_rng(0), 1e-5
    prompt = draw(rng, size)
    change = jnp.asarray(rng.normal(size=prompt.x.shape)) * prompt.used[:, None]
    tangent = jax.jit(lambda prompt: jax.jvp(lambda x: WEIGHTS[name](prompt._replace(x=x)), (prompt.x,), (change,))[1])(prompt)
    ahead, behind = (weights(name, prompt._replace(x=prompt.x + sign * step * change)) for sign in (1.0, -1.0))
    difference = (ahead - behind) / (2.0 * step)
    assert np.abs(difference).max() > 0.1
    np.testing.assert_allclose(tangent, difference, atol=1e-7)


@EVERY_SIZE
@settings(max_examples=10)
@given(seed=SEEDS)
def test_analytic_weights_in_closed_form(size, seed):
    """w_i = G^-1 a_i / (a_i' G^-1 a_i) with G = XX' if its rows are independent; (W X)_ii = 1; and X^+ where X^+ X = I."""
    prompt = draw(np.random.default_rng(seed), size)
    found, used = weights("analytic", prompt), np.asarray(prompt.used)
    a = np.asarray(prompt.x)[used]
    np.testing.assert_allclose(np.diag(found[:, used] @ a), 1.0, atol=1e-13)
    if used.sum() <= D:
        solved = np.linalg.solve(a @ a.T, a)
        np.testing.assert_allclose(found[:, used], (solved / np.sum(a * solved, axis=0)).T, atol=1e-11)
    else:
        np.testing.assert_allclose(found, np.linalg.pinv(prompt.x), atol=1e-12)


@given(seed=SEEDS)
def test_analytic_weights_are_minimal(seed):
    """|W X|_F^2 grows by exactly |H X|_F^2 with any H that keeps the gains, (H X)_ii = 0: W is the one minimiser."""
    rng = np.random.default_rng(seed)
    prompt = draw(rng, "few")
    x, best = np.asarray(prompt.x), weights("analytic", prompt)
    change = rng.normal(size=best.shape)
    change -= (np.sum(change * x.T, axis=1) / np.sum(x**2, axis=0))[:, None] * x.T
    np.testing.assert_allclose(np.diag(change @ x), 0.0, atol=1e-13)
    excess = np.sum(((best + change) @ x) ** 2) - np.sum((best @ x) ** 2)
    np.testing.assert_allclose(excess, np.sum((change @ x) ** 2), rtol=1e-10)


def test_projected_gradients_lead_to_the_analytic_weights():
    """The published way, gradient steps on |W X|_F^2 and projections onto (W X)_ii = 1, ends at the closed form."""
    prompt = draw(np.random.default_rng(0), "few")
    x, best = np.asarray(prompt.x), weights("analytic", prompt)
    square = np.sum(x**2, axis=0)
    w = x.T / square[:, None]
    for _ in range(2000):
        w = w - 0.2 * (w @ x) @ x.T
        w = w + ((1.0 - np.sum(w * x.T, axis=1)) / square)[:, None] * x.T
    np.testing.assert_allclose(w, best, atol=1e-12)


def test_a_column_of_zeros_has_weights_of_zeros():
    """No weights give gain 1 to a coefficient that is not measured; its weights are zero, and derivatives stay finite."""
    x = np.random.default_rng(0).normal(size=(3, 5)) * np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    prompt = Prompt.of(x, np.zeros(3))
    found, slope = jax.value_and_grad(lambda x: normalised(pseudo_inverse)(prompt._replace(x=x)).sum())(prompt.x)
    assert np.isfinite(slope).all()
    assert np.isfinite(found)
    np.testing.assert_allclose(np.diag(weights("analytic", prompt) @ x), [1.0, 1.0, 0.0, 1.0, 1.0], atol=1e-14)


@pytest.mark.parametrize("n_steps", [0, 1, 3, 8, 17])
@settings(max_examples=10)
@given(seed=SEEDS)
def test_newton_schulz_converges_quadratically(n_steps, seed):
    """After k steps W = V diag((1 - e) / sigma) U' with e = (1 - sigma^4 / |X'X|_F^2)^(2^k): X^+, but for what e lacks."""
    for size in SIZES:
        prompt = draw(np.random.default_rng(seed), size)
        u, sigma, v = np.linalg.svd(np.asarray(prompt.x), full_matrices=False)
        there = sigma > 0.1
        error = (1.0 - sigma[there] ** 4 / np.sum(sigma**4)) ** (2.0**n_steps)
        expected = (v[there].T * ((1.0 - error) / sigma[there])) @ u[:, there].T
        np.testing.assert_allclose(weights(f"newton-schulz-{n_steps}", prompt), expected, atol=1e-11)


def test_newton_schulz_ends_at_the_pseudo_inverse():
    """17 steps are enough for condition 4, as sigma^4 / |X'X|_F^2 >= 2^-11 here and (1 - 2^-11)^(2^17) < 1e-27."""
    for size in SIZES:
        prompt = draw(np.random.default_rng(1), size)
        np.testing.assert_allclose(weights("newton-schulz-17", prompt), np.linalg.pinv(prompt.x), atol=1e-12)


# --- the solver -----------------------------------------------------------------------------------------------------------


def draw_layers(rng, *batch: int) -> InContextLayers:
    """Step sizes, momenta, thresholds and shares of the residual, up to 1, 0.3, 0.1 and 0.3."""
    return InContextLayers(*(jnp.asarray(rng.uniform(0.0, most, (*batch, STEPS))) for most in (1.0, 0.3, 0.1, 0.3)))


LAYERS = draw_layers(np.random.default_rng(1))


@cache
def compiled_solver(name: str):
    """(layers, prompt) -> the iterates after 0..T steps."""
    return jax.jit(lambda layers, prompt: unroll(in_context_alista(layers, WEIGHTS[name]), prompt, STEPS))


def iterates(name: str, prompt: Prompt, layers: InContextLayers = LAYERS):
    """The iterates of in-context ALISTA with some weights."""
    return np.asarray(compiled_solver(name)(layers, prompt))


def textbook(layers: InContextLayers, weight, x, y, start):
    """The recursion, coordinate by coordinate."""
    w, before, path = start, start, [start]
    for step_size, momentum, threshold, share in np.stack(layers, axis=1):
        point = w + momentum * (w - before)
        residual = [weight[i] @ (y - x @ point) for i in range(D)]
        limit = threshold + share * sum(abs(r) for r in residual) / D
        moved = [point[i] + step_size * residual[i] for i in range(D)]
        w, before = np.array([np.sign(u) * max(abs(u) - limit, 0.0) for u in moved]), w
        path.append(w)
    return np.stack(path)


@EVERY_SIZE
@settings(max_examples=10)
@given(seed=SEEDS)
def test_in_context_alista_in_numpy(size, seed):
    """The recursion as a loop, with X^+ by the SVD and gains made 1, from a given start."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=D)
    layers, prompt = draw_layers(rng), draw(rng, size, start=jnp.asarray(start))
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    weight = np.linalg.pinv(x)
    weight /= np.diag(weight @ x)[:, None]
    expected = textbook(layers, weight, x, y, start)
    np.testing.assert_allclose(iterates("analytic", prompt, layers), expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["pseudo-inverse", "analytic", "ridge", "relative-ridge", "newton-schulz-3"])
@given(seed=SEEDS)
def test_signed_permutations_of_coefficients(name, seed):
    """x -> G x turns w -> G w for the symmetries G of |w|_1."""
    rng = np.random.default_rng(seed)
    prompt = draw(rng, "few")
    signs, order = rng.choice([-1.0, 1.0], size=D), rng.permutation(D)
    turned = iterates(name, prompt._replace(x=prompt.x[:, order] * signs[None]))
    np.testing.assert_allclose(turned, iterates(name, prompt)[:, order] * signs, atol=1e-11)


def mixed(prompt: Prompt, rng) -> Prompt:
    """(P X, P y) with P invertible, and every measurement another combination."""
    mixing = jnp.asarray(draw_matrix(rng, *2 * prompt.y.shape))
    return prompt._replace(x=mixing @ prompt.x, y=mixing @ prompt.y)


@pytest.mark.parametrize("size", ["few", "as many"])
@pytest.mark.parametrize("name", ["pseudo-inverse", "analytic"])
@given(seed=SEEDS)
def test_how_measurements_are_combined_does_not_matter(name, size, seed):
    """For n <= d iterates of (P X, P y) are those of (X, y), for every invertible P."""
    rng = np.random.default_rng(seed)
    prompt = draw(rng, size)
    np.testing.assert_allclose(iterates(name, mixed(prompt, rng)), iterates(name, prompt), atol=1e-11)


def test_it_matters_to_lista_vm():
    """Weights in signal space lack this invariance."""
    rng = np.random.default_rng(0)
    prompt = draw(rng, "few")
    solver = lista_vm(VaryingLayers(jnp.broadcast_to(jnp.eye(D), (STEPS, D, D)), LAYERS.threshold))
    plain, other = (np.asarray(unroll(solver, p, STEPS)) for p in (prompt, mixed(prompt, rng)))
    assert np.abs(plain - other).max() > 0.1


@EVERY_SIZE
@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_full_step_without_thresholds(size, seed):
    """From zero it is the least-squares answer of least norm, X^+ y, where it stays."""
    prompt = draw(np.random.default_rng(seed), size)
    plain = in_context_start(STEPS, 0.0, 0.0)
    expected = np.linalg.lstsq(np.asarray(prompt.x), np.asarray(prompt.y), rcond=1e-6)[0]
    np.testing.assert_allclose(iterates("pseudo-inverse", prompt, plain)[1:], np.tile(expected, (STEPS, 1)), atol=1e-12)


def test_logarithms_of_thresholds():
    """Both thresholds are exponentials of what is trained, of any sign; step sizes and momenta are what is trained."""
    free = jax.tree.map(lambda leaf: leaf - 1.0, LAYERS)
    found = from_logarithms(free)
    np.testing.assert_allclose(np.log([found.threshold, found.residual_threshold]), [free.threshold, free.residual_threshold])
    chex.assert_trees_all_equal((found.step_size, found.momentum), (free.step_size, free.momentum))


def test_where_a_training_begins():
    """to_logarithms is undone by from_logarithms, but for thresholds that have no logarithm: those become e^-5."""
    layers = LAYERS._replace(threshold=0.1 + LAYERS.threshold, residual_threshold=0.1 + LAYERS.residual_threshold)
    chex.assert_trees_all_close(from_logarithms(to_logarithms(layers)), layers, rtol=1e-12)
    none = to_logarithms(LAYERS._replace(threshold=jnp.zeros_like(LAYERS.threshold)))
    np.testing.assert_array_equal(none.threshold, -5.0)


def test_the_start_of_training():
    """Full steps, no momentum, thresholds from 2 to 1 times mean|r|; without training the error falls tenfold in 16 steps."""
    start = in_context_start(16)
    np.testing.assert_allclose(np.stack(start[:3]), np.outer([1.0, 0.0, 0.0], np.ones(16)))
    np.testing.assert_allclose(start.residual_threshold, np.linspace(2.0, 1.0, 16))
    rng = np.random.default_rng(5)
    x, signals = rng.normal(size=(100, 40, 80)), rng.permuted(rng.normal(size=(100, 80)) * (np.arange(80) < 6), axis=1)
    prompts = jax.vmap(Prompt.of)(x, np.einsum("bnd,bd->bn", x, signals))
    last = jax.jit(jax.vmap(lambda prompt: unroll(in_context_alista(start), prompt, 16, keep="last")))(prompts)
    assert np.sum((np.asarray(last) - signals) ** 2) <= 0.1 * np.sum(signals**2)


BAD = {
    "negative threshold": LAYERS._replace(threshold=-LAYERS.threshold),
    "negative share": LAYERS._replace(residual_threshold=-LAYERS.residual_threshold),
    "momenta of another depth": LAYERS._replace(momentum=LAYERS.momentum[1:]),
}


@pytest.mark.parametrize("layers", BAD.values(), ids=BAD)
def test_layers_that_do_not_fit(layers):
    """Shapes that do not fit each other, and thresholds below zero, are refused in one sentence."""
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        in_context_alista(layers)


# --- the Transformer --------------------------------------------------------------------------------------------------------

NEWTON, PROMPTS = 8, 16


def theorem(newton_schulz_steps: int = NEWTON, n: int = 20):
    """The construction of LAYERS. It is made inside what is compiled: op by op it would take seconds."""
    return transformer(LAYERS, D, newton_schulz_steps, n)


def draw_prompts(rng, size: str) -> Prompt:
    """Sixteen prompts with three queries and a start."""
    alone = [draw(rng, size) for _ in range(PROMPTS)]
    prompts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    asked, start = rng.normal(size=(PROMPTS, 3, D)), rng.normal(size=(PROMPTS, D))
    return prompts._replace(x_query=jnp.asarray(asked), start=jnp.asarray(start))


@cache
def compiled_gap(newton_schulz_steps: int):
    """prompts -> the gap of each."""
    return jax.jit(jax.vmap(lambda prompt: gap(theorem(newton_schulz_steps), prompt)))


def test_the_transformer_has_the_shape_of_the_proposition():
    """J + 2 + 2T layers of linear attention, 2 heads, width 3d + 5, 2 ReLU units, nothing else; max(n, d) tokens."""

    @jax.jit
    def make():
        construction = theorem()
        config = construction.config
        assert (config.depth, config.repeats, config.heads) == (NEWTON + 2 + 2 * STEPS, 1, 2)
        assert (config.width, config.mlp_dim) == (3 * D + 5, 2)
        assert (config.attention, config.norm, config.bias, config.read_out) == ("linear", "none", "none", "none")
        assert construction.at == tuple((t, NEWTON + 2 + 2 * t) for t in range(STEPS + 1))
        per_layer = 2 * 2 * config.width**2 + 2 * 2 * config.width
        assert sum(leaf.size for leaf in jax.tree.leaves(construction.params)) == config.depth * per_layer
        for size, (n, _) in SIZES.items():
            tokens = construction.encoding.tokens(draw(np.random.default_rng(0), size))
            assert tokens.z.shape == (max(n, D), config.width)
        return construction.params, theorem(n=3).params

    chex.assert_trees_all_equal(*make())


@pytest.mark.parametrize("size", ["few", "few, some unused", "as many", "many, few used", "many, more used"])
def test_the_transformer_is_in_context_alista(size):
    """Its answers after J + 2 + 2t layers are the solver's after t steps, from any start; up to rounding, a few 1e-15."""
    prompts = draw_prompts(np.random.default_rng(2), size)
    assert compiled_gap(NEWTON)(prompts).max() <= 1e-13


@pytest.mark.parametrize("newton_schulz_steps", [0, 1, 40])
def test_for_any_number_of_newton_schulz_steps(newton_schulz_steps):
    """None, one, and far more than converge: rounding does not grow in the null space of X."""
    prompts = draw_prompts(np.random.default_rng(3), "few, some unused")
    assert compiled_gap(newton_schulz_steps)(prompts).max() <= 1e-13


def test_projections_must_not_be_iterated():
    """P <- 2P - P^2, Newton-Schulz for P = W X by itself, doubles rounding in the null space: 2^40 times 1e-17 is seen."""
    x = np.asarray(draw(np.random.default_rng(3), "few, some unused").x)
    gram = x.T @ x
    projection = gram @ gram / np.sum(gram**2)
    for _ in range(40):
        projection = 2.0 * projection - projection @ projection
    assert np.abs(projection - np.linalg.pinv(x) @ x).max() > 1e-6


def test_what_the_stream_holds():
    """By the proof: after layer 1 G, b and V = G of the scaled prompt; after layer J + 2 W X and W y; after a step z + a r."""
    at, prompt = tabulated(D).layout, draw(np.random.default_rng(4), "many, more used")

    @jax.jit
    def run(prompt):
        construction = theorem()
        tokens = construction.encoding.tokens(prompt)
        return Transformer(construction.config).apply({"params": construction.params}, tokens).residual, tokens.z

    stream, first = jax.tree.map(np.asarray, run(prompt))
    slot = {name: stream[:, :D, at.slice(name)] for name, _ in at.slots}
    x, y = first[:, at.slice("x")], first[:, at.slice("y")]
    np.testing.assert_allclose(np.linalg.norm(x.T @ x), 1.0, rtol=1e-14)
    for name, expected in {"x": x.T @ x, "y": x.T @ y, "v": x.T @ x}.items():
        np.testing.assert_allclose(slot[name][1], expected, atol=1e-14)
    weight = weights(f"newton-schulz-{NEWTON}", prompt)
    for layer in (NEWTON + 2, len(stream) - 1):
        np.testing.assert_allclose(slot["x"][layer], weight @ np.asarray(prompt.x), atol=1e-13)
        np.testing.assert_allclose(slot["y"][layer][:, 0], weight @ np.asarray(prompt.y), atol=1e-13)
    residual = weight @ np.asarray(prompt.y)
    np.testing.assert_allclose(slot["size"][NEWTON + 3][:, 0], np.abs(residual), atol=1e-13)
    limit = LAYERS.threshold[0] + LAYERS.residual_threshold[0] * np.mean(np.abs(residual))
    np.testing.assert_allclose(slot["size"][NEWTON + 4][:, 0], np.full(D, limit), atol=1e-13)
    np.testing.assert_allclose(slot["r"][NEWTON + 4][:, 0], LAYERS.step_size[0] * residual, atol=1e-13)
    assert (stream[:, D:] == first[None, D:]).all()


@pytest.mark.parametrize("n", [0, 1, 3])
def test_tokens_by_hand(n):
    """Rows [x, y, e, v, w, previous, r, size]; X'X of one row [1, 2] has norm 5, and of n equal rows n times this."""
    prompt = Prompt.of(np.tile([1.0, 2.0], (n, 1)), np.full(n, 3.0), start=jnp.array([7.0, 8.0]))
    tokens = jax.jit(tabulated(2).tokens)(prompt)
    example = np.array([1.0, 2.0, 3.0]) / np.sqrt(5.0 * max(n, 1))
    table = np.zeros((max(n, 2), 11))
    table[:n, :3] = example
    table[:2, 3:5] = np.eye(2)
    table[:2, 7:9] = [[7.0, 7.0], [8.0, 8.0]]
    np.testing.assert_allclose(tokens.z, table, rtol=1e-15)
    np.testing.assert_array_equal(tokens.mask, np.arange(len(table))[:, None] < np.full(len(table), 2)[None])
    np.testing.assert_array_equal(tokens.scale, np.ones(len(table)))
    np.testing.assert_array_equal(tokens.position, np.arange(len(table)))


def test_derivatives_of_an_empty_prompt_are_finite():
    """The input scaling of X = 0 is 1, and its derivative no NaN."""
    empty = Prompt.of(np.ones((3, D)), np.ones(3), used=np.zeros(3, dtype=bool))
    slope = jax.jit(jax.grad(lambda x: tabulated(D).tokens(empty._replace(x=x)).z.sum()))(empty.x)
    assert np.isfinite(slope).all()
