"""Gradient flow: its order, what it conserves, and that it takes one layer of linear self-attention to the best matrix."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from jaxl2o.limits.attention_flow import Factors, balanced_factors, conserved, matrix_of, small_factors
from jaxl2o.limits.linear_attention import attention_excess, attention_risk, best_matrix
from jaxl2o.limits.mixture import Moments, independent_moments, symmetric_moments
from jaxl2o.objectives import least_squares, least_squares_gradient
from jaxl2o.solvers.flow import gradient_flow
from jaxl2o.solvers.from_optax import from_optax
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt

D, N, NOISE = 3, 12, 0.4
SEEDS = st.integers(0, 2**31 - 1)
RNG = np.random.default_rng(5)
ROTATION = np.linalg.qr(RNG.normal(size=(D, D)))[0]
COVARIANCES = {
    "isotropic": jnp.eye(D),
    "diagonal": jnp.diag(jnp.array([2.0, 1.0, 0.5])),
    "rotated": jnp.asarray(ROTATION * np.array([3.0, 1.0, 0.5]) @ ROTATION.T),
}
OF_SOLUTIONS = jnp.asarray(np.diag([0.5, 0.3, 0.2]) + 0.1)  # it commutes with no covariance but the identity
PRIORS = {
    "independent": independent_moments(jnp.array([0.5, 0.3, 0.2]), jnp.eye(D) / D),
    "symmetric": symmetric_moments(0.8, OF_SOLUTIONS),
}
NOTHING = Prompt(None, jnp.zeros(0), None, jnp.zeros(0, dtype=bool))
ROOT = jnp.asarray(RNG.normal(size=(D, D)))


def risk(factors, moments, covariance, n=N):
    """Of the layer with these factors."""
    return attention_risk(matrix_of(factors), moments, NOISE, n, covariance)


def starting(init):
    """A prompt that brings a start and nothing else."""
    return NOTHING._replace(start=init)


@cache
def flowing(time_step: float, n_steps: int):
    """Compiled: (start, moments, covariance) -> the factors at all times."""

    def run(init, moments, covariance):
        solver = gradient_flow(lambda own, _: risk(own, moments, covariance), time_step, lambda prompt: prompt.start)
        return unroll(solver, starting(init), n_steps)

    return jax.jit(run)


# --- the solver -------------------------------------------------------------------------------------------------------------


def of_least_squares(time_step, n_steps):
    """The last iterate on least squares from zero, X'X / n, the answer, and the prompt."""
    rng = np.random.default_rng(1)
    prompt = Prompt.of(rng.normal(size=(8, D)), rng.normal(size=8))
    found = unroll(gradient_flow(least_squares, time_step), prompt, n_steps, keep="last")
    x = np.asarray(prompt.x)
    return found, x.T @ x / 8, np.linalg.lstsq(x, np.asarray(prompt.y), rcond=None)[0], prompt


def test_flow_of_least_squares_is_an_exponential():
    """w(t) = w* - exp(-H t) w*, for H = X'X / n."""
    found, hessian, answer, _ = of_least_squares(0.01, 200)
    np.testing.assert_allclose(found, answer - expm(-2.0 * hessian) @ answer, rtol=0.0, atol=1e-9)


def test_the_method_is_of_fourth_order():
    """Half the step, a sixteenth of the error."""
    errors = []
    for time_step, n_steps in ((0.2, 5), (0.1, 10), (0.05, 20)):
        found, hessian, answer, _ = of_least_squares(time_step, n_steps)
        errors.append(np.linalg.norm(found - (answer - expm(-hessian) @ answer)))
    ratios = np.array(errors[:-1]) / errors[1:]
    assert ((ratios > 14.0) & (ratios < 20.0)).all()


def test_small_steps_of_descent_follow_the_flow():
    """Gradient descent of step h is off by order h: a tenth of the step, a tenth of the distance."""
    found, _, _, prompt = of_least_squares(0.05, 20)
    gaps = []
    for count in (100, 1000):
        path = unroll(from_optax(optax.sgd(1.0 / count), least_squares), prompt, count, keep="last")
        gaps.append(np.linalg.norm(path - found))
    assert 9.0 < gaps[0] / gaps[1] < 11.0


