"""The certified Lasso: its certificate is a bound, its answer is scikit-learn's, and it is float64 whatever JAX is set to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.descent import Descent
from jaxl2o.certified.fista import Fista
from jaxl2o.certified.homotopy import Homotopy
from jaxl2o.certified.lasso import certified, check_run, lasso
from jaxl2o.certified.problem import Fraction, check_problem, prompt_problem
from jaxl2o.objectives import lasso_objective
from jaxl2o.solvers.in_context import in_context_alista, in_context_start
from jaxl2o.solvers.proximal import penalty_max
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.types import Prompt

# n, d, penalty as a fraction of the largest: tall, wide, square, one example, one feature, strong and weak penalties
PROBLEMS = [(40, 10, 0.1), (10, 30, 0.05), (10, 30, 0.5), (12, 12, 0.01), (1, 5, 0.3), (20, 1, 0.2), (50, 20, 0.9)]
SHAPE = (15, 10)


def problem(n, d, seed=0):
    """X, y with three coefficients and noise, as NumPy arrays."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x @ np.where(np.arange(d) < 3, 1.0, 0.0) + 0.3 * rng.normal(size=n)


def largest_penalty(x, y):
    """|X'y|_inf / n."""
    return np.max(np.abs(x.T @ y)) / len(y)


def value(x, y, w, penalty):
    """F(w) = 1/(2n) |X w - y|^2 + penalty |w|_1."""
    return np.sum((x @ w - y) ** 2) / (2 * len(y)) + penalty * np.abs(w).sum()


def scikit_learn(x, y, penalty):
    """The minimiser of F by coordinate descent."""
    return Lasso(alpha=penalty, fit_intercept=False, tol=1e-13, max_iter=1_000_000).fit(x, y).coef_


@pytest.mark.parametrize(("n", "d", "fraction"), PROBLEMS)
def test_lasso_is_scikit_learns(n, d, fraction):
    """F(w) is that of coordinate descent to 1e-10, the gap certifies it, and the Karush-Kuhn-Tucker conditions hold."""
    x, y = problem(n, d)
    penalty = fraction * largest_penalty(x, y)
    w, gap, _, steps, _ = lasso(x, y, penalty, tolerance=1e-13)
    unit = value(x, y, 0.0 * w, penalty)
    reference = scikit_learn(x, y, penalty)
    assert abs(value(x, y, w, penalty) - value(x, y, reference, penalty)) <= 1e-10 * unit
    assert -1e-15 * unit <= gap <= 1e-13 * unit
    assert 0 < steps < 100_000
    correlation = x.T @ (y - x @ w) / n
    assert np.all(np.abs(correlation) <= penalty * (1.0 + 1e-5))
    np.testing.assert_allclose(correlation[w != 0.0], penalty * np.sign(w[w != 0.0]), rtol=1e-5)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-8])
def test_the_gap_bounds_the_suboptimality(tolerance):
    """F(w) - F* <= gap <= tolerance * F(0) for the answer at every tolerance."""
    x, y = problem(*SHAPE)
    penalty = 0.1 * largest_penalty(x, y)
    w, gap, *_ = lasso(x, y, penalty, tolerance=tolerance)
    best = value(x, y, scikit_learn(x, y, penalty), penalty)
    assert value(x, y, w, penalty) - best <= gap + 1e-15
    assert gap <= tolerance * value(x, y, 0.0 * w, penalty)


X, Y = problem(*SHAPE)
PENALTY = 0.1 * largest_penalty(X, Y)
ANSWER = scikit_learn(X, Y, PENALTY)
BEST = value(X, Y, ANSWER, PENALTY)
GAP = jax.jit(lambda w: duality_gap(prompt_problem(Prompt.of(X, Y), PENALTY), w).bound / len(Y))


@given(seed=st.integers(0, 2**31 - 1), exponent=st.floats(-4.0, 3.0))
def test_the_gap_bounds_the_suboptimality_everywhere(seed, exponent):
    """F(w) - F* <= gap(w) for every w, near the minimiser and far from it."""
    w = ANSWER + 10.0**exponent * np.random.default_rng(seed).normal(size=SHAPE[1])
    excess = value(X, Y, w, PENALTY) - BEST
    assert -1e-14 <= excess <= GAP(jnp.asarray(w)) * (1.0 + 1e-12) + 1e-14


