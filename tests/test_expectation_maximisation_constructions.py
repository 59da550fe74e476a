"""Gradient EM as ReLU attention and MLPs: the paper's counts, the gap and its rate, and every length at once."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.checks import InputError
from jaxl2o.constructions import LIMITS, WEIGHTS
from jaxl2o.constructions.expectation_maximisation import (
    error_bound,
    expectation_maximisation,
    symmetric_error_bound,
    symmetric_expectation_maximisation,
)
from jaxl2o.constructions.gradient_descent import preconditioned_gradient_descent
from jaxl2o.constructions.mixture_block import Limits
from jaxl2o.limits.extremes import largest_eigenvalue
from jaxl2o.models.components import carrying
from jaxl2o.models.learner import residual_stream, transformer_learner
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.mixture import mixture_per_example, near, symmetric, tied, unit_norm
from jaxl2o.types import Prompt, over_tasks

SEEDS = st.integers(0, 2**31 - 1)
PI, WEIGHT = jnp.asarray(WEIGHTS), 0.8


# --- counts -----------------------------------------------------------------------------------------------------------------


def build(make):
    """The config, the layout and the parameters of a construction, by one compilation."""
    fixed = []

    @jax.jit
    def params():
        construction = make()
        fixed.extend((construction.config, construction.encoding.layout))
        return construction.params

    own = params()
    return *fixed, own


def units_of(params):
    """The units of every layer's MLP that are not padding."""
    return [int((np.abs(up).max(axis=0) > 0.0).sum()) for up in np.asarray(params["layers"]["mlp"]["up"])]


def test_the_counts_of_two_components():
    """3 + L layers, one block for all steps, 2 ReLU heads, 2d + 3 rows; MLPs of 4M + 2, M + 4 and 4M + 2 units."""
    d, inner, cells = 4, 5, 10
    config, _, params = build(lambda: symmetric_expectation_maximisation(d, 0.7, 1.0, 0.1, 6, inner, cells, LIMITS))
    assert (config.depth, config.repeats, config.heads, config.width) == (3 + inner, 6, 2, 2 * d + 3)
    assert (config.attention, config.bias, config.memory, config.norm) == ("relu", "none", "none", "none")
    assert units_of(params) == [4 * cells + 2, cells + 4, 4 * cells + 2, *[0] * (inner - 1), 2]


