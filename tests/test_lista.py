"""Learned ISTA, row by row: a loop in NumPy, a start from the solver that it unrolls; and ALISTA is as fast as promised."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from jaxl2o.checks import InputError
from jaxl2o.solvers import adaptive, composition, lista, proximal, varying, wrappers
from jaxl2o.solvers.pseudo_inverse import analytic_weights
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt

N, D, STEPS, WIDTH = 6, 9, 7, 4
SEEDS = st.integers(0, 2**31 - 1)
RNG = np.random.default_rng(0)
TRUSTED = composition.growing(0, 4, STEPS)


def random(*shape, scale=1.0):
    """Entries from N(0, scale^2)."""
    return jnp.asarray(scale * RNG.normal(size=shape))


THRESHOLD = jnp.abs(random(STEPS, scale=0.1))
SIZE = jnp.abs(random(STEPS, scale=0.3))
COUPLED = lista.CouplingLayers(random(STEPS, D, N, scale=0.1), THRESHOLD)
FREE = lista.FreeLayers(random(D, N, scale=0.2), random(STEPS, D, D, scale=0.1), THRESHOLD)
MOMENTUM = lista.MomentumLayers(
    random(STEPS, D, N, scale=0.2), random(STEPS, D, D, scale=0.1), random(STEPS, D, D, scale=0.1), THRESHOLD
)
SCALED = lista.StepLayers(SIZE, THRESHOLD)
WEIGHT, INVERSE = random(D, N, scale=0.1), random(D, N, scale=0.1)
GATES = composition.Gates(random(STEPS), jnp.abs(random(STEPS)), random(STEPS))
ADA = varying.AdaLayers(random(N, N, scale=0.4), random(N, N, scale=0.4), SIZE, THRESHOLD)
HYPER = adaptive.HyperLayers(SIZE / 10.0, jnp.full(STEPS, 0.01), jnp.full(STEPS, 0.2))
NETWORK = adaptive.lstm_init(jax.random.key(0), WIDTH)
STANDARD = adaptive.Standard(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]))

SOLVERS = {
    "step-lista": lista.step_lista(SIZE, 0.1),
    "lista": lista.lista(FREE),
    "lista-ss": lista.lista(FREE, TRUSTED),
    "lista-cp": lista.lista_cp(COUPLED),
    "lista-cpss": lista.lista_cp(COUPLED, TRUSTED),
    "lfista": lista.lfista(MOMENTUM),
    "alista": lista.alista(WEIGHT, SCALED, TRUSTED),
    "aglista": composition.gated(lista.alista(WEIGHT, SCALED, TRUSTED), GATES),
    "ada-lista": varying.ada_lista(ADA),
    "na-alista": adaptive.na_alista(WEIGHT, NETWORK, TRUSTED, STANDARD),
    "hyperlista": adaptive.hyperlista(WEIGHT, INVERSE, HYPER),
}


@cache
def compiled(name):
    """prompt -> the iterates after 0..T steps."""
    return jax.jit(lambda prompt: unroll(SOLVERS[name], prompt, STEPS))


def draw(seed, n=N, d=D):
    """A prompt with Gaussian examples and labels."""
    rng = np.random.default_rng(seed)
    return Prompt.of(rng.normal(size=(n, d)), rng.normal(size=n))


def shrink(u, threshold, trusted=0):
    """Soft threshold by clipping; the largest `trusted` entries that are above the threshold pass as they are."""
    shrunk = u - np.clip(u, -threshold, threshold)
    order = np.argsort(-np.abs(u))[:trusted]
    passing = [i for i in order if abs(u[i]) > threshold]
    shrunk[passing] = u[passing]
    return shrunk


def loop(name, x, y):
    """The iterates of a row, as a loop over its formula."""
    theta, size, w, previous = np.asarray(THRESHOLD), np.asarray(SIZE), np.zeros(D), np.zeros(D)
    hidden, cell = np.asarray(NETWORK.first_hidden), np.asarray(NETWORK.first_cell)
    network = jax.tree.map(np.asarray, NETWORK)
    weight, inverse, path = np.asarray(WEIGHT), np.asarray(INVERSE), [np.zeros(D)]
    for t in range(STEPS):
        trusted = TRUSTED[t]
        r = y - x @ w
        if name == "step-lista":
            following = shrink(w + size[t] * x.T @ r / N, 0.1 * size[t])
        elif name in ("lista", "lista-ss"):
            u = np.asarray(FREE.recurrent)[t] @ w + np.asarray(FREE.measurement) @ y
            following = shrink(u, theta[t], trusted if name == "lista-ss" else 0)
        elif name in ("lista-cp", "lista-cpss"):
            following = shrink(w + np.asarray(COUPLED.weight)[t] @ r, theta[t], trusted if name == "lista-cpss" else 0)
        elif name == "lfista":
            own = [np.asarray(leaf)[t] for leaf in MOMENTUM]
            following = shrink(own[0] @ y + own[1] @ w + own[2] @ previous, theta[t])
        elif name == "alista":
            following = shrink(w + size[t] * weight @ r, theta[t], trusted)
        elif name == "aglista":
            gain, decay, overshoot = (np.asarray(leaf)[t] for leaf in GATES)
            v = w + gain * w * np.exp(-decay * np.abs(w))
            p = shrink(v + size[t] * weight @ (y - x @ v), theta[t], trusted)
            following = w + (1.0 + overshoot * theta[t] / (np.abs(p - w) + 0.1)) * (p - w)
        elif name == "ada-lista":
            w1, w2 = np.asarray(ADA.label), np.asarray(ADA.product)
            following = shrink(w - size[t] * x.T @ w2.T @ w2 @ x @ w + size[t] * x.T @ w1.T @ y, theta[t])
        elif name == "na-alista":
            norms = np.array([np.abs(r).sum(), np.abs(weight @ r).sum()])
            inputs = np.concatenate([(norms - [1.0, 2.0]) / [3.0, 4.0], hidden, [1.0]])
            enter, keep, value, leave = (inputs @ network.gates).reshape(4, WIDTH)
            cell = expit(keep) * cell + expit(enter) * np.tanh(value)
            hidden = expit(leave) * np.tanh(cell)
            inner = np.maximum(np.append(cell, 1.0) @ network.hidden, 0.0)
            a, threshold = np.logaddexp(0.0, np.append(inner, 1.0) @ network.output)
            following = shrink(w + a * weight @ r, threshold, trusted)
        else:
            now, first = np.abs(inverse @ r).sum(), np.abs(inverse @ y).sum()
            share = np.clip(0.2 * np.log(first / now), 0.0, 1.0)
            z = w + weight @ r + 0.01 * np.count_nonzero(w) * (w - previous)
            following = shrink(z, np.asarray(HYPER.threshold)[t] * now, int(share * D))
        w, previous = following, w
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("name", SOLVERS)
@given(seed=SEEDS)
def test_a_row_is_its_formula(name, seed):
    """Every row, step by step, is what its formula says, as a loop."""
    prompt = draw(seed)
    expected = loop(name, np.asarray(prompt.x), np.asarray(prompt.y))
    np.testing.assert_allclose(compiled(name)(prompt), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("n", "d"), [(12, 4), (4, 12)])
def test_rows_start_as_the_classical_solver(n, d):
    """LISTA and LISTA-CP begin as ISTA, LFISTA as FISTA, Step-LISTA and Ada-LISTA as ISTA of a given step size."""
    prompt, penalty = draw(4, n, d), 0.05
    ista, fista = (unroll(make(penalty), prompt, STEPS) for make in (proximal.ista, proximal.fista))
    size = 1.0 / proximal.smoothness(prompt)
    plain = varying.AdaLayers(jnp.eye(n), jnp.eye(n), jnp.full(STEPS, size / n), jnp.full(STEPS, size * penalty))
    for solver, expected in (
        (lista.lista(lista.ista_as_lista(prompt.x, STEPS, penalty)), ista),
        (lista.lista_cp(lista.ista_as_lista_cp(prompt.x, STEPS, penalty)), ista),
        (lista.lfista(lista.fista_as_lfista(prompt.x, STEPS, penalty)), fista),
        (lista.step_lista(jnp.full(STEPS, size), penalty), ista),
        (varying.ada_lista(plain), ista),
    ):
        np.testing.assert_allclose(unroll(solver, prompt, STEPS), expected, atol=1e-13)


def test_closed_gates_change_nothing():
    """With gain and overshoot zero, gated(row) is the row."""
    closed = composition.Gates(jnp.zeros(STEPS), jnp.ones(STEPS), jnp.zeros(STEPS))
    prompt = draw(5)
    path = unroll(composition.gated(SOLVERS["alista"], closed), prompt, STEPS)
    np.testing.assert_allclose(path, compiled("alista")(prompt), atol=1e-14)


def test_coupled_weights_are_a_case_of_free_ones():
    """LISTA with S_t = I - W X and B = W is LISTA-CP with W_t = W (Chen et al. 2018, section 2)."""
    prompt = draw(6)
    free = lista.FreeLayers(WEIGHT, composition.tied(jnp.eye(D) - WEIGHT @ prompt.x, STEPS), THRESHOLD)
    coupled = lista.CouplingLayers(composition.tied(WEIGHT, STEPS), THRESHOLD)
    expected = unroll(lista.lista_cp(coupled), prompt, STEPS)
    np.testing.assert_allclose(unroll(lista.lista(free), prompt, STEPS), expected, atol=1e-13)
    ones = lista.StepLayers(jnp.ones(STEPS), THRESHOLD)
    np.testing.assert_allclose(unroll(lista.alista(WEIGHT, ones), prompt, STEPS), expected, atol=1e-13)


@given(u=st.lists(st.floats(-5, 5), min_size=D, max_size=D), threshold=st.floats(0, 3), count=st.integers(0, D))
def test_support_selection(u, threshold, count):
    """The `count` largest entries above the threshold are unchanged, and what ties with them; the others are shrunk."""
    u = np.asarray(u)
    got = np.asarray(composition.trusting_threshold(jnp.asarray(u), threshold, count, D))
    soft = np.asarray(proximal.soft_threshold(jnp.asarray(u), threshold))
    least = np.sort(np.abs(u))[D - count] if count else np.inf
    passes = (np.abs(u) >= least) & (np.abs(u) > threshold)
    np.testing.assert_array_equal(got, np.where(passes, u, soft))


def test_growing_counts():
    """Counts go linearly from the first to the last, and a wrong order is refused."""
    assert composition.growing(3, 60, 16)[0] == 3
    assert composition.growing(3, 60, 16)[-1] == 60
    assert all(np.diff(composition.growing(3, 60, 16)) >= 3)
    assert composition.growing(2, 2, 3) == (2, 2, 2)
    with pytest.raises(InputError, match="from 5 to 2"):
        composition.growing(5, 2, 3)


BAD = {
    "negative threshold": lambda: lista.lista_cp(COUPLED._replace(threshold=-THRESHOLD)),
    "counts of another depth": lambda: lista.lista_cp(COUPLED, (1, 2)),
    "weights of another depth": lambda: lista.lista_cp(COUPLED._replace(threshold=THRESHOLD[1:])),
    "square weights": lambda: lista.lista(FREE._replace(recurrent=random(STEPS, D, N))),
    "steps of another depth": lambda: lista.alista(WEIGHT, lista.StepLayers(SIZE[1:], THRESHOLD)),
    "Ada-LISTA's n": lambda: varying.ada_lista(ADA._replace(product=random(N + 1, N + 1))),
    "no width": lambda: adaptive.lstm_init(jax.random.key(0), 0),
}


@pytest.mark.parametrize("name", BAD)
def test_layers_that_do_not_fit(name):
    """Shapes that do not fit each other, and thresholds below zero, are refused in one sentence."""
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        BAD[name]()


def low_coherence(rng, n, d):
    """A matrix of unit-norm columns, made incoherent by alternating projections onto |G_ij| <= 0.15 and rank n."""
    a = rng.normal(size=(n, d))
    for _ in range(60):
        a /= np.linalg.norm(a, axis=0)
        gram = a.T @ a
        gram = np.clip(gram, -0.15, 0.15)
        np.fill_diagonal(gram, 1.0)
        values, vectors = np.linalg.eigh(gram)
        a = (vectors[:, -n:] * np.sqrt(np.maximum(values[-n:], 0.0))).T
    return a / np.linalg.norm(a, axis=0)


@cache
def incoherent():
    """X (40, 60), its analytic weights W, and their generalised coherence max |w_i' x_j - (i = j)|."""
    x = low_coherence(np.random.default_rng(3), 40, 60)
    weight = np.asarray(analytic_weights(Prompt.of(x, np.zeros(40))))
    return x, weight, np.max(np.abs(weight @ x - np.eye(60)))


