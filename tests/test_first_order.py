"""Linear first-order methods: which one is which other, what polynomial each is, how fast, and what none of them can do."""

from functools import cache
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev, polynomial
from scipy.sparse.linalg import cg
from scipy.special import eval_chebyu

from jaxl2o.checks import InputError
from jaxl2o.limits.krylov import krylov_oracle
from jaxl2o.objectives import least_squares
from jaxl2o.solvers import first_order, momentum
from jaxl2o.solvers.from_optax import from_optax
from jaxl2o.solvers.krylov import conjugate_gradient, frozen_steps
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.linear_first_order import (
    linear_first_order,
    momentum_coefficients,
    nesterov_coefficients,
    residual_polynomials,
    tied_coefficients,
)
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt, design_matrix, queries

N, D, STEPS = 12, 5, 6
LEAST, LARGEST = 0.5, 4.0
SPREAD = np.random.default_rng(3).normal(size=(D, D))
DEFINITE = jnp.asarray(np.eye(D) + SPREAD @ SPREAD.T / D)
SEEDS = st.integers(0, 2**31 - 1)
POLYNOMIALS = jax.jit(residual_polynomials)


def draw(seed, n=N, start=None):
    """A prompt with Gaussian examples and labels."""
    rng = np.random.default_rng(seed)
    return Prompt.of(rng.normal(size=(n, D)), rng.normal(size=n), start=start)


def with_spectrum(eigenvalues, seed=0):
    """A prompt whose X'X / n has these eigenvalues, in a random basis of eigenvectors (the columns), and whose answer is 0."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0]
    return Prompt.of(np.sqrt(D * np.asarray(eigenvalues))[:, None] * basis.T, np.zeros(D)), basis


def normal_equations(prompt):
    """H = X'X / n and b = X'y / n."""
    x, n = np.asarray(prompt.x), max(int(prompt.used.sum()), 1)
    return x.T @ x / n, x.T @ np.asarray(prompt.y) / n


def random_steps(seed, depth=STEPS):
    """A schedule of step sizes and momenta of both signs."""
    rng = np.random.default_rng(seed)
    return momentum.Steps(jnp.asarray(rng.uniform(-0.1, 0.3, depth)), jnp.asarray(rng.uniform(-0.5, 0.9, depth)))


@cache
def compiled(make):
    """(parameters, prompt) -> the iterates of make(*parameters) after 0..T steps."""
    return jax.jit(lambda parameters, prompt: unroll(make(*parameters), prompt, STEPS))


def path_of(make, *parameters, prompt):
    """The iterates of make(*parameters) after 0..T steps, as a NumPy array."""
    return np.asarray(compiled(make)(parameters, prompt))


# ---- every linear first-order method is one array of coefficients


@given(seed=SEEDS)
def test_momentum_is_linear_first_order(seed):
    """C[t, k] = eta_t m_t ... m_{t-k+1} gives the iterates of every momentum schedule."""
    steps, prompt = random_steps(seed), draw(seed)
    expected = path_of(momentum.scheduled_momentum, steps, prompt=prompt)
    found = path_of(linear_first_order, momentum_coefficients(steps), prompt=prompt)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@given(seed=SEEDS)
def test_nesterov_is_linear_first_order(seed):
    """C[t, k] = eta ([k = 0] + mu_t ... mu_{t-k}) gives the iterates of Nesterov's method for any momenta."""
    momenta, prompt = random_steps(seed).momentum, draw(seed)
    expected = path_of(momentum.nesterov, jnp.asarray(0.1), momenta, prompt=prompt)
    found = path_of(linear_first_order, nesterov_coefficients(0.1, momenta), prompt=prompt)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_a_last_momentum_of_zero_is_the_gradient_step():
    """With momenta (b, ..., b, 0) the last iterate of Nesterov is w_T of the textbook's loop, from any start."""
    prompt = draw(1, start=jnp.arange(1.0, D + 1.0))
    hessian, b = normal_equations(prompt)
    v = w = np.arange(1.0, D + 1.0)
    for _ in range(STEPS):
        w_next = v - 0.1 * (hessian @ v - b)
        v, w = w_next + 0.7 * (w_next - w), w_next
    path = unroll(momentum.nesterov(0.1, jnp.full(STEPS, 0.7).at[-1].set(0.0)), prompt, STEPS)
    np.testing.assert_allclose(path[-1], w, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("kind", [(), (D,), (D, D)])
def test_the_cumulative_form(kind):
    """w_{t+1} = w_0 + sum_i Gamma^t_i g_i is C[t, k] = Gamma^{t-1}_{t-k} - Gamma^t_{t-k}, for scalars, diagonals and matrices.

    So Proposition 2 of Dutta and Sra 2024 speaks of exactly the methods with such C.
    """
    rng = np.random.default_rng(7)
    gamma = 0.1 * rng.normal(size=(STEPS, STEPS, *kind))
    start = rng.normal(size=D)
    prompt = draw(8, start=jnp.asarray(start))
    hessian, b = normal_equations(prompt)
    apply = {0: lambda c, g: c * g, 1: lambda c, g: c * g, 2: lambda c, g: c @ g}[len(kind)]
    path, gradients = [start], []
    for t in range(STEPS):
        gradients.append(hessian @ path[-1] - b)
        path.append(start + sum(apply(gamma[t, i], gradients[i]) for i in range(t + 1)))
    coefficients = rng.normal(size=gamma.shape)  # whatever stands at k > t
    for t in range(STEPS):
        for k in range(t + 1):
            before = gamma[t - 1, t - k] if k > 0 else 0.0
            coefficients[t, k] = before - gamma[t, t - k]
    found = unroll(linear_first_order(jnp.asarray(coefficients)), prompt, STEPS)
    np.testing.assert_allclose(found, path, rtol=1e-12, atol=1e-12)


def test_scalars_are_diagonals_are_matrices():
    """c, c 1 and c I are one method."""
    prompt, c = draw(2), 0.1 * jax.random.normal(jax.random.key(0), (STEPS, STEPS))
    scalar = unroll(linear_first_order(c), prompt, STEPS)
    diagonal = unroll(linear_first_order(c[..., None] * jnp.ones((1, 1, D))), prompt, STEPS)
    matrix = unroll(linear_first_order(c[..., None, None] * jnp.eye(D)[None, None]), prompt, STEPS)
    np.testing.assert_allclose(diagonal, scalar, rtol=0.0, atol=1e-14)
    np.testing.assert_allclose(matrix, scalar, rtol=0.0, atol=1e-14)


@given(seed=SEEDS)
def test_the_tied_form_is_undamped_momentum(seed):
    """Gamma_j for all layers: each move is the last one, undamped, and a new term c_t g_t."""
    c, prompt = 0.3 * random_steps(seed).step_size, draw(seed)
    hessian, b = normal_equations(prompt)
    w, increment, path = np.zeros(D), np.zeros(D), [np.zeros(D)]
    for weight in np.asarray(c):
        increment = increment + weight * (hessian @ w - b)
        w = w - increment
        path.append(w)
    found = path_of(linear_first_order, tied_coefficients(c), prompt=prompt)
    np.testing.assert_allclose(found, path, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 4, 5, 3), (4, 4, 2, 2, 2)])
