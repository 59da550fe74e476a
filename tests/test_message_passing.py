"""AMP, LAMP, TISTA, OAMP, OMP and block ISTA: what each is in plain NumPy, and what theory says of it."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.linear_model import orthogonal_mp

from jaxl2o import checks
from jaxl2o.objectives import least_squares
from jaxl2o.solvers import wrappers
from jaxl2o.solvers.denoisers import bernoulli_gaussian, divergence_free, posterior_mean, soft, with_slope
from jaxl2o.solvers.greedy import omp
from jaxl2o.solvers.message_passing import LampLayers, amp, amp_as_lamp, lamp, state_evolution
from jaxl2o.solvers.orthogonal import OampState, TistaLayers, TistaState, oamp, tista
from jaxl2o.solvers.proximal import block_ista, block_soft_threshold, ista, smoothness
from jaxl2o.solvers.pseudo_inverse import pseudo_inverse
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt

N, D, STEPS = 8, 12, 6
KEY_WEIGHT, KEY_THRESHOLD, KEY_SIZE = jax.random.split(jax.random.key(0), 3)
LAMP = LampLayers(jax.random.normal(KEY_WEIGHT, (STEPS, D, N)) / N, jax.random.uniform(KEY_THRESHOLD, (STEPS,)))
TISTA = TistaLayers(jax.random.uniform(KEY_SIZE, (STEPS,), minval=0.5, maxval=1.5))
PARTITION = jnp.array([3, 0, 0, 1, 1, 1, 0, 2, 3, 3, 3, 7])

PRIOR = bernoulli_gaussian(0.3)
SOLVERS = {
    "lamp": lamp(LAMP),
    "tista": tista(TISTA, PRIOR, 0.01),
    "oamp": oamp(PRIOR, 0.01),
    "block-ista": block_ista(0.1, PARTITION),
}


def draw(seed, n=N, d=D):
    """A prompt with entries N(0, 1/n), and labels of a Bernoulli(0.3)-Gaussian signal in noise of deviation 0.1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) / np.sqrt(n)
    return Prompt.of(x, x @ (rng.normal(size=d) * (rng.random(d) < 0.3)) + 0.1 * rng.normal(size=n))


PROMPT = draw(1)


@cache
def compiled(name):
    """prompt -> the iterates after 0..T steps."""
    return jax.jit(lambda prompt: unroll(SOLVERS[name], prompt, STEPS))


def iterates(name, prompt):
    """The iterates of a solver of the table after 0..T steps."""
    return np.asarray(compiled(name)(prompt))


def test_what_a_shared_matrix_gives_is_not_copied():
    """Under vmap the weights and decompositions of a closed-over matrix stay one; X^+ reads `used`, and does not."""
    prompts = Prompt(None, jnp.zeros((3, N)), None, jnp.ones((3, N), dtype=bool))
    inverse = pseudo_inverse(PROMPT)
    for solver, one in (
        (oamp(PRIOR, 0.01), OampState(0, 0, None, None, None)),
        (tista(TISTA, PRIOR, 0.01, lambda prompt: inverse), TistaState(0, None, None, None, None)),
    ):
        shared = wrappers.with_matrix(solver, PROMPT.x)
        jax.vmap(shared.init, out_axes=one)(prompts)
        run = str(jax.make_jaxpr(jax.vmap(lambda prompt, run=shared: unroll(run, prompt, STEPS)))(prompts))
        assert f"[3,{N}]" in run
        assert not any(f"[3,{shape}]" in run for shape in (f"{D},{N}", f"{N},{D}", f"{N},{N}"))
    with pytest.raises(ValueError, match="out_axes"):
        jax.vmap(wrappers.with_matrix(tista(TISTA, PRIOR, 0.01), PROMPT.x).init, out_axes=one)(prompts)


