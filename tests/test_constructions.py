"""Theorems: the constructed Transformer is the solver, at every layer, on every prefix, with its derivatives."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from jaxl2o.constructions import BOUND, CELLS, CONSTRUCTIONS, random_momentum_layers, random_varying_layers
from jaxl2o.constructions.construction import Head, LayerSpec, Mlp, fill, gap
from jaxl2o.constructions.expectation_maximisation import error_bound as mixture_error_bound
from jaxl2o.constructions.expectation_maximisation import (
    expectation_maximisation,
    symmetric_error_bound,
    symmetric_expectation_maximisation,
)
from jaxl2o.constructions.first_order import (
    conjugate_gradient,
    diagonal_first_order,
    gradient_descent_plus_plus,
    gradient_descent_with_momentum,
    linear_first_order,
    nesterov,
    optimal,
    optimal_without_memory,
)
from jaxl2o.constructions.gradient_descent import gradient_descent, preconditioned_gradient_descent
from jaxl2o.constructions.in_context import in_context_alista
from jaxl2o.constructions.learner import constrained_learner
from jaxl2o.constructions.logistic import damped_newton, damped_newton_of_any_length
from jaxl2o.constructions.logistic_bound import error_bound
from jaxl2o.constructions.mixture_block import Limits
from jaxl2o.constructions.momentum import lista_vm_with_momentum
from jaxl2o.constructions.newton import (
    newton_least_squares,
    newton_schulz,
    newton_schulz_in_one_layer,
    third_order_inverse,
)
from jaxl2o.constructions.sparse_recovery import largest_score, lista_vm, lista_vm_known_support, lista_vm_linear_read_out
from jaxl2o.limits.linear_attention import best_matrix
from jaxl2o.limits.mixture import independent_moments
from jaxl2o.limits.polynomial import optimal_polynomial
from jaxl2o.limits.wishart import loss_matrix
from jaxl2o.models.canonical import merge
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Tokens
from jaxl2o.models.layout import Layout
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import small_tf
from jaxl2o.models.transformer import Transformer
from jaxl2o.solvers.in_context import InContextLayers
from jaxl2o.solvers.krylov import frozen_steps
from jaxl2o.solvers.momentum import Steps, chebyshev_steps
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import MomentumLayers, VaryingLayers
from jaxl2o.types import Params, Prompt

SEEDS = st.integers(0, 2**31 - 1)
THEOREMS = pytest.mark.parametrize("name", CONSTRUCTIONS)


def draw_layers(rng, depth: int, d: int, batch: tuple[int, ...] = ()) -> VaryingLayers:
    """M with independent N(0, 1/d) entries, thresholds uniform in [0, 0.2]."""
    matrix = rng.normal(size=(*batch, depth, d, d)) / np.sqrt(d)
    return VaryingLayers(jnp.asarray(matrix, dtype=float), jnp.asarray(rng.uniform(0.0, 0.2, (*batch, depth)), dtype=float))


def make_prompt(x, y, x_query=None, used=None, start=None) -> Prompt:
    """A prompt of NumPy arrays; all examples are used unless `used` says otherwise."""
    used = np.ones(y.shape, dtype=bool) if used is None else used
    floats = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), (x * used[..., None], y * used, x_query, start))
    return Prompt(*floats[:3], jnp.asarray(used), floats[3])


def soft(u, threshold):
    """sign(u) max(|u| - threshold, 0)."""
    return np.sign(u) * np.maximum(np.abs(u) - threshold, 0.0)


# --- the table of the library -------------------------------------------------------------------------------------------

PROMPTS = 16
OF_ONE_LENGTH = ("damped-newton",)


class Theorem(NamedTuple):
    """A construction of the table: its config, parameters and tolerance, and what is compiled.

    drawn: seed -> prompts of the theorem's domain.  gaps: (params, prompts) -> (PROMPTS,).
    """

    config: TransformerConfig
    params: Params
    tolerance: float
    drawn: Callable[[int], Prompt]
    gaps: Callable[[Params, Prompt], Array]


@cache
def theorem(name: str) -> Theorem:
    """It is made while JAX traces, for each of the hundreds of operations that make it would be compiled by itself."""
    make, config = CONSTRUCTIONS[name], []

    @jax.jit
    def run(seed):
        construction = make()
        config.append(construction.config)
        return construction.params, construction.tolerance, domain(construction, seed)

    @jax.jit
    def gaps(params, prompts):
        return jax.vmap(partial(gap, make()._replace(params=params)))(prompts)

    params, tolerance, _ = run(0)
    return Theorem(config[0], params, float(tolerance), lambda seed: run(seed)[2], gaps)


def domain(construction, seed) -> Prompt:
    """Prompts of the theorem's domain, that start at zero unless it says where; of all generators `rbg` compiles fastest."""
    prompts = jax.vmap(construction.sample)(jax.random.split(jax.random.key(seed, impl="rbg"), PROMPTS))
    if prompts.start is not None:
        return prompts
    return prompts._replace(start=jnp.asarray(np.zeros((PROMPTS, prompts.x.shape[-1]))))


@THEOREMS
def test_the_transformer_is_the_solver(name):
    """read(stream after layer t) = answer(iterate after step s) for all (s, t) of the claim, on the theorem's domain."""
    made = theorem(name)
    assert made.gaps(made.params, made.drawn(7)).max() <= max(1e-12, made.tolerance)


@THEOREMS
@given(seed=SEEDS)
def test_any_start_and_any_used_rows(name, seed):
    """The equality holds from any start, and wherever the unused rows stand: nowhere, everywhere, at the end, in between.

    A theorem with a tolerance is held to it on its domain, from starts of length one, with most rows used; one whose weights
    bear n has all rows used.
    """
    made = theorem(name)
    delicate = made.tolerance > 0.0
    rng, prompt = np.random.default_rng(seed), made.drawn(seed)
    if delicate:
        x, y, x_query = map(np.asarray, prompt[:3])
        start = rng.normal(size=prompt.start.shape)
        start = start / np.linalg.norm(start, axis=-1, keepdims=True)
    else:
        x, y, x_query, start = (rng.normal(size=leaf.shape) for leaf in (*prompt[:3], prompt.start))
    used = rng.random(y.shape) < rng.uniform(0.7 * delicate, 1.0, (PROMPTS, 1))
    used[0], used[1], used[2] = True, False, np.arange(y.shape[1]) < y.shape[1] // 2
    prompts = make_prompt(x, y, x_query, used | (name in OF_ONE_LENGTH), start)
    assert made.gaps(made.params, prompts).max() <= max(1e-12, made.tolerance)