@pytest.mark.parametrize(("count", "at_once"), [(2, None), (3, None), (5, 2), (4, 1)])
def test_the_counts_of_several_components(count, at_once):
    """K + 5 + L layers of 2K heads, or G (1 + L) + K + 4 of fewer, 2Kd + d + K + 4 rows, and at most 4 d K M + 2K units."""
    d, inner, cells, own = 3, 4, 6, at_once or count
    weights, groups = jnp.full(count, 1.0 / count), -(-count // own)
    config, _, params = build(lambda: expectation_maximisation(d, weights, 1.0, 0.1, 2, inner, cells, LIMITS, at_once))
    units = units_of(params)
    assert (config.depth, config.repeats) == (groups * (1 + inner) + count + 4, 2)
    assert (config.heads, config.width) == (2 * own, 2 * count * d + d + count + 4)
    assert (config.attention, config.bias) == ("relu", "none")
    assert units[groups + count + 3] == max(units) == 4 * d * count * cells + 2 * count
    if at_once is None:
        assert config.depth == count + 5 + inner


# --- the gap ----------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A mixture of so many components of norm one, or of b and -b for 0, and the sizes of gradient EM."""

    components: int
    d: int
    n: int
    noise: float
    steps: int
    inner: int
    failure: float

    @property
    def step_size(self):
        """One that serves all prompts of n examples and more."""
        return 1.0 / largest_eigenvalue(self.n, self.d, self.failure)

    @property
    def limits(self):
        """Of n examples from N(0, I), but for the probability `failure`; iterates stay within 2."""
        t = np.sqrt(2.0 * np.log(3.0 * self.n / self.failure))
        return Limits(np.sqrt(self.d) + t, np.sqrt(1.0 + self.noise**2) * t, 2.0)

    def construction(self, cells):
        """The Transformer with these widths."""
        sizes = (self.noise, self.step_size, self.steps, self.inner, cells, self.limits)
        if self.components:
            return expectation_maximisation(self.d, PI, *sizes)
        return symmetric_expectation_maximisation(self.d, WEIGHT, *sizes)

    def bound(self, cells, steps):
        """What iterates err by after so many steps, at most."""
        sizes = (self.noise, self.step_size, steps, self.inner, cells, self.limits)
        error = error_bound(self.d, self.components, *sizes) if self.components else symmetric_error_bound(*sizes)
        return float(error) / self.limits.x

    def prompt(self, key):
        """Without queries, from a start that is 0.5 away."""
        if self.components:
            task = mixture_per_example(self.n, unit_norm(self.d, self.components), PI, self.noise, start=near(0.5))
        else:
            weights = jnp.array([WEIGHT, 1.0 - WEIGHT])
            task = tied(mixture_per_example(self.n, symmetric(self.d), weights, self.noise, start=near(0.5)))
        return task.sample(key).prompt._replace(x_query=None)


def measured(case: Case, widths, prompts: int):
    """|b_t of the Transformer - b_t of gradient EM| for every width, step, prompt and entry; and the share of its limits that
    prompts use at most.

    All widths are padded to the largest, so that there is one compilation.
    """
    keys = jax.random.split(jax.random.key(5, impl="rbg"), prompts)
    params = [jax.jit(lambda cells=cells: case.construction(cells).params)() for cells in widths]

    @jax.jit
    def run(params, keys):
        shell = case.construction(widths[-1])
        prompts = jax.vmap(case.prompt)(keys)
        iterates = jax.vmap(lambda prompt: unroll(shell.solver, prompt, case.steps))(prompts)
        read = over_tasks(transformer_learner(shell.config, shell.encoding).predict)(params, prompts)[:, :: shell.config.depth]
        shares = [
            jnp.linalg.norm(prompts.x, axis=-1).max() / case.limits.x,
            jnp.abs(prompts.y).max() / case.limits.y,
            jnp.linalg.norm(iterates, axis=-1).max() / case.limits.iterate,
            case.step_size * jnp.linalg.eigvalsh(prompts.x.swapaxes(1, 2) @ prompts.x / case.n).max(),
        ]
        return jnp.abs(read - iterates.reshape(read.shape)).swapaxes(0, 1), jnp.stack(shares)

    def padded(leaf, like):
        return jnp.pad(leaf, [(0, wide - own) for own, wide in zip(leaf.shape, like.shape, strict=True)])

    found = [run(jax.tree.map(padded, own, params[-1]), keys) for own in params]
    return np.stack([error for error, _ in found]), np.asarray(found[0][1])


@pytest.mark.parametrize("noise", [1.0, 0.2])
def test_two_components_in_full(noise):
    """d = 5, n = 300, |b| / sigma = 1 and 5, 8 steps of 25 descents, 600 cells: the iterates are gradient EM's to 3e-5."""
    case = Case(components=0, d=5, n=300, noise=noise, steps=8, inner=25, failure=1e-3)
    errors, shares = measured(case, (600,), prompts=1)
    first, *later = errors[0].max(axis=(1, 2))
    assert first == 0.0
    assert 1e-7 < max(later) <= 3e-5
    assert later[0] <= case.bound(600, 1)
    assert shares.max() <= 1.0


CASES = {
    "two": Case(components=0, d=3, n=30, noise=0.7, steps=3, inner=4, failure=0.1),
    "three": Case(components=3, d=2, n=30, noise=0.7, steps=3, inner=4, failure=0.1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_error_falls_fourfold_when_the_widths_double(name):
    """The mean error does, over three widths, after the first step and the last; so does the bound, which is above them all."""
    case, widths = CASES[name], (32, 64, 128)
    errors, shares = measured(case, widths, prompts=16)
    assert (errors[:, 0] == 0.0).all()
    for step in (1, case.steps):
        mean = errors[:, step].mean(axis=(1, 2))
        assert 3.5 <= (mean[0] / mean[-1]) ** 0.5 <= 4.5
        assert (errors[:, step].max(axis=(1, 2)) <= [case.bound(cells, step) for cells in widths]).all()
    once = np.array([case.bound(cells, 1) for cells in widths])
    np.testing.assert_allclose(once[:-1] / once[1:], 4.0, rtol=1e-3)
    assert shares.max() <= 1.0


# --- every prompt from one set of parameters --------------------------------------------------------------------------------

MAKERS = {
    "two": lambda n=12: symmetric_expectation_maximisation(2, WEIGHT, 1.0, 1.0, 2, 2, 40, LIMITS, n=n),
    "three": lambda n=12: expectation_maximisation(2, PI, 1.0, 1.0, 2, 2, 40, LIMITS, n=n),
    "three, one at once": lambda n=12: expectation_maximisation(2, PI, 1.0, 1.0, 2, 2, 40, LIMITS, at_once=1, n=n),
}
EVERY_MAKER = pytest.mark.parametrize("name", ["two", "three"])


@cache
def answering(name: str):
    """The config, layout and parameters; compiled: (params, prompt) -> the Transformer's answers, the solver's, the stream."""
    config, layout, params = build(MAKERS[name])

    @jax.jit
    def run(params, prompt):
        made = MAKERS[name]()
        answers = jax.vmap(made.answer, in_axes=(0, None))(unroll(made.solver, prompt, 2), prompt)
        found = transformer_learner(config, made.encoding).predict(params, prompt)
        stream = residual_stream(config, made.encoding)(params, prompt)
        return found[:: config.depth], answers, stream[:: config.depth]

    return config, layout, params, run


def draw(name: str, seed=1, m=3):
    """Twelve examples within the limits, m queries, and a start."""
    rng, shape = np.random.default_rng(seed), (2,) if name == "two" else (3, 2)
    x, x_query = (rng.normal(size=(size, 2)) for size in (12, m))
    x, x_query = (rows / np.maximum(1.0, np.linalg.norm(rows, axis=1, keepdims=True)) for rows in (x, x_query))
    return Prompt.of(x, rng.uniform(-1.0, 1.0, 12), x_query, start=jnp.asarray(rng.uniform(-0.6, 0.6, shape)))


def shortened(prompt: Prompt, used) -> Prompt:
    """Only the used examples count."""
    return Prompt.of(prompt.x, prompt.y, prompt.x_query, used=used, start=prompt.start)


@EVERY_MAKER
def test_one_set_of_parameters_serves_every_length(name):
    """From 0 to 12 examples, wherever the unused rows stand, answers are the solver's within 1e-3."""
    *_, params, run = answering(name)
    for count in (0, 1, 2, 5, 12):
        used = np.random.default_rng(count).permutation(12) < count
        found, expected, _ = run(params, shortened(draw(name), used))
        assert np.abs(found - expected).max() <= 1e-3
        if count == 0:
            np.testing.assert_array_equal(found, np.broadcast_to(found[0], found.shape))
        else:
            assert np.abs(np.diff(found, axis=0)).max() > 1e-2


@EVERY_MAKER
def test_parameters_do_not_know_the_length(name):
    """Those for prompts of 5 examples are those for 50."""
    trees = jax.jit(lambda: (MAKERS[name](5).params, MAKERS[name](50).params))()
    jax.tree.map(np.testing.assert_array_equal, *trees)


@EVERY_MAKER
def test_padding_order_and_queries_do_not_matter(name):
    """Unused rows change nothing, nor does the order; an answer sees no other query; without any, the iterate is read."""
    *_, params, run = answering(name)
    prompt, used = draw(name), np.arange(12) < 7
    found, _, _ = run(params, shortened(prompt, used))
    bare = Prompt.of(prompt.x[:7], prompt.y[:7], prompt.x_query, start=prompt.start)
    np.testing.assert_allclose(run(params, bare)[0], found, rtol=0.0, atol=1e-14)
    order = np.random.default_rng(0).permutation(12)
    moved = Prompt.of(prompt.x[order], prompt.y[order], prompt.x_query, used=used[order], start=prompt.start)
    np.testing.assert_allclose(run(params, moved)[0], found, rtol=0.0, atol=1e-14)
    single, _, _ = run(params, shortened(prompt, used)._replace(x_query=prompt.x_query[1:2]))
    np.testing.assert_allclose(single, found[:, 1:2], rtol=0.0, atol=1e-15)
    iterates, expected, _ = run(params, shortened(prompt, used)._replace(x_query=None))
    assert np.abs(iterates - expected).max() <= 1e-3
    shares = np.array([2.0 * WEIGHT - 1.0]) if name == "two" else np.asarray(PI)
    mean = np.einsum("k,tkd->td", shares, np.asarray(iterates).reshape(3, len(shares), 2))
    np.testing.assert_allclose(found, mean @ np.asarray(prompt.x_query).T, rtol=0.0, atol=1e-15)


@EVERY_MAKER
def test_a_block_leaves_the_stream_as_it_found_it(name):
    """After every block all tokens hold the same b, x and y as before, and nothing in the slots for scratch."""
    _, at, params, run = answering(name)
    stream = np.asarray(run(params, shortened(draw(name), np.arange(12) < 9))[2])
    for slot, _ in at.slots:
        held = stream[:, :, at.slice(slot)]
        expected = held[:, :1] if slot == "b" else held[:1] if slot in ("x", "y", "one") else 0.0
        np.testing.assert_allclose(held, np.broadcast_to(expected, held.shape), rtol=0.0, atol=1e-14)
    assert np.abs(np.diff(stream[:, 0, at.slice("b")], axis=0)).max() > 1e-2


def test_components_one_at_once_are_those_together():
    """The same answers, by fewer heads in more layers."""
    together, apart = (answering(name) for name in ("three", "three, one at once"))
    assert (together[0].heads, apart[0].heads) == (6, 2)
    answers = [run(params, draw("three"))[0] for *_, params, run in (together, apart)]
    np.testing.assert_allclose(*answers, rtol=0.0, atol=1e-13)


@given(seed=SEEDS)
def test_iterates_grow_slowly(seed):
    """|b_{t+1}| <= |b_t| + sqrt(alpha L) max|y|, for every component, where alpha <= 1 / |X'X / n|: iterates have limits."""
    for name in ("two", "three"):
        prompt = draw(name, seed)
        *_, params, run = answering(name)
        _, iterates, _ = run(params, prompt._replace(x_query=None))
        sizes = np.linalg.norm(np.asarray(iterates).reshape(3, -1, 2), axis=2)
        assert (np.diff(sizes, axis=0) <= np.sqrt(2.0) * np.abs(prompt.y).max() + 1e-12).all()
        assert sizes.max() <= LIMITS.iterate


# --- what is refused, and the linear layer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"weights": jnp.array([1.0])}, "1 weights"),
        ({"weights": jnp.array([1.0, 0.0])}, "weights is 0"),
        ({"noise": 0.0}, "noise is 0"),
        ({"step_size": -1.0}, "step_size is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"cells": 0}, "cells is 0"),
        ({"inner_steps": 0}, "inner_steps is 0"),
        ({"at_once": 0}, "at_once is 0"),
        ({"limits": Limits(1.0, 0.0, 1.0)}, "limit of y is 0"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(wrong, sentence):
    """Two components or more, all of which can be; positive noise, steps, cells and limits."""
    right = {"weights": jnp.array([0.5, 0.5]), "noise": 1.0, "step_size": 1.0, "steps": 1, "inner_steps": 1, "cells": 2}
    with pytest.raises(InputError, match=sentence):
        expectation_maximisation(2, **{**right, "limits": LIMITS, **wrong})


def test_a_weight_of_one_and_a_missing_start_are_refused():
    """b and -b both have a chance; and EM has no start of its own."""
    with pytest.raises(InputError, match="weight is 1"):
        symmetric_expectation_maximisation(2, 1.0, 1.0, 1.0, 1, 1, 2, LIMITS)
    encoding = carrying(2, PI, u=1)
    with pytest.raises(InputError, match="no start"):
        encoding.tokens(draw("three")._replace(start=None))
    with pytest.raises(InputError, match="start"):
        encoding.tokens(draw("two"))


def test_one_linear_layer_in_the_form_of_zhang_frei_and_bartlett():
    """The corner of E + V E (E'K E) / n with E = [x; y] by columns, V = e e', K = [[A, 0], [0, 0]] is one preconditioned step.

    It is the construction of depth one, for every A: h'A x with h = X'y / n, and A' preconditions.
    """
    rng, d, n = np.random.default_rng(2), 4, 9
    matrix, x, y, x_query = rng.normal(size=(d, d)), rng.normal(size=(n, d)), rng.normal(size=n), rng.normal(size=(1, d))
    made = preconditioned_gradient_descent(1, jnp.asarray(matrix.T))
    learner = transformer_learner(made.config, made.encoding)
    found = jax.jit(learner.predict)(made.params, Prompt.of(x, y, x_query))[1, 0]
    tokens = np.concatenate([np.concatenate([x, x_query]).T, np.append(y, 0.0)[None]])
    value, score = np.zeros((2, d + 1, d + 1))
    value[d, d], score[:d, :d] = 1.0, matrix
    layer = tokens + value @ tokens @ (tokens.T @ score @ tokens) / n
    np.testing.assert_allclose(found, layer[d, n], rtol=1e-12)
    np.testing.assert_allclose(found, y @ x / n @ matrix @ x_query[0], rtol=1e-12)
    assert (made.config.depth, made.config.heads, made.config.mlp_dim) == (1, 1, 0)