@pytest.mark.parametrize("name", ["lamp", "tista"])
def test_gradients_are_finite(name):
    """The gradient in the layers and labels is finite, and not zero, on a prompt; finite on a prompt without examples."""

    def loss(layers, y, used):
        prompt = Prompt(jnp.where(used[:, None], PROMPT.x, 0.0), jnp.where(used, y, 0.0), None, used)
        solver = lamp(layers) if name == "lamp" else tista(layers, PRIOR, 0.01)
        return jnp.sum(unroll(solver, prompt, STEPS) ** 2)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    for used in (np.ones(N, dtype=bool), np.zeros(N, dtype=bool)):
        leaves = jax.tree.leaves(gradient(LAMP if name == "lamp" else TISTA, PROMPT.y, used))
        assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
        assert all(np.any(np.asarray(leaf) != 0.0) == np.any(used) for leaf in leaves)


# denoisers


@cache
def posterior():
    """(u, v, p, s^2) -> E[b | u] and its slope in u."""
    return jax.jit(lambda u, v, p, s2: with_slope(bernoulli_gaussian(p, s2), u, v))


@given(u=st.floats(-6, 6), exponent=st.floats(-4, 2), p=st.floats(0.001, 0.999), deviation=st.floats(0.2, 5))
def test_posterior_mean_by_integration(u, exponent, p, deviation):
    """E[b | u] by Bayes' rule and a sum over b; its slope is the posterior variance over v (Tweedie).

    The sum is the trapezoid rule on 12 deviations either side of the peak, which for Gaussian integrands is exact.
    """
    v = 10.0**exponent
    spread = deviation * np.sqrt(v / (deviation**2 + v))
    b = u * deviation**2 / (deviation**2 + v) + spread * np.linspace(-12.0, 12.0, 241)
    largest = stats.norm.logpdf(u, scale=np.sqrt(deviation**2 + v))
    joint = (
        p * 0.1 * spread * np.exp(stats.norm.logpdf(b, scale=deviation) + stats.norm.logpdf(u - b, scale=np.sqrt(v)) - largest)
    )
    total = joint.sum() + (1.0 - p) * np.exp(stats.norm.logpdf(u, scale=np.sqrt(v)) - largest)
    mean = joint @ b / total
    variance = (joint @ (b - mean) ** 2 + (total - joint.sum()) * mean**2) / total
    got, slope = posterior()(jnp.asarray(u), v, p, deviation**2)
    np.testing.assert_allclose(got, mean, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(slope, variance / v, rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_posterior_mean_at_the_extremes(dtype):
    """Values and gradients in all arguments are finite for v from 0 to the largest number; E[b | u] = u at v = 0."""
    largest = float(jnp.finfo(dtype).max)
    grid = np.meshgrid(
        np.array([0.0, 1e-20, -1e-3, 1.0, -30.0, 1e6], dtype),
        np.array([0.0, 1e-38, 1e-20, 1e-12, 1e-6, 1.0, 1e12, 1e30, largest], dtype),
        np.array([1e-6, 0.1, 1.0 - 1e-6], dtype),
    )
    u, v, p = (values.ravel() for values in grid)
    of_all = jax.vmap(jax.value_and_grad(posterior_mean, argnums=(0, 1, 2, 3)), in_axes=(0, 0, 0, None))
    value, gradient = jax.tree.map(np.asarray, jax.jit(of_all)(u, v, p, np.ones((), dtype)))
    assert value.dtype == dtype
    assert all(np.all(np.isfinite(leaf)) for leaf in (value, *gradient))
    assert np.all(np.abs(value) <= np.abs(u))
    exact = (v == 0.0) & (np.abs(u) >= 1e-3)
    np.testing.assert_allclose(value[exact], u[exact], rtol=10 * jnp.finfo(dtype).eps)


@pytest.mark.parametrize("denoiser", [soft(1.3), bernoulli_gaussian(0.2)])
def test_slopes_by_differences(denoiser):
    """The slope is the symmetric difference quotient, away from the kinks of the soft threshold."""
    u = np.linspace(-3.0, 3.0, 201)
    u = u[np.abs(np.abs(u) - 1.3 * 0.5) > 1e-3]
    h, value, slope = 1e-5, jax.jit(denoiser), jax.jit(lambda u: with_slope(denoiser, u, 0.25)[1])
    numeric = (np.asarray(value(u + h, 0.25)) - np.asarray(value(u - h, 0.25))) / (2 * h)
    np.testing.assert_allclose(slope(u), numeric, atol=1e-8)


def test_divergence_of_a_divergence_free_denoiser():
    """The trace of its Jacobian over d vanishes like 1/d, which is what the dependence of the mean slope on u leaves."""
    rng, eta = np.random.default_rng(0), bernoulli_gaussian(0.2)
    for d in (50, 400):
        u = jnp.asarray(rng.normal(size=d) * (rng.random(d) < 0.2) + 0.3 * rng.normal(size=d))
        jacobian = jax.jit(jax.jacfwd(lambda u: divergence_free(eta)(u, 0.09)))(u)
        assert np.mean(jax.jit(lambda u: with_slope(eta, u, 0.09)[1])(u)) > 0.1
        assert abs(np.trace(jacobian)) < 2.0


def test_errors_of_a_divergence_free_denoiser():
    """The error of f(b + tau Z) does not correlate with Z, that of eta does; no other factor than 1 / (1 - m) is better."""
    rng = np.random.default_rng(0)
    d, tau = 100_000, 0.3
    b, z = rng.normal(size=d) * (rng.random(d) < 0.2), rng.normal(size=d)
    eta, u = bernoulli_gaussian(0.2), jnp.asarray(b + tau * z)
    free, plain = np.asarray(divergence_free(eta)(u, tau**2)), np.asarray(eta(u, tau**2))
    for estimate, uncorrelated in ((free, True), (plain, False)):
        products = z * (estimate - b)
        assert (abs(products.mean()) < 4 * products.std() / np.sqrt(d)) == uncorrelated
    excess = [np.mean((factor * free - b) ** 2 - (free - b) ** 2) for factor in (0.95, 1.05)]
    assert min(excess) > 0.0


# AMP and its state evolution


def soft_risk(mean, alpha):
    """E (S_alpha(mean + Z) - mean)^2 in closed form (Donoho and Johnstone 1994)."""
    inside = stats.norm.cdf(alpha - mean) - stats.norm.cdf(-alpha - mean)
    tails = (alpha - mean) * stats.norm.pdf(alpha + mean) + (alpha + mean) * stats.norm.pdf(alpha - mean)
    return 1.0 + alpha**2 + (mean**2 - alpha**2 - 1.0) * inside - tails


def test_state_evolution_of_the_soft_threshold():
    """tau_{t+1}^2 from the closed form of the risk at b, integrated over b by SciPy."""
    p, ratio, noise, alpha, deviation = 0.1, 0.5, 1e-4, 1.2, 2.0
    expected = [noise + p * deviation**2 / ratio]
    for _ in range(20):
        tau = np.sqrt(expected[-1])

        def risk_density(b, tau=tau):
            return soft_risk(b / tau, alpha) * stats.norm.pdf(b, scale=deviation)

        of_signal = 2.0 * integrate.quad(risk_density, 0.0, 10.0 * deviation, points=[tau, 10 * tau], epsrel=1e-10)[0]
        expected.append(noise + tau**2 * (p * of_signal + (1.0 - p) * soft_risk(0.0, alpha)) / ratio)
    got = state_evolution(soft(alpha), p, ratio, noise, 20, deviation**2)
    assert expected[-1] < 0.01 * expected[0]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_state_evolution_of_a_gaussian_signal():
    """With p = 1 the posterior mean is linear: tau_{t+1}^2 = s^2 + v tau^2 / (v + tau^2) / ratio."""
    ratio, noise, v = 2.0, 0.01, 4.0
    expected = [noise + v / ratio]
    for _ in range(10):
        expected.append(noise + v * expected[-1] / (v + expected[-1]) / ratio)
    got = state_evolution(bernoulli_gaussian(1.0, v), 1.0, ratio, noise, 10, v)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def forgetful(solver):
    """AMP without the correction of its residual."""
    return solver._replace(step=lambda state, prompt, _: solver.step(state._replace(slope=jnp.zeros(())), prompt, None))


LARGE = {"soft": soft(1.4), "bernoulli-gaussian": bernoulli_gaussian(0.1)}


@cache
def large_errors():
    """|w_t - b|^2 / d of AMP after 0..6 steps, (draws, steps), at d = 1000, n = 500 and noise 0.1, on 20 draws of X, y, b.

    100 entries of b are Gaussian, with mean square one: state evolution is a statement on given b.
    """
    n, d, rng, errors = 500, 1000, np.random.default_rng(0), []
    solvers = {name: amp(denoiser) for name, denoiser in LARGE.items()} | {"forgetful": forgetful(amp(LARGE["soft"]))}
    run = jax.jit(lambda prompt: {name: unroll(solver, prompt, 6) for name, solver in solvers.items()})
    for _ in range(20):
        x, entries = rng.normal(size=(n, d)) / np.sqrt(n), rng.normal(size=100)
        b = np.concatenate([entries / np.sqrt(np.mean(entries**2)), np.zeros(d - 100)])
        paths = run(Prompt.of(x, x @ b + 0.1 * rng.normal(size=n)))
        errors.append({name: np.mean((np.asarray(path) - b) ** 2, axis=1) for name, path in paths.items()})
    return {name: np.stack([error[name] for error in errors]) for name in solvers}


@pytest.mark.parametrize("name", LARGE)
def test_amp_follows_state_evolution(name):
    """The mean error of every iterate is ratio (tau_t^2 - s^2) within four standard errors, which are below 6 percent."""
    errors = large_errors()[name]
    expected = 0.5 * (np.asarray(state_evolution(LARGE[name], 0.1, 0.5, 0.01, 6)) - 0.01)
    standard_error = errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    assert np.all(standard_error < 0.06 * expected)
    assert np.all(np.abs(errors.mean(axis=0) - expected)[1:] < 4 * standard_error[1:])
    np.testing.assert_allclose(errors[:, 0], expected[0], rtol=1e-12)


def test_amp_needs_its_correction():
    """Without the term of z_before the errors leave state evolution by far more than sampling error."""
    difference = (large_errors()["forgetful"] - large_errors()["soft"])[:, -1]
    assert difference.mean() > 10 * difference.std(ddof=1) / np.sqrt(len(difference))


@given(seed=st.integers(0, 2**31 - 1))
def test_lamp_in_numpy(seed):
    """z <- y - X w + |w|_0 / n z; w <- S(w + W z) at theta |z| / sqrt(n); as a loop."""
    prompt = draw(seed)
    x, y, w, z, path = np.asarray(prompt.x), np.asarray(prompt.y), np.zeros(D), np.zeros(N), [np.zeros(D)]
    for weight, threshold in zip(np.asarray(LAMP.weight), np.asarray(LAMP.threshold), strict=True):
        z = y - x @ w + np.count_nonzero(w) / N * z
        u, level = w + weight @ z, threshold * np.linalg.norm(z) / np.sqrt(N)
        w = u - np.clip(u, -level, level)
        path.append(w)
    np.testing.assert_allclose(iterates("lamp", prompt), path, rtol=1e-10, atol=1e-11 * (1.0 + np.max(np.abs(path))))


def test_lamp_starts_as_amp():
    """LAMP with the layers of amp_as_lamp is AMP with the soft threshold."""
    path = unroll(lamp(amp_as_lamp(PROMPT.x, STEPS, 1.1)), PROMPT, STEPS)
    np.testing.assert_allclose(path, unroll(amp(soft(1.1)), PROMPT, STEPS), atol=1e-13)


# TISTA and orthogonal AMP


def numpy_posterior_mean(u, v, p):
    """E[b | u] as a ratio of densities, for s = 1."""
    signal, zero = p * stats.norm.pdf(u, scale=np.sqrt(1.0 + v)), (1.0 - p) * stats.norm.pdf(u, scale=np.sqrt(v))
    return signal / (signal + zero) * u / (1.0 + v)


def error_of(x, y, w, noise):
    """v^2 from the residual."""
    return max(np.sum((y - x @ w) ** 2) - len(y) * noise, 1e-9 * np.sum(y**2)) / np.sum(x**2)


@given(seed=st.integers(0, 2**31 - 1), n_used=st.integers(1, N))
def test_tista_in_numpy(seed, n_used):
    """The paper's step, tau^2 = v^2 / d (d + (gamma^2 - 2 gamma) n) + gamma^2 s^2 / d trace(W W'), as a loop."""
    drawn = draw(seed)
    x, y, w, path = np.asarray(drawn.x)[:n_used], np.asarray(drawn.y)[:n_used], np.zeros(D), [np.zeros(D)]
    inverse = np.linalg.pinv(x)
    for gamma in np.asarray(TISTA.step_size):
        r = w + gamma * inverse @ (y - x @ w)
        v = error_of(x, y, w, 0.01) / D * (D + (gamma**2 - 2 * gamma) * n_used)
        w = numpy_posterior_mean(r, v + gamma**2 * 0.01 / D * np.trace(inverse @ inverse.T), 0.3)
        path.append(w)
    prompt = Prompt.of(drawn.x, drawn.y, used=np.arange(N) < n_used)
    np.testing.assert_allclose(iterates("tista", prompt), path, rtol=1e-7, atol=1e-8)


@given(seed=st.integers(0, 2**31 - 1), n_used=st.integers(1, N))
def test_oamp_in_numpy(seed, n_used):
    """LMMSE weights by a solve, scaled to trace(W X) = d; tau^2 = (v^2 |I - W X|^2 + s^2 |W|^2) / d; as a loop."""
    drawn = draw(seed)
    x, y, b, path = np.asarray(drawn.x)[:n_used], np.asarray(drawn.y)[:n_used], np.zeros(D), [np.zeros(D)]
    for _ in range(STEPS):
        v = error_of(x, y, b, 0.01)
        weight = v * x.T @ np.linalg.inv(v * x @ x.T + 0.01 * np.eye(n_used))
        weight *= D / np.trace(weight @ x)
        r = b + weight @ (y - x @ b)
        tau2 = (v * np.sum((np.eye(D) - weight @ x) ** 2) + 0.01 * np.sum(weight**2)) / D
        w, h = numpy_posterior_mean(r, tau2, 0.3), 1e-5 * np.sqrt(tau2)
        slope = np.mean(numpy_posterior_mean(r + h, tau2, 0.3) - numpy_posterior_mean(r - h, tau2, 0.3)) / (2 * h)
        b = (w - slope * r) / (1.0 - slope)
        path.append(w)
    prompt = Prompt.of(drawn.x, drawn.y, used=np.arange(N) < n_used)
    np.testing.assert_allclose(iterates("oamp", prompt), path, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [5, 12, 30])
def test_oamp_of_a_gaussian_signal_is_lmmse(n):
    """p = 1: one step gives X'(XX' + s^2 I)^-1 y, if |y|^2 is what the model expects; later ones add nothing."""
    drawn = draw(3, n)
    x, noise = np.asarray(drawn.x), 0.05
    y = np.asarray(drawn.y) * np.sqrt((np.sum(x**2) + n * noise) / np.sum(drawn.y**2))
    expected = x.T @ np.linalg.solve(x @ x.T + noise * np.eye(n), y)
    path = unroll(oamp(bernoulli_gaussian(1.0), noise), Prompt.of(x, y), 3)
    np.testing.assert_allclose(path[1:], [expected] * 3, atol=1e-12)


@cache
def conditioned(solver_of, condition):
    """Squared error over squared signal after 0..20 steps on 50 tasks of one 100x200 matrix; noise of deviation 0.003."""
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.normal(size=(100, 200)), full_matrices=False)
    singular = np.logspace(0.0, -np.log10(condition), 100)
    x = jnp.asarray(left * (singular * np.sqrt(200) / np.linalg.norm(singular)) @ right)
    b = rng.normal(size=(50, 200)) * (rng.random((50, 200)) < 0.1)
    y = jnp.asarray(b @ np.asarray(x).T + 0.003 * rng.normal(size=(50, 100)))
    solver, used = wrappers.with_matrix(solver_of(), x), jnp.ones(100, dtype=bool)
    path = jax.jit(jax.vmap(lambda y: unroll(solver, Prompt(None, y, None, used), 20)))(y)
    return np.sum((np.asarray(path) - b[:, None]) ** 2, axis=(0, 2)) / np.sum(b**2)


def test_oamp_serves_ill_conditioned_matrices():
    """At condition number 100 AMP diverges, and orthogonal AMP recovers the signal."""
    assert conditioned(lambda: oamp(bernoulli_gaussian(0.1), 0.003**2), 100.0)[-1] < 1e-2
    assert not conditioned(lambda: amp(bernoulli_gaussian(0.1)), 100.0)[-1] < 1.0


def test_recovery_within_sixteen_steps():
    """On a well-conditioned matrix all three that know the prior and the noise are near the noise floor; OAMP is fastest."""
    prior, noise = bernoulli_gaussian(0.1), 0.003**2
    orthogonal, message, trainable = [
        conditioned(solver_of, 2.0)
        for solver_of in (
            lambda: oamp(prior, noise),
            lambda: amp(prior),
            lambda: tista(TistaLayers(jnp.ones(20)), prior, noise),
        )
    ]
    assert orthogonal[10] < 1e-3
    assert orthogonal[10] < message[10] < trainable[10]
    assert trainable[20] < 1e-2


# orthogonal matching pursuit


@cache
def pursuit(n, d, n_steps):
    """prompt -> iterates and supports of OMP."""
    solver = omp()
    return jax.jit(lambda prompt: unroll(solver, prompt, n_steps, keep=lambda state: (state.w, state.chosen)))


@pytest.mark.parametrize(("n", "d"), [(20, 30), (30, 12)])
@given(seed=st.integers(0, 2**31 - 1))
def test_omp_is_scikit_learns(n, d, seed):
    """Iterates and supports of 10 steps are those of orthogonal_mp on columns of unit norm, for columns of any length."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)) * rng.uniform(0.1, 10.0, size=d), rng.normal(size=n)
    length = np.linalg.norm(x, axis=0)
    expected = orthogonal_mp(x / length, y, n_nonzero_coefs=10, return_path=True).T
    path, chosen = pursuit(n, d, 10)(Prompt.of(x, y))
    np.testing.assert_array_equal(np.asarray(chosen)[1:], expected != 0.0)
    np.testing.assert_allclose(np.asarray(path)[1:] * length, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(8, 12), (12, 8)])
@given(seed=st.integers(0, 2**31 - 1))
def test_omp_ends(n, d, seed):
    """After min(n, d) steps it is a least-squares answer, and nothing changes any more."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=n)
    path, chosen = pursuit(n, d, 14)(Prompt.of(x, y))
    assert np.all(np.sum(chosen, axis=1) == np.minimum(np.arange(15), 8))
    assert np.all(np.asarray(path)[9:] == np.asarray(path)[8])
    best = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(y - x @ np.asarray(path)[-1], best, atol=1e-8)


def test_omp_stops_at_a_zero_residual():
    """On 200 noiseless signals of 3 entries it never takes a step after the one that leaves no residual."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20, 30))
    b = np.where(np.argsort(rng.random((200, 30)), axis=1) < 3, rng.normal(size=(200, 30)), 0.0)
    path, chosen = jax.vmap(pursuit(20, 30, 12))(jax.vmap(Prompt.of)(x, np.einsum("bnd,bd->bn", x, b)))
    found = np.max(np.abs(np.asarray(path) - b[:, None]), axis=2) < 1e-10
    assert np.mean(found[:, 3]) > 0.8
    for steps, supports, hit in zip(np.asarray(path), np.asarray(chosen), found, strict=True):
        if np.any(hit):
            first = np.argmax(hit)
            assert np.all(steps[first:] == steps[first])
            assert np.all(supports[first:] == supports[first])


def test_omp_takes_no_column_twice_nor_its_copy():
    """Repeated columns, of which a second one adds nothing, are left alone; so are columns of zeros."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(8, 2))] * 2 + [np.zeros((8, 2))], axis=1)
    path, chosen = pursuit(8, 6, 5)(Prompt.of(x, rng.normal(size=8)))
    assert np.sum(chosen[-1]) == 2
    assert np.all(np.isfinite(path))


# block ISTA


def group_lasso(w, prompt, penalty):
    """F(w) = R(w) + penalty sum_g sqrt(|g|) |w_g| over the blocks of PARTITION, by one mask a block."""
    masks = [np.asarray(PARTITION) == g for g in np.unique(PARTITION)]
    blocks = [np.sqrt(mask.sum()) * jnp.linalg.norm(jnp.where(mask, w, 0.0)) for mask in masks]
    return least_squares(w, prompt) + penalty * sum(blocks)


def numpy_block_shrink(u, threshold):
    """The block soft threshold over PARTITION: what is left of every block, one after the other."""
    u = u.copy()
    for g in np.unique(PARTITION):
        block = np.asarray(PARTITION) == g
        norm, level = np.linalg.norm(u[block]), threshold * np.sqrt(block.sum())
        u[block] = (1.0 - level / norm) * u[block] if norm > level else 0.0
    return u


@given(u=st.lists(st.floats(-10, 10), min_size=D, max_size=D), threshold=st.floats(0, 5))
def test_block_soft_threshold_is_the_proximal_map(u, threshold):
    """u_g - p_g = theta sqrt(|g|) p_g / |p_g| where p_g is not zero, and |u_g| <= theta sqrt(|g|) where it is."""
    u = np.asarray(u)
    p = np.asarray(block_soft_threshold(jnp.asarray(u), threshold, PARTITION))
    for g in np.unique(PARTITION):
        block = np.asarray(PARTITION) == g
        level, norm = threshold * np.sqrt(block.sum()), np.linalg.norm(p[block])
        if norm > 0.0:
            np.testing.assert_allclose(norm * (u - p)[block], level * p[block], atol=1e-11)
        else:
            assert np.linalg.norm(u[block]) <= level * (1.0 + 1e-14)


def test_blocks_of_one_give_ista():
    """With every coordinate a block of its own, block ISTA is ISTA; and the numbers of blocks are but names."""
    names = jnp.asarray(np.random.default_rng(0).permutation(D))
    path, singles = unroll(block_ista(0.05, names), PROMPT, STEPS), unroll(ista(0.05), PROMPT, STEPS)
    np.testing.assert_allclose(path, singles, atol=1e-15)


@given(seed=st.integers(0, 2**31 - 1))
def test_block_ista_in_numpy(seed):
    """w <- prox(w - s grad R(w)) with s = 1 / L, as a loop."""
    prompt = draw(seed)
    x, y, path = np.asarray(prompt.x), np.asarray(prompt.y), [np.zeros(D)]
    size = N / np.linalg.norm(x, ord=2) ** 2
    for _ in range(STEPS):
        path.append(numpy_block_shrink(path[-1] - size * x.T @ (x @ path[-1] - y) / N, size * 0.1))
    np.testing.assert_allclose(iterates("block-ista", prompt), path, rtol=1e-10, atol=1e-12)


def test_block_ista_rate():
    """F(w_k) never increases, and F(w_k) - F(z) <= L |z|^2 / (2k) for k = 1..100, on 200 problems.

    z is the 5000th iterate; the proof holds against any z.
    """
    prompts = jax.vmap(lambda x, y: Prompt.of(x, y))(*map(jnp.stack, zip(*[draw(s)[:2] for s in range(200)], strict=True)))
    penalties = jnp.asarray(10.0 ** np.random.default_rng(0).uniform(-3.5, -1.0, size=200))

    @jax.jit
    @jax.vmap
    def values(prompt, penalty):
        solver = block_ista(penalty, PARTITION)
        z = unroll(solver, prompt, 5000, keep="last")
        path = unroll(solver, prompt, 100)
        objective = jax.vmap(lambda w: group_lasso(w, prompt, penalty))(path)
        return objective - group_lasso(z, prompt, penalty), smoothness(prompt) * z @ z

    excess, unit = map(np.asarray, values(prompts, penalties))
    assert np.median(excess[:, 0]) > 1e-3
    assert np.all(np.diff(excess, axis=1) <= 1e-15)
    assert np.all(excess[:, 1:] <= unit[:, None] / (2.0 * np.arange(1, 101)) + 1e-14)


def test_block_ista_converges_to_the_minimiser():
    """There the residual vanishes, and not elsewhere, and F is greater all around."""
    solver = block_ista(0.01, PARTITION)
    best = jax.jit(lambda prompt: unroll(solver, prompt, 20_000, keep="last"))(PROMPT)
    np.testing.assert_allclose(solver.residual(best, PROMPT), 0.0, atol=1e-14)
    assert np.linalg.norm(solver.residual(best + 0.1, PROMPT)) > 1e-2
    around = np.asarray(best) + 1e-3 * np.random.default_rng(0).normal(size=(101, D)) * (np.arange(101) > 0)[:, None]
    values = jax.jit(jax.vmap(lambda w: group_lasso(w, PROMPT, 0.01)))(around)
    assert np.argmin(values) == 0
    assert 0 < np.sum(best == 0.0) < D


# what is refused


BAD = {
    "negative alpha": (lambda: soft(-1.0), "alpha is -1"),
    "probability above one": (lambda: bernoulli_gaussian(1.5), "probability is 1.5"),
    "no signal": (lambda: bernoulli_gaussian(0.1, 0.0), "signal_variance is 0"),
    "negative noise, OAMP": (lambda: oamp(soft(1.0), -1.0), "noise_variance is -1"),
    "negative noise, TISTA": (lambda: tista(TISTA, soft(1.0), -1.0), "noise_variance is -1"),
    "a step size for all": (lambda: tista(TistaLayers(jnp.ones(())), soft(1.0), 0.0), "step_size has shape"),
    "a threshold too few": (lambda: lamp(LAMP._replace(threshold=jnp.ones(2))), "threshold has shape (2,)"),
    "negative threshold": (lambda: lamp(LAMP._replace(threshold=-jnp.ones(STEPS))), "threshold is -1"),
    "no measurements": (lambda: state_evolution(soft(1.0), 0.1, 0.0, 0.0, 1), "ratio is 0"),
    "blocks from 1": (lambda: block_ista(0.1, jnp.arange(1, 4)), "1 numbers of blocks out of range"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what):
    """One sentence says what was given."""
    call, given_part = BAD[what]
    with pytest.raises(checks.InputError) as error:
        call()
    assert given_part in str(error.value)
