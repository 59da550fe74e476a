"""Logistic regression: its task, damped Newton exact and inexact, and the Transformer whose blocks are its steps.

Examples have length one, the most that the theorems allow; oracles are NumPy, SciPy and scikit-learn.
"""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from sklearn.linear_model import LogisticRegression

from jaxl2o.checks import InputError
from jaxl2o.constructions.construction import gap
from jaxl2o.constructions.logistic import damped_newton as transformer
from jaxl2o.constructions.logistic import damped_newton_of_any_length
from jaxl2o.constructions.logistic_block import Cells
from jaxl2o.constructions.logistic_bound import error_bound, first_gap, floor_bound, step_error, stretch
from jaxl2o.constructions.piecewise import interpolant, square
from jaxl2o.models import presets
from jaxl2o.models.encoding import Stream
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.mutual import mutual, summary
from jaxl2o.objectives import logistic_gradient, logistic_hessian, logistic_loss, logistic_prediction
from jaxl2o.solvers.line_search import backtracking
from jaxl2o.solvers.logistic import damped_newton, inexact_damped_newton
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.classification import logistic_regression
from jaxl2o.tasks.covariates import isotropic, scaled, sphere, within_unit_ball
from jaxl2o.types import Prompt, over_tasks

D, N, PENALTY, STEPS, PROMPTS = 5, 26, 0.1, 12, 6
TASK = logistic_regression(N, D, PENALTY, scaled(D**-0.5, sphere()), n_queries=0)
SEEDS = st.integers(0, 2**31 - 1)
# compiled once for all penalties and widths
bound_of = jax.jit(error_bound, static_argnames=("d", "steps", "inner_steps", "radius"))
errs = jax.jit(step_error, static_argnames=("d", "inner_steps", "radius", "growth"))


@cache
def prompts() -> Prompt:
    """Prompts without queries: the answer is the iterate."""
    return jax.jit(jax.vmap(lambda key: TASK.sample(key).prompt))(jax.random.split(jax.random.key(1), PROMPTS))


def prompt_at(index: int) -> Prompt:
    """One of them."""
    return jax.tree.map(lambda leaf: leaf[index], prompts())


def textbook(x, y, w):
    """The gradient and the Hessian of mean log(1 + exp(-y <x, w>)) + PENALTY/2 |w|^2."""
    wrong = 1.0 / (1.0 + np.exp(y * (x @ w)))
    gradient = PENALTY * w - x.T @ (y * wrong) / len(y)
    return gradient, PENALTY * np.eye(D) + (x.T * (wrong * (1.0 - wrong))) @ x / len(y)


@cache
def newton_path():
    """Damped Newton from zero on every prompt, and the decrements lambda: (PROMPTS, STEPS + 1, D), (PROMPTS, STEPS + 1)."""
    paths, decrements = np.zeros((PROMPTS, STEPS + 1, D)), np.zeros((PROMPTS, STEPS + 1))
    for index in range(PROMPTS):
        x, y = (np.asarray(value) for value in prompt_at(index)[:2])
        for t in range(STEPS + 1):
            gradient, hessian = textbook(x, y, paths[index, t])
            move = np.linalg.solve(hessian, gradient)
            decrements[index, t] = np.sqrt(gradient @ move)
            if t < STEPS:
                eta = 2.0 * np.sqrt(PENALTY) / (2.0 * np.sqrt(PENALTY) + decrements[index, t])
                paths[index, t + 1] = paths[index, t] - eta * move
    return paths, decrements


@cache
def run(name: str):
    """The iterates of a solver on all prompts."""
    loss = partial(logistic_loss, penalty=PENALTY)
    solvers = {
        "newton": (damped_newton(PENALTY), STEPS),
        "inexact": (inexact_damped_newton(PENALTY, 5), STEPS),
        "descent": (backtracking(loss, longest=8.0), 60),
    }
    solver, steps = solvers[name]
    return np.asarray(jax.jit(jax.vmap(lambda prompt: unroll(solver, prompt, steps)))(prompts()))