def test_coefficients_of_another_shape_are_refused(shape):
    """(T,), (T, S), (T, T, d, e) and five axes are no coefficients, and the sentence says so."""
    with pytest.raises((InputError, TypeError), match=r"coefficients|steps steps"):
        linear_first_order(jnp.zeros(shape))


def test_linear_first_order_is_a_learner():
    """learned(init, linear_first_order) predicts <x, w_t>, for prefixes too, and its parameters get gradients.

    Entries k > t, which nothing reads, get none.
    """
    learner = learned(lambda key, prompt: 0.1 * jax.random.normal(key, (3, 3)), linear_first_order)
    prompt = draw(4)._replace(x_query=jnp.ones((1, D)))
    params = learner.init(jax.random.key(1), prompt)

    @jax.jit
    def answered(params):
        return unroll(linear_first_order(params), prompt, 3), learner.predict(params, prompt), learner.prefixes(params, prompt)

    path, predicted, answers = answered(params)
    np.testing.assert_allclose(predicted, path @ queries(prompt).T, rtol=0.0, atol=1e-14)
    assert answers.shape == (4, N + 1)
    np.testing.assert_allclose(answers[:, -1:], path @ queries(prompt).T, rtol=0.0, atol=1e-13)
    gradient = jax.jit(jax.grad(lambda c: learner.predict(c, prompt)[-1, 0]))(params)
    np.testing.assert_array_equal(np.asarray(gradient) != 0.0, np.tri(3, dtype=bool))


# ---- polynomials and rates


@given(seed=SEEDS, start=st.booleans())
def test_residual_polynomials(seed, start):
    """w_t - w* = p_t(H) (w_0 - w*) for any coefficients; here H is diagonal, and numpy.polynomial does it."""
    rng = np.random.default_rng(seed)
    coefficients, eigenvalues, answer = 0.2 * rng.normal(size=(STEPS, STEPS)), rng.uniform(0.1, 3.0, D), rng.normal(size=D)
    x = np.diag(np.sqrt(D * eigenvalues))
    first = rng.normal(size=D) if start else np.zeros(D)
    prompt = Prompt.of(x, x @ answer, start=jnp.asarray(first))
    p = np.asarray(POLYNOMIALS(jnp.asarray(coefficients)))
    expected = answer + np.array([polynomial.polyval(eigenvalues, row) for row in p]) * (first - answer)
    found = path_of(linear_first_order, jnp.asarray(coefficients), prompt=prompt)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)
    assert np.all(p[:, 0] == 1.0)
    assert np.all(p[~np.tri(STEPS + 1, dtype=bool)] == 0.0)


def test_gradient_descent_is_a_power():
    """A constant step s is C = s on the lag 0 alone, and p_t(z) = (1 - s z)^t."""
    p = np.asarray(POLYNOMIALS(jnp.zeros((STEPS, STEPS)).at[:, 0].set(0.3)))
    for t in range(STEPS + 1):
        np.testing.assert_allclose(p[t, : t + 1], [comb(t, i) * (-0.3) ** i for i in range(t + 1)], rtol=0.0, atol=1e-14)