def test_the_gap_is_the_dual_of_numpy():
    """gap(w) = F(w) - <y, nu> + n/2 |nu|^2 with nu = (y - X w) / n, shrunk to |X'nu|_inf <= penalty."""
    w = ANSWER + 0.1
    nu = (Y - X @ w) / len(Y)
    nu = nu * min(1.0, PENALTY / np.max(np.abs(X.T @ nu)))
    expected = value(X, Y, w, PENALTY) - Y @ nu + 0.5 * len(Y) * nu @ nu
    np.testing.assert_allclose(GAP(jnp.asarray(w)), expected, rtol=1e-12)


@given(seed=st.integers(0, 2**31 - 1), factor=st.floats(1.0, 10.0))
def test_zero_from_penalty_max_on(seed, factor):
    """The answer is exactly zero, with gap zero and without a step, for every penalty from |X'y|_inf / n on."""
    x, y = problem(*SHAPE, seed)
    largest = float(penalty_max(Prompt.of(x, y)))
    assert abs(largest - largest_penalty(x, y)) <= 1e-14 * largest
    w, gap, _, steps, _ = lasso(x, y, factor * largest * (1.0 + 1e-14))
    assert np.all(w == 0.0)
    assert steps == 0
    assert abs(gap) <= 1e-14 * value(x, y, w, 0.0)


def test_not_zero_below_penalty_max():
    """Just below |X'y|_inf / n one coefficient is not zero: the one that is most correlated with the labels."""
    w = lasso(X, Y, 0.999 * largest_penalty(X, Y), tolerance=1e-12).solution
    np.testing.assert_array_equal(np.flatnonzero(w), [np.argmax(np.abs(X.T @ Y))])


@given(scale=st.floats(1e-3, 1e3))
def test_the_answer_scales_with_the_labels(scale):
    """The answer for (c y, c penalty) is c times that for (y, penalty)."""
    scaled = lasso(X, scale * Y, scale * PENALTY, tolerance=1e-12).solution
    np.testing.assert_allclose(scaled / scale, lasso(X, Y, PENALTY, tolerance=1e-12).solution, atol=1e-5)


@pytest.mark.parametrize("x64", [False, True])
def test_answers_are_float64(x64):
    """NumPy arrays in float64 come back, and a gap of 1e-12 is reached, even where JAX is set to 32 bits."""
    with jax.enable_x64(x64):
        answer = lasso(X, Y, PENALTY, tolerance=1e-12)
        assert jnp.zeros(()).dtype == (jnp.float64 if x64 else jnp.float32)
    assert isinstance(answer.solution, np.ndarray)
    assert answer.solution.dtype == answer.gap.dtype == np.float64
    assert value(X, Y, answer.solution, PENALTY) - BEST <= 1e-12 * value(X, Y, 0.0 * answer.solution, PENALTY)


def test_no_examples_give_zero():
    """n = 0: the answer is zero, certified."""
    answer = lasso(np.zeros((0, 4)), np.zeros(0), 0.1)
    assert np.all(answer.solution == 0.0)
    assert answer.gap == 0.0


def test_labels_of_zero_give_zero():
    """y = 0: the answer is zero, certified without a step."""
    answer = lasso(X, 0.0 * Y, 0.1)
    assert np.all(answer.solution == 0.0)
    assert answer.steps == 0


def test_the_steps_are_bounded():
    """Where the tolerance is out of reach the run ends after max_steps, and the gap says how far it came."""
    w, gap, _, steps, _ = lasso(X, Y, 0.01 * PENALTY, tolerance=0.0, max_steps=7)
    assert steps == 7
    assert gap > value(X, Y, w, 0.01 * PENALTY) - value(X, Y, scikit_learn(X, Y, 0.01 * PENALTY), 0.01 * PENALTY) > 0.0