@THEOREMS
def test_no_leaf_is_idle(name):
    """The theorem holds at its parameters alone: noise of 1e-3 on any one leaf opens a gap above 1e-6.

    It is relative, and absolute on zeros: what an entry alone is multiplied by may have no effect, as in conjugate gradients.
    An approximation has a gap by itself, than which the noise's is ten times larger.
    """
    made = theorem(name)
    prompts = made.drawn(7)
    closed = max(1e-6, 10.0 * made.gaps(made.params, prompts).max())
    leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, made.params))
    for index, leaf in enumerate(leaves):
        noise = 1e-3 * np.random.default_rng(index).normal(size=leaf.shape)
        moved = leaf + noise * np.where(leaf == 0.0, 1.0, leaf)
        noisy = tree.unflatten([*leaves[:index], moved, *leaves[index + 1 :]])
        assert not made.gaps(noisy, prompts).max() <= closed  # an overflow is a gap too


@pytest.mark.parametrize("x64", [True, False], ids=["float64", "float32"])
@THEOREMS
def test_a_theorem_is_a_parameter_tree_of_the_module(name, x64):
    """Constructed parameters have the names, shapes and dtypes of `Transformer.init`, at either precision."""

    def trees():
        construction, key = CONSTRUCTIONS[name](), jax.random.key(0)
        tokens = construction.encoding.tokens(construction.sample(key))
        return construction.params, Transformer(construction.config).init(key, tokens)["params"]

    with jax.enable_x64(x64):
        ours, theirs = jax.eval_shape(trees)
    chex.assert_trees_all_equal_shapes_and_dtypes(ours, theirs)
    assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {jnp.dtype("float64" if x64 else "float32")}


# --- LISTA-VM in full ---------------------------------------------------------------------------------------------------

D, DEPTH, LONG = 20, 12, 40
LAWS = pytest.mark.parametrize(("law", "noise"), [(law, noise) for law in ("gaussian", "rademacher") for noise in (0.0, 0.2)])


def draw_prompt(rng, law: str, noise: float) -> Prompt:
    """40 examples of y = <x, beta> + noise and one query, with three coefficients from N(0, 1)."""
    shape = (LONG + 1, D)
    rows = rng.normal(size=shape) if law == "gaussian" else rng.choice([-1.0, 1.0], size=shape)
    beta = np.where(rng.permutation(D) < 3, rng.normal(size=D), 0.0)
    return make_prompt(rows[:LONG], rows[:LONG] @ beta + noise * rng.normal(size=LONG), rows[LONG:])


@jax.jit
def compiled_gap_and_score(layers: VaryingLayers, prompt: Prompt, bound):
    """As below; the bound is an array, so that there is one compilation."""
    return gap(lista_vm(layers, bound=bound), prompt), largest_score(layers, prompt)


def gap_and_score(layers: VaryingLayers, prompt: Prompt, bound=1.0):
    """The gap of LISTA-VM with this mask constant, and the largest score on the prompt."""
    return (np.asarray(value) for value in compiled_gap_and_score(layers, prompt, np.asarray(bound)))


def textbook_lista_vm(layers: VaryingLayers, x, y):
    """w <- S_theta(w - M sum_{j<k} x_j (<x_j, w> - y_j) / (2k + 1)) from zero, for every prefix k: (n+1, T+1, d)."""
    matrix, threshold, x, y = (np.asarray(value) for value in (*layers, x, y))
    (n, d), depth = x.shape, len(threshold)
    iterates = np.zeros((n + 1, depth + 1, d))
    for k in range(n + 1):
        for t in range(depth):
            w, total = iterates[k, t], np.zeros(d)
            for j in range(k):
                total += x[j] * (x[j] @ w - y[j])
            iterates[k, t + 1] = soft(w - matrix[t] @ total / (2 * k + 1), threshold[t])
    return iterates


@LAWS
@settings(max_examples=10)
@given(seed=SEEDS)
def test_lista_vm_in_full(law, noise, seed):
    """12 layers run LISTA-VM on all prefixes up to 40, for random M and theta, as soon as B >= max |<w_t, x_j>|."""
    rng = np.random.default_rng(seed)
    layers, prompt = draw_layers(rng, DEPTH, D), draw_prompt(rng, law, noise)
    _, score = gap_and_score(layers, prompt)
    exact, _ = gap_and_score(layers, prompt, 2.0 * score)
    assert exact <= 1e-12


@LAWS
def test_lista_vm_in_full_in_single_precision(law, noise):
    """The same in float32, to 1e-4."""
    with jax.enable_x64(False), jax.default_matmul_precision("highest"):
        for seed in range(5):
            rng = np.random.default_rng(seed)
            layers, prompt = draw_layers(rng, DEPTH, D), draw_prompt(rng, law, noise)
            _, score = gap_and_score(layers, prompt)
            exact, _ = gap_and_score(layers, prompt, 2.0 * score)
            assert exact.dtype == jnp.float32
            assert exact <= 1e-4


@LAWS
def test_the_mask_constant_is_sharp(law, noise):
    """Exact from B = max |<w_t^k, x_j>| on, over prefixes k, steps t < T and asking tokens j <= k; broken at half of it."""
    rng = np.random.default_rng(1)
    layers, prompt = draw_layers(rng, DEPTH, D), draw_prompt(rng, law, noise)
    iterates = textbook_lista_vm(layers, prompt.x, prompt.y)
    scores = np.abs(np.einsum("ktd,jd->ktj", iterates, np.concatenate([prompt.x, prompt.x_query])))
    heard = max(scores[k, :DEPTH, : k + 1].max() for k in range(LONG + 1))
    exact, score = gap_and_score(layers, prompt, (1.0 + 1e-9) * heard)
    broken, _ = gap_and_score(layers, prompt, 0.5 * heard)
    assert exact <= 1e-12
    assert broken > 1e-3
    assert heard <= score
    np.testing.assert_allclose(score, scores.max(), rtol=1e-10)


# --- read-outs, heads and support of LISTA-VM -----------------------------------------------------------------------------


def any_prompt(n: int, d: int, m: int, seed: int = 0) -> Prompt:
    """n examples and m queries from N(0, 1)."""
    rng = np.random.default_rng(seed)
    return make_prompt(rng.normal(size=(n, d)), rng.normal(size=n), rng.normal(size=(m, d)))


def learner_of(name: str):
    """The learner of a construction of the table; its parameters; its LISTA-VM. Called where JAX traces, like all of them."""
    construction = CONSTRUCTIONS[name]()
    return transformer_learner(construction.config, construction.encoding), construction.params, construction.solver.layers


