"""Gradient descent on the in-context least squares R(w) = 1/(2n) |X w - y|^2."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


def start_at_zero(prompt: Prompt) -> Float[Array, " d"]:
    """The caller's start, or the zero vector."""
    if prompt.start is not None:
        return prompt.start
    x = design_matrix(prompt)
    return jnp.zeros_like(x, shape=x.shape[1])  # like x, so that under shard_map it varies over devices as the steps will


def gradient_descent(step_size: ScalarLike) -> Solver:
    """w <- w - step_size * grad R(w).

    Converges for step_size < 2 / L, with L the largest eigenvalue of X'X / n. State and iterate: w, shape (d,).
    """
    checks.positive("step_size", step_size)
    return Solver(
        init=start_at_zero,
        step=lambda w, prompt, _: w - step_size * least_squares_gradient(w, prompt),
        iterate=lambda w: w,
        residual=least_squares_gradient,
    )


def preconditioned_gradient_descent(preconditioner: Float[Array, "d d"]) -> Solver:
    """w <- w - P grad R(w), for one matrix P of shape (d, d) that serves all prompts.

    With P = Sigma^-1, the inverse covariance of the inputs, the rate is that of isotropic data (Ahn et al. 2023,
    arXiv:2306.00297, Theorem 1, where P is what a one-layer linear Transformer learns). State and iterate: w, (d,).
    """
    checks.shape("preconditioner", preconditioner, (None, preconditioner.shape[0]))
    checks.finite("preconditioner", preconditioner)
    return Solver(
        init=start_at_zero,
        step=lambda w, prompt, _: w - preconditioner @ least_squares_gradient(w, prompt),
        iterate=lambda w: w,
        residual=least_squares_gradient,
    )
