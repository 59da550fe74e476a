"""The linear model y = X w, the logistic one, and mixtures of linear ones: how they predict, and what is minimised over them.

Every average is over the used examples (`prompt.n_used`), so a prompt may be padded with unused rows of zeros.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.types import Prompt, ScalarLike, design_matrix


def linear_prediction(w: Float[Array, " d"], x_query: Float[Array, "m d"]) -> Float[Array, " m"]:
    """<x, w> for every query."""
    return x_query @ w


def least_squares(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, ""]:
    """R(w) = 1/(2n) |X w - y|^2."""
    error = design_matrix(prompt) @ w - prompt.y
    return 0.5 * error @ error / prompt.n_used


def least_squares_gradient(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, " d"]:
    """grad R(w) = X'(X w - y) / n; zero when there are no examples."""
    x = design_matrix(prompt)
    return x.T @ (x @ w - prompt.y) / prompt.n_used


def lasso_objective(w: Float[Array, " d"], prompt: Prompt, penalty: ScalarLike) -> Float[Array, ""]:
    """F(w) = R(w) + penalty |w|_1.

    The scaling is scikit-learn's. Signal processing writes 1/2 |X w - y|^2 + lambda |w|_1: lambda = n * penalty.
    """
    return least_squares(w, prompt) + penalty * jnp.abs(w).sum()


def logistic_prediction(w: Float[Array, " d"], x_query: Float[Array, "m d"]) -> Float[Array, " m"]:
    """The probability 1 / (1 + exp(-<x, w>)) of the label +1, for every query."""
    return jax.nn.sigmoid(x_query @ w)


def logistic_loss(w: Float[Array, " d"], prompt: Prompt, penalty: ScalarLike) -> Float[Array, ""]:
    """f(w) = 1/n sum_i log(1 + exp(-y_i <x_i, w>)) + penalty/2 |w|^2, for labels y of -1 and +1.

    scikit-learn's LogisticRegression without intercept has C = 1 / (n penalty). The loss is 1/sqrt(penalty) self-concordant
    where |x_i| <= 1. With s = <x, w> it is written as log(1 + e^s) - s (y + 1)/2, so that derivatives are linear in y.
    """
    scores = design_matrix(prompt) @ w
    losses = jax.nn.softplus(scores) - 0.5 * (prompt.y + 1.0) * scores
    return jnp.sum(jnp.where(prompt.used, losses, 0.0)) / prompt.n_used + 0.5 * penalty * w @ w


def logistic_gradient(w: Float[Array, " d"], prompt: Prompt, penalty: ScalarLike) -> Float[Array, " d"]:
    """grad f(w) = X'(sigma(X w) - (y + 1)/2) / n + penalty w."""
    x = design_matrix(prompt)
    return x.T @ (jax.nn.sigmoid(x @ w) - 0.5 * (prompt.y + 1.0)) / prompt.n_used + penalty * w


def logistic_hessian(w: Float[Array, " d"], prompt: Prompt, penalty: ScalarLike) -> Float[Array, "d d"]:
    """f''(w) = X' diag(sigma'(X w)) X / n + penalty I: between penalty and penalty + 1/4 where |x_i| <= 1."""
    x = design_matrix(prompt)
    share = jax.nn.sigmoid(x @ w)
    return (x.T * (share * (1.0 - share))[None]) @ x / prompt.n_used + penalty * jnp.eye(x.shape[1], dtype=x.dtype)


def mixture_scores(
    components: Float[Array, "K d"], prompt: Prompt, weights: Float[Array, " K"], noise: ScalarLike
) -> Float[Array, "n K"]:
    """log(pi_k N(y_i; <x_i, b_k>, sigma^2)): of every example, the log-density with every component. Unused rows say nothing.

    A weight of zero gives minus infinity.
    """
    errors = (prompt.y[:, None] - design_matrix(prompt) @ components.T) / noise
    return jnp.log(weights)[None] - 0.5 * errors**2 - jnp.log(noise) - 0.5 * jnp.log(2.0 * jnp.pi)


def mixture_loss(
    components: Float[Array, "K d"], prompt: Prompt, weights: Float[Array, " K"], noise: ScalarLike
) -> Float[Array, ""]:
    """-1/n sum_i log sum_k pi_k N(y_i; <x_i, b_k>, sigma^2): minus the mean log-likelihood of a mixture of regressions.

    symbol   code         shape
    b_k      components   (K, d)
    pi       weights      (K,), their sum is 1
    sigma    noise        (), > 0
    """
    densities = jax.nn.logsumexp(mixture_scores(components, prompt, weights, noise), axis=1)
    return -jnp.sum(jnp.where(prompt.used, densities, 0.0)) / prompt.n_used