def test_prefixes_are_the_textbooks():
    """One pass answers <x_k, w_t^k> for every prefix k and layer t, with w_t^k by the paper's formula."""
    prompt = any_prompt(n=20, d=10, m=1)

    @jax.jit
    def run():
        learner, params, layers = learner_of("lista-vm-factored")
        return learner.prefixes(params, prompt), layers

    answers, layers = run()
    iterates = textbook_lista_vm(layers, prompt.x, prompt.y)
    expected = np.einsum("ktd,kd->tk", iterates, np.concatenate([prompt.x, prompt.x_query]))
    assert np.abs(answers - expected).max() <= 1e-13 * np.abs(expected).max()


def test_a_linear_read_out_serves_one_length():
    """After one layer more the linear read-out says (2n + 1) / (2k + 1) <x_k, w_T^k> on prefix k: exact for k = n alone."""
    prompt = any_prompt(n=20, d=10, m=1)

    @jax.jit
    def run():
        learner, params, layers = learner_of("lista-vm-linear-read-out")
        return learner.prefixes(params, prompt)[-1], learner.predict(params, prompt)[-1], layers

    answers, last, layers = run()
    iterates = textbook_lista_vm(layers, prompt.x, prompt.y)[:, -1]
    expected = np.einsum("kd,kd->k", iterates, np.concatenate([prompt.x, prompt.x_query]))
    factor = (2 * 20 + 1) / (2 * np.arange(21) + 1)
    assert np.abs(answers / factor - expected).max() <= 1e-12 * np.abs(expected).max()
    np.testing.assert_allclose(last, expected[-1:], rtol=1e-11)


def test_a_known_support_is_never_left():
    """Coordinates outside the support are exactly zero in every token that asks, at every layer; those inside move."""

    @jax.jit
    def run(prompt):
        made = CONSTRUCTIONS["lista-vm-known-support"]()
        stream = Transformer(made.config).apply({"params": made.params}, made.encoding.tokens(prompt))
        return stream.residual[:, ::2, made.encoding.layout.slice("w")]

    asking = np.asarray(run(any_prompt(n=20, d=10, m=1)))
    assert (asking[..., 5:] == 0.0).all()
    assert (asking[1:, 1:, :5] != 0.0).any(axis=(0, 1)).all()


def test_factored_heads_merge_to_merged_ones():
    """query key' and value output of the factored fill are the merged fill, entry by entry; spare dimensions are idle."""

    @jax.jit
    def trees():
        merged, factored = CONSTRUCTIONS["lista-vm"](), CONSTRUCTIONS["lista-vm-factored"]()
        spacious = lista_vm(random_varying_layers(), bound=BOUND, head_dim=15)
        assert (factored.config.head_dim, spacious.config.head_dim) == (11, 15)
        found = [merge(construction.config, construction.params) for construction in (factored, spacious)]
        assert all(config == merged.config for config, _ in found)
        return merged.params, *(params for _, params in found)

    merged, *found = trees()
    for params in found:
        chex.assert_trees_all_equal(params, merged)


def test_a_head_below_the_rank_is_refused():
    """The score <w, x> - B s s has rank d + 1, which no smaller head can hold."""
    with pytest.raises(ValueError, match="dimension 10 cannot hold rank 11"):
        jax.eval_shape(partial(lista_vm, head_dim=10), draw_layers(np.random.default_rng(0), DEPTH, 10))


def test_one_token_serves_all_queries():
    """With a quadratic read-out m queries in one token are m prompts of one query; without queries the answer is w_t."""
    prompt = any_prompt(n=20, d=10, m=3)

    @jax.jit
    def run():
        learner, params, layers = learner_of("lista-vm")
        answer = partial(learner.predict, params)
        alone = jax.vmap(lambda query: answer(prompt._replace(x_query=query[None])))(prompt.x_query)
        return answer(prompt), alone[..., 0].T, answer(prompt._replace(x_query=None)), layers

    together, alone, iterates, layers = jax.tree.map(np.asarray, run())
    expected = textbook_lista_vm(layers, prompt.x, prompt.y)[-1]
    scale = np.abs(expected).max()
    assert np.abs(iterates - expected).max() <= 1e-13 * scale
    assert np.abs(together - alone).max() <= 1e-13 * scale
    assert np.abs(together - expected @ np.asarray(prompt.x_query).T).max() <= 1e-12 * scale


# --- LISTA-VM with momentum -----------------------------------------------------------------------------------------------


def test_momentum_fits_into_the_shape_of_small_tf():
    """Width 2d + 2 and four heads as for LISTA-VM; 6d + 1 hidden units, and Small TF has 4 (2d + 2)."""
    config, shape = theorem("lista-vm-with-momentum").config, small_tf(d=10, depth=6)
    assert (config.width, config.heads, config.depth) == (shape.width, shape.heads, shape.depth)
    assert config.mlp_dim == 6 * 10 + 1 <= shape.mlp_dim


def test_without_momentum_it_is_lista_vm():
    """At m = rho = 0 the Transformer answers what LISTA-VM's does, on every prefix."""

    @jax.jit
    def run(prompts):
        plain = random_varying_layers()
        zeros = jnp.zeros_like(plain.threshold)
        constructions = CONSTRUCTIONS["lista-vm"](), lista_vm_with_momentum(MomentumLayers(*plain, zeros, zeros), bound=BOUND)
        learners = [transformer_learner(made.config, made.encoding) for made in constructions]
        return [
            jax.vmap(partial(own.prefixes, made.params))(prompts) for own, made in zip(learners, constructions, strict=True)
        ]

    answers = jax.tree.map(np.asarray, run(theorem("lista-vm").drawn(7)))
    size = np.abs(answers[0]).max(axis=(1, 2), keepdims=True)
    assert (np.abs(answers[0] - answers[1]) <= 1e-12 * size).all()


def test_the_gate_is_needed():
    """A gate below the examples lets the MLP write into tokens that tell, and the theorem fails."""
    made = theorem("lista-vm-with-momentum")
    small = jax.jit(lambda: lista_vm_with_momentum(random_momentum_layers(depth=6), bound=BOUND, gate=1.0).params)()
    assert not (made.gaps(small, made.drawn(7)) <= 1e-3).any()


# --- families: hyper-parameters -> construction -------------------------------------------------------------------------

SIZE, STEPS, N, M, BATCH = 4, 2, 6, 2, 16
SUPPORT = np.array([True, False, True, False])