def chebyshev_residual(t, z, least=LEAST, largest=LARGEST):
    """T_t((M + m - 2z) / (M - m)) / T_t((M + m) / (M - m)), by NumPy."""
    top = np.eye(t + 1)[t]
    inside, outside = (largest + least - 2.0 * z) / (largest - least), (largest + least) / (largest - least)
    return chebyshev.chebval(inside, top) / chebyshev.chebval(outside, top)


def test_chebyshev_is_chebyshevs_polynomial():
    """The residual polynomial of the schedule is T_t(...) / T_t(...) at every t."""
    z = np.linspace(0.0, 5.0, 31)
    run = jax.jit(lambda least: residual_polynomials(momentum_coefficients(momentum.chebyshev_steps(least, LARGEST, 10))))
    p = np.asarray(run(LEAST))
    for t, row in enumerate(p):
        np.testing.assert_allclose(polynomial.polyval(z, row[: t + 1]), chebyshev_residual(t, z), rtol=1e-9, atol=1e-10)


def test_chebyshev_by_its_recurrence():
    """The closed form is the textbook's recurrence rho_{t+1} = 1 / (2s - rho_t), and tends to the optimal heavy ball."""
    depth, theta, delta = 60, (LARGEST + LEAST) / 2.0, (LARGEST - LEAST) / 2.0
    rho, sizes, momenta = delta / theta, [1.0 / theta], [0.0]
    for _ in range(depth - 1):
        rho_next = 1.0 / (2.0 * theta / delta - rho)
        sizes.append(2.0 * rho_next / delta)
        momenta.append(rho_next * rho * sizes[-2] / sizes[-1])
        rho = rho_next
    steps = momentum.chebyshev_steps(LEAST, LARGEST, depth)
    np.testing.assert_allclose(steps.step_size, sizes, rtol=1e-13)
    np.testing.assert_allclose(steps.momentum, momenta, rtol=1e-12, atol=1e-16)
    limit = momentum.heavy_ball_optimum(LEAST, LARGEST)
    np.testing.assert_allclose([steps.step_size[-1], steps.momentum[-1]], limit, rtol=1e-13)


def test_one_eigenvalue_needs_one_step():
    """m = M: the schedule is the one step 1 / M, and its derivative with respect to the bounds is finite."""
    steps = momentum.chebyshev_steps(2.0, 2.0, 4)
    prompt, _ = with_spectrum(np.full(D, 2.0))
    path = unroll(momentum.scheduled_momentum(steps), prompt._replace(start=jnp.ones(D)), 4)
    np.testing.assert_allclose(path[1:], 0.0, rtol=0.0, atol=1e-15)
    slope = jax.jit(jax.jacfwd(lambda least: momentum.chebyshev_steps(least, 2.0, 4)))(2.0)
    assert np.all(np.isfinite(jax.tree.leaves(slope)))


def test_chebyshevs_rate_is_sharp():
    """|w_t - w*| <= |w_0 - w*| / T_t((M + m) / (M - m)) for any spectrum in [m, M], with equality at both ends of it."""
    spectrum = np.array([LEAST, 1.0, 2.2, 3.1, LARGEST])
    prompt, basis = with_spectrum(spectrum)
    solver = momentum.scheduled_momentum(momentum.chebyshev_steps(LEAST, LARGEST, STEPS))
    bound = np.array(
        [1.0 / chebyshev.chebval((LARGEST + LEAST) / (LARGEST - LEAST), np.eye(t + 1)[t]) for t in range(STEPS + 1)]
    )
    ratios = []
    for start in basis.T:
        path = np.asarray(unroll(solver, prompt._replace(start=jnp.asarray(start)), STEPS))
        ratios.append(np.linalg.norm(path, axis=1) / bound)
    assert np.all(np.asarray(ratios) <= 1.0 + 1e-12)
    np.testing.assert_allclose([ratios[0], ratios[-1]], 1.0, rtol=1e-11)
    assert np.min(ratios) < 0.5


@pytest.mark.parametrize("eigenvalue", [LEAST, 0.9, 2.3, LARGEST])
def test_heavy_balls_rate(eigenvalue):
    """At the optimum p_t(z) = q^t (U_t(x) - q U_{t-1}(x)), so |p_t| <= q^t (t + 1 + q t) for z in [m, M], equal at z = M.

    q = (sqrt K - 1) / (sqrt K + 1), K = M / m, x = (M + m - 2z) / (M - m); so the rate per step is q, that of Chebyshev.
    """
    depth, condition = 40, LARGEST / LEAST
    q = (np.sqrt(condition) - 1.0) / (np.sqrt(condition) + 1.0)
    prompt, basis = with_spectrum(np.full(D, eigenvalue))
    solver = momentum.heavy_ball(*momentum.heavy_ball_optimum(LEAST, LARGEST))
    path = np.asarray(unroll(solver, prompt._replace(start=jnp.asarray(basis[:, 0])), depth)) @ basis[:, 0]
    t, x = np.arange(depth + 1), (LARGEST + LEAST - 2.0 * eigenvalue) / (LARGEST - LEAST)
    before = np.where(t > 0, eval_chebyu(np.maximum(t - 1, 0), x), 0.0)
    np.testing.assert_allclose(path / q**t, eval_chebyu(t, x) - q * before, rtol=1e-10, atol=1e-11)
    bound = q**t * (t + 1 + q * t)
    assert np.all(np.abs(path) <= bound * (1.0 + 1e-10))
    if eigenvalue == LARGEST:
        np.testing.assert_allclose(np.abs(path), bound, rtol=1e-10)


