"""Every solver with a residual is differentiated as a root: both modes agree, and so do its steps; the Lasso's is exact."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_diabetes

from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import Fraction, problem
from jaxl2o.objectives import least_squares, least_squares_gradient
from jaxl2o.solvers import expectation_maximisation as em
from jaxl2o.solvers import first_order, flow, krylov, line_search, logistic, momentum, newton, proximal, wrappers
from jaxl2o.solvers.from_optax import from_optax
from jaxl2o.solvers.implicit import Implicit, dense_solve, iterative_solve
from jaxl2o.solvers.inverse import over_norm
from jaxl2o.solvers.unroll import Truncated, Unrolled, solve, unroll
from jaxl2o.types import Prompt, Solver

N, D, TASKS, PENALTY = 24, 4, 2, 0.15
RNG = np.random.default_rng(5)
PLANTED = np.array([1.0, -0.6, 0.0, 0.0])
X = RNG.normal(size=(TASKS, N, D))
Y = X @ PLANTED + 0.2 * RNG.normal(size=(TASKS, N))
SIGNS = np.sign(X @ PLANTED + RNG.normal(size=(TASKS, N)))
MIXED = Y * RNG.choice([1.0, -1.0], size=(TASKS, N))
STARTS = np.stack([0.8 * PLANTED, -1.1 * PLANTED])
X_QUERY, Y_QUERY = RNG.normal(size=(6, D)), RNG.normal(size=6)


class Case(NamedTuple):
    """A solver of its hyper-parameters, their values, the steps to convergence, and which labels and start it is given."""

    solver: Any
    hyper: tuple
    steps: int = 400
    labels: np.ndarray = Y
    start: Any = None


def ridge_loss(penalty):
    """R(w) + penalty/2 |w|^2."""
    return lambda w, prompt: least_squares(w, prompt) + 0.5 * penalty * w @ w


WEIGHTS = jnp.array([0.4, 0.6])
MIXTURE = em.Mixture(jnp.asarray(STARTS), WEIGHTS, jnp.asarray(0.3))
CASES = {
    "ista": Case(proximal.ista, (PENALTY,)),
    "fista": Case(lambda p: proximal.fista(p, proximal.against_gradient), (PENALTY,)),
    "block ista": Case(lambda p: proximal.block_ista(p, jnp.arange(D) // 2), (PENALTY,)),
    "gradient descent": Case(first_order.gradient_descent, (0.4,)),
    "preconditioned": Case(lambda p: first_order.preconditioned_gradient_descent(p * jnp.eye(D)), (0.4,)),
    "heavy ball": Case(momentum.heavy_ball, (0.4, 0.3)),
    "chebyshev": Case(lambda m: momentum.scheduled_momentum(momentum.chebyshev_steps(m, 4.0, 400)), (0.2,)),
    "nesterov": Case(lambda s: momentum.nesterov(s, jnp.full(400, 0.3)), (0.3,)),
    "conjugate gradient": Case(krylov.conjugate_gradient, (), 8),
    "newton ridge": Case(lambda p: newton.newton(over_norm, penalty=p), (PENALTY,), 12),
    "linear system": Case(lambda: newton.linear_system(over_norm), (), 14),
    "damped newton": Case(logistic.damped_newton, (PENALTY,), 60, SIGNS),
    "inexact newton": Case(lambda p: logistic.inexact_damped_newton(p, 6), (0.5,), 150, SIGNS),
    "em": Case(em.expectation_maximisation, (WEIGHTS, 0.5), 150, MIXED, STARTS),
    "gradient em": Case(lambda w, s: em.gradient_em(w, s, 0.3, 2), (WEIGHTS, 0.5), 400, MIXED, STARTS),
    "estimating em": Case(em.estimating_em, (0.01,), 300, MIXED, MIXTURE),
    "symmetric em": Case(em.symmetric_em, (0.7, 0.5), 150, MIXED, STARTS[0]),
    "symmetric gradient em": Case(lambda w, s: em.symmetric_gradient_em(w, s, 0.3, 2), (0.7, 0.5), 400, MIXED, STARTS[0]),
    "backtracking": Case(lambda p: line_search.backtracking(ridge_loss(p)), (PENALTY,), 200),
    "flow": Case(lambda p: flow.gradient_flow(ridge_loss(p), 0.5), (PENALTY,), 150),
    "optax": Case(lambda p: from_optax(optax.sgd(0.2, momentum=0.5), ridge_loss(p)), (PENALTY,)),
    "shared matrix": Case(lambda p: wrappers.with_matrix(proximal.ista(p, 0.3), jnp.asarray(X[0])), (PENALTY,)),
}


def answer(name, gradient, hyper, x, y):
    """The last iterate of a case, as one vector, as a function of its hyper-parameters, which it closes over, and its data."""
    case = CASES[name]
    prompt = Prompt.of(None if name == "shared matrix" else x, y, start=case.start)
    return ravel_pytree(unroll(case.solver(*hyper), prompt, case.steps, gradient, keep="last"))[0]


def directions(tree):
    """A random direction for every leaf."""
    return jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(size=np.shape(leaf))), tree)


@pytest.mark.parametrize("name", CASES)
def test_implicit_is_exact_in_both_modes(name):
    """<u, J v> is one number in both modes, for all tasks by vmap under jit, and J v that of the steps at convergence."""
    case = CASES[name]
    hyper = tuple(np.broadcast_to(leaf, (TASKS, *np.shape(leaf))) for leaf in case.hyper)

    @jax.jit
    @jax.vmap
    def derivatives(at, v, u):
        _, linear = jax.linearize(partial(answer, name, Implicit()), *at)
        _, unrolled = jax.jvp(partial(answer, name, Unrolled()), at, v)
        u = u[: unrolled.shape[0]]
        pulled = ravel_pytree(jax.linear_transpose(linear, *v)(u))[0] @ ravel_pytree(v)[0]
        return linear(*v), unrolled, u @ linear(*v), pulled

    at = (hyper, X, case.labels)
    forward, unrolled, onto, pulled = derivatives(at, directions(at), RNG.normal(size=(TASKS, 20)))
    size = np.max(np.abs(forward))
    assert size > 1e-3
    np.testing.assert_allclose(pulled, onto, rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(unrolled, forward, rtol=0.0, atol=1e-9 * size)


def ridge_descent(penalty, step_size=0.3):
    """Gradient descent on R(w) + penalty/2 |w|^2."""

    def slope(w, prompt):
        return least_squares_gradient(w, prompt) + penalty * w

    return Solver(first_order.start_at_zero, lambda w, prompt, _: w - step_size * slope(w, prompt), lambda w: w, None, slope)


PROMPT = Prompt.of(X[0], Y[0])
HESSIAN = X[0].T @ X[0] / N


def validation_loss(w):
    """1/2 |X_query w - y_query|^2."""
    return 0.5 * jnp.sum((X_QUERY @ w - Y_QUERY) ** 2)


def lasso_slope(x, y, penalty, w):
    """w_A = H_A^-1 (b_A - penalty s), so the derivative in the penalty is -H_A^-1 s on the active set A with signs s."""
    active, slope = w != 0.0, np.zeros(len(w))
    slope[active] = -np.linalg.solve(x[:, active].T @ x[:, active] / len(y), np.sign(w[active]))
    return slope


def test_the_error_of_truncation_falls_at_the_rate_of_the_solver():
    """At convergence the last k steps miss exactly (I - s H)^k of the derivative, H the Hessian and s the step size."""

    def derivative(gradient):
        return jax.jacfwd(lambda p: unroll(ridge_descent(p), PROMPT, 400, gradient, keep="last"))(PENALTY)

    lengths = (1, 5, 20)
    exact, *truncated = jax.jit(lambda: [derivative(way) for way in (Implicit(), *map(Truncated, lengths))])()
    contraction = np.eye(D) - 0.3 * (HESSIAN + PENALTY * np.eye(D))
    for steps, short in zip(lengths, truncated, strict=True):
        np.testing.assert_allclose(exact - short, np.linalg.matrix_power(contraction, steps) @ exact, atol=1e-13)


def test_recomputing_a_step_saves_its_insides():
    """Remat gives the gradient through every step, in less than two thirds of the memory."""
    solver = em.gradient_em(WEIGHTS, 0.5, 0.3, 5)
    start = jnp.asarray(STARTS)

    def compiled(remat):
        def loss(y):
            return jnp.sum(unroll(solver, Prompt.of(X[0], y, start=start), 50, Unrolled(remat), keep="last") ** 2)

        return jax.jit(jax.grad(loss)).lower(MIXED[0]).compile()

    plain, again = compiled(False), compiled(True)
    np.testing.assert_allclose(again(MIXED[0]), plain(MIXED[0]), rtol=1e-12, atol=1e-14)
    sizes = [program.memory_analysis().temp_size_in_bytes for program in (again, plain)]
    assert sizes[0] < 2 / 3 * sizes[1], sizes


def test_the_reverse_pass_of_a_root_does_not_know_the_number_of_steps():
    """After 10 and after 1,000 steps the same operations are done on as many stored numbers."""

    def reverse(steps):
        def answer(penalty, y):
            return unroll(proximal.ista(penalty), PROMPT._replace(y=y), steps, Implicit(), keep="last")

        seen = []

        def look(penalty, y):
            _, pull = jax.vjp(answer, penalty, y)
            seen.append((str(jax.make_jaxpr(pull)(jnp.ones(D))), sum(leaf.size for leaf in jax.tree.leaves(pull))))

        jax.eval_shape(look, jnp.asarray(PENALTY), Y[0])
        return seen

    assert reverse(10) == reverse(1000)


def test_a_run_that_stops_early_is_differentiated_as_a_root():
    """solve(..., Implicit()) takes the steps of solve, and has the derivative of its answer, in reverse mode under vmap."""

    def found(penalty, gradient):
        solver = proximal.ista(penalty)

        def until(w, prompt):
            return jnp.max(jnp.abs(solver.residual(w, prompt))) <= 1e-13

        w, taken = solve(solver, PROMPT, until, 1000, gradient)
        return validation_loss(w), (w, taken)

    @jax.jit
    @jax.vmap
    def both(penalty):
        return jax.grad(found, has_aux=True)(penalty, Implicit()), found(penalty, None)[1]

    penalties = np.array([0.05, 0.2])
    (slopes, (w, taken)), (plain, steps) = both(penalties)
    assert np.issubdtype(taken.dtype, np.integer)
    assert np.all((taken > 10) & (taken < 1000))
    np.testing.assert_array_equal(taken, steps)
    np.testing.assert_array_equal(w, plain)
    for slope, penalty, answer in zip(slopes, penalties, np.asarray(w), strict=True):
        exact = (X_QUERY @ answer - Y_QUERY) @ X_QUERY @ lasso_slope(X[0], Y[0], penalty, answer)
        np.testing.assert_allclose(slope, exact, rtol=1e-10)


def test_roots_are_differentiated_inside_a_training_loop():
    """Descent on log penalties through vmapped implicit answers, in one scan, is the descent by the closed form."""

    def loss(logs):
        w = jax.vmap(lambda p, x, y: unroll(proximal.ista(p), Prompt.of(x, y), 400, Implicit(), keep="last"))
        return jnp.mean(jax.vmap(validation_loss)(w(jnp.exp(logs), X, Y)))

    trained = jax.jit(lambda logs: jax.lax.scan(lambda logs, _: (logs - 0.1 * jax.grad(loss)(logs), None), logs, length=5)[0])
    found = trained(jnp.log(jnp.array([0.1, 0.3])))
    expected = np.log([0.1, 0.3])
    answers = jax.jit(jax.vmap(lambda p, x, y: unroll(proximal.ista(p), Prompt.of(x, y), 400, keep="last")))
    for _ in range(5):
        w = np.asarray(answers(np.exp(expected), X, Y))
        slopes = [lasso_slope(X[i], Y[i], np.exp(expected[i]), w[i]) for i in range(TASKS)]
        gradient = [(X_QUERY @ w[i] - Y_QUERY) @ X_QUERY @ slopes[i] * np.exp(expected[i]) / TASKS for i in range(TASKS)]
        expected = expected - 0.1 * np.array(gradient)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_a_root_needs_no_matrix():
    """GMRES gives the derivative of the factored matrix in both modes, for a Jacobian that is not symmetric."""
    at = (jnp.asarray(PENALTY), X[0], Y[0])

    @jax.jit
    def derivatives(at, v, u):
        ways = [jax.linearize(partial(answer_at, Implicit(way)), *at)[1] for way in (dense_solve, iterative_solve())]
        return [(way(*v), ravel_pytree(jax.linear_transpose(way, *v)(u))[0]) for way in ways]

    def answer_at(gradient, penalty, x, y):
        return answer("ista", gradient, (penalty,), x, y)

    dense, iterative = derivatives(at, directions(at), RNG.normal(size=D))
    for mine, exact in zip(iterative, dense, strict=True):
        np.testing.assert_allclose(mine, exact, rtol=0.0, atol=1e-10 * np.max(np.abs(exact)))


@jax.jit
def solved(matrix, spread):
    """The matrix by its factors, the diagonal by its factors and by 20 steps of GMRES, for targets of ones."""
    few = iterative_solve(max_steps=20)(lambda v: spread * v, jnp.ones(60))
    return dense_solve(lambda v: matrix @ v, jnp.ones(D)), dense_solve(lambda v: spread * v, jnp.ones(60)), few


def test_what_has_no_derivative_is_not_a_number():
    """Fewer examples than features: least squares has no one answer. GMRES that may not go on says so too."""
    singular, right, short = solved(X[0, :3].T @ X[0, :3], jnp.logspace(0.0, 8.0, 60))
    assert np.all(np.isnan(singular))
    assert np.all(np.isnan(short))
    np.testing.assert_allclose(right, np.logspace(0.0, -8.0, 60), rtol=1e-13)


class Given(NamedTuple):
    """What the certified Lasso is a function of."""

    x: Any
    y: Any
    penalty: Any
    ridge: Any
    weights: Any


# ridge, weights, penalty, whether that is a fraction of the largest, whether w >= 0
FORMS = {
    "l1": (0.0, np.ones(8), 0.1, False, False),
    "elastic net": (0.3, np.ones(8), 0.1, False, False),
    "weighted": (0.05, np.linspace(0.5, 2.0, 8), 0.1, False, False),
    "non-negative": (0.1, np.linspace(0.5, 2.0, 8), 0.05, False, True),
    "fraction": (0.1, np.linspace(0.5, 2.0, 8), 0.2, True, False),
}
WIDE = RNG.normal(size=(30, 8))
LABELS = WIDE @ np.array([1.5, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, -0.3]) + 0.3 * RNG.normal(size=30)


def lasso_of(given, relative, nonnegative):
    """The certified answer in scaling "mean"."""
    penalty = Fraction(given.penalty) if relative else given.penalty
    form = problem(given.x, given.y, penalty, ridge=given.ridge, weights=given.weights, nonnegative=nonnegative)
    return certified(form).solution


@partial(jax.jit, static_argnums=(3, 4))
def lasso_and_derivatives(given, v, u, relative, nonnegative):
    """The answer, its derivative along v, and <u, that> by reverse mode."""
    w, linear = jax.linearize(lambda given: lasso_of(given, relative, nonnegative), given)
    (pulled,) = jax.linear_transpose(linear, v)(u)
    return w, linear(v), ravel_pytree(pulled)[0] @ ravel_pytree(v)[0]


def on_the_active_set(given, w, relative):
    """w_A = (H + ridge)_A^-1 (b - penalty weights s)_A, analytic in all that is given, so complex numbers may be."""
    active, n = w != 0.0, len(given.y)
    x, correlation = given.x[:, active], given.x.T @ given.y / n
    share = correlation / given.weights
    largest = share[np.argmax(np.abs(share))] * np.sign(share[np.argmax(np.abs(share))].real) if relative else 1.0
    found = np.zeros(len(w), dtype=complex)
    right = correlation[active] - given.penalty * largest * given.weights[active] * np.sign(w[active])
    found[active] = np.linalg.solve(x.T @ x / n + given.ridge * np.eye(active.sum()), right)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_the_lassos_derivative_is_exact(form):
    """Along a direction in all that is given it is that of the closed form, by a complex step, and of differences."""
    ridge, weights, penalty, relative, nonnegative = FORMS[form]
    given = Given(WIDE, LABELS, *map(np.asarray, (penalty, ridge, weights)))
    v = jax.tree.map(np.asarray, directions(given))
    u = RNG.normal(size=8)
    w, slope, pulled = map(np.asarray, lasso_and_derivatives(given, v, u, relative, nonnegative))
    assert 0 < np.sum(w != 0.0) < 8
    tiny, small = 1e-30, 1e-5

    def moved(step):
        return jax.tree.map(lambda a, b: a + step * b, given, v)

    there = on_the_active_set(moved(1j * tiny), w, relative)
    unit = np.max(np.abs(slope))
    np.testing.assert_allclose(w, there.real, atol=1e-14)
    np.testing.assert_allclose(slope, there.imag / tiny, rtol=0.0, atol=1e-12 * unit)
    np.testing.assert_allclose(pulled, u @ slope, rtol=1e-12)
    if ridge > small * abs(float(v.ridge)):  # differences need both sides to be problems
        ahead, behind = (lasso_and_derivatives(moved(s), v, u, relative, nonnegative)[0] for s in (small, -small))
        np.testing.assert_allclose((ahead - behind) / (2.0 * small), slope, rtol=0.0, atol=1e-7 * unit)


def test_the_lassos_derivative_is_that_of_its_solvers():
    """In data and penalty: that of ISTA's steps, and of its root."""
    at = (jnp.asarray(0.1), jnp.asarray(WIDE), jnp.asarray(LABELS))

    def iterated(gradient):
        return lambda p, x, y: unroll(proximal.ista(p), Prompt.of(x, y), 400, gradient, keep="last")

    @jax.jit
    def slopes(at, v):
        ways = (lambda p, x, y: certified(problem(x, y, p)).solution, iterated(Implicit()), iterated(Unrolled()))
        return [jax.jvp(way, at, v)[1] for way in ways]

    exact, root, steps = slopes(at, directions(at))
    np.testing.assert_allclose(root, exact, rtol=0.0, atol=1e-11)
    np.testing.assert_allclose(steps, exact, rtol=0.0, atol=1e-11)