def losses(iterates):
    """The loss along every path."""
    along = jax.vmap(partial(logistic_loss, penalty=PENALTY), in_axes=(0, None))
    return np.asarray(jax.jit(jax.vmap(along))(jnp.asarray(iterates), prompts()))


# --- objective and task -----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_papers_with_its_derivatives():
    """f = 1/n sum log(1 + exp(-y <x, w>)) + mu/2 |w|^2 over the used rows; gradient and Hessian are its derivatives."""
    prompt, w = prompt_at(0), jnp.asarray(np.random.default_rng(0).normal(size=D))
    used = np.arange(N) < 20
    short = Prompt.of(prompt.x, prompt.y, used=used)
    x, y = np.asarray(prompt.x)[used], np.asarray(prompt.y)[used]
    expected = np.mean(np.log1p(np.exp(-y * (x @ w)))) + 0.5 * PENALTY * np.sum(w**2)
    loss = jax.jit(partial(logistic_loss, prompt=short, penalty=PENALTY))
    np.testing.assert_allclose(loss(w), expected, rtol=1e-14)
    gradient, hessian = textbook(x, y, np.asarray(w))

    @jax.jit
    def derivatives(w):
        own = logistic_gradient(w, short, PENALTY), logistic_hessian(w, short, PENALTY)
        return own, (jax.grad(loss)(w), jax.hessian(loss)(w))

    for first, second in derivatives(w):
        np.testing.assert_allclose(first, gradient, rtol=0.0, atol=1e-15)
        np.testing.assert_allclose(second, hessian, rtol=0.0, atol=1e-15)


def test_the_task():
    """Labels are the sides of the plane w, examples and queries are in the unit ball, the longest on its sphere."""
    task = logistic_regression(N, D, PENALTY, within_unit_ball(isotropic()), n_queries=3)
    prompt, y_query, w = jax.jit(jax.vmap(task.sample))(jax.random.split(jax.random.key(2), 50))
    rows = np.concatenate([prompt.x, prompt.x_query], axis=1)
    labels = np.concatenate([prompt.y, y_query], axis=1)
    np.testing.assert_array_equal(labels, np.sign(np.einsum("pnd,pd->pn", rows, w)))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=2).max(axis=1), 1.0, rtol=1e-14)
    one = jax.tree.map(lambda leaf: leaf[0], prompt)
    np.testing.assert_allclose(task.predict(w[0], one.x_query), 1.0 / (1.0 + np.exp(-np.asarray(one.x_query) @ w[0])))
    assert task.objective(w[0], one) == logistic_loss(w[0], one, PENALTY)
    assert (np.asarray(within_unit_ball(lambda key, n, d: jnp.zeros((n, d)))(jax.random.key(0), 3, 2)) == 0.0).all()
    with jax.debug_key_reuse(True):
        assert jax.make_jaxpr(lambda key: task.sample(key))(jax.random.key(0)).out_avals
    with pytest.raises(InputError, match="penalty is 0"):
        logistic_regression(N, D, 0.0)


# --- solvers ----------------------------------------------------------------------------------------------------------------


def test_damped_newton_is_the_papers():
    """Every step is the formula's, and after twelve the gradient is rounding."""
    paths, decrements = newton_path()
    np.testing.assert_allclose(run("newton"), paths, rtol=0.0, atol=1e-13)
    assert decrements[:, -1].max() <= 1e-14