def textbook_gradient_descent(preconditioner, prompt: Prompt):
    """<x, w_t> for w <- w - P sum_j x_j (<x_j, w> - y_j) / n, from zero: (T+1, m)."""
    x, y, iterates = np.asarray(prompt.x), np.asarray(prompt.y), [np.zeros(SIZE)]
    for _ in range(STEPS):
        gradient = sum(x[j] * (x[j] @ iterates[-1] - y[j]) for j in range(N)) / N
        iterates.append(iterates[-1] - preconditioner @ gradient)
    return np.stack(iterates) @ np.asarray(prompt.x_query).T


def textbook_quadratic(layers: VaryingLayers, prompt: Prompt):
    """<x, w_t> for LISTA-VM's iterates on all examples: (T+1, m)."""
    return textbook_lista_vm(layers, prompt.x, prompt.y)[-1] @ np.asarray(prompt.x_query).T


def draw_varying(rng) -> VaryingLayers:
    """Sixteen LISTA-VMs."""
    return draw_layers(rng, STEPS, SIZE, (BATCH,))


def textbook_momentum(layers: MomentumLayers, prompt: Prompt):
    """<x, w_t> for u = v - M sum_j x_j (<x_j, w> - y_j) / (2n + 1), w <- S(w + u), v <- m (change of w), with thresholds
    theta + rho (mean|u| of the step before): (T+1, m)."""
    x, y, w, v, size = np.asarray(prompt.x), np.asarray(prompt.y), np.zeros(SIZE), np.zeros(SIZE), 0.0
    iterates = [w]
    for matrix, threshold, momentum, share in zip(*map(np.asarray, layers), strict=True):
        u = v - matrix @ sum(x[j] * (x[j] @ w - y[j]) for j in range(N)) / (2 * N + 1)
        w, before = soft(w + u, threshold + share * size), w
        v, size = momentum * (w - before), np.abs(u).mean()
        iterates.append(w)
    return np.stack(iterates) @ np.asarray(prompt.x_query).T


def first_order(preconditioners, prompt: Prompt, move):
    """<x, w_t> from zero for w_{t+1} = w_t + move(t, [g_0, ..., g_t]), with the gradients g of 1/(2n) |X w - y|^2: (T+1, m)."""
    x, y, iterates, gradients = np.asarray(prompt.x), np.asarray(prompt.y), [np.zeros(SIZE)], []
    for t in range(STEPS):
        gradients.append(preconditioners @ x.T @ (x @ iterates[-1] - y) / N)
        iterates.append(iterates[-1] + move(t, gradients))
    return np.stack(iterates) @ np.asarray(prompt.x_query).T


def textbook_steps(steps: Steps, preconditioner, prompt: Prompt):
    """w moves by a_t s_t, where s_t = -g_t + m_t s_{t-1} is a sum over all gradients so far."""
    a, m = np.asarray(steps)

    def move(t, gradients):
        return -a[t] * sum(np.prod(m[j + 1 : t + 1]) * gradients[j] for j in range(t + 1))

    return first_order(preconditioner, prompt, move)


def textbook_frozen(x, prompt: Prompt):
    """The coefficients of conjugate gradients for X'X w = X'1 of another X, by Hestenes and Stiefel, on this prompt."""
    hessian, residual = x.T @ x / N, x.T @ np.ones(N) / N
    direction, a, m = residual, [], [0.0]
    for _ in range(STEPS):
        a.append(residual @ residual / (direction @ hessian @ direction))
        after = residual - a[-1] * hessian @ direction
        m.append(after @ after / (residual @ residual))
        residual, direction = after, after + m[-1] * direction
    return textbook_steps(Steps(jnp.asarray(a), jnp.asarray(m[:-1])), np.eye(SIZE), prompt)


def textbook_coefficients(coefficients, prompt: Prompt):
    """w moves by -sum_j C[t, t - j] g_j."""

    def move(t, gradients):
        return -sum(coefficients[t, t - j] * gradients[j] for j in range(t + 1))

    return first_order(np.eye(SIZE), prompt, move)


def textbook_preconditioned(theta, prompt: Prompt):
    """w moves by -sum_j C[t, t - j] P_j g_j."""

    def move(t, gradients):
        return -sum(theta[0][t, t - j] * theta[1][j] @ gradients[j] for j in range(t + 1))

    return first_order(np.eye(SIZE), prompt, move)


def textbook_nesterov(momenta, prompt: Prompt):
    """<x, v_t> for w = v - 0.3 g(v), v <- w + momenta_t (w - w_before): (T+1, m)."""
    x, y, v, before = np.asarray(prompt.x), np.asarray(prompt.y), np.zeros(SIZE), np.zeros(SIZE)
    points = [v]
    for momentum in momenta:
        w = v - 0.3 * x.T @ (x @ v - y) / N
        v, before = w + momentum * (w - before), w
        points.append(v)
    return np.stack(points) @ np.asarray(prompt.x_query).T


def textbook_moving_tokens(theta, prompt: Prompt):
    """Minus the queries' label slot, where in every layer all tokens see the sum over examples of <x, x_j> [x_j, y_j]."""
    x, residual = np.concatenate([prompt.x, prompt.x_query]), np.concatenate([prompt.y, np.zeros(M)])
    answers = [-residual[N:]]
    for a, b in np.asarray(theta).T:
        scores = x @ x[:N].T / N
        x, residual = x - b * scores @ x[:N], residual - a * scores @ residual[:N]
        answers.append(-residual[N:])
    return np.stack(answers)


def textbook_conjugate(factor, prompt: Prompt):
    """<x, w_t>, w_t the point of span{Pb, PHPb, ...} with the least (w - w*)'H(w - w*): (T+1, m), P = I + factor factor'."""
    x, preconditioner = np.asarray(prompt.x), np.eye(SIZE) + factor @ factor.T
    hessian, b, vectors = x.T @ x / N, x.T @ np.asarray(prompt.y) / N, []
    iterates = [np.zeros(SIZE)]
    for _ in range(STEPS):
        vectors.append(preconditioner @ (hessian @ vectors[-1] if vectors else b))
        basis = np.stack(vectors, axis=1)
        iterates.append(basis @ np.linalg.solve(basis.T @ hessian @ basis, basis.T @ b))
    return np.stack(iterates) @ np.asarray(prompt.x_query).T


def draw_steps(rng) -> Steps:
    """Sixteen schedules."""
    return Steps(*(jnp.asarray(rng.uniform(0.1, 0.6, (BATCH, STEPS))) for _ in range(2)))


def textbook_polynomials(polynomials, preconditioner, prompt: Prompt):
    """<x, w_t> with w_t = w* - p_t(P H) w*, for the coefficients of p_t, constant first: (T+1, m)."""
    x = np.asarray(prompt.x)
    solution, matrix = np.linalg.lstsq(x, np.asarray(prompt.y), rcond=None)[0], preconditioner @ x.T @ x / N
    powers = np.stack([np.linalg.matrix_power(matrix, k) @ solution for k in range(STEPS + 1)])
    return (solution - np.asarray(polynomials) @ powers) @ np.asarray(prompt.x_query).T