def test_many_problems_at_once():
    """vmap(certified) over prompts and penalties is a loop of lasso, and unused rows change nothing."""
    many = [problem(*SHAPE, seed) for seed in range(4)]
    rows = [np.pad(x, ((0, 3), (0, 0))) for x, _ in many], [np.pad(y, (0, 3)) for _, y in many]
    used = np.arange(SHAPE[0] + 3) < SHAPE[0]
    prompts = jax.vmap(lambda x, y: Prompt.of(x, y, used=used))(*map(np.stack, rows))
    penalties = np.linspace(0.05, 0.2, 4)

    def solve(prompt, penalty):
        return certified(prompt_problem(prompt, penalty), tolerance=1e-12)

    answers = jax.jit(jax.vmap(solve))(prompts, penalties)
    for i, (x, y) in enumerate(many):
        single = lasso(x, y, penalties[i], tolerance=1e-12)
        np.testing.assert_allclose(answers.solution[i], single.solution, atol=1e-5)
        assert answers.gap[i] <= 1e-12 * len(y) * value(x, y, 0.0 * single.solution, 0.0)
        np.testing.assert_allclose(
            lasso_objective(answers.solution[i], Prompt.of(x, y), penalties[i]), value(x, y, single.solution, penalties[i])
        )


VARYING = VaryingLayers(jnp.tile(0.4 * jnp.eye(20), (8, 1, 1)), jnp.full(8, 0.05))


def planted(shape=(10, 20), seed=3, sparsity=3):
    """X, y = X b and b with three entries."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    b = np.where(np.arange(shape[1]) < sparsity, rng.normal(size=shape[1]), 0.0)
    return x, x @ b, b


# what brings a start: in-context ALISTA and LISTA-VM that are trained nowhere, and what no solver should bring
STARTS = {
    "LISTA-VM": lambda prompt: unroll(lista_vm(VARYING), prompt, 8, keep="last"),
    "in-context ALISTA": lambda prompt: unroll(in_context_alista(in_context_start(12)), prompt, 12, keep="last"),
    "NaN": lambda prompt: jnp.full(prompt.x.shape[1], jnp.nan),
    "far": lambda prompt: jnp.full(prompt.x.shape[1], 1e30),
    "wrong": lambda prompt: -10.0 * prompt.x.T @ prompt.y,
}


@pytest.mark.parametrize("method", [Descent(), Fista()])
@pytest.mark.parametrize("name", STARTS)
def test_no_start_changes_the_answer(name, method):
    """Whatever a learned solver brings, the finished answer is certified, and is that from zero."""
    x, y, _ = planted()
    options = {"method": method, "tolerance": 1e-12}
    found = lasso(x, y, Fraction(0.05), start=STARTS[name], **options)
    assert found.converged
    np.testing.assert_allclose(found.solution, lasso(x, y, Fraction(0.05), **options).solution, atol=1e-6)


def test_a_learned_start_saves_steps():
    """From in-context ALISTA's answer, and from the answer itself, there are fewer steps to go than from zero."""
    x, y, _ = planted((15, 20))
    cold = lasso(x, y, Fraction(0.001), method=Fista())
    warm = lasso(x, y, Fraction(0.001), method=Fista(), start=STARTS["in-context ALISTA"])
    assert warm.steps < cold.steps
    assert lasso(x, y, Fraction(0.001), method=Fista(), start=cold.solution).steps == 0


def test_the_history_is_of_gaps():
    """The first gap is that of zero, the last that of the answer, each an upper bound; what was not seen is NaN."""
    x, y = problem(*SHAPE)
    found = lasso(x, y, PENALTY, history=400, tolerance=1e-10, method=Fista(steps_a_check=1))
    seen = found.history[: found.steps + 1]
    assert np.all(np.isfinite(seen))
    assert np.all(np.isnan(found.history[found.steps + 1 :]))
    np.testing.assert_allclose(seen[-1], found.gap, rtol=1e-3)
    assert seen[0] >= value(x, y, np.zeros(10), PENALTY) - value(x, y, found.solution, PENALTY)


FORMS = {
    "elastic net": {"ridge": 0.3},
    "weighted": {"weights": np.linspace(0.5, 3.0, 10)},
    "a column left out": {"weights": np.where(np.arange(10) == 1, np.inf, 1.0)},
    "non-negative": {"nonnegative": True},
    "all": {"ridge": 0.1, "weights": np.linspace(0.5, 3.0, 10), "nonnegative": True},
}


