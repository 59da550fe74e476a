"""One run, three ways to differentiate it, several things to keep: all agree where mathematics says so."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.objectives import least_squares_gradient, linear_prediction
from jaxl2o.solvers.first_order import gradient_descent
from jaxl2o.solvers.implicit import dense_solve
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.proximal import fista
from jaxl2o.solvers.unroll import Truncated, Unrolled, solve, unroll
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.types import Prompt, Solver

N, D, STEPS = 20, 6, 7
RNG = np.random.default_rng(0)
X, X_QUERY = RNG.normal(size=(N, D)), RNG.normal(size=(5, D))
Y, Y_QUERY = X @ np.array([1.0, -2.0, 0.5, 0.0, 0.0, 0.0]) + 0.2 * RNG.normal(size=N), RNG.normal(size=5)
PROMPT = Prompt.of(X, Y, X_QUERY)
LAYERS = VaryingLayers(jnp.asarray(RNG.normal(size=(STEPS, D, D)) / D), jnp.asarray(RNG.uniform(0.0, 0.1, size=STEPS)))


def counter(depth):
    """A learned solver whose state writes down the layers it was given, as digits."""
    return Solver(
        lambda prompt: jnp.zeros(()), lambda s, prompt, digit: 10.0 * s + digit, lambda s: s, jnp.arange(1.0, depth + 1.0)
    )


def validation_loss(w):
    """1/2 |X_query w - y_query|^2."""
    return 0.5 * jnp.sum((X_QUERY @ w - Y_QUERY) ** 2)


# solver of its parameters, and the parameters
PARAMETRISED = {
    "gradient-descent": (gradient_descent, jnp.asarray(0.2)),
    "fista": (fista, jnp.asarray(0.05)),
    "lista-vm": (lista_vm, LAYERS),
}


@cache
def gradient_of(name, gradient, keep="last", n_steps=STEPS):
    """The gradient of the validation loss of the last iterate in a solver's parameters."""
    solver, parameters = PARAMETRISED[name]

    def loss(parameters):
        kept = unroll(solver(parameters), PROMPT, n_steps, gradient, keep)
        return validation_loss(kept if keep == "last" else kept[-1])

    return jax.tree.leaves(jax.jit(jax.grad(loss))(parameters))


def test_layers_are_consumed_in_order():
    """Step t gets the t-th layer; fewer steps than layers use the first ones."""
    path = unroll(counter(5), PROMPT, 5)
    np.testing.assert_array_equal(path, [0.0, 1.0, 12.0, 123.0, 1234.0, 12345.0])
    np.testing.assert_array_equal(unroll(counter(5), PROMPT, 2), [0.0, 1.0, 12.0])
    np.testing.assert_array_equal(unroll(counter(5), PROMPT, 5, Truncated(2)), path)


@pytest.mark.parametrize("name", PARAMETRISED)
def test_what_is_kept_agrees(name):
    """The last of the iterates is "last"; the iterates are the states read by a function; both are a Python loop."""
    solver = PARAMETRISED[name][0](PARAMETRISED[name][1])
    path = unroll(solver, PROMPT, STEPS)
    np.testing.assert_array_equal(unroll(solver, PROMPT, STEPS, keep="last"), path[-1])
    states = unroll(solver, PROMPT, STEPS, keep=lambda state: state)
    np.testing.assert_array_equal(jax.vmap(solver.iterate)(states), path)
    state, looped = solver.init(PROMPT), []
    step = jax.jit(solver.step)
    for t in range(STEPS + 1):
        looped.append(solver.iterate(state))
        state = step(state, PROMPT, jax.tree.map(lambda leaf, t=t: leaf[min(t, STEPS - 1)], solver.layers))
    np.testing.assert_allclose(path, looped, atol=1e-14)


def test_zero_steps():
    """T = 0 keeps the start alone, whatever the way to differentiate."""
    for gradient in (Unrolled(), Unrolled(remat=True), Truncated(3)):
        path = unroll(gradient_descent(0.2), PROMPT, 0, gradient)
        assert path.shape == (1, D)
        assert np.all(np.asarray(path) == 0.0)
    assert np.all(np.asarray(unroll(lista_vm(LAYERS), PROMPT, 0, keep="last")) == 0.0)


def test_fistas_momentum_grows():
    """A function of the state sees what the iterate hides: t_k >= (k + 2) / 2 (Beck and Teboulle 2009, Lemma 4.3)."""
    t = unroll(fista(0.05), PROMPT, 50, keep=lambda state: state.t)
    assert np.all(np.asarray(t) >= (np.arange(51) + 2) / 2)


@pytest.mark.parametrize("name", ["fista", "lista-vm"])
@pytest.mark.parametrize("gradient", [Unrolled(remat=True), Truncated(STEPS + 5)])
def test_same_gradient(name, gradient):
    """Recomputation, and truncation to all steps, give the gradient through every step."""
    for a, b in zip(gradient_of(name, gradient), gradient_of(name, Unrolled()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "keep"), [("gradient-descent", "last"), ("lista-vm", "last"), ("lista-vm", "iterates")])
