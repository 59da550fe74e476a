"""One layer of linear self-attention on mixtures of regressions: its best matrix in closed form, and its exact risk.

On tokens (x_i, y_i) and (x_q, 0) the layer answers <x_q, A' h>, h = X'y / n, plus terms even in the components. Where their law
is even too, such terms only add to the squared error, so that the best layer is the best matrix A. Inputs are N(0, Lam).
Zhang, Frei and Bartlett 2024 (arXiv:2306.09927) have one component and no noise.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.limits.mixture import Moments
from jaxl2o.types import Prompt, ScalarLike, design_matrix


def attention_estimate(prompt: Prompt, matrix: Float[Array, "d d"]) -> Float[Array, " d"]:
    """A' X'y / n: the coefficients by which the layer predicts."""
    return matrix.T @ (design_matrix(prompt).T @ prompt.y) / prompt.n_used


def best_matrix(moments: Moments, noise: ScalarLike, n: ScalarLike, covariance: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """A* = H^-1 Lam Sbar with H = E h h', the matrix of least risk on prompts of n examples.

        H = 1/n [(tr(S Lam) + sigma^2) Lam + 2 Lam S Lam] + (1 - 1/n) Lam Sbar Lam

    Independent components N(0, tau^2 I) and Lam = I have A* = kappa n / ((n - 1) kappa + d + 2 + sigma^2 / tau^2) I with
    kappa = sum_k pi_k^2. kappa = 1 and sigma = 0 have A* = ((1 + 1/n) Lam + tr(Lam) / n I)^-1, which is Gamma^-1 of Zhang, Frei
    and Bartlett.

    symbol     code          shape
    S, Sbar    moments       (d, d) each
    sigma      noise         ()
    Lam        covariance    (d, d), positive definite
    n          n             (), > 0
    """
    return jnp.linalg.solve(_outer(moments, noise, n, covariance), covariance @ moments.mean)


def attention_risk(
    matrix: Float[Array, "d d"], moments: Moments, noise: ScalarLike, n: ScalarLike, covariance: Float[Array, "d d"]
) -> Float[Array, ""]:
    """E (y_q - <x_q, A' h>)^2 on prompts of n examples, for any A: one that was best for another length, too.

    = tr(S Lam) + sigma^2 - 2 tr(A' Lam Sbar Lam) + tr(A' H A Lam); at A* it is tr(S Lam) + sigma^2 - tr(A*' Lam Sbar Lam).
    """
    excess = attention_excess(matrix, moments, noise, n, covariance)
    return excess + jnp.trace((moments.each - moments.mean) @ covariance) + jnp.square(noise)


def attention_excess(
    matrix: Float[Array, "d d"], moments: Moments, noise: ScalarLike, n: ScalarLike, covariance: Float[Array, "d d"]
) -> Float[Array, ""]:
    """E <x_q, A' h - bbar>^2 = tr(Sbar Lam) - 2 tr(A' Lam Sbar Lam) + tr(A' H A Lam): the risk above that of the oracle."""
    answer = covariance @ moments.mean
    gain = 2.0 * jnp.trace(matrix.T @ answer @ covariance)
    return jnp.trace(answer) - gain + jnp.trace(matrix.T @ _outer(moments, noise, n, covariance) @ matrix @ covariance)


def _outer(moments: Moments, noise: ScalarLike, n: ScalarLike, covariance: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """E h h' for h = X'y / n."""
    checks.positive("n", n)
    checks.nonnegative("noise", noise)
    checks.shape("covariance", covariance, moments.mean.shape)
    each, mean = covariance @ moments.each @ covariance, covariance @ moments.mean @ covariance
    level = jnp.trace(moments.each @ covariance) + jnp.square(noise)
    return (level * covariance + 2.0 * each) / n + (1.0 - 1.0 / n) * mean