@pytest.mark.parametrize("sparsity", [1, 2])
def test_alista_converges_linearly(sparsity):
    """|w_k - w*|_2 <= s B exp(-c k), c = -log((2s - 1) mu), without one false positive (Liu et al. 2019, Theorem 1; a = 1).

    mu = max |w_i' a_j| is the generalised coherence of the analytic weights; theta_k = mu sup |w_k - w*|_1, by the proof's own
    bound s B ((2s - 1) mu)^k.
    """
    rng = np.random.default_rng(4)
    x, weight, coherence = incoherent()
    coherence *= 1.0 + 1e-9  # the bound is met with equality, but for rounding
    rate = (2 * sparsity - 1) * coherence
    assert rate < 1.0
    decay = rate ** np.arange(13)
    layers = lista.StepLayers(jnp.ones(12), jnp.asarray(coherence * sparsity * decay[:12]))
    solver = lista.alista(jnp.asarray(weight), layers)
    run = jax.jit(lambda prompt: unroll(solver, prompt, 12))
    for _ in range(50):
        beta = np.zeros(60)
        support = rng.choice(60, sparsity, replace=False)
        beta[support] = rng.uniform(-1.0, 1.0, sparsity)
        path = np.asarray(run(Prompt.of(x, x @ beta)))
        assert np.all(path[:, np.setdiff1d(np.arange(60), support)] == 0.0)
        assert np.all(np.linalg.norm(path - beta, axis=1) <= sparsity * decay + 1e-13)


