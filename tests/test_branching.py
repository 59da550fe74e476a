"""Runs side by side, of which the simplest that fits is given; and steps that end when the labels are explained."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxl2o.checks import InputError
from jaxl2o.solvers.branching import branched, complexity, none_or_one
from jaxl2o.solvers.in_context import InContextLayers, in_context_alista
from jaxl2o.solvers.proximal import ista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.wrappers import halted, misfit
from jaxl2o.types import Prompt

SEEDS = st.integers(0, 2**31 - 1)
N, D, STEPS = 6, 8, 5
LAYERS = InContextLayers(
    *(jnp.linspace(first, last, STEPS) for first, last in ((1.0, 0.9), (0.0, 0.3), (0.02, 0.0), (1.5, 0.5)))
)
MARKS = none_or_one(D)
cost = jax.jit(complexity())


def draw(seed) -> Prompt:
    """Labels of two coefficients, which are not told."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(N, D)), np.zeros(D)
    w[rng.permutation(D)[:2]] = rng.normal(size=2)
    return Prompt.of(x, x @ w)


@cache
def one_branch(coordinate: int | None):
    """prompt -> iterates of the solver that is told one coordinate, or none."""
    free = jnp.arange(D) == (-1 if coordinate is None else coordinate)
    return jax.jit(lambda prompt: unroll(in_context_alista(LAYERS, free=free), prompt, STEPS))


together = jax.jit(lambda p: unroll(branched(lambda free: in_context_alista(LAYERS, free=free), MARKS), p, STEPS))


def textbook_complexity(w, x, y, tolerance=0.01, small=0.05):
    """A loop over the entries."""
    length = np.sum(w**2)
    counted = sum(entry**2 / (entry**2 + small**2 * length) for entry in w if entry != 0.0)
    return counted + np.sum((y - x @ w) ** 2) / np.sum(y**2) / tolerance


@settings(max_examples=20)
@given(seed=SEEDS)
def test_the_branch_of_least_cost(seed):
    """At every step: runs one after another, one for each mark, and the least of their costs."""
    prompt = draw(seed)
    runs = [np.asarray(one_branch(coordinate)(prompt)) for coordinate in (None, *range(D))]
    for t, w in enumerate(np.asarray(together(prompt))):
        costs = [textbook_complexity(run[t], np.asarray(prompt.x), np.asarray(prompt.y)) for run in runs]
        np.testing.assert_allclose(
            textbook_complexity(w, np.asarray(prompt.x), np.asarray(prompt.y)), min(costs), rtol=1e-9, atol=1e-12
        )
        assert min(np.max(np.abs(w - run[t])) for run in runs) < 1e-12


def test_marks():
    """The first branch is told nothing, and every other one coordinate."""
    marks = np.asarray(none_or_one(3)).astype(int)
    np.testing.assert_array_equal(marks, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


@given(seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_complexity(seed, scale):
    """It is the textbook's, does not change with the unit of y, and is 1 / tolerance for zero."""
    prompt, rng = draw(seed), np.random.default_rng(seed)
    w = rng.normal(size=D) * (rng.uniform(size=D) < 0.5)
    value = cost(jnp.asarray(w), prompt)
    np.testing.assert_allclose(value, textbook_complexity(w, np.asarray(prompt.x), np.asarray(prompt.y)), rtol=1e-12)
    np.testing.assert_allclose(cost(scale * jnp.asarray(w), prompt._replace(y=scale * prompt.y)), value, rtol=1e-9)
    np.testing.assert_allclose(cost(jnp.zeros(D), prompt), 100.0, rtol=1e-12)


@pytest.mark.parametrize("sparsity", [1, 2, 3])
def test_equal_entries_are_counted(sparsity):
    """k equal entries that explain the labels cost k / (1 + k small^2): their number, but for the tolerance."""
    w = jnp.zeros(D).at[:sparsity].set(0.7)
    prompt = draw(0)
    exact = prompt._replace(y=prompt.x @ w)
    np.testing.assert_allclose(cost(w, exact), sparsity / (1.0 + sparsity * 0.05**2), rtol=1e-12)


def test_what_is_told_is_not_shrunk():
    """A free coordinate takes the step of least squares, the others its soft threshold."""
    prompt, free = draw(3), jnp.arange(D) == 2
    first, told = (np.asarray(unroll(in_context_alista(LAYERS, free=mark), prompt, 1)[1]) for mark in (None, free))
    linear = LAYERS._replace(threshold=jnp.zeros(STEPS), residual_threshold=jnp.zeros(STEPS))
    whole = np.asarray(unroll(in_context_alista(linear), prompt, 1)[1])
    np.testing.assert_allclose(told, np.where(np.asarray(free), whole, first), atol=1e-14)


LONG = InContextLayers(jnp.ones(30), jnp.full(30, 0.3), jnp.zeros(30), jnp.linspace(2.0, 1.0, 30))
BRANCHED = branched(lambda free: in_context_alista(LONG, free=free), none_or_one(12))


def test_branches_find_supports_that_one_run_misses():
    """Fewer measurements than one run needs: of 200 signals the branches leave fewer than half as many unsolved."""
    solve = jax.jit(jax.vmap(lambda p: (unroll(in_context_alista(LONG), p, 30)[-1], unroll(BRANCHED, p, 30)[-1])))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 7, 12))
    w = np.array([rng.permutation(np.r_[rng.normal(size=2), np.zeros(10)]) for _ in range(200)])
    prompts = jax.vmap(Prompt.of)(jnp.asarray(x), jnp.asarray(np.einsum("bnd,bd->bn", x, w)))
    single, many = (np.sum((np.asarray(found) - w) ** 2, axis=1) > 0.01 * np.sum(w**2, axis=1) for found in solve(prompts))
    assert 2 * many.sum() < single.sum()