def test_the_optimum_is_scikit_learns_and_scipys():
    """With C = 1 / (n mu) and no intercept."""
    for index in range(3):
        x, y = (np.asarray(value) for value in prompt_at(index)[:2])
        theirs = LogisticRegression(C=1.0 / (N * PENALTY), fit_intercept=False, solver="newton-cholesky", tol=1e-12).fit(x, y)
        loss = partial(logistic_loss, prompt=prompt_at(index), penalty=PENALTY)
        scipys = optimize.minimize(
            lambda w, loss=loss: float(loss(jnp.asarray(w))),
            np.zeros(D),
            jac=lambda w, x=x, y=y: textbook(x, y, w)[0],
            hess=lambda w, x=x, y=y: textbook(x, y, w)[1],
            method="trust-exact",
            options={"gtol": 1e-10},
        )
        np.testing.assert_allclose(run("newton")[index, -1], theirs.coef_[0], rtol=0.0, atol=1e-9)
        np.testing.assert_allclose(run("newton")[index, -1], scipys.x, rtol=0.0, atol=1e-9)


def test_every_step_decreases_as_self_concordance_says():
    """f_t - f_{t+1} >= 4 mu (v_t - log(1 + v_t)) with v = lambda / (2 sqrt mu), and v_{t+1} <= 2 v_t^2."""
    paths, decrements = newton_path()
    v = decrements / (2.0 * np.sqrt(PENALTY))
    assert (np.diff(losses(paths)) <= -4.0 * PENALTY * (v - np.log1p(v))[:, :-1] + 1e-15).all()
    assert (v[:, 1:] <= 2.0 * v[:, :-1] ** 2 + 1e-13).all()
    assert v[:, 0].min() > 0.3


def test_inexact_steps_are_as_near_as_their_inverse():
    """With |I - H V| <= r = (1 / (8 mu + 1))^(2^k), 7e-9 at k = 5, the path is damped Newton's to a few r."""
    assert (1.0 / (8.0 * PENALTY + 1.0)) ** 32 <= 7e-9
    error = np.abs(run("inexact") - newton_path()[0]).max()
    assert 1e-16 < error <= 3e-8


def test_the_line_search_descends_to_the_optimum():
    """f falls by at least s |g|^2 / 2 in every step, s >= 1 / (2 L) with L <= mu + 1/4, and the optimum is Newton's."""
    path = run("descent")
    fall = -np.diff(losses(path), axis=1)
    gradients = np.stack([[textbook(*map(np.asarray, prompt_at(i)[:2]), w)[0] for w in path[i, :-1]] for i in range(PROMPTS)])
    least = 0.5 * np.sum(gradients**2, axis=2) / (2.0 * (PENALTY + 0.25))
    assert (fall >= least - 1e-15).all()
    np.testing.assert_allclose(path[:, -1], newton_path()[0][:, -1], rtol=0.0, atol=1e-6)


def test_no_examples_and_starts_at_the_optimum():
    """Without examples zero stays zero, and the derivative by the penalty is finite there."""
    nothing = Prompt.of(np.zeros((0, D)), np.zeros(0))

    @jax.jit
    def last(penalty):
        return unroll(damped_newton(penalty), nothing, 2)[-1]

    assert (np.asarray(last(jnp.asarray(PENALTY))) == 0.0).all()
    assert (np.asarray(jax.jacfwd(last)(jnp.asarray(PENALTY))) == 0.0).all()


# --- the block --------------------------------------------------------------------------------------------------------------

INNER = 5
# cells that double, up to MLPs of at most 408, 2002 and 214 units
WIDTHS = tuple(Cells(8 * size, 2 * size, 4 * size) for size in (6, 12, 24, 48))


def construction(cells: Cells):
    """Twelve steps, one block. Made under `jit` alone: one compilation is faster than a hundred small ones."""
    return transformer(D, PENALTY, STEPS, INNER, cells, N)


@cache
def params_of(cells: Cells):
    """Its parameters."""
    return jax.jit(lambda: construction(cells).params)()


def units_of(params):
    """The units of every layer's MLP that are not padding."""
    return [int((np.abs(up).max(axis=0) > 0.0).sum()) for up in np.asarray(params["layers"]["mlp"]["up"])]