def test_na_alista_adapts():
    """The network's step sizes and thresholds depend on the signal: doubled labels do not double the iterates."""
    prompt = draw(7)
    twice = compiled("na-alista")(prompt._replace(y=2.0 * prompt.y))
    assert np.max(np.abs(np.asarray(twice) - 2.0 * np.asarray(compiled("na-alista")(prompt)))) > 1e-3


def test_standard_of_labels():
    """Mean and deviation of |r|_1 and |W r|_1 over the residuals."""
    residuals = np.random.default_rng(8).normal(size=(50, N))
    norms = np.stack([np.abs(residuals).sum(1), np.abs(residuals @ np.asarray(WEIGHT).T).sum(1)])
    found = adaptive.standard_of(WEIGHT, jnp.asarray(residuals))
    np.testing.assert_allclose(found.mean, norms.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, norms.std(axis=1), rtol=1e-12)


def test_the_network_begins_where_it_is_told():
    """With no hidden activity, the first step size and threshold are those of lstm_init."""
    network = adaptive.lstm_init(jax.random.key(1), WIDTH, step_size=0.7, threshold=0.2)
    silent = network._replace(hidden=jnp.zeros_like(network.hidden))
    prompt = draw(9)
    path = unroll(adaptive.na_alista(WEIGHT, silent, (0,) * STEPS, STANDARD), prompt, STEPS)
    constant = lista.StepLayers(jnp.full(STEPS, 0.7), jnp.full(STEPS, 0.2))
    np.testing.assert_allclose(path, unroll(lista.alista(WEIGHT, constant), prompt, STEPS), atol=1e-13)


