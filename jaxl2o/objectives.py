"""The linear model y = X w: how it predicts, and what tasks and solvers minimise over it.

Every average is over the used examples (`prompt.n_used`), so a prompt may be padded with unused rows of zeros.
"""

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
