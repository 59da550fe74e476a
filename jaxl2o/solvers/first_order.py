"""Gradient descent on the in-context least squares R(w) = 1/(2n) |X w - y|^2."""

from collections.abc import Callable
from typing import NamedTuple

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


def preconditioning(preconditioner: Float[Array, "d d"] | None) -> Callable[[Float[Array, " d"]], Float[Array, " d"]]:
    """u -> P u for one matrix P of shape (d, d) that serves all prompts; without P the identity.

    Raises `ValueError` for a matrix that is not square or not finite.
    """
    if preconditioner is None:
        return lambda u: u
    checks.shape("preconditioner", preconditioner, (None, preconditioner.shape[0]))
    checks.finite("preconditioner", preconditioner)
    return lambda u: preconditioner @ u


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
    conditioned = preconditioning(preconditioner)
    return Solver(
        init=start_at_zero,
        step=lambda w, prompt, _: w - conditioned(least_squares_gradient(w, prompt)),
        iterate=lambda w: w,
        residual=least_squares_gradient,
    )


class MovingState(NamedTuple):
    """w: (d,) the iterate; transform: (d, d), the symmetric Q that has taken every input x to Q x."""

    w: Float[Array, " d"]
    transform: Float[Array, "d d"]


def gd_plus_plus(step_sizes: Float[Array, " steps"], shrinkage: Float[Array, " steps"]) -> Solver:
    """GD++: gradient descent on inputs that move too, x <- x - b_l X'X x / n, which betters the condition of X'X / n.

        w_{l+1} = w_l - a_l Q_l^2 grad R(w_l),   Q_{l+1} = (I - b_l Q_l H Q_l) Q_l,   Q_0 = I,   H = X'X / n of the first inputs

    Inputs after l steps are Q_l x, with Q_l a polynomial in H. After L steps the error is p(H) (w_0 - w*) for a polynomial p of
    degree (3^L - 1) / 2, where gradient descent has degree L. von Oswald et al. 2023 (arXiv:2212.07677, "GD++"); Ahn et al.
    2023 (arXiv:2306.00297) give such weights to a linear Transformer.

    symbol   code              shape
    a        step_sizes        (T,)
    b        shrinkage         (T,)
    Q        state.transform   (d, d)

    Raises `ValueError` for step sizes and shrinkages that are not finite or not equally many.
    """
    checks.shape("step_sizes", step_sizes, (None,))
    checks.shape("shrinkage", shrinkage, step_sizes.shape)
    checks.finite("step_sizes", step_sizes)
    checks.finite("shrinkage", shrinkage)

    def init(prompt: Prompt) -> MovingState:
        x = design_matrix(prompt)
        d = x.shape[1]
        # plus zeros like x, for the same reason as in start_at_zero
        return MovingState(start_at_zero(prompt), jnp.eye(d, dtype=x.dtype) + jnp.zeros_like(x, shape=(d, d)))

    def step(state: MovingState, prompt: Prompt, layer: tuple[Array, Array]) -> MovingState:
        (w, transform), (step_size, shrink) = state, layer
        moved = design_matrix(prompt) @ transform
        return MovingState(
            w=w - step_size * (transform @ (transform @ least_squares_gradient(w, prompt))),
            transform=transform - shrink * (moved.T @ (moved @ transform)) / prompt.n_used,
        )

    return Solver(init, step, lambda state: state.w, layers=(step_sizes, shrinkage))