def test_the_lassos_second_derivative_is_exact():
    """w = K (b - p s) with K = (H + e I)^-1: linear in the penalty p, not in the ridge e; w_pe = K K s, w_ee = 2 K K w."""
    target = RNG.normal(size=8)

    def loss(both):
        return 0.5 * jnp.sum((certified(problem(WIDE, LABELS, both[0], ridge=both[1])).solution - target) ** 2)

    p, e = 0.1, 0.2
    found = jax.jit(jax.hessian(loss))(jnp.array([p, e]))
    w = np.asarray(lasso_and_derivatives(Given(WIDE, LABELS, *map(np.asarray, (p, e, np.ones(8)))), *NOWHERE, False, False)[0])
    active = np.flatnonzero(w)
    inverse = np.linalg.inv(WIDE[:, active].T @ WIDE[:, active] / 30 + e * np.eye(len(active)))
    signs, wa, off = np.sign(w[active]), w[active], w[active] - target[active]
    first = -np.stack([inverse @ signs, inverse @ wa])
    mixed, twice = inverse @ inverse @ signs, 2.0 * inverse @ inverse @ wa
    expected = first @ first.T + np.array([[0.0, off @ mixed], [off @ mixed, off @ twice]])
    np.testing.assert_allclose(found, expected, rtol=1e-11)


