"""A linear estimate, then a scalar denoiser that knows its error: TISTA, which learns step sizes, and orthogonal AMP.

Both serve every matrix X. They know the variance of the noise, and estimate that of the error from the residual.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.denoisers import Denoiser, divergence_free
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.pseudo_inverse import Weights, pseudo_inverse
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


def _residual_and_error(w: Float[Array, " d"], prompt: Prompt, noise_variance: ScalarLike) -> tuple[Array, Array]:
    """y - X w, and v^2 = (|y - X w|^2 - n s^2) / |X|_F^2, which estimates the mean squared error of the entries of w.

    v^2 is at least 1e-9 of what it is at w = 0 without noise: TISTA's floor, made free of units.
    """
    x = design_matrix(prompt)
    residual = prompt.y - x @ w
    size = jnp.sum(x**2)
    excess = jnp.maximum(residual @ residual - prompt.n_used * noise_variance, 1e-9 * prompt.y @ prompt.y)
    return residual, excess / jnp.where(size > 0.0, size, 1.0)


class TistaLayers(NamedTuple):
    """TISTA's parameters: step sizes gamma (T,), one for every step."""

    step_size: Float[Array, " steps"]


class TistaState(NamedTuple):
    """w: (d,) the iterate. weight W: (d, n), and of it trace W X, |W X|_F^2 and |W|_F^2, all from the matrix alone."""

    w: Float[Array, " d"]
    weight: Float[Array, "d n"]
    trace: Float[Array, ""]
    energy: Float[Array, ""]
    noise: Float[Array, ""]


def tista(layers: TistaLayers, denoiser: Denoiser, noise_variance: ScalarLike, weights: Weights = pseudo_inverse) -> Solver:
    """w <- eta(r; tau^2) with r = w + gamma_t W (y - X w) and W = X^+.

    Ito, Takabe and Wadayama 2019 (arXiv:1801.01978). tau^2 is the mean squared error of the entries of r,
    if the error of w is white with variance v^2 and the noise has variance s^2:

        d tau^2 = v^2 |I - gamma W X|_F^2 + s^2 gamma^2 |W|_F^2,

    where |I - gamma X^+ X|_F^2 = d + (gamma^2 - 2 gamma) n. The paper's eta is `bernoulli_gaussian(probability)`,
    and v^2 = (|y - X w|^2 - n s^2) / |X|_F^2, kept above zero.

    X^+ depends on `prompt.used`. Where all prompts share one matrix and use all rows, weights = lambda prompt: W, with a
    W computed once, keeps it one matrix under `vmap`.

    Raises `ValueError` for step sizes that are not finite or no vector, and a negative noise variance.
    """
    checks.shape("step_size", layers.step_size, (None,))
    checks.finite("step_size", layers.step_size)
    checks.nonnegative("noise_variance", noise_variance)

    def init(prompt: Prompt) -> TistaState:
        weight = weights(prompt)
        passed = weight @ design_matrix(prompt)
        return TistaState(start_at_zero(prompt), weight, jnp.trace(passed), jnp.sum(passed**2), jnp.sum(weight**2))

    def step(state: TistaState, prompt: Prompt, layer: TistaLayers) -> TistaState:
        gamma, d = layer.step_size, state.w.shape[0]
        residual, error = _residual_and_error(state.w, prompt, noise_variance)
        r = state.w + gamma * (state.weight @ residual)
        kept = jnp.maximum(d - 2.0 * gamma * state.trace + gamma**2 * state.energy, 0.0)
        variance = (error * kept + noise_variance * gamma**2 * state.noise) / d
        return state._replace(w=denoiser(r, variance))

    return Solver(init, step, lambda state: state.w, layers)


class OampState(NamedTuple):
    """w: (d,) the iterate; b: (d,) what is fed back; left (n, k), singular (k,), right (k, d): X = left diag right."""

    w: Float[Array, " d"]
    b: Float[Array, " d"]
    left: Float[Array, "n k"]
    singular: Float[Array, " k"]
    right: Float[Array, "k d"]


def oamp(denoiser: Denoiser, noise_variance: ScalarLike) -> Solver:
    """Orthogonal AMP: r = b + W (y - X b), w = eta(r; tau^2), b <- f(r; tau^2), from b = w = 0; the answer is w.

    Ma and Ping 2017 (arXiv:1602.06509). W = d / trace(V X) V is the LMMSE estimator V = v^2 X'(v^2 XX' + s^2 I)^-1, scaled
    so that I - W X has trace zero; f is the `divergence_free` eta. So the errors of b and r do not correlate, and
    tau^2 = (v^2 |I - W X|_F^2 + s^2 |W|_F^2) / d, for large right-rotationally invariant X, ill-conditioned ones too.

    v^2, the mean squared error of b, is estimated as in `tista`. One singular value decomposition of X, in `init`, serves
    all steps, and does not depend on `prompt.used`.

    Raises `ValueError` for a negative noise variance.
    """
    checks.nonnegative("noise_variance", noise_variance)
    feedback = divergence_free(denoiser)

    def init(prompt: Prompt) -> OampState:
        left, singular, right = jnp.linalg.svd(design_matrix(prompt), full_matrices=False)
        # below the resolution of the numbers a singular value is zero: unused rows, columns that depend on each other
        smallest = float(jnp.finfo(singular.dtype).eps) * max(left.shape[0], right.shape[1])
        singular = jnp.where(singular > smallest * jnp.max(singular, initial=0.0), singular, 0.0)
        w = start_at_zero(prompt)
        return OampState(w, w, left, singular, right)

    def step(state: OampState, prompt: Prompt, _: None) -> OampState:
        d = state.w.shape[0]
        residual, error = _residual_and_error(state.b, prompt, noise_variance)
        power = error * state.singular**2
        passed = power / jnp.where(power > 0.0, power + noise_variance, 1.0)  # the eigenvalues of V X
        trace = passed.sum()
        scale = jnp.where(trace > 0.0, d / jnp.where(trace > 0.0, trace, 1.0), 0.0)
        weight = scale * passed / jnp.where(state.singular > 0.0, state.singular, 1.0)
        r = state.b + state.right.T @ (weight * (state.left.T @ residual))
        kept = jnp.sum((1.0 - scale * passed) ** 2) + (d - passed.shape[0])
        variance = (error * kept + noise_variance * jnp.sum(weight**2)) / d
        return state._replace(w=denoiser(r, variance), b=feedback(r, variance))

    return Solver(init, step, lambda state: state.w)