def textbook_chebyshev(least, largest, prompt: Prompt):
    """p_t(z) = T_t((M + m - 2z) / (M - m)) / T_t((M + m) / (M - m)), for T_0 = 1, T_1 = z, T_2 = 2z^2 - 1."""
    a, b = (largest + least) / (largest - least), -2.0 / (largest - least)
    square = np.array([2.0 * a * a - 1.0, 4.0 * a * b, 2.0 * b * b]) / (2.0 * a * a - 1.0)
    return textbook_polynomials([[1.0, 0.0, 0.0], [1.0, b / a, 0.0], square], np.eye(SIZE), prompt)


def optimal_coefficients(depth: int):
    """Of the polynomials with the least loss for N whitened Gaussian examples in SIZE dimensions, padded to STEPS + 1."""
    matrix = loss_matrix(N, [1] * SIZE, depth)
    return np.pad(optimal_polynomial(matrix)[1].astype(float), (0, STEPS - depth))


def textbook_optimal(factor, prompt: Prompt):
    """At every depth the polynomial of least loss, in Sigma^-1 H."""
    inverse = np.linalg.inv(np.eye(SIZE) + factor @ factor.T)
    return textbook_polynomials([optimal_coefficients(depth) for depth in range(STEPS + 1)], inverse, prompt)


def textbook_optimal_last(factor, prompt: Prompt):
    """The same after the last step; after the first, the longest of the last polynomial's steps, 1 / root."""
    inverse, last = np.linalg.inv(np.eye(SIZE) + factor @ factor.T), optimal_coefficients(STEPS)
    first = np.array([1.0, -max(1.0 / np.roots(last[::-1])), 0.0])
    return textbook_polynomials([[1.0, 0.0, 0.0], first, last], inverse, prompt)


def draw_momentum(rng) -> MomentumLayers:
    """Sixteen LISTA-VMs with momentum."""
    return MomentumLayers(*draw_varying(rng), *(jnp.asarray(rng.uniform(size=(BATCH, STEPS))) for _ in range(2)))


NEWTON = 3


def textbook_in_context(layers: InContextLayers, prompt: Prompt):
    """<x, w_t> for z = w + m (w - w_before), r = W (y - X z), w <- S(z + a r), t + rho mean|r|, with W of three steps of
    Newton-Schulz, as I - W X = (I - W_0 X)^8: (T+1, m)."""
    x, y, w, before = np.asarray(prompt.x), np.asarray(prompt.y), np.zeros(SIZE), np.zeros(SIZE)
    gram = x.T @ x
    missing = np.eye(SIZE) - gram @ gram / np.sum(gram**2)
    weights = (np.eye(SIZE) - np.linalg.matrix_power(missing, 2**NEWTON)) @ np.linalg.pinv(x)
    iterates = [w]
    for step_size, momentum, threshold, share in np.stack(layers, axis=1):
        point = w + momentum * (w - before)
        residual = weights @ (y - x @ point)
        w, before = soft(point + step_size * residual, threshold + share * np.abs(residual).mean()), w
        iterates.append(w)
    return np.stack(iterates) @ np.asarray(prompt.x_query).T


def textbook_inverse(order, steps, scale, prompt: Prompt):
    """<x, V_t y> with I - A V_t = (I - scale A A')^(order^t): (T+1, m)."""
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    missing = np.eye(SIZE) - scale * x @ x.T
    solved = [y - np.linalg.matrix_power(missing, order**t) @ y for t in range(steps + 1)]
    return np.linalg.solve(x, np.stack(solved, axis=1)).T @ np.asarray(prompt.x_query).T


def textbook_ridge(scale, penalty, prompt: Prompt):
    """<x, w> with H w = (I - (I - scale H^2)^(2^T)) X'y / n and H = X'X / n + penalty I: (1, 1)."""
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    hessian = x.T @ x / N + penalty * np.eye(SIZE)
    missing = np.linalg.matrix_power(np.eye(SIZE) - scale * hessian @ hessian, 2**STEPS)
    w = np.linalg.solve(hessian, (np.eye(SIZE) - missing) @ x.T @ y / N)
    return (np.asarray(prompt.x_query) @ w)[None]


def textbook_damped_newton(penalty, prompt: Prompt):
    """1 / (1 + exp(-<x, w_t>)) for w <- w - H^-1 g / (1 + sqrt(g'H^-1 g) / (2 sqrt(penalty))): (T+1, m)."""
    x, y, w = np.asarray(prompt.x), np.asarray(prompt.y), np.zeros(SIZE)
    iterates = [w]
    for _ in range(STEPS):
        wrong = 1.0 / (1.0 + np.exp(y * (x @ w)))
        gradient = penalty * w - x.T @ (y * wrong) / N
        hessian = penalty * np.eye(SIZE) + (x.T * (wrong * (1.0 - wrong))) @ x / N
        move = np.linalg.solve(hessian, gradient)
        w = w - move / (1.0 + np.sqrt(gradient @ move) / (2.0 * np.sqrt(penalty)))
        iterates.append(w)
    return 1.0 / (1.0 + np.exp(-np.stack(iterates) @ np.asarray(prompt.x_query).T))


WEIGHTS = np.array([0.5, 0.3, 0.2])
ROOT = 0.3 * np.random.default_rng(4).normal(size=(SIZE, SIZE))
COVARIANCE = jnp.asarray(np.eye(SIZE) + ROOT @ ROOT.T)


def linear_attention_on_mixtures(noise):
    """The best layer for three independent components of unit norm."""
    moments = independent_moments(jnp.asarray(WEIGHTS), jnp.eye(SIZE) / SIZE)
    return preconditioned_gradient_descent(1, best_matrix(moments, noise, N, COVARIANCE).T)


def textbook_linear_attention(noise, prompt: Prompt):
    """h'G^-1 x with h = X'y / n and G = (1 - 1/n + 2/(n c)) Lam + (tr Lam + d noise^2) / (n c) I, c = sum_k pi_k^2: (2, m)."""
    same, covariance = np.sum(WEIGHTS**2), np.asarray(COVARIANCE)
    level = (np.trace(covariance) + SIZE * noise**2) / (N * same)
    matrix = (1.0 - 1.0 / N + 2.0 / (N * same)) * covariance + level * np.eye(SIZE)
    answer = np.asarray(prompt.x_query) @ np.linalg.solve(matrix, np.asarray(prompt.x).T @ np.asarray(prompt.y) / N)
    return np.stack([np.zeros(M), answer])


