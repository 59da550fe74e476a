"""Classes of first-order methods with fixed coefficients: the solvers of Transformers whose heads write labels alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.solvers.linear_first_order import (
    linear_first_order,
    momentum_coefficients,
    preconditioned_coefficients,
    tied_coefficients,
)
from jaxl2o.solvers.momentum import Steps
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Params, Prompt, Solver, queries

FIRST = 0.5  # the step size at which every training begins


class Memory(NamedTuple):
    """What layers remember: `start` is theta before training, `coefficients` of theta are (T, T), as the solver takes them."""

    start: Params
    coefficients: Callable[[Params], Float[Array, "T T"]]


def memories(depth: int) -> dict[str, Memory]:
    """By the names of the figures. Tied coefficients are those of the paper's experiments, of all gradients those of ours."""
    sizes = jnp.full(depth, FIRST)
    return {
        "no memory": Memory(sizes, newest),
        "momentum": Memory(Steps(sizes, jnp.zeros(depth)), momentum_coefficients),
        "tied": Memory(sizes / depth, tied_coefficients),
        "all gradients": Memory(newest(sizes), lambda theta: theta),
    }


def newest(step_size: Float[Array, " T"]) -> Float[Array, "T T"]:
    """The coefficients of gradient descent: the newest gradient alone counts."""
    depth = step_size.shape[0]
    return jnp.zeros((depth, depth)).at[:, 0].set(step_size)


class Method(NamedTuple):
    """A parametrised solver. start: theta before training.  solver: theta -> Solver."""

    start: Params
    solver: Callable[[Params], Solver]


def scalar(memory: Memory) -> Method:
    """One number for every gradient: heads whose scores are multiples of <x_i, x_j>."""
    return Method(memory.start, lambda theta: linear_first_order(memory.coefficients(theta)))


def preconditioned(memory: Memory, d: int, depth: int) -> Method:
    """The same, with a free matrix in the score of every layer."""

    def solver(theta: Params) -> Solver:
        weights, matrices = theta
        return linear_first_order(preconditioned_coefficients(memory.coefficients(weights), matrices))

    return Method((memory.start, jnp.broadcast_to(jnp.eye(d), (depth, d, d))), solver)


def at_every_depth(method: Method, depth: int) -> tuple[Params, Callable[[Params, Prompt], Array]]:
    """A start and a `predict` with parameters of its own for every depth: answer t is after t steps of the t-th of them.

    So all depths are trained on the same prompts, each on what it is asked for.
    """
    starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (depth, *leaf.shape)), method.start)

    def predict(thetas: Params, prompt: Prompt) -> Float[Array, "T+1 m"]:
        iterates = jax.vmap(lambda theta: unroll(method.solver(theta), prompt, depth))(thetas)
        steps = jnp.arange(depth)
        return jnp.concatenate([iterates[:1, 0], iterates[steps, steps + 1]]) @ queries(prompt).T

    return starts, predict