@given(seed=SEEDS)
def test_a_constant_schedule_is_heavy_ball(seed):
    """scheduled_momentum with constants is heavy_ball, with a preconditioner too; P = S S' is heavy ball in the inputs S'x."""
    prompt = draw(seed)
    constant = momentum.Steps(jnp.full(STEPS, 0.1), jnp.full(STEPS, 0.4))
    expected = path_of(momentum.scheduled_momentum, constant, DEFINITE, prompt=prompt)
    found = path_of(momentum.heavy_ball, jnp.asarray(0.1), jnp.asarray(0.4), DEFINITE, prompt=prompt)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    root = np.linalg.cholesky(np.asarray(DEFINITE))
    white = path_of(
        momentum.heavy_ball, jnp.asarray(0.1), jnp.asarray(0.4), prompt=prompt._replace(x=design_matrix(prompt) @ root)
    )
    np.testing.assert_allclose(white @ root.T, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: momentum.heavy_ball(-0.1, 0.5), "step_size is -0.1"),
        (lambda: momentum.heavy_ball(0.1, -0.5), "momentum is -0.5"),
        (lambda: momentum.heavy_ball_optimum(2.0, 1.0), "largest - least is -1"),
        (lambda: momentum.chebyshev_steps(0.0, 1.0, 3), "least is 0"),
        (lambda: momentum.nesterov(0.0, jnp.ones(3)), "step_size is 0"),
        (lambda: momentum.nesterov(0.1, jnp.full(3, jnp.nan)), "momenta has 3 non-finite"),
        (lambda: momentum.scheduled_momentum(momentum.Steps(jnp.ones(2), jnp.ones(3))), "momentum has shape"),
        (lambda: first_order.gd_plus_plus(jnp.ones(2), jnp.full(2, jnp.inf)), "shrinkage has 2 non-finite"),
        (lambda: conjugate_gradient(jnp.full((2, 2), jnp.nan)), "preconditioner has 4 non-finite"),
        (lambda: linear_first_order(jnp.full((2, 2), jnp.nan)), "coefficients has 4 non-finite"),
    ],
)
def test_bad_input_is_refused(make, sentence):
    """What cannot be a method is refused in one sentence when it is built."""
    with pytest.raises(InputError, match=sentence):
        make()


# ---- what momentum cannot do


def defects(coefficients):
    """C[t, k] C[t-1, 0] - C[t, 1] C[t-1, k-1] for 2 <= k <= t: zero for every momentum schedule."""
    c = np.asarray(coefficients)
    return {(t, k): c[t, k] * c[t - 1, 0] - c[t, 1] * c[t - 1, k - 1] for t in range(2, len(c)) for k in range(2, t + 1)}


@given(seed=SEEDS)
def test_the_law_of_momentum(seed):
    """Every schedule obeys the law; and coefficients that obey it, with C[t, 0] not zero, are those of a schedule."""
    coefficients = np.asarray(momentum_coefficients(random_steps(seed)))
    np.testing.assert_allclose(list(defects(coefficients).values()), 0.0, rtol=0.0, atol=1e-16)
    rng = np.random.default_rng(seed)
    free = np.diag(rng.uniform(0.5, 1.5, STEPS)) @ np.ones((STEPS, STEPS))
    free[:, 1] = rng.normal(size=STEPS)
    for t in range(STEPS):
        free[t, t + 1 :] = 0.0
        for k in range(2, t + 1):
            free[t, k] = free[t, 1] * free[t - 1, k - 1] / free[t - 1, 0]
    np.testing.assert_allclose(momentum_coefficients(as_momentum(free)), free, rtol=1e-12, atol=1e-13)


def as_momentum(coefficients):
    """The only schedule that can have these coefficients: eta_t = C[t, 0], m_t = C[t, 1] / C[t, 0]."""
    c = jnp.asarray(coefficients)
    return momentum.Steps(c[:, 0], jnp.where(jnp.arange(c.shape[0]) > 0, c[:, 1] / c[:, 0], 0.0))


@given(seed=SEEDS)
def test_nesterov_breaks_the_law_by_a_product_of_momenta(seed):
    """C[t, k] C[t-1, 0] - C[t, 1] C[t-1, k-1] = eta^2 mu_t mu_{t-1} ... mu_{t-k}, exactly.

    So Nesterov's iterates are those of a momentum schedule if and only if no three momenta in a row are other than zero: the
    polynomials p_0..p_t of a method with C[t, 0] not zero have unlike degrees, so its iterates determine its coefficients.
    """
    momenta = random_steps(seed).momentum
    for (t, k), defect in defects(nesterov_coefficients(0.2, momenta)).items():
        np.testing.assert_allclose(defect, 0.04 * np.prod(np.asarray(momenta)[t - k : t + 1]), rtol=1e-10, atol=1e-16)