INNER, CELLS_OF_EM, LIMITS = 2, 20, Limits(1.0, 1.0, 2.0)


def textbook_posterior(components, weights, noise, prompt: Prompt):
    """P(z_i = k | x_i, y_i): (n, K)."""
    density = weights * np.exp(-0.5 * ((np.asarray(prompt.y)[:, None] - np.asarray(prompt.x) @ components.T) / noise) ** 2)
    return density / density.sum(axis=1, keepdims=True)


def descended(b, shares, labels, step_size, prompt: Prompt):
    """INNER steps of gradient descent for 1/(2n) sum_i share_i (<x_i, b> - label_i)^2."""
    for _ in range(INNER):
        b = b - step_size * np.asarray(prompt.x).T @ (shares * (np.asarray(prompt.x) @ b - labels)) / N
    return b


def textbook_em(theta, prompt: Prompt):
    """sum_k pi_k <x, b_k> after steps of gradient EM: (T+1, m)."""
    (weights, noise, step_size), components = theta, np.asarray(prompt.start)
    iterates = [components]
    for _ in range(STEPS):
        posterior = textbook_posterior(components, weights, noise, prompt)
        moved = [
            descended(b, own, np.asarray(prompt.y), step_size, prompt) for b, own in zip(components, posterior.T, strict=True)
        ]
        components = np.stack(moved)
        iterates.append(components)
    return np.einsum("k,tkd,md->tm", weights, np.stack(iterates), np.asarray(prompt.x_query))


def textbook_symmetric_em(theta, prompt: Prompt):
    """The same for b and -b, whose least squares have the labels (gamma_1 - gamma_2) y."""
    (weight, noise, step_size), b = theta, np.asarray(prompt.start)
    iterates = [b]
    for _ in range(STEPS):
        of_b, of_minus_b = textbook_posterior(np.stack([b, -b]), np.array([weight, 1.0 - weight]), noise, prompt).T
        b = descended(b, 1.0, (of_b - of_minus_b) * np.asarray(prompt.y), step_size, prompt)
        iterates.append(b)
    return (2.0 * weight - 1.0) * np.stack(iterates) @ np.asarray(prompt.x_query).T


def draw_mixtures(rng):
    """Weights, noises and step sizes of sixteen mixtures."""
    return rng.dirichlet(np.full(3, 5.0), BATCH), rng.uniform(0.8, 1.5, BATCH), rng.uniform(0.3, 1.0, BATCH)