def test_the_papers_counts():
    """6 + k layers a step, one block for all, at most 4 heads, 6d + 4 rows (6d + 5 for any n); MLPs within 408, 2002, 214."""

    @jax.eval_shape
    def _():
        config = construction(WIDTHS[0]).config
        assert (config.depth, config.repeats, config.heads, config.width) == (6 + INNER, STEPS, 4, 6 * D + 4)
        assert (config.attention, config.bias) == ("linear", "none")
        config = damped_newton_of_any_length(D, PENALTY, 1, INNER, WIDTHS[0], least=4, n=N).config
        assert (config.depth, config.repeats, config.heads, config.width) == (6 + INNER, 1, 4, 6 * D + 5)

    of_sigmoid, of_square, of_step = WIDTHS[-1]
    first, second, third, *inner, fourth, fifth, last = units_of(params_of(WIDTHS[-1]))
    assert (first, second, fifth) == (of_sigmoid + 6, 4 * D * of_square + 2, of_step + 2 * D + 4)
    assert first <= 408
    assert second <= 2002
    assert fifth <= 214
    assert (third, fourth, last, set(inner)) == (2 * D, 0, 4, {0})


@cache
def iterates():
    """w_t of the Transformer for every width, prompt and step: all widths padded to the largest."""

    @jax.jit
    def run(params, prompts):
        largest = construction(WIDTHS[-1])
        return over_tasks(transformer_learner(largest.config, largest.encoding).predict)(params, prompts)

    def padded(leaf, like):
        return jnp.pad(leaf, [(0, wide - own) for own, wide in zip(leaf.shape, like.shape, strict=True)])

    found = []
    for cells in WIDTHS:
        params = jax.tree.map(padded, params_of(cells), params_of(WIDTHS[-1]))
        found.append(np.asarray(run(params, prompts()))[:, :: 6 + INNER])
    return np.stack(found)


def errors():
    """max |w_t of the Transformer - w_t of damped Newton| for every width and step."""
    return np.abs(iterates() - newton_path()[0]).max(axis=(1, 3))


def test_the_block_is_damped_newton():
    """Twelve steps at MLPs of at most 408, 2002 and 214 units are exact damped Newton's to 6e-5, at every step."""
    assert errors()[-1].max() <= 6e-5
    assert (errors()[:, 0] == 0.0).all()


def test_the_error_falls_fourfold_when_the_widths_double():
    """Over four widths, for the largest error of all steps and for the last one."""
    largest, last = errors().max(axis=1), errors()[:, -1]
    for error in (largest, last):
        ratios = error[:-1] / error[1:]
        assert 3.5 <= np.prod(ratios) ** (1.0 / 3.0) <= 4.6
        assert ratios.min() > 2.5


def test_the_theorems_bound_falls_fourfold_too():
    """`tolerance` at twelve steps bounds the errors of every width, of one step and of all; it is below one but at the first,
    tends to a factor of four, and does not grow with the number of steps."""
    bounds = np.array([[bound_of(D, PENALTY, steps, INNER, cells) for steps in (1, STEPS, 100)] for cells in WIDTHS])
    assert (np.linalg.norm(iterates() - newton_path()[0], axis=3).max(axis=(1, 2)) <= bounds[:, 1]).all()
    assert (errors()[:, 1] <= bounds[:, 0]).all()
    assert (bounds[1:, 1] < 1.0).all()
    np.testing.assert_allclose(bounds[:-1, 0] / bounds[1:, 0], 4.0, rtol=0.1)
    ratios = bounds[:-1, 1] / bounds[1:, 1]
    assert (np.diff(ratios) < 0.0).all()
    np.testing.assert_allclose(ratios[-1], 4.0, rtol=0.05)
    np.testing.assert_allclose(bounds[:, 2], bounds[:, 1], rtol=1e-12)


def test_curves_that_are_too_coarse_have_no_bound():
    """Where errors could carry iterates out of the curves' ranges, though those of a step are bounded."""
    for penalty, cells in ((0.3, Cells(2, 2, 2)), (0.3, Cells(8, 4, 4)), (0.05, Cells(48, 12, 24))):
        _, holds = errs(jnp.zeros(1), jnp.ones(1), D, penalty, INNER, cells, 0.0, 1.0)
        assert holds
        assert np.isinf(bound_of(D, penalty, STEPS, INNER, cells))