def test_nesterov_with_four_steps_is_no_momentum():
    """Nesterov with constant momentum b that ends in w_T is a momentum schedule for T <= 3 and none for T >= 4.

    The defect at T = 4 is eta^2 b^3. The nearest candidate, which has the right C[t, 0] and C[t, 1], misses C[2, 2].
    """
    eta, b = 0.2, 0.7

    @jax.jit
    def compared(momenta):
        coefficients = nesterov_coefficients(eta, momenta)
        return coefficients, jnp.abs(momentum_coefficients(as_momentum(coefficients)) - coefficients)

    for depth in (3, 4, 7):
        coefficients, gap = compared(jnp.asarray([b] * (depth - 1) + [0.0]))
        if depth <= 3:
            np.testing.assert_allclose(gap, 0.0, rtol=0.0, atol=1e-15)
        else:
            np.testing.assert_allclose(defects(coefficients)[2, 2], eta**2 * b**3, rtol=1e-13)
            np.testing.assert_allclose(gap[2, 2], eta * b**3 / (1.0 + b), rtol=1e-13)
    assert defects(nesterov_coefficients(eta, jnp.full(3, b)))[2, 2] > 0.01  # v_3, unlike w_3, is out of reach already


# ---- conjugate gradients


@cache
def conjugate_run(n_steps, preconditioned):
    """prompt -> the iterates of conjugate gradients, with P = DEFINITE or without."""
    return jax.jit(lambda prompt: unroll(conjugate_gradient(DEFINITE if preconditioned else None), prompt, n_steps))


def conjugate_path(prompt, n_steps=2 * D, preconditioned=False):
    """The iterates of conjugate gradients."""
    return np.asarray(conjugate_run(n_steps, preconditioned)(prompt))


@pytest.mark.parametrize("preconditioned", [False, True])
@given(seed=SEEDS)
def test_conjugate_gradients_are_scipys(preconditioned, seed):
    """The iterates of scipy.sparse.linalg.cg, step by step; d steps give the least-squares solution, and no more change it."""
    prompt = draw(seed)
    hessian, b = normal_equations(prompt)
    path, theirs = conjugate_path(prompt, preconditioned=preconditioned), [np.zeros(D)]
    operator = np.asarray(DEFINITE) if preconditioned else None
    cg(hessian, b, rtol=0.0, atol=0.0, maxiter=D - 1, M=operator, callback=lambda w: theirs.append(w.copy()))
    size = np.max(np.abs(path))
    np.testing.assert_allclose(path[:D], theirs, rtol=0.0, atol=1e-9 * size)
    best = np.linalg.lstsq(np.asarray(prompt.x), np.asarray(prompt.y), rcond=None)[0]
    np.testing.assert_allclose(path[D:], np.broadcast_to(best, (D + 1, D)), rtol=0.0, atol=1e-9 * size)


@given(seed=SEEDS)
def test_a_preconditioner_whitens(seed):
    """P = S S': conjugate gradients with P are those without on the inputs S'x, mapped back by S."""
    prompt, root = draw(seed), np.linalg.cholesky(np.asarray(DEFINITE))
    white = conjugate_path(prompt._replace(x=design_matrix(prompt) @ root), D)
    path = conjugate_path(prompt, D, preconditioned=True)
    np.testing.assert_allclose(white @ root.T, path, rtol=0.0, atol=1e-9 * np.max(np.abs(path)))


def krylov_basis(hessian, b, depth, preconditioner):
    """Orthonormal columns that span K_depth(PH, Pb): NumPy's QR of the basis and PH times its last column."""
    basis = np.linalg.qr((preconditioner @ b)[:, None])[0]
    for _ in range(depth - 1):
        basis = np.linalg.qr(np.column_stack([basis, preconditioner @ hessian @ basis[:, -1]]))[0]
    return basis


def brute_force(prompt, start, solution, norm, depth, preconditioner):
    """The point of w_0 + K_depth nearest to the solution in w'Cw: a least squares with a root of C."""
    hessian, b = normal_equations(prompt)
    basis, root = krylov_basis(hessian, b - hessian @ start, depth, preconditioner), np.linalg.cholesky(norm).T
    return start + basis @ np.linalg.lstsq(root @ basis, root @ (solution - start), rcond=None)[0]


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_conjugate_gradients_are_best_in_their_norm(preconditioned, seed):
    """w_k has the least (w - w*)'H(w - w*) in w_0 + K_k(PH, P g_0), from any start; so it is the oracle for C = H."""
    start = np.random.default_rng(seed).normal(size=D)
    prompt = draw(seed, start=jnp.asarray(start))
    hessian, _ = normal_equations(prompt)
    best = np.linalg.lstsq(np.asarray(prompt.x), np.asarray(prompt.y), rcond=None)[0]
    matrix = np.asarray(DEFINITE) if preconditioned else np.eye(D)
    path = conjugate_path(prompt, D, preconditioned)
    for k in range(1, D + 1):
        np.testing.assert_allclose(path[k], brute_force(prompt, start, best, hessian, k, matrix), rtol=0.0, atol=1e-9)
    oracle = krylov_oracle(prompt, jnp.asarray(best), jnp.asarray(hessian), D, DEFINITE if preconditioned else None)
    np.testing.assert_allclose(oracle, path, rtol=0.0, atol=1e-9)