# name -> (theta -> construction, generator -> 16 thetas, (theta, prompt) -> the answers at the claim's layers)
FAMILIES = {
    "gradient-descent": (
        partial(gradient_descent, SIZE, STEPS),
        lambda rng: rng.uniform(0.05, 0.5, BATCH),
        lambda step_size, prompt: textbook_gradient_descent(step_size * np.eye(SIZE), prompt),
    ),
    "preconditioned-gradient-descent": (
        partial(preconditioned_gradient_descent, STEPS),
        lambda rng: 0.3 * rng.normal(size=(BATCH, SIZE, SIZE)),
        textbook_gradient_descent,
    ),
    "heavy-ball": (
        lambda theta: gradient_descent_with_momentum(Steps(*(jnp.full(STEPS, value) for value in theta)), jnp.eye(SIZE)),
        lambda rng: rng.uniform(0.1, 0.6, (BATCH, 2)),
        lambda theta, prompt: textbook_steps(Steps(*np.tile(theta[:, None], STEPS)), np.eye(SIZE), prompt),
    ),
    "chebyshev": (
        lambda theta: gradient_descent_with_momentum(chebyshev_steps(theta[0], theta[0] + theta[1], STEPS), jnp.eye(SIZE)),
        lambda rng: rng.uniform(0.5, 2.0, (BATCH, 2)),
        lambda theta, prompt: textbook_chebyshev(theta[0], theta[0] + theta[1], prompt),
    ),
    "momentum": (
        lambda theta: gradient_descent_with_momentum(*theta),
        lambda rng: (draw_steps(rng), 0.3 * rng.normal(size=(BATCH, SIZE, SIZE))),
        lambda theta, prompt: textbook_steps(*theta, prompt),
    ),
    "frozen-conjugate-gradient": (
        lambda theta: gradient_descent_with_momentum(frozen_steps(Prompt.of(theta, jnp.ones(N)), STEPS), jnp.eye(SIZE)),
        lambda rng: rng.normal(size=(BATCH, N, SIZE)),
        textbook_frozen,
    ),
    "linear-first-order": (
        lambda theta: linear_first_order(*theta),
        lambda rng: (0.5 * rng.normal(size=(BATCH, STEPS, STEPS)), 0.5 * rng.normal(size=(BATCH, STEPS, SIZE, SIZE))),
        textbook_preconditioned,
    ),
    "diagonal-first-order": (
        diagonal_first_order,
        lambda rng: 0.3 * rng.normal(size=(BATCH, STEPS, STEPS, SIZE)),
        textbook_coefficients,
    ),
    "nesterov": (
        partial(nesterov, 0.3, d=SIZE),
        lambda rng: rng.uniform(0.1, 0.9, (BATCH, STEPS)),
        textbook_nesterov,
    ),
    "gradient-descent-plus-plus": (
        lambda theta: gradient_descent_plus_plus(*theta, d=SIZE),
        lambda rng: rng.uniform(0.1, 0.4, (BATCH, 2, STEPS)),
        textbook_moving_tokens,
    ),
    "conjugate-gradient": (
        lambda scale: conjugate_gradient(scale * jnp.eye(SIZE), STEPS),
        lambda rng: rng.uniform(0.5, 2.0, BATCH),
        lambda scale, prompt: textbook_conjugate(np.zeros((SIZE, SIZE)), prompt),
    ),
    "preconditioned-conjugate-gradient": (
        lambda factor: conjugate_gradient(jnp.eye(SIZE) + factor @ factor.T, STEPS),
        lambda rng: 0.3 * rng.normal(size=(BATCH, SIZE, SIZE)),
        textbook_conjugate,
    ),
    "optimal-first-order": (
        lambda factor: optimal(N, jnp.eye(SIZE) + factor @ factor.T, STEPS),
        lambda rng: 0.3 * rng.normal(size=(BATCH, SIZE, SIZE)),
        textbook_optimal,
    ),
    "optimal-without-memory": (
        lambda factor: optimal_without_memory(N, jnp.eye(SIZE) + factor @ factor.T, STEPS),
        lambda rng: 0.3 * rng.normal(size=(BATCH, SIZE, SIZE)),
        textbook_optimal_last,
    ),
    "lista-vm": (lista_vm, draw_varying, textbook_quadratic),
    "lista-vm-factored": (partial(lista_vm, head_dim=SIZE + 1), draw_varying, textbook_quadratic),
    "lista-vm-known-support": (
        lambda layers: lista_vm_known_support(layers, jnp.asarray(SUPPORT)),
        draw_varying,
        lambda layers, prompt: textbook_quadratic(layers._replace(matrix=layers.matrix * SUPPORT[:, None]), prompt),
    ),
    "lista-vm-linear-read-out": (
        lambda layers: lista_vm_linear_read_out(layers, n=N),
        draw_varying,
        lambda layers, prompt: textbook_quadratic(layers, prompt)[-1:],
    ),
    "lista-vm-with-momentum": (lista_vm_with_momentum, draw_momentum, textbook_momentum),
    "in-context-alista": (
        partial(in_context_alista, d=SIZE, newton_schulz_steps=NEWTON),
        lambda rng: InContextLayers(*(rng.uniform(0.0, most, (BATCH, STEPS)) for most in (1.0, 0.5, 0.1, 0.2))),
        textbook_in_context,
    ),
    "newton-schulz": (
        partial(newton_schulz, SIZE, STEPS),
        lambda rng: rng.uniform(0.01, 0.1, BATCH),
        partial(textbook_inverse, 2, STEPS),
    ),
    "newton-schulz-in-one-layer": (
        partial(newton_schulz_in_one_layer, SIZE, STEPS),
        lambda rng: rng.uniform(0.01, 0.1, BATCH),
        partial(textbook_inverse, 2, STEPS),
    ),
    "third-order-inverse": (
        partial(third_order_inverse, SIZE, STEPS),
        lambda rng: rng.uniform(0.01, 0.1, BATCH),
        partial(textbook_inverse, 3, STEPS),
    ),
    "newton-least-squares": (
        partial(newton_least_squares, SIZE, STEPS),
        lambda rng: rng.uniform(0.01, 0.2, BATCH),
        lambda scale, prompt: textbook_ridge(scale, 0.0, prompt),
    ),
    "newton-ridge": (
        lambda theta: newton_least_squares(SIZE, STEPS, *theta),
        lambda rng: rng.uniform(0.01, 0.2, (BATCH, 2)),
        lambda theta, prompt: textbook_ridge(*theta, prompt),
    ),
    "damped-newton": (
        lambda penalty: damped_newton(SIZE, penalty, STEPS, 4, CELLS, N),
        lambda rng: rng.uniform(0.3, 2.0, BATCH),
        textbook_damped_newton,
    ),
    "damped-newton-of-any-length": (
        lambda penalty: damped_newton_of_any_length(SIZE, penalty, STEPS, 4, CELLS, least=2, n=N),
        lambda rng: rng.uniform(0.3, 2.0, BATCH),
        textbook_damped_newton,
    ),
    "linear-attention-on-mixtures": (
        linear_attention_on_mixtures,
        lambda rng: rng.uniform(0.1, 2.0, BATCH),
        textbook_linear_attention,
    ),
    "symmetric-expectation-maximisation": (
        lambda theta: symmetric_expectation_maximisation(SIZE, *theta, STEPS, INNER, CELLS_OF_EM, LIMITS),
        lambda rng: (rng.uniform(0.2, 0.9, BATCH), *draw_mixtures(rng)[1:]),
        textbook_symmetric_em,
    ),
    "expectation-maximisation": (
        lambda theta: expectation_maximisation(SIZE, *theta, STEPS, INNER, CELLS_OF_EM, LIMITS),
        draw_mixtures,
        textbook_em,
    ),
    "expectation-maximisation-in-turn": (
        lambda theta: expectation_maximisation(SIZE, *theta, STEPS, INNER, CELLS_OF_EM, LIMITS, at_once=1),
        draw_mixtures,
        textbook_em,
    ),
}
# name -> the theorem's error bound at theta
BOUNDS = {
    "damped-newton": lambda penalty: error_bound(SIZE, penalty, STEPS, 4, CELLS),
    "damped-newton-of-any-length": lambda penalty: error_bound(SIZE, penalty, STEPS, 4, CELLS, growth=np.sqrt(N / 2)),
    "symmetric-expectation-maximisation": lambda theta: symmetric_error_bound(*theta[1:], STEPS, INNER, CELLS_OF_EM, LIMITS),
    "expectation-maximisation": lambda theta: mixture_error_bound(SIZE, 3, *theta[1:], STEPS, INNER, CELLS_OF_EM, LIMITS),
}
BOUNDS["expectation-maximisation-in-turn"] = BOUNDS["expectation-maximisation"]
# name -> the shape of the start that a prompt must bring
STARTS = {
    "symmetric-expectation-maximisation": (SIZE,),
    "expectation-maximisation": (3, SIZE),
    "expectation-maximisation-in-turn": (3, SIZE),
}


def family_prompt(name: str) -> Prompt:
    """Six examples and two queries, but for theorems on square matrices, one query, labels of -1 and +1, and starts."""
    if name in ("newton-schulz", "newton-schulz-in-one-layer", "third-order-inverse"):
        return any_prompt(SIZE, SIZE, M)
    prompt = any_prompt(N, SIZE, 1 if name in ("newton-least-squares", "newton-ridge") else M)
    if name not in BOUNDS:
        return prompt
    x, x_query = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in map(np.asarray, (prompt.x, prompt.x_query)))
    start = np.random.default_rng(6).uniform(-0.5, 0.5, STARTS[name]) if name in STARTS else None
    return make_prompt(x, np.sign(prompt.y), x_query, start=start)


EVERY_FAMILY = pytest.mark.parametrize("name", FAMILIES)
DIFFERENTIATED = [
    "momentum",
    "diagonal-first-order",
    "preconditioned-conjugate-gradient",
    "gradient-descent",
    "preconditioned-gradient-descent",
    "lista-vm",
    "lista-vm-with-momentum",
    "in-context-alista",
    "newton-ridge",
]