def test_the_residual_is_the_gradient():
    """Zero at the answer of least squares."""
    _, _, answer, prompt = of_least_squares(0.1, 1)
    residual = gradient_flow(least_squares, 0.1).residual
    assert residual is not None
    np.testing.assert_allclose(residual(jnp.asarray(answer), prompt), 0.0, atol=1e-14)
    w = jnp.asarray(RNG.normal(size=D))
    np.testing.assert_allclose(residual(w, prompt), least_squares_gradient(w, prompt), rtol=1e-12)


# --- one layer of attention -------------------------------------------------------------------------------------------------


@given(seed=SEEDS)
def test_the_velocity_is_minus_the_gradient_of_the_risk(seed):
    """u' = -<G, U>, U' = -u G with G = 2 (H A - Lam Sbar) Lam, by NumPy, from anywhere; so u^2 - |U|_F^2 does not change."""
    rng = np.random.default_rng(seed)
    init = Factors(jnp.asarray(rng.normal()), jnp.asarray(rng.normal(size=(D, D))))
    moments, covariance = PRIORS["symmetric"], COVARIANCES["rotated"]
    each, mean, lam = (np.asarray(value) for value in (*moments, covariance))
    outer = ((np.trace(each @ lam) + NOISE**2) * lam + 2.0 * lam @ each @ lam) / N + (1.0 - 1.0 / N) * lam @ mean @ lam
    u, score = float(init.value), np.asarray(init.score)
    slope = 2.0 * (outer @ (u * score) - lam @ mean) @ lam
    found = jax.jit(jax.grad(risk))(init, moments, covariance)
    scale = 1.0 + np.abs(slope).max()
    np.testing.assert_allclose(found.value, np.sum(slope * score), rtol=1e-10, atol=1e-12 * scale)
    np.testing.assert_allclose(found.score, u * slope, rtol=1e-10, atol=1e-12 * scale)
    drift = u * float(found.value) - np.sum(score * np.asarray(found.score))
    np.testing.assert_allclose(drift, 0.0, atol=1e-11 * scale * (1.0 + u**2))


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("prior", PRIORS)
def test_flow_ends_at_the_best_matrix(covariance, prior):
    """Within 1e-8 of A*, and in its balanced factors up to a drift of 1e-5; the risk never rises on the way."""
    moments, lam = PRIORS[prior], COVARIANCES[covariance]
    init = small_factors(ROOT, 0.1)
    assert risk(init, moments, lam) < risk(Factors(jnp.zeros(()), jnp.zeros((D, D))), moments, lam)
    path = flowing(0.1, 4000)(init, moments, lam)
    best = best_matrix(moments, NOISE, N, lam)
    end, last = balanced_factors(best), jax.tree.map(lambda leaf: leaf[-1], path)
    assert np.linalg.norm(matrix_of(last) - best) <= 1e-8 * np.linalg.norm(best)
    np.testing.assert_allclose(conserved(last), 0.0, atol=1e-5)
    np.testing.assert_allclose(last.value, end.value, rtol=1e-5)
    risks = jax.vmap(risk, in_axes=(0, None, None))(path, moments, lam)
    assert np.diff(risks).max() <= 1e-14


def test_what_is_conserved_drifts_at_the_order_of_the_method():
    """Half the step, at most a sixteenth of the drift of u^2 - |U|_F^2, from starts that balance and that do not."""
    moments, lam = PRIORS["symmetric"], COVARIANCES["rotated"]
    for init in (small_factors(ROOT, 0.1), Factors(jnp.asarray(0.7), 0.2 * ROOT)):
        drifts = []
        for time_step, n_steps in ((0.1, 80), (0.05, 160), (0.025, 320)):
            path = flowing(time_step, n_steps)(init, moments, lam)
            drifts.append(np.abs(jax.vmap(conserved)(path) - conserved(init)).max())
        assert (np.array(drifts[:-1]) / drifts[1:] > 14.0).all()
        assert drifts[-1] < 1e-5


@pytest.mark.parametrize("n", [5, 12, 40])
def test_the_end_at_another_length_has_the_risk_of_its_matrix(n):
    """Trained on 12 examples, asked with n: the excess is that of A*, by NumPy, and no less than that of the best for n."""
    moments, lam = PRIORS["independent"], COVARIANCES["diagonal"]
    end = jax.tree.map(lambda leaf: leaf[-1], flowing(0.1, 4000)(small_factors(ROOT, 0.1), moments, lam))
    excess = float(attention_excess(matrix_of(end), moments, NOISE, n, lam))
    best = np.asarray(best_matrix(moments, NOISE, N, lam))
    each, mean, cov = (np.asarray(value) for value in (*moments, lam))
    outer = ((np.trace(each @ cov) + NOISE**2) * cov + 2.0 * cov @ each @ cov) / n + (1.0 - 1.0 / n) * cov @ mean @ cov
    expected = np.trace(mean @ cov) - 2.0 * np.trace(best.T @ cov @ mean @ cov) + np.trace(best.T @ outer @ best @ cov)
    np.testing.assert_allclose(excess, expected, rtol=1e-10)
    least = float(attention_excess(best_matrix(moments, NOISE, n, lam), moments, NOISE, n, lam))
    assert excess >= least - 1e-15
    assert (excess > 1.001 * least) == (n != N)


