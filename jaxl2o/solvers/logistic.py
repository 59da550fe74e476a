"""Damped Newton for regularised logistic regression: exact, and with an inverse by products alone."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import logistic_gradient, logistic_hessian
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.inverse import diagonal, inverse_by_steps
from jaxl2o.types import Prompt, ScalarLike, Solver

CURVATURE = 0.25  # sigma' is at most this, so the Hessian is at most penalty + 1/4 where |x_i| <= 1

# (Hessian, gradient) -> about Hessian^-1 gradient
Direction = Callable[[Float[Array, "d d"], Float[Array, " d"]], Float[Array, " d"]]


def damped_newton(penalty: ScalarLike) -> Solver:
    """w <- w - eta H^-1 g, with g and H of the logistic loss f at w, lambda^2 = g'H^-1 g, and the self-concordant step

        eta = 2 sqrt(mu) / (2 sqrt(mu) + lambda).

    f / (4 mu) is standard self-concordant where |x_i| <= 1; so from any start a step lowers f by at least
    4 mu (v - log(1 + v)), v = lambda / (2 sqrt(mu)), and the convergence is quadratic in the end. Giannou et al. 2024,
    equation 3.7 and Proposition 3.3 (arXiv:2403.03183); Nesterov 2004, Theorem 4.1.12.

    paper      code       shape
    mu         penalty    (), > 0
    x_t        state w    (d,)
    """
    return _damped(penalty, jnp.linalg.solve)


def inexact_damped_newton(penalty: ScalarLike, inner_steps: int) -> Solver:
    """The same with H^-1 by k = `inner_steps` of Newton-Schulz from V_0 = `first_inverse(penalty)` I, as a Transformer does it.

    |I - H V| <= (1 / (8 mu + 1))^(2^k) where |x_i| <= 1, whatever the prompt.
    """
    checks.nonnegative("inner_steps", inner_steps)
    start = diagonal(first_inverse(penalty))
    return _damped(penalty, lambda hessian, gradient: inverse_by_steps(hessian, start, inner_steps) @ gradient)


def first_inverse(penalty: ScalarLike) -> ScalarLike:
    """2 / (2 mu + 1/4): of all multiples of I the best inverse of every matrix between mu I and (mu + 1/4) I."""
    checks.positive("penalty", penalty)
    return 2.0 / (2.0 * penalty + CURVATURE)


def damping(decrement: Float[Array, "*any"], penalty: ScalarLike) -> Float[Array, "*any"]:
    """eta = 2 sqrt(mu) / (2 sqrt(mu) + lambda), for the Newton decrement lambda of f."""
    unit = 2.0 * jnp.sqrt(penalty)
    return unit / (unit + decrement)


def _damped(penalty: ScalarLike, direction: Direction) -> Solver:
    checks.positive("penalty", penalty)

    def gradient(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, " d"]:
        return logistic_gradient(w, prompt, penalty)

    def step(w: Float[Array, " d"], prompt: Prompt, _: None) -> Float[Array, " d"]:
        slope = gradient(w, prompt)
        move = direction(logistic_hessian(w, prompt, penalty), slope)
        square = slope @ move
        # at the optimum the square root of zero has no derivative
        moving = square > 0.0
        decrement = jnp.where(moving, jnp.sqrt(jnp.where(moving, square, 1.0)), 0.0)
        return w - damping(decrement, penalty) * move

    return Solver(start_at_zero, step, lambda w: w, residual=gradient)