def test_no_bound_is_above_the_trivial_one():
    """Both iterates stay in the ranges, so they are at most twice their radius apart, however small the penalty."""
    trivial = 2.0 * np.sqrt(2.0 * np.log(2.0) / 0.02)
    np.testing.assert_allclose(bound_of(D, 0.02, 1000, 8, Cells(400, 100, 200)), trivial, rtol=1e-12)


@given(seed=SEEDS)
def test_a_step_stretches_no_more(seed):
    """|(v I + A + x P - x/2 P A) / (1 + v)| <= x (4 - x), x = v / (1 + v), for every |A| <= 2v and projection P on a line."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.01, 5.0)
    x, line = v / (1.0 + v), rng.normal(size=D)
    basis, _ = np.linalg.qr(rng.normal(size=(D, D)))
    a = (basis * rng.choice([-2.0 * v, 2.0 * v, rng.uniform(-2.0 * v, 2.0 * v)], D)) @ basis.T
    p = np.outer(line, line) / (line @ line)
    derivative = (v * np.eye(D) + a + x * p - 0.5 * x * p @ a) / (1.0 + v)
    assert np.linalg.norm(derivative, ord=2) * np.exp(x) <= stretch(jnp.asarray(v)) * (1.0 + 1e-12)


@cache
def limit(radius: float, steps: int) -> float:
    """The bound of some steps."""
    return float(bound_of(D, PENALTY, steps, INNER, WIDTHS[-1], radius))


@given(seed=SEEDS, radius=st.sampled_from([0.0, 0.5]))
def test_the_bound_is_the_worst_of_all_paths(seed, radius):
    """Paths of gaps and decrements that the four relations allow, drawn at random: the errors that they add up stay below."""
    rng = np.random.default_rng(seed)

    def decrement(gap):
        """Near the least that a gap allows, from which most steps follow."""
        grid = np.linspace(0.0, 4.0, 4001)[1:]
        inner = np.minimum(grid, 1.0 - 1e-12)
        allowed = grid[(grid - np.log1p(grid) <= gap) & ((grid >= 1.0) | (gap <= -inner - np.log1p(-inner)))]
        return allowed[min(len(allowed) - 1, rng.geometric(0.3))] if len(allowed) else 0.0

    def after(gap, v):
        return gap - v + np.log1p(v)

    def err(v):
        bound, _ = errs(jnp.asarray(v), jnp.asarray(v), D, PENALTY, INNER, WIDTHS[-1], radius, 1.0)
        return float(bound)

    gap, total = float(first_gap(PENALTY, radius)), 0.0
    for k in range(STEPS):
        v = decrement(gap)
        gap = after(gap, v)
        carried, left = err(v), gap
        for _ in range(STEPS - k - 1):
            v = decrement(left)
            carried, left = carried * float(stretch(jnp.asarray(v))), after(left, v)
        total += carried
    assert 0.0 < 2.0 * total <= limit(radius, STEPS)


RADIUS, COARSE = 2.0, Cells(48, 12, 24)


@cache
def around():
    """At sixty random starts: the decrement, the gap over 4 mu, the norm of a step's derivative, and what the block errs."""
    solver = damped_newton(PENALTY)

    def one(key):
        construction = transformer(D, PENALTY, 1, INNER, COARSE, N, RADIUS)
        learner = transformer_learner(construction.config, construction.encoding)
        key_prompt, key_start, key_length = jax.random.split(key, 3)
        start = jax.random.normal(key_start, (D,))
        start = RADIUS * jax.random.uniform(key_length) * start / jnp.linalg.norm(start)
        prompt = TASK.sample(key_prompt).prompt._replace(start=start)

        def step(w):
            return solver.step(w, prompt, None)

        loss, after = partial(logistic_loss, prompt=prompt, penalty=PENALTY), step(start)
        before, beyond = (logistic_hessian(w, prompt, PENALTY) / (4.0 * PENALTY) for w in (start, after))
        slope = logistic_gradient(start, prompt, PENALTY) / (4.0 * PENALTY)
        decrement = jnp.sqrt(slope @ jnp.linalg.solve(before, slope))
        gap = (loss(start) - loss(unroll(solver, prompt, 40)[-1])) / (4.0 * PENALTY)
        lower, upper = jnp.linalg.cholesky(before), jnp.linalg.cholesky(beyond)
        derivative = upper.T @ jax.jacfwd(step)(start) @ jnp.linalg.inv(lower.T)
        off = upper.T @ (learner.predict(construction.params, prompt)[-1] - after)
        return decrement, gap, jnp.linalg.norm(derivative, ord=2), jnp.linalg.norm(off)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), 60))


