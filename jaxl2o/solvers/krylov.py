"""Conjugate gradients: the best point of every Krylov space, by coefficients that each prompt finds for itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.objectives import least_squares_gradient
from jaxl2o.solvers.first_order import preconditioning, start_at_zero
from jaxl2o.solvers.momentum import Steps
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt, Solver, design_matrix


class ConjugateState(NamedTuple):
    """w: (d,) the iterate; direction: (d,); rho: g'Pg at the step before, and at the first; both zero before any step."""

    w: Float[Array, " d"]
    direction: Float[Array, " d"]
    rho: Float[Array, ""]
    rho_first: Float[Array, ""]


def conjugate_gradient(preconditioner: Float[Array, "d d"] | None = None) -> Solver:
    """Conjugate gradients for H w = X'y / n, with H = X'X / n (Hestenes and Stiefel 1952), preconditioned by one P.

        rho_t = g_t'P g_t,   s_t = -P g_t + rho_t / rho_{t-1} s_{t-1},   w_{t+1} = w_t + rho_t / (s_t'H s_t) s_t,   g = grad R

    w_t has the least (w - w*)'H(w - w*) in w_0 + span{P g_0, PH P g_0, ..., (PH)^{t-1} P g_0}; so d steps reach the answer,
    the least-squares solution, which from zero with P = I is that of minimum norm. The iterates are not linear in y.

    symbol   code              shape
    w        state.w           (d,)
    s        state.direction   (d,)
    P        preconditioner    (d, d) symmetric positive definite, the identity unless given

    A step whose rho_t is zero up to rounding, (64 eps)^2 rho_0 or less, or whose s'H s is zero, changes nothing; so steps
    beyond the answer do no harm, and gradients through them are finite.
    """
    conditioned = preconditioning(preconditioner)

    def init(prompt: Prompt) -> ConjugateState:
        w = start_at_zero(prompt)
        zero = jnp.zeros_like(w, shape=())
        return ConjugateState(w, jnp.zeros_like(w), zero, zero)

    def step(state: ConjugateState, prompt: Prompt, _: None) -> ConjugateState:
        gradient = least_squares_gradient(state.w, prompt)
        downhill = -conditioned(gradient)
        rho = -gradient @ downhill
        rho_first = jnp.where(state.rho_first > 0.0, state.rho_first, rho)
        direction = downhill + rho / jnp.where(state.rho > 0.0, state.rho, 1.0) * state.direction
        image = design_matrix(prompt) @ direction
        sigma = image @ image / prompt.n_used
        going = (rho > (64.0 * float(jnp.finfo(rho.dtype).eps)) ** 2 * rho_first) & (sigma > 0.0)
        w = state.w + rho / jnp.where(sigma > 0.0, sigma, 1.0) * direction
        further = ConjugateState(w, direction, rho, rho_first)
        return jax.tree.map(lambda new, old: jnp.where(going, new, old), further, state)

    return Solver(init, step, lambda state: state.w, residual=least_squares_gradient)


def frozen_steps(prompt: Prompt, n_steps: int, preconditioner: Float[Array, "d d"] | None = None) -> Steps:
    """What conjugate gradients find on this prompt, as a schedule: `scheduled_momentum` with it runs them again.

    On this prompt that is conjugate gradients; on any other it is momentum with coefficients that are not its own. A step
    beyond the answer has zeros.
    """
    states = unroll(conjugate_gradient(preconditioner), prompt, n_steps, keep=lambda state: state)
    moves, directions = jnp.diff(states.w, axis=0), states.direction[1:]
    before, after = states.rho[:-1], states.rho[1:]
    going = jnp.any(moves != 0.0, axis=1)
    sizes = jnp.where(going, jnp.sum(directions**2, axis=1), 1.0)
    momentum = jnp.where(going & (before > 0.0), after / jnp.where(before > 0.0, before, 1.0), 0.0)
    return Steps(jnp.sum(moves * directions, axis=1) / sizes, momentum)
