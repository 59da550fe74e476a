"""Many runs of a solver side by side, each told of another coordinate that it may be non-zero; the simplest answer is given.

A support of three among twenty is one of 1,140, and trying them all is exact; trying one coordinate at a time costs 20 runs,
and a solver that is told a part of the support needs fewer measurements for the rest (Vaswani and Lu 2010, arXiv:0903.5066).
To try every coordinate and to choose among the answers is our own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxl2o import checks
from jaxl2o.solvers.wrappers import misfit
from jaxl2o.types import Prompt, ScalarLike, Solver

# (iterate, prompt) -> a number, least for the answer that is given
Cost = Callable[[Float[Array, " d"], Prompt], Float[Array, ""]]


class Branches(NamedTuple):
    """states: the solver's own, stacked over the branches; w: the chosen iterate, (d,)."""

    states: Any
    w: Float[Array, " d"]


def complexity(tolerance: ScalarLike = 0.01, small: ScalarLike = 0.05) -> Cost:
    """sum_i w_i^2 / (w_i^2 + (small |w|)^2) + |y - X w|^2 / (tolerance |y|^2).

    A count of the entries, in which those far below `small` of the length of w count little, and a charge for the part of the
    labels that is not explained: an entry more is worth it if it explains a share `tolerance` of |y|^2 more. Both terms are
    the same when y and w are multiplied by a number. The defaults were tried on sparse signals with noise and without.
    """
    checks.positive("tolerance", tolerance)
    checks.positive("small", small)

    def cost(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, ""]:
        size = w * w
        floor = small**2 * jnp.sum(size)
        counted = jnp.sum(size / jnp.where(floor > 0.0, size + floor, 1.0))
        return counted + misfit(w, prompt) / tolerance

    return cost


def branched(branch: Callable[[Bool[Array, " d"]], Solver], marks: Bool[Array, "c d"], cost: Cost | None = None) -> Solver:
    """Runs `branch(mark)` for every row of `marks`; its iterate is that of the branch of least cost, chosen anew at each step.

    branch: coordinates -> Solver, such as `lambda free: in_context_alista(layers, weights, free)`; layers are the same for all.
    marks: (c, d), such as `none_or_one(d)`.  cost: by default `complexity()`.

    The branches know nothing of each other, so c runs are one run of c times the work, side by side. The choice itself has no
    derivative: the gradient is that of the chosen branch.
    """
    checks.shape("marks", marks, (None, None))
    price = complexity() if cost is None else cost

    def chosen(states: Any, prompt: Prompt) -> Branches:
        iterates = jax.vmap(branch(marks[0]).iterate)(states)
        costs = jax.vmap(price, in_axes=(0, None))(iterates, prompt)
        # a branch that overflowed has no cost, and argmin would take it
        return Branches(states, iterates[jnp.argmin(jnp.where(jnp.isnan(costs), jnp.inf, costs))])

    def init(prompt: Prompt) -> Branches:
        return chosen(jax.vmap(lambda mark: branch(mark).init(prompt))(marks), prompt)

    def step(state: Branches, prompt: Prompt, layer: Any) -> Branches:
        return chosen(jax.vmap(lambda mark, own: branch(mark).step(own, prompt, layer))(marks, state.states), prompt)

    return Solver(init, step, lambda state: state.w, branch(marks[0]).layers)


def none_or_one(d: int) -> Bool[Array, "{d}+1 {d}"]:
    """Marks for d + 1 branches: no coordinate, or one of them."""
    return jnp.eye(d + 1, d, k=-1, dtype=bool)