def test_one_component_without_noise_ends_where_zhang_frei_and_bartlett_say():
    """u = tr(Gamma^-2)^(1/4) and U = Gamma^-1 / u, Gamma = (1 + 1/n) Lam + tr(Lam) / n I."""
    lam = COVARIANCES["rotated"]
    gamma = (1.0 + 1.0 / N) * np.asarray(lam) + np.trace(lam) / N * np.eye(D)
    end = balanced_factors(best_matrix(Moments(jnp.eye(D), jnp.eye(D)), 0.0, N, lam))
    value = np.trace(np.linalg.inv(gamma) @ np.linalg.inv(gamma)) ** 0.25
    np.testing.assert_allclose(end.value, value, rtol=1e-12)
    np.testing.assert_allclose(end.score, np.linalg.inv(gamma) / value, rtol=1e-12, atol=1e-13)


@given(seed=SEEDS)
def test_balanced_factors_and_starts(seed):
    """u U is the matrix, u > 0, and u = |U|_F, which for the start is the size."""
    matrix = jnp.asarray(np.random.default_rng(seed).normal(size=(D, D)))
    end, init = balanced_factors(matrix), small_factors(matrix, 0.3)
    np.testing.assert_allclose(matrix_of(end), matrix, rtol=1e-13)
    for factors in (end, init):
        np.testing.assert_allclose(conserved(factors), 0.0, atol=1e-13)
        assert factors.value > 0.0
    np.testing.assert_allclose(init.value, 0.3, rtol=1e-15)
    np.testing.assert_allclose(init.score, 0.3 * matrix @ matrix.T / np.linalg.norm(matrix @ matrix.T), rtol=1e-12, atol=1e-14)


REFUSED = {
    "time step": (lambda: gradient_flow(least_squares, 0.0), ("time_step is 0", "greater than zero")),
    "size": (lambda: small_factors(ROOT, -1.0), ("size is -1", "greater than zero")),
    "root": (lambda: small_factors(jnp.zeros((2, 2)), 1.0), ("the norm of root root' is 0", "greater than zero")),
    "matrix": (lambda: balanced_factors(jnp.zeros((2, 2))), ("the norm of the matrix is 0", "greater than zero")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_in_one_sentence(name, refused):
    """What was given, and what is needed."""
    refused(*REFUSED[name])


@given(seed=SEEDS)
def test_the_other_blocks_stay_at_zero(seed):
    """A whole layer, f = v' (1/n sum_i z_i z_i') W (x, 0), z_i = (x_i, y_i), at v = (0, u) and W = [U 0; 0 0]: over a prompt
    and the one with all labels negated, which is as likely, the squared error has no gradient in the blocks that are zero.
    """
    rng = np.random.default_rng(seed)
    x, y, query, label = rng.normal(size=(N, D)), rng.normal(size=N), rng.normal(size=D), rng.normal()
    v, w = np.zeros(D + 1), np.zeros((D + 1, D + 1))
    v[D], w[:D, :D] = rng.normal(), rng.normal(size=(D, D))

    def loss(v, w, sign):
        tokens = jnp.concatenate([x, sign * y[:, None]], axis=1)
        return (v @ tokens.T @ tokens @ w @ jnp.append(query, 0.0) / N - sign * label) ** 2

    of_v, of_w = jax.grad(lambda v, w: loss(v, w, 1.0) + loss(v, w, -1.0), argnums=(0, 1))(jnp.asarray(v), jnp.asarray(w))
    size = np.abs(of_w).max()
    assert size > 0.0
    np.testing.assert_allclose(of_v[:D], 0.0, atol=1e-12 * size)
    np.testing.assert_allclose(of_w[D], 0.0, atol=1e-12 * size)
    np.testing.assert_allclose(of_w[:, D], 0.0, atol=1e-12 * size)