def chebyshev_of(least, largest):
    """The Chebyshev semi-iteration of these bounds; its first steps do not depend on how many there are."""
    return momentum.scheduled_momentum(momentum.chebyshev_steps(least, largest, STEPS))


def test_conjugate_gradients_are_faster_than_chebyshev():
    """In the norm of H no fixed method with the same number of gradients is better, Chebyshev with the true bounds included."""
    for seed in range(20):
        prompt = draw(seed)
        hessian, b = normal_equations(prompt)
        eigenvalues, best = np.linalg.eigvalsh(hessian), np.linalg.solve(hessian, b)
        bounds = jnp.asarray(eigenvalues[0]), jnp.asarray(eigenvalues[-1])
        fixed = path_of(chebyshev_of, *bounds, prompt=prompt)[: D + 1] - best
        adaptive = conjugate_path(prompt, D) - best
        ours, theirs = [np.einsum("td,de,te->t", error, hessian, error) for error in (adaptive, fixed)]
        assert np.all(ours <= theirs + 1e-15)
        assert ours[2] < theirs[2]


def test_wide_prompts_give_the_minimum_norm():
    """n < d: n steps give X^+ y, and further steps change nothing."""
    prompt = draw(3, n=3)
    path = conjugate_path(prompt)
    expected = np.linalg.pinv(np.asarray(prompt.x)) @ np.asarray(prompt.y)
    np.testing.assert_allclose(path[3:], np.broadcast_to(expected, path[3:].shape), rtol=0.0, atol=1e-12)


def test_at_the_answer_nothing_changes():
    """Where the gradient is exactly zero, or zero up to rounding after a large one, the state stays bit for bit."""
    prompt, _ = with_spectrum(np.arange(1.0, D + 1.0))
    assert np.all(conjugate_path(prompt) == 0.0)
    line = Prompt.of(np.sqrt(D) * np.eye(D), np.sqrt(D) * np.arange(1.0, D + 1.0))  # H = I: one step
    path = conjugate_path(line)
    np.testing.assert_allclose(path[1], np.arange(1.0, D + 1.0), rtol=1e-15)
    assert np.all(path[1:] == path[1])


@pytest.mark.parametrize("n", [0, 3, N])
def test_gradients_through_conjugate_gradients_are_finite(n):
    """2d steps, of which d or more are beyond the answer, have finite derivatives with respect to X, y and P."""
    prompt = draw(5, n=n)

    def loss(x, y, preconditioner):
        return jnp.sum(unroll(conjugate_gradient(preconditioner), prompt._replace(x=x, y=y), 2 * D) ** 2)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(prompt.x, prompt.y, DEFINITE)
    assert all(np.all(np.isfinite(leaf)) for leaf in gradient)
    assert n == 0 or np.linalg.norm(gradient[0]) > 1e-3


def test_the_derivative_of_the_answer():
    """After d steps dw/dy is X^+: conjugate gradients differentiate through to the derivative of least squares."""
    prompt = draw(6)
    slope = jax.jacfwd(lambda y: unroll(conjugate_gradient(), prompt._replace(y=y), D, keep="last"))(prompt.y)
    np.testing.assert_allclose(slope, np.linalg.pinv(np.asarray(prompt.x)), rtol=0.0, atol=1e-10)


def additivity_defect(run, seed):
    """max |w_k(y) + w_k(y') - w_k(y + y')| for two labellings of one X, for every k."""
    one, two = draw(seed), draw(seed + 1)
    first, second, both = [np.asarray(run(one._replace(y=y))) for y in (one.y, two.y, one.y + two.y)]
    return np.max(np.abs(first + second - both), axis=1)


@pytest.mark.parametrize("kind", [(), (D,), (D, D)])
def test_fixed_methods_are_linear_in_the_labels(kind):
    """From zero the iterates of every linear first-order method add up in y."""
    coefficients = 0.05 * jax.random.normal(jax.random.key(2), (STEPS, STEPS, *kind))
    run = jax.jit(lambda prompt: unroll(linear_first_order(coefficients), prompt, STEPS))
    for seed in range(0, 20, 2):
        assert max(additivity_defect(run, seed)) < 1e-12


def test_conjugate_gradients_are_not_linear_in_the_labels():
    """The first d - 1 steps do not add up in y, so no fixed coefficients give them; after d steps the answer does again."""
    for seed in range(0, 20, 2):
        defect = additivity_defect(conjugate_run(D, preconditioned=False), seed)
        assert min(defect[1:3]) > 1e-3
        assert defect[D] < 1e-9


# ---- the limit