@pytest.mark.parametrize("method", [Descent(), Fista()])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_meets_its_optimality_conditions(form, method):
    """-b <= c <= a, c = a where w > 0 and -b where w < 0, for c = X'(y - X w) - e w; and w >= 0 if asked."""
    x, y = problem(*SHAPE)
    options = FORMS[form]
    found = lasso(x, y, PENALTY, method=method, tolerance=1e-14, **options)
    w, n = found.solution, len(y)
    c = x.T @ (y - x @ w) / n - options.get("ridge", 0.0) * w
    bound = PENALTY * options.get("weights", np.ones(10))
    assert np.all(c <= bound * (1.0 + 1e-6))
    np.testing.assert_allclose(c[w > 0.0], bound[w > 0.0], rtol=1e-6)
    np.testing.assert_allclose(c[w < 0.0], -bound[w < 0.0], rtol=1e-6)
    if options.get("nonnegative"):
        assert np.all(w >= 0.0)
    else:
        assert np.all(c >= -bound * (1.0 + 1e-6))
    assert np.any(w != 0.0)
    assert form != "a column left out" or w[1] == 0.0


def test_scalings_and_fractions_are_one_problem():
    """penalty in "mean", n * penalty in "half_sum", and its fraction of the largest give one answer; gaps differ by n."""
    x, y = problem(*SHAPE)
    found = lasso(x, y, PENALTY, tolerance=1e-10)
    half = lasso(x, y, len(y) * PENALTY, scaling="half_sum", tolerance=1e-10)
    share = lasso(x, y, Fraction(0.1), tolerance=1e-10)
    for other in (half, share):
        np.testing.assert_allclose(other.solution, found.solution, rtol=1e-9)
    np.testing.assert_allclose(half.gap, len(y) * found.gap, rtol=1e-3)
    np.testing.assert_allclose(PENALTY, 0.1 * penalty_max(Prompt.of(x, y)), rtol=1e-14)


@given(
    seed=st.integers(0, 2**31 - 1),
    kind=st.sampled_from(
        ["as drawn", "constant column", "zero column", "duplicate rows", "duplicate columns", "integers", "half"]
    ),
    exponents=st.tuples(st.floats(-90.0, 90.0), st.floats(-90.0, 90.0)),
    share=st.floats(1e-3, 1.5),
)
def test_every_table_of_numbers_gets_a_certified_answer(seed, kind, exponents, share):
    """Degenerate, integer, half-precision, huge and tiny data: converged, and the answer scales as the data do."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=SHAPE), rng.normal(size=SHAPE[0])
    if kind == "constant column":
        x[:, 2] = 1.0
    elif kind == "zero column":
        x[:, 2] = 0.0
    elif kind == "duplicate rows":
        x[1:4], y[1:4] = x[0], y[0]
    elif kind == "duplicate columns":
        x[:, 1:4] = x[:, :1]
    elif kind == "integers":
        x, y = rng.integers(-3, 4, size=SHAPE), rng.integers(-3, 4, size=SHAPE[0])
    elif kind == "half":
        x, y = x.astype(np.float16), y.astype(np.float16)
    else:
        x = x * 10.0 ** exponents[0]
        y = y * 10.0 ** exponents[1]
    found = lasso(x, y, Fraction(share))
    assert found.converged
    assert np.all(np.isfinite(found.solution))
    if share >= 1.0:
        np.testing.assert_array_equal(found.solution, 0.0)
    elif kind != "as drawn":
        x, y = x.astype(float), y.astype(float)
        penalty = share * largest_penalty(x, y)
        assert value(x, y, found.solution, penalty) - value(x, y, scikit_learn(x, y, penalty), penalty) <= found.gap
    if kind == "zero column":
        assert found.solution[2] == 0.0
    if kind == "as drawn":
        unscaled = lasso(x * 10.0 ** -exponents[0], y * 10.0 ** -exponents[1], Fraction(share))
        np.testing.assert_allclose(found.solution * 10.0 ** (exponents[0] - exponents[1]), unscaled.solution, atol=1e-4)


def test_float32_is_certified_by_what_it_can_know():
    """Under jit in float32 the run ends, and its gap, with the rounding of float32, is a bound in float64."""
    with jax.enable_x64(False):
        found = jax.jit(lambda x, y: lasso(x, y, PENALTY, tolerance=1e-9))(X.astype(np.float32), Y.astype(np.float32))
        assert found.solution.dtype == jnp.float32
        assert found.steps < 1000
    assert not found.converged
    excess = value(X, Y, np.asarray(found.solution, dtype=np.float64), PENALTY) - BEST
    assert excess <= found.gap <= 1e-4 * value(X, Y, np.zeros(10), PENALTY)


@pytest.mark.parametrize("method", [Descent(), Fista(), Homotopy()])
def test_no_certificate_of_what_is_no_problem(method):
    """A ridge below zero, met while tracing, has an infinite gap and has not converged."""
    answer = jax.jit(lambda ridge: lasso(X, Y, PENALTY, ridge=ridge, method=method, max_steps=50))(-0.5)
    assert not answer.converged
    assert answer.gap == np.inf


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_float32_gaps_are_not_rounded_to_zero(scale):
    """In units whose square float32 cannot hold a gap is never zero, and never certified if it is infinite."""
    with jax.enable_x64(False):
        data = X.astype(np.float32), (scale * Y).astype(np.float32)
        found = jax.jit(lambda x, y: lasso(x, y, Fraction(0.1), tolerance=1e-4))(*data)
        assert found.gap > 0.0
        assert found.converged == np.isfinite(found.gap)
        np.testing.assert_allclose(found.solution / scale, ANSWER, atol=1e-2)


def test_no_step_is_taken_that_rounding_hides():
    """A penalty far below the rounding of X'y ends at once, not after `max_steps`, and is not called converged."""
    x = np.random.default_rng(0).normal(size=(36, 12))
    centred = x - x.mean(axis=0)
    found = lasso(centred, np.ones(36), Fraction(1e-3), tolerance=1e-12)
    assert found.steps < 1000
    assert found.gap >= 0.0