NOWHERE = (jax.tree.map(np.zeros_like, Given(WIDE, LABELS, *map(np.asarray, (0.1, 0.2, np.ones(8))))), np.zeros(8))


def test_columns_that_depend_on_each_other_have_no_derivative():
    """A column twice in the active set: the answer stays, the derivative is not a number."""
    x = np.concatenate([WIDE[:, :3], WIDE[:, :1]], axis=1)
    start = jnp.array([0.5, 0.0, 0.0, 0.5])
    w, slope = jax.jit(lambda p: jax.jvp(lambda p: certified(problem(x, LABELS, p), start=start).solution, (p,), (p,)))(0.1)
    assert w[0] * w[3] > 0.0
    assert np.all(np.isnan(slope[w != 0.0]))


def test_the_penalty_of_the_diabetes_table():
    """d(validation loss)/d(penalty) is that of the active set to 1e-10, at 20 penalties and the default tolerance."""
    data, labels = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    labels = labels - labels.mean()
    (x, y), (x_held, y_held) = ((data[part], labels[part]) for part in (order[:300], order[300:]))
    penalties = np.max(np.abs(x.T @ y)) / 300 * np.logspace(-0.02, -3.5, 20)

    def loss(penalty):
        w = certified(problem(x, y, penalty)).solution
        return 0.5 * jnp.mean((x_held @ w - y_held) ** 2), w

    found, answers = jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(penalties)
    for slope, penalty, w in zip(np.asarray(found), penalties, np.asarray(answers), strict=True):
        bound = np.abs(x.T @ (y - x @ w)) / 300
        assert np.all(bound <= penalty * (1.0 + 1e-9))
        exact = (x_held @ w - y_held) @ x_held @ lasso_slope(x, y, penalty, w) / len(y_held)
        np.testing.assert_allclose(slope, exact, rtol=1e-10)