def test_the_bounds_of_a_step():
    """What `error_bound` is made of: the first gap, decrements in a gap, how a step stretches, and what the block's errs."""
    decrement, gap, stretched, off = around()
    limit, (bound, holds) = jax.jit(stretch)(decrement), errs(decrement, decrement, D, PENALTY, INNER, COARSE, RADIUS, 1.0)
    decrement, gap = np.asarray(decrement), np.asarray(gap)
    assert gap.max() <= first_gap(PENALTY, RADIUS)
    assert (decrement - np.log1p(decrement) <= gap).all()
    near = decrement < 1.0
    assert near.sum() > 10
    assert (gap[near] <= -decrement[near] - np.log1p(-decrement[near])).all()
    assert (stretched <= limit).all()
    assert holds
    assert (off <= bound).all()
    assert off.max() > 1e-4


def test_the_block_rests_near_the_minimiser():
    """Where twelve steps have come to rest is within the floor's bound, at every width, and not far below it."""
    rested, minimiser = iterates()[:, :, -2:], newton_path()[0][:, -2:]
    assert np.abs(np.diff(minimiser, axis=1)).max() < 1e-12
    assert np.abs(np.diff(rested, axis=2)).max() < 1e-10
    distances = np.linalg.norm(rested - minimiser, axis=3).max(axis=(1, 2))
    bounds = np.array([float(floor_bound(PENALTY, cells)) for cells in WIDTHS])
    assert (distances <= bounds).all()
    assert (distances >= 0.02 * bounds).all()


def test_one_set_of_parameters_serves_every_length():
    """Prompts of 6 to 26 examples, from the same weights, are within the bound, and within 1e-4."""

    @jax.jit
    def gap_and_bound(prompt):
        parts = damped_newton_of_any_length(D, 1.0, 3, 3, WIDTHS[1], least=6, n=N)
        return gap(parts, prompt), parts.tolerance

    for n in (6, 13, 26):
        found, bound = gap_and_bound(Prompt.of(prompt_at(0).x, prompt_at(0).y, used=np.arange(N) < n))
        assert 1e-9 < found <= min(1e-4, bound)


@pytest.mark.parametrize(
    ("wrong", "sentence"), [({"cells": Cells(0, 2, 2)}, "sigmoid is 0"), ({"inner_steps": 0}, "inner_steps is 0")]
)
def test_blocks_that_cannot_be_are_refused(wrong, sentence):
    """Every curve has a cell, and the inverse a step."""
    values = {"inner_steps": 2, "cells": Cells(2, 2, 2)} | wrong
    with pytest.raises(InputError, match=sentence):
        transformer(D, PENALTY, 1, n=N, **values)


