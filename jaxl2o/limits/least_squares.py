"""Closed-form linear estimates, each the best one under its own prior: minimum norm, ridge, and LMMSE for any covariance."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Prompt, ScalarLike, design_matrix


def minimum_norm(prompt: Prompt) -> Float[Array, " d"]:
    """X^+ y: of all w that fit the examples best, the shortest; what gradient descent from zero converges to."""
    return jnp.linalg.pinv(design_matrix(prompt)) @ prompt.y


def ridge(prompt: Prompt, penalty: ScalarLike) -> Float[Array, " d"]:
    """argmin 1/(2n) |X w - y|^2 + penalty/2 |w|^2, for penalty > 0.

    The Bayes estimate for w ~ N(0, I) and noise of variance s^2 at penalty = s^2 / n.
    """
    checks.positive("penalty", penalty)
    x = design_matrix(prompt)
    gram = x.T @ x / prompt.n_used + penalty * jnp.eye(x.shape[1], dtype=x.dtype)
    return jnp.linalg.solve(gram, x.T @ prompt.y / prompt.n_used)


def lmmse(prompt: Prompt, covariance: Float[Array, "d d"], noise_variance: ScalarLike) -> Float[Array, " d"]:
    """The linear estimate of least mean squared error: C X' (X C X' + s^2 I)^-1 y, for w of mean zero and covariance C.

    No estimate that is linear in y has a smaller E |w_hat - w|^2; for Gaussian w no estimate at all has. A relative
    10^-6 of the mean diagonal is added to the noise, so that noiseless prompts in float32 stay solvable. n = 0 gives
    the prior's mean, zero.
    """
    x = design_matrix(prompt)
    cross = covariance @ x.T
    total = x @ cross
    jitter = 1e-6 * jnp.trace(total) / prompt.n_used
    diagonal = jnp.where(prompt.used, noise_variance + jitter, 1.0)
    return cross @ jnp.linalg.solve(total + jnp.diag(diagonal), prompt.y)
