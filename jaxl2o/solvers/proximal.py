"""Proximal gradient for the Lasso, F(w) = 1/(2n) |X w - y|^2 + penalty |w|_1: ISTA and FISTA; and for the group Lasso."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxl2o import checks
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


def soft_threshold(u: Float[Array, "*shape"], threshold: ScalarLike) -> Float[Array, "*shape"]:
    """S_theta(u) = sign(u) max(|u| - theta, 0): the proximal map of theta |.|_1, for theta >= 0."""
    return jnp.sign(u) * jnp.maximum(jnp.abs(u) - threshold, 0.0)


def block_soft_threshold(u: Float[Array, " d"], threshold: ScalarLike, partition: Int[Array, " d"]) -> Float[Array, " d"]:
    """u_g max(1 - theta sqrt(|g|) / |u_g|, 0) in every block g: the proximal map of theta sum_g sqrt(|g|) |u_g|.

    partition: (d,), the number of the block that a coordinate is in, 0 to d - 1.
    """
    energy = jax.ops.segment_sum(u**2, partition, u.shape[0])
    size = jax.ops.segment_sum(jnp.ones_like(u), partition, u.shape[0])
    shrink = jnp.maximum(1.0 - threshold * jnp.sqrt(size / jnp.where(energy > 0.0, energy, 1.0)), 0.0)
    return u * shrink[partition]


def smoothness(prompt: Prompt) -> Float[Array, ""]:
    """L, the largest eigenvalue of X'X / n: the Lipschitz constant of grad R. Positive even without examples."""
    x = design_matrix(prompt)
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    if gram.shape[0] == 0:
        return jnp.ones((), dtype=prompt.y.dtype)
    largest = jnp.linalg.eigvalsh(gram)[-1] / prompt.n_used
    return jnp.where(largest > 0.0, largest, 1.0)


def penalty_max(prompt: Prompt) -> Float[Array, ""]:
    """The smallest penalty at which the Lasso's answer is zero: |X'y|_inf / n."""
    return jnp.max(jnp.abs(design_matrix(prompt).T @ prompt.y), initial=0.0) / prompt.n_used


# (u, step size) -> the proximal map of step size * penalty
Proximal = Callable[[Array, ScalarLike], Array]


def _absolute(penalty: ScalarLike) -> Proximal:
    """The proximal maps of penalty |.|_1."""
    return lambda u, size: soft_threshold(u, size * penalty)


def _fixed_point(proximal: Proximal) -> Callable[[Array, Prompt], Array]:
    """w - prox(w - grad R(w)): zero exactly at the minimisers of F."""
    return lambda w, prompt: w - proximal(w - least_squares_gradient(w, prompt), 1.0)


class IstaState(NamedTuple):
    """w: (d,); step_size: 1 / L of this prompt, unless given."""

    w: Float[Array, " d"]
    step_size: Float[Array, ""]


def _proximal_gradient(proximal: Proximal, step_size: ScalarLike | None) -> Solver:
    """w <- prox(w - s * grad R(w), s), with s = 1 / L unless a step size is given."""
    if step_size is not None:
        checks.positive("step_size", step_size)

    def init(prompt: Prompt) -> IstaState:
        step = 1.0 / smoothness(prompt) if step_size is None else jnp.asarray(step_size, dtype=prompt.y.dtype)
        return IstaState(start_at_zero(prompt), step)

    def step(state: IstaState, prompt: Prompt, _: None) -> IstaState:
        forward = state.w - state.step_size * least_squares_gradient(state.w, prompt)
        return state._replace(w=proximal(forward, state.step_size))

    return Solver(init, step, lambda state: state.w, residual=_fixed_point(proximal))


def ista(penalty: ScalarLike, step_size: ScalarLike | None = None) -> Solver:
    """w <- S_{s * penalty}(w - s * grad R(w)), with s = 1 / L unless a step size is given.

    F(w_k) - F* <= L |w_0 - w*|^2 / (2k) (Beck and Teboulle 2009, Theorem 3.1).
    """
    checks.nonnegative("penalty", penalty)
    return _proximal_gradient(_absolute(penalty), step_size)


def block_ista(penalty: ScalarLike, partition: Int[Array, " d"], step_size: ScalarLike | None = None) -> Solver:
    """ISTA for the group Lasso, F(w) = R(w) + penalty * sum_g sqrt(|g|) |w_g|, for signals that vanish in whole blocks g.

    Yuan and Lin 2006; the rate is ISTA's. partition: (d,), the number of the block that a coordinate is in, 0 to d - 1;
    for blocks of `size` adjacent coordinates, jnp.arange(d) // size. Blocks of one coordinate give ISTA.
    """
    checks.nonnegative("penalty", penalty)
    checks.shape("partition", partition, (None,))
    if checks.concrete(partition):
        blocks = np.asarray(partition)
        outside = int(np.sum((blocks < 0) | (blocks >= len(blocks))))
        checks.require(
            outside == 0, f"partition has {outside} numbers of blocks out of range; number the blocks from 0 to d - 1."
        )
    return _proximal_gradient(lambda u, size: block_soft_threshold(u, size * penalty, partition), step_size)


class FistaState(NamedTuple):
    """w: (d,) the iterate; v: (d,) the extrapolated point; t: momentum counter; step_size: 1 / L of this prompt."""

    w: Float[Array, " d"]
    v: Float[Array, " d"]
    t: Float[Array, ""]
    step_size: Float[Array, ""]


def never(w: Array, v: Array, w_next: Array) -> Array:
    """No restart: FISTA as published."""
    return jnp.zeros((), dtype=bool)


def against_gradient(w: Array, v: Array, w_next: Array) -> Array:
    """Restart when the momentum points uphill, <v - w_next, w_next - w> > 0 (O'Donoghue and Candes 2015, eq. 12)."""
    return (v - w_next) @ (w_next - w) > 0.0


def extrapolate(
    w: Float[Array, " d"],
    v: Float[Array, " d"],
    w_next: Float[Array, " d"],
    t: Float[Array, ""],
    restart: Callable[[Array, Array, Array], Array],
) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    """The next point to step from, w_next + (t - 1) / t_next (w_next - w), and t_next; `restart` sets t back to 1 before."""
    t = jnp.where(restart(w, v, w_next), 1.0, t)
    t_next = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * t**2))
    return w_next + (t - 1.0) / t_next * (w_next - w), t_next


def fista(penalty: ScalarLike, restart: Callable[[Array, Array, Array], Array] = never) -> Solver:
    """ISTA's step from an extrapolated point v, whose momentum (t - 1) / t_next grows to 1.

    F(w_k) - F* <= 2 L |w_0 - w*|^2 / (k + 1)^2 (Beck and Teboulle 2009, Theorem 4.4). `restart` sets t back to 1;
    `against_gradient` makes the rate linear near the solution.
    """
    checks.nonnegative("penalty", penalty)
    proximal = _absolute(penalty)

    def init(prompt: Prompt) -> FistaState:
        w = start_at_zero(prompt)
        return FistaState(w, w, jnp.ones_like(w, shape=()), 1.0 / smoothness(prompt))

    def step(state: FistaState, prompt: Prompt, _: None) -> FistaState:
        forward = state.v - state.step_size * least_squares_gradient(state.v, prompt)
        w = proximal(forward, state.step_size)
        v, t = extrapolate(state.w, state.v, w, state.t, restart)
        return FistaState(w, v, t, state.step_size)

    return Solver(init, step, lambda state: state.w, residual=_fixed_point(proximal))