def test_the_history_begins_with_the_start():
    """However few steps are left for the last round, the first gap that is kept is that of zero."""
    few, many = (lasso(X, Y, PENALTY, method=Fista(10), max_steps=steps, history=3).history for steps in (7, 100))
    np.testing.assert_allclose(few[0], many[0], rtol=1e-12)
    assert np.isfinite(few[1])
    assert np.isnan(few[2])


def test_lists_are_arrays():
    """Python lists of numbers get the answer of the arrays that they make."""
    np.testing.assert_array_equal(lasso(X.tolist(), Y.tolist(), PENALTY).solution, lasso(X, Y, PENALTY).solution)


MISTAKES = {
    "a penalty each": (lambda: check_problem(X, Y, np.full(10, 0.1), 0.0, None, "mean"), ("penalty has shape (10,)", "()")),
    "a ridge each": (lambda: check_problem(X, Y, 0.1, np.ones(10), None, "mean"), ("ridge has shape (10,)", "()")),
    "no penalty": (lambda: lasso(X, Y, 0.0), ("penalty is 0", "greater than zero")),
    "a complex X": (lambda: lasso(X + 1j, Y, 0.1), ("x is complex", "real numbers")),
    "a masked X": (lambda: lasso(np.ma.masked_greater(X, 1.0), Y, 0.1), ("x is a masked array", "leave out")),
    "a column off the scale": (lambda: lasso(1e-120 * X, Y, 0.1), ("x has a largest number of", "between 1e-100 and 1e100")),
    "no columns": (lambda: lasso(X[:, :0], Y, 0.1), ("x has no columns", "at least one")),
    "a scaling of others": (lambda: check_problem(X, Y, 0.1, 0.0, None, "sum"), ("scaling is 'sum'", "'half_sum'")),
    "a class": (lambda: lasso(X, Y, 0.1, method=Descent), ("method is", "Descent()")),
    "a name": (lambda: check_run("fista", 1e-8, 100), ("method is 'fista'", "Fista()")),
    "steps that are not whole": (lambda: check_run(Descent(), 1e-8, 1e5), ("max_steps is 100000.0", "whole number")),
    "a history below zero": (lambda: lasso(X, Y, 0.1, history=-1), ("history is -1", "whole number")),
    "a tolerance that is NaN": (lambda: lasso(X, Y, 0.1, tolerance=np.nan), ("tolerance is nan", "finite")),
    "no steps a check": (lambda: lasso(X, Y, 0.1, method=Fista(0)), ("steps_a_check is 0", "at least 1")),
    "an empty working set": (lambda: lasso(X, Y, 0.1, method=Descent(0)), ("size is 0", "at least 1")),
    "a start of others": (lambda: lasso(X, Y, 0.1, start=np.zeros(3)), ("start has shape (3,)", "(10,)")),
    "weights of zero": (lambda: lasso(X, Y, 0.1, weights=np.zeros(10)), ("weights is 0", "greater than zero")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(mistake, refused):
    """Each says what was given and what is needed."""
    refused(*MISTAKES[mistake])