@cache
def oracle_run(preconditioned):
    """(prompt, solution) -> krylov_oracle with C = DEFINITE."""
    preconditioner = jnp.asarray(np.diag(np.arange(1.0, D + 1.0))) if preconditioned else None
    return jax.jit(lambda prompt, solution: krylov_oracle(prompt, solution, DEFINITE, D + 2, preconditioner))


@pytest.mark.parametrize("preconditioned", [False, True])
@given(seed=SEEDS)
def test_the_oracle_is_brute_force(preconditioned, seed):
    """It is the least squares over a QR basis of the Krylov space, and reaches the solution when the space is full."""
    rng = np.random.default_rng(seed)
    solution, start = rng.normal(size=D), rng.normal(size=D)
    prompt = draw(seed, start=jnp.asarray(start))
    matrix = np.diag(np.arange(1.0, D + 1.0)) if preconditioned else np.eye(D)
    found = np.asarray(oracle_run(preconditioned)(prompt, jnp.asarray(solution)))
    np.testing.assert_array_equal(found[0], start)
    for k in range(1, D):
        expected = brute_force(prompt, start, solution, np.asarray(DEFINITE), k, matrix)
        np.testing.assert_allclose(found[k], expected, rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(found[D:], np.broadcast_to(solution, (3, D)), rtol=0.0, atol=1e-11)


@given(seed=SEEDS)
def test_no_first_order_method_beats_the_oracle(seed):
    """Its error in the norm of C is at most that of conjugate gradients and of any linear first-order method, and falls."""
    rng = np.random.default_rng(seed)
    solution = rng.normal(size=D)
    x = rng.normal(size=(N, D))
    prompt = Prompt.of(x, x @ solution + 0.5 * rng.normal(size=N))
    c = jnp.asarray(0.2 * rng.normal(size=(STEPS, STEPS)))

    def error(path):
        return np.einsum("td,de,te->t", path - solution, np.asarray(DEFINITE), path - solution)

    limit = error(np.asarray(oracle_run(preconditioned=False)(prompt, jnp.asarray(solution))))
    assert np.all(np.diff(limit) <= 1e-14)
    for path in (conjugate_path(prompt, D + 2), path_of(linear_first_order, c, prompt=prompt)):
        errors = error(path)
        assert np.all(limit[: len(errors)] <= errors[: len(limit)] * (1.0 + 1e-10) + 1e-14)


def test_the_oracle_of_a_space_that_is_full():
    """n < d: after n steps the space is the row space of X, and the point its projection of the solution; no NaN beyond.

    The gradient is finite there too, and no examples leave the start.
    """
    prompt, solution = draw(11, n=3), jnp.arange(1.0, D + 1.0)
    x = np.asarray(prompt.x)
    run = jax.jit(lambda y: krylov_oracle(prompt._replace(y=y), solution, jnp.eye(D), D + 2))
    found = run(prompt.y)
    expected = np.linalg.pinv(x) @ x @ np.asarray(solution)
    np.testing.assert_allclose(found[3:], np.broadcast_to(expected, (D, D)), rtol=0.0, atol=1e-11)
    slope = jax.jit(jax.grad(lambda y: jnp.sum(run(y))))(prompt.y)
    assert np.all(np.isfinite(slope))
    nothing = Prompt.of(x, np.zeros(3), used=np.zeros(3, dtype=bool))
    assert np.all(np.asarray(krylov_oracle(nothing, solution, jnp.eye(D), 3)) == 0.0)


def test_unused_rows_do_not_change_the_oracle():
    """Rows of zeros before and after the examples leave it as it is."""
    short, solution = draw(12, n=7), jnp.ones(D)
    x, y = np.full((10, D), 9.0), np.full(10, 9.0)
    x[2:9], y[2:9] = short.x, short.y
    long = Prompt.of(x, y, used=(np.arange(10) >= 2) & (np.arange(10) < 9))
    run = jax.jit(lambda prompt: krylov_oracle(prompt, solution, DEFINITE, 4))
    np.testing.assert_allclose(run(long), run(short), rtol=0.0, atol=1e-12)


# ---- inputs that move


@given(seed=SEEDS)
def test_gd_plus_plus_moves_the_tokens(seed):
    """A loop over tokens (x_i, r_i): r_i -= a x_i' sum_j x_j r_j / n, x_i -= b sum_j x_j (x_j'x_i) / n; queries move too.

    The sums are over the examples. r starts as the label, and as 0 for a query, where it is minus the prediction.
    """
    rng = np.random.default_rng(seed)
    prompt, query = draw(seed), rng.normal(size=(3, D))
    sizes, shrinkage = rng.uniform(0.0, 0.3, STEPS), rng.uniform(-0.05, 0.05, STEPS)
    x, r, answers = np.concatenate([design_matrix(prompt), query]), np.concatenate([prompt.y, np.zeros(3)]), [np.zeros(3)]
    for a, b in zip(sizes, shrinkage, strict=True):
        r_next, x_next = r.copy(), x.copy()
        for i in range(N + 3):
            r_next[i] -= a * x[i] @ sum(x[j] * r[j] for j in range(N)) / N
            x_next[i] -= b * sum(x[j] * (x[j] @ x[i]) for j in range(N)) / N
        x, r = x_next, r_next
        answers.append(-r[N:])
    path = path_of(first_order.gd_plus_plus, jnp.asarray(sizes), jnp.asarray(shrinkage), prompt=prompt)
    np.testing.assert_allclose(path @ query.T, answers, rtol=1e-9, atol=1e-11)


def test_gd_plus_plus_without_shrinkage_is_gradient_descent():
    """b = 0: inputs stay, and the step is that of gradient descent."""
    prompt = draw(1)
    found = path_of(first_order.gd_plus_plus, jnp.full(STEPS, 0.2), jnp.zeros(STEPS), prompt=prompt)
    np.testing.assert_allclose(found, unroll(first_order.gradient_descent(0.2), prompt, STEPS), rtol=0.0, atol=1e-14)


def test_the_degree_of_gd_plus_plus():
    """After L steps the error in an eigendirection is a polynomial of degree (3^L - 1) / 2 in the eigenvalue, and of no less.

    Its values at one point more than the degree determine it. For L = 2: p(z) = (1 - a_0 z) (1 - a_1 z (1 - b_0 z)^2).
    """
    depth, degree = 2, (3**2 - 1) // 2
    sizes, shrinkage = jnp.array([0.5, 0.4]), jnp.array([0.3, 0.2])
    z = np.linspace(0.2, 2.0, degree + 1)
    prompt = Prompt.of(np.diag(np.sqrt(len(z) * z)), np.zeros(len(z)), start=jnp.ones(len(z)))
    error = np.asarray(unroll(first_order.gd_plus_plus(sizes, shrinkage), prompt, depth))[-1]
    p = np.polyfit(z, error, degree)[::-1]
    expected = polynomial.polymul([1.0, -0.5], polynomial.polysub([1.0], 0.4 * np.r_[0.0, polynomial.polypow([1.0, -0.3], 2)]))
    np.testing.assert_allclose(p, expected, rtol=0.0, atol=1e-11)
    assert abs(p[degree]) > 1e-2


# ---- optimisers of Optax


@given(seed=SEEDS)
def test_optax_is_a_solver(seed):
    """optax.sgd(a) is gradient descent, and optax.sgd(a, momentum=b), whose trace is g + b trace, is heavy ball."""
    prompt = draw(seed)
    descent = path_of(plain_sgd, jnp.asarray(0.1), prompt=prompt)
    np.testing.assert_allclose(descent, path_of(constant_descent, jnp.asarray(0.1), prompt=prompt), rtol=1e-13, atol=1e-13)
    ball = path_of(momentum_sgd, jnp.asarray(0.1), jnp.asarray(0.6), prompt=prompt)
    expected = path_of(momentum.heavy_ball, jnp.asarray(0.1), jnp.asarray(0.6), prompt=prompt)
    np.testing.assert_allclose(ball, expected, rtol=1e-13, atol=1e-13)


def plain_sgd(size):
    """Gradient descent, by Optax."""
    return from_optax(optax.sgd(size), least_squares)


def momentum_sgd(size, mass):
    """Heavy ball, by Optax."""
    return from_optax(optax.sgd(size, momentum=mass), least_squares)


def constant_descent(size):
    """Gradient descent, by this library."""
    return first_order.gradient_descent(size)


def test_optax_gets_the_value_if_it_asks():
    """optax.polyak_sgd steps by (R(w) - R*) / |grad R|^2, which needs the value; on any iterate, here a dictionary."""
    x = np.random.default_rng(4).normal(size=(N, D))
    prompt = Prompt.of(x, x @ np.ones(D))
    hessian, b = normal_equations(prompt)
    solver = from_optax(
        optax.polyak_sgd(max_learning_rate=1e6),
        lambda iterate, prompt: least_squares(iterate["w"], prompt),
        lambda prompt: {"w": first_order.start_at_zero(prompt)},
    )
    w, path = np.zeros(D), [np.zeros(D)]
    for _ in range(STEPS):
        gradient = hessian @ w - b
        w = w - 0.5 * np.mean((x @ w - x @ np.ones(D)) ** 2) / (gradient @ gradient) * gradient
        path.append(w)
    np.testing.assert_allclose(unroll(solver, prompt, STEPS)["w"], path, rtol=1e-11)
    assert solver.residual is not None
    np.testing.assert_allclose(solver.residual({"w": jnp.ones(D)}, prompt)["w"], 0.0, rtol=0.0, atol=1e-14)


def test_frozen_coefficients_are_conjugate_gradients_on_their_own_prompt_alone():
    """There momentum with them has the iterates of conjugate gradients, also beyond the answer; elsewhere it has not."""
    own, other = draw(0), draw(1)
    steps = frozen_steps(own, D + 2)
    exact, again = (
        np.asarray(unroll(solver, own, D + 2)) for solver in (conjugate_gradient(), momentum.scheduled_momentum(steps))
    )
    np.testing.assert_allclose(again, exact, rtol=0.0, atol=1e-9 * np.abs(exact).max())
    elsewhere = [np.asarray(unroll(solver, other, D)) for solver in (conjugate_gradient(), momentum.scheduled_momentum(steps))]
    assert np.abs(elsewhere[0] - elsewhere[1])[-1].max() > 1e-3