def test_truncated_gradient(name, keep):
    """Truncated(k) is the gradient of the last k steps from a state that counts as a constant."""
    solver, parameters = PARAMETRISED[name]
    cut, last = STEPS - 3, 3

    def tail(parameters):
        head = jax.lax.stop_gradient(unroll(solver(parameters), PROMPT, cut, keep="last"))
        late = solver(parameters)
        late = late._replace(layers=jax.tree.map(lambda leaf: leaf[cut:], late.layers))
        return validation_loss(unroll(late, PROMPT._replace(start=head), last, keep="last"))

    expected = jax.tree.leaves(jax.jit(jax.grad(tail))(parameters))
    for a, b in zip(gradient_of(name, Truncated(last), keep), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_truncation_cuts_early_layers_off():
    """Layers before the last k get gradient zero, even from losses on early iterates; the values do not change."""
    path = jax.jit(lambda layers: unroll(lista_vm(layers), PROMPT, STEPS, Truncated(2)))
    np.testing.assert_allclose(path(LAYERS), unroll(lista_vm(LAYERS), PROMPT, STEPS), atol=1e-14)
    gradient = jax.grad(lambda layers: jnp.sum(path(layers) ** 2))(LAYERS).matrix
    assert np.all(np.asarray(gradient[: STEPS - 2]) == 0.0)
    assert np.all(np.any(np.asarray(gradient[STEPS - 2 :]) != 0.0, axis=(1, 2)))


@given(seed=st.integers(0, 2**31 - 1))
def test_dense_solve(seed):
    """linear(dense_solve(linear, b)) = b for a linear map of trees."""
    rng = np.random.default_rng(seed)
    matrix, target = rng.normal(size=(4, 4)) + 4.0 * np.eye(4), rng.normal(size=4)
    solved = SOLVE(matrix, target)
    np.testing.assert_allclose(matrix @ np.concatenate([solved["a"], solved["b"]]), target, atol=1e-12)


@jax.jit
def SOLVE(matrix, target):
    """dense_solve on an iterate of two leaves."""

    def linear(tree):
        product = matrix @ jnp.concatenate([tree["a"], tree["b"]])
        return {"a": product[:3], "b": product[3:]}

    return dense_solve(linear, {"a": target[:3], "b": target[3:]})


TOLERANCES = (1e-1, 1e-4, 1e-8)


def converged(tolerance):
    """Whether the gradient is short."""
    return lambda w, prompt: jnp.linalg.norm(least_squares_gradient(w, prompt)) <= tolerance


def test_solve_stops_at_the_first_good_iterate():
    """solve returns the first iterate that satisfies `until` and its index; under vmap each task has its own."""
    path = np.asarray(unroll(gradient_descent(0.3), PROMPT, 400))
    lengths = np.linalg.norm((path @ X.T - Y) @ X / N, axis=1)

    @jax.jit
    @jax.vmap
    def solved(tolerance):
        return solve(gradient_descent(0.3), PROMPT, converged(tolerance), 400)

    answers, taken = solved(jnp.asarray(TOLERANCES))
    first = [int(np.argmax(lengths <= tolerance)) for tolerance in TOLERANCES]
    assert 0 < first[0] < first[1] < first[2] < 400
    np.testing.assert_array_equal(taken, first)
    np.testing.assert_allclose(answers, path[first], atol=1e-13)


def test_solve_stops_at_max_steps_and_at_once():
    """No more than max_steps are taken; none if the start is good enough."""
    w, taken = solve(gradient_descent(0.3), PROMPT, lambda w, prompt: jnp.zeros((), dtype=bool), 5)
    assert taken == 5
    np.testing.assert_allclose(w, unroll(gradient_descent(0.3), PROMPT, 5, keep="last"), atol=1e-14)
    start = jnp.asarray(np.linalg.lstsq(X, Y, rcond=None)[0])
    assert solve(gradient_descent(0.3), PROMPT._replace(start=start), converged(1e-10), 5)[1] == 0


def test_a_learned_solver_answers_queries():
    """learned(...).predict[t] = <x_query, w_t>; without queries the answers are the iterates."""
    learner = learned(lambda key, prompt: LAYERS, lista_vm)
    path = unroll(lista_vm(LAYERS), PROMPT, STEPS)
    np.testing.assert_allclose(learner.predict(LAYERS, PROMPT), path @ X_QUERY.T, atol=1e-13)
    np.testing.assert_allclose(learner.predict(LAYERS, PROMPT._replace(x_query=None)), path, atol=1e-13)


def test_a_learned_solver_answers_prefixes():
    """Column k of learned(...).prefixes is the answer of a prompt with the first k examples, which asks the next input."""
    learner = learned(lambda key, prompt: LAYERS, lista_vm, linear_prediction, Unrolled(remat=True))
    one = PROMPT._replace(x_query=PROMPT.x_query[:1])
    answers = learner.prefixes(LAYERS, one)
    assert answers.shape == (STEPS + 1, N + 1)
    rows = np.concatenate([X, X_QUERY[:1]])
    for k in (0, 1, N // 2, N):
        prompt = Prompt.of(X[:k], Y[:k], rows[k : k + 1])
        np.testing.assert_allclose(answers[:, k], learner.predict(LAYERS, prompt)[:, 0], atol=1e-12)