@cache
def run_family(name: str):
    """Sixteen thetas, and at each by vmap: the Transformer's answers where the theorem claims something, and the gradients in
    theta of a sum of them, through the parameters and through the solver."""
    family, draw, _ = FAMILIES[name]
    prompt, at = family_prompt(name), []

    def noted(theta):
        construction = family(theta)
        at[:] = construction.at
        return construction

    learner = constrained_learner(noted, lambda key, prompt: None)

    def weigh(answers):
        return jnp.sum(answers * jnp.cos(jnp.arange(answers.size)).reshape(answers.shape))

    def network(theta):
        answers = learner.predict(theta, prompt)
        return answers[np.array([layer for _, layer in at])]

    def solver(theta):
        construction = family(theta)
        iterates = unroll(construction.solver, prompt, STEPS)[np.array([step for step, _ in at])]
        return jax.vmap(construction.answer, in_axes=(0, None))(iterates, prompt)

    def run(theta):
        if name not in DIFFERENTIATED:
            return network(theta), None, None
        answers, pull_back = jax.vjp(network, theta)
        return answers, pull_back(jax.grad(weigh)(answers))[0], jax.grad(lambda theta: weigh(solver(theta)))(theta)

    thetas = draw(np.random.default_rng(3))
    return jax.tree.map(np.asarray, (thetas, *jax.jit(jax.vmap(run))(thetas)))


def test_every_theorem_has_a_family():
    """The two tables hold the same theorems."""
    assert FAMILIES.keys() == CONSTRUCTIONS.keys()


@EVERY_FAMILY
def test_vmap_over_hyper_parameters(name):
    """Sixteen theorems at once, by vmap over theta, are the paper's formulas at each theta by itself."""
    thetas, answers, _, _ = run_family(name)
    textbook = FAMILIES[name][2]
    bounds = jax.jit(jax.vmap(BOUNDS[name]))(thetas) if name in BOUNDS else np.zeros(BATCH)
    for index in range(BATCH):
        theta = jax.tree.map(lambda leaf, index=index: leaf[index], thetas)
        bound = max(1e-12, float(bounds[index]))
        np.testing.assert_allclose(answers[index], textbook(theta, family_prompt(name)), rtol=1e-12, atol=bound)


@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_the_gradient_through_the_parameters_is_the_gradient_through_the_solver(name):
    """d/dtheta of the Transformer's answers = d/dtheta of the solver's answers, to 1e-10."""
    _, _, through_network, through_solver = run_family(name)
    for a, b in zip(jax.tree.leaves(through_network), jax.tree.leaves(through_solver), strict=True):
        size = np.abs(b).reshape(BATCH, -1).max(axis=1)
        assert np.median(size) > 1e-2
        assert (np.abs(a - b).reshape(BATCH, -1).max(axis=1) <= 1e-10 * np.maximum(size, 1e-3)).all()


@pytest.mark.parametrize(
    "name", ["gradient-descent", "lista-vm", "lista-vm-with-momentum", "in-context-alista", "newton-ridge"]
)
def test_no_examples(name):
    """With n = 0 the Transformer answers what the solver answers from its start, a finite number."""
    family, draw, _ = FAMILIES[name]
    theta = jax.tree.map(lambda leaf: np.asarray(leaf)[0], draw(np.random.default_rng(5)))
    empty = make_prompt(np.zeros((0, SIZE)), np.zeros(0), np.ones((1, SIZE)), start=np.ones(SIZE))
    assert jax.jit(lambda theta: gap(family(theta), empty))(theta) <= 1e-12


# --- filling --------------------------------------------------------------------------------------------------------------

SLOTS, UNITS, TOKENS = Layout((("a", 2), ("b", 3))), Layout((("u", 4),)), 5


def random_layer(seed: int, heads: int, hidden: bool) -> LayerSpec:
    """A layer of random blocks."""
    rng = np.random.default_rng(seed)

    def block(*shape):
        return jnp.asarray(0.3 * rng.normal(size=shape))

    return LayerSpec(
        heads=tuple(Head(SLOTS.matrix(a__b=block(2, 3)), SLOTS.matrix(b__a=block(3, 2))) for _ in range(heads)),
        mlp=Mlp(SLOTS.to(UNITS, b__u=block(3, 4)), UNITS.to(SLOTS, u__b=block(4, 3))) if hidden else None,
    )


def textbook_layer(layer: LayerSpec, attention: str, z):
    """z_i + sum over heads and j <= i of weight(z_i S z_j') z_j W, and to this, if there is an MLP, relu(z U) V."""
    mixed = z.copy()
    for i in range(TOKENS):
        for head in layer.heads:
            scores = np.array([z[i] @ np.asarray(head.score.dense) @ z[j] for j in range(i + 1)])
            weights = {
                "linear": scores / (i + 1),
                "relu": np.maximum(scores, 0.0) / (i + 1),
                "softmax": np.exp(scores) / np.exp(scores).sum(),
            }[attention]
            for j in range(i + 1):
                mixed[i] += weights[j] * z[j] @ np.asarray(head.write.dense)
    if layer.mlp is None:
        return mixed
    return mixed + np.maximum(mixed @ np.asarray(layer.mlp.up.dense), 0.0) @ np.asarray(layer.mlp.down.dense)


def unlike_layers() -> list[LayerSpec]:
    """Two layers, of two heads and an MLP, and of one head."""
    return [random_layer(0, heads=2, hidden=True), random_layer(1, heads=1, hidden=False)]


@pytest.mark.parametrize(("attention", "head_dim"), [("linear", 0), ("relu", 3), ("softmax", 3)])
def test_a_filled_block_is_what_its_matrices_say(attention, head_dim):
    """Unlike layers, padded with zeros, do what their blocks say; a block with `repeats` is the block written out."""
    first = np.random.default_rng(0).normal(size=(TOKENS, SLOTS.width))
    mask = jnp.asarray(np.tril(np.ones((TOKENS, TOKENS), dtype=bool)))
    tokens = Tokens(jnp.asarray(first), mask, jnp.asarray(1.0 / np.arange(1.0, TOKENS + 1.0)), jnp.asarray(np.arange(TOKENS)))

    @jax.jit
    def run(tokens):
        block = unlike_layers()
        looped, looped_params = fill(SLOTS.width, attention, block, repeats=3, head_dim=head_dim)
        deep, deep_params = fill(SLOTS.width, attention, block * 3, head_dim=head_dim)
        assert (looped.depth, looped.repeats, deep.depth, deep.repeats) == (2, 3, 6, 1)
        pairs = ((looped, looped_params), (deep, deep_params))
        return [Transformer(config).apply({"params": params}, tokens).residual for config, params in pairs]

    expected = [first]
    for layer in jax.jit(unlike_layers)() * 3:
        expected.append(textbook_layer(layer, attention, expected[-1]))
    for stream in run(tokens):
        np.testing.assert_allclose(stream, np.stack(expected), rtol=1e-12, atol=1e-13)


def test_no_layers_are_refused():
    """A construction has at least one layer."""
    with pytest.raises(ValueError, match="at least one"):
        fill(SLOTS.width, "linear", [])