def products(jaxpr):
    """Every dot_general of a jaxpr, those of inner ones too."""
    found = [equation for equation in jaxpr.eqns if equation.primitive.name == "dot_general"]
    for equation in jaxpr.eqns:
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "jaxpr") or hasattr(leaf, "eqns")):
            if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                found += products(getattr(inner, "jaxpr", inner))
    return found


@pytest.mark.parametrize("name", ["alista", "aglista", "lista-cp", "lista-cpss", "na-alista", "hyperlista"])
def test_a_closed_over_matrix_is_one_matrix(name):
    """Under vmap, no product of a solver that closes over its matrix is batched: B of them are one product of matrices."""
    prompts = jax.vmap(lambda y: Prompt.of(None, y))(random(3, N))

    def batched(solver):
        step = jax.make_jaxpr(jax.vmap(lambda prompt: unroll(solver, prompt, STEPS)))(prompts)
        return [any(equation.params["dimension_numbers"][1]) for equation in products(step.jaxpr)]

    shared = batched(wrappers.with_matrix(SOLVERS[name], random(N, D)))
    assert shared
    assert not any(shared)


def test_a_carried_matrix_is_batched():
    """The test above sees batched products where there are some: prompts with a matrix each."""
    prompts = jax.vmap(Prompt.of)(random(3, N, D), random(3, N))
    step = jax.make_jaxpr(jax.vmap(lambda prompt: unroll(SOLVERS["alista"], prompt, STEPS)))(prompts)
    assert any(any(equation.params["dimension_numbers"][1]) for equation in products(step.jaxpr))