def test_a_branch_that_overflows_is_not_chosen():
    """One mark multiplies the step by a number that overflows; the answer is that of the others."""
    prompt = draw(7)

    def wild(free):
        solver = in_context_alista(LAYERS, free=free)
        return solver._replace(iterate=lambda state: jnp.where(free[0], jnp.inf, solver.iterate(state)))

    found = np.asarray(unroll(branched(wild, MARKS), prompt, STEPS))
    without = branched(lambda free: in_context_alista(LAYERS, free=free), jnp.delete(MARKS, 1, axis=0))
    np.testing.assert_array_equal(found, unroll(without, prompt, STEPS))


def test_the_gradient_is_that_of_the_chosen_branch():
    """Where the choice does not change, the derivative in the layers is that of the branch alone."""
    prompt = draw(5)

    def last(step_size, solver_of):
        return unroll(solver_of(LAYERS._replace(step_size=step_size)), prompt, STEPS, keep="last")

    runs = [np.asarray(one_branch(coordinate)(prompt))[-1] for coordinate in (None, *range(D))]
    costs = [textbook_complexity(run, np.asarray(prompt.x), np.asarray(prompt.y)) for run in runs]
    free = MARKS[int(np.argmin(costs))]
    slope = jax.jacobian(last)(
        LAYERS.step_size, lambda layers: branched(lambda free: in_context_alista(layers, free=free), MARKS)
    )
    expected = jax.jacobian(last)(LAYERS.step_size, lambda layers: in_context_alista(layers, free=free))
    np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=20)
@given(seed=SEEDS, tolerance=st.floats(1e-4, 0.9))
def test_halting(seed, tolerance):
    """The path is that of the solver up to the first iterate of small misfit, and that iterate from then on."""
    prompt = draw(seed)
    path = np.asarray(plain(prompt))
    found, taken = (np.asarray(leaf) for leaf in halting(tolerance, prompt))
    shares = [float(misfit(jnp.asarray(w), prompt)) for w in path]
    stop = next((t for t, share in enumerate(shares) if share <= tolerance), STEPS)
    np.testing.assert_allclose(found, path[np.minimum(np.arange(STEPS + 1), stop)], atol=1e-12)
    np.testing.assert_array_equal(taken, np.minimum(np.arange(STEPS + 1), stop))


plain = jax.jit(lambda prompt: unroll(ista(0.02), prompt, STEPS))


@jax.jit
def halting(tolerance, prompt):
    """Iterates, and how many steps were taken."""
    solver = halted(ista(0.02), tolerance)
    return unroll(solver, prompt, STEPS, keep=lambda state: (solver.iterate(state), state.taken))


def test_misfit_of_no_labels():
    """Where y is zero, it is |X w|^2, and zero for w = 0."""
    prompt = draw(0)._replace(y=jnp.zeros(N))
    assert misfit(jnp.zeros(D), prompt) == 0.0
    np.testing.assert_allclose(misfit(jnp.ones(D), prompt), np.sum(np.asarray(prompt.x).sum(axis=1) ** 2), rtol=1e-12)


BAD = {
    "tolerance": (lambda: complexity(tolerance=0.0), "tolerance is 0;"),
    "small": (lambda: complexity(small=-1.0), "small is -1;"),
    "halting": (lambda: halted(ista(0.1), -0.1), "tolerance is -0.1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    """One sentence that says what is needed."""
    build, sentence = BAD[name]
    with pytest.raises(InputError, match=sentence):
        build()