@given(seed=SEEDS)
def test_curves_interpolate(seed):
    """Through the values at the knots, straight between, constant outside; the square is exact at its knots, and even."""
    rng = np.random.default_rng(seed)
    knots, values, z = np.cumsum(rng.uniform(0.1, 1.0, 6)), rng.normal(size=6), rng.uniform(-1.0, 8.0, 50)
    curve = interpolant(jnp.asarray(knots), jnp.asarray(values))
    found = curve.level + np.maximum(z[:, None] - np.asarray(curve.knots), 0.0) @ np.asarray(curve.kinks)
    np.testing.assert_allclose(found, np.interp(z, knots, values), rtol=0.0, atol=1e-12)
    even, z = square(8, 2.0), rng.uniform(-2.0, 2.0, 50)
    found = sum(np.maximum(side * z[:, None] - np.asarray(even.knots), 0.0) @ np.asarray(even.kinks) for side in (1.0, -1.0))
    assert (found - z**2 >= -1e-14).all()
    assert (found - z**2 <= 0.25**2 / 4.0 + 1e-14).all()


# --- encodings of the trained models ----------------------------------------------------------------------------------------


def test_tokens_that_read_each_other():
    """[x_i, y_i] and a last token, of the query or of zeros; all read the used ones and the last; answers are of the last."""
    x, y, x_query = np.ones((4, 2)), np.array([1.0, -1.0, 1.0, 1.0]), np.array([[3.0, 4.0]])
    prompt = Prompt.of(x, y, x_query, used=[True, False, True, True])
    for encoding, last in ((mutual(2, 0.25), [3.0, 4.0, 0.0]), (summary(2), [0.0, 0.0, 0.0])):
        tokens = encoding.tokens(prompt)
        np.testing.assert_array_equal(tokens.z, [[1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1], last])
        np.testing.assert_array_equal(tokens.mask, np.broadcast_to([True, False, True, True, True], (5, 5)))
        np.testing.assert_array_equal(tokens.position, [0, 1, 1, 2, 3])
    np.testing.assert_array_equal(mutual(2, 0.25).tokens(prompt).scale, np.full(5, 0.25))
    outputs = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 2)))
    iterates = summary(2).read(Stream(jnp.zeros((3, 5, 3)), outputs), prompt._replace(x_query=None))
    np.testing.assert_array_equal(iterates, outputs[:, -1])
    np.testing.assert_allclose(
        summary(2).read(Stream(jnp.zeros((3, 5, 3)), outputs), prompt),
        [logistic_prediction(w, prompt.x_query) for w in iterates],
    )
    np.testing.assert_array_equal(mutual(2).read(Stream(jnp.zeros((3, 5, 3)), outputs[..., 0]), prompt), outputs[:, -1:, 0])
    with pytest.raises(InputError, match="got 2"):
        mutual(2).tokens(prompt._replace(x_query=jnp.ones((2, 2))))


def test_the_trained_models_answer():
    """Linear self-attention answers one query, whatever the order of its examples; the softmax encoder gives w, or
    probabilities of all queries."""
    rng = np.random.default_rng(3)
    x, y, order = rng.normal(size=(4, 2)), rng.normal(size=4), np.array([2, 0, 3, 1])
    prompt, shuffled = (Prompt.of(rows, labels, [[0.5, -1.0]]) for rows, labels in ((x, y), (x[order], y[order])))
    config = replace(presets.linear_self_attention(2, 2, width=4, heads=2), init_scale=1.0)
    learner = transformer_learner(config, mutual(2, 0.5**0.5))
    params = jax.jit(learner.init)(jax.random.key(0, impl="rbg"), prompt)
    answers = [jax.jit(learner.predict)(params, one) for one in (prompt, shuffled)]
    assert answers[0].shape == (3, 1)
    assert np.ptp(answers[0]) > 1e-3
    np.testing.assert_allclose(*answers, rtol=0.0, atol=1e-14)
    learner = transformer_learner(presets.newton_softmax(2, 3, n=4, width=4, heads=2), summary(2))
    params = jax.eval_shape(learner.init, jax.random.key(0), prompt)
    assert jax.eval_shape(learner.predict, params, prompt._replace(x_query=jnp.ones((7, 2)))).shape == (4, 7)
    assert jax.eval_shape(learner.predict, params, prompt._replace(x_query=None)).shape == (4, 2)
