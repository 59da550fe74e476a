"""Solver -> Solver: close over a shared matrix; refuse steps that make things worse."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Prompt, Solver, design_matrix


def with_matrix(solver: Solver, matrix: Float[Array, "n d"]) -> Solver:
    """The same solver on prompts that share one measurement matrix and bear none (`prompt.x` None).

    Under `vmap` a closed-over matrix stays one matrix, so B products become one large one; carried in the prompt it
    would be copied B times.
    """
    checks.shape("matrix", matrix, (None, None))
    residual = solver.residual

    def with_x(prompt: Prompt) -> Prompt:
        return prompt._replace(x=matrix)

    return solver._replace(
        init=lambda prompt: solver.init(with_x(prompt)),
        step=lambda state, prompt, layer: solver.step(state, with_x(prompt), layer),
        residual=None if residual is None else lambda iterate, prompt: residual(iterate, with_x(prompt)),
    )


def safeguarded(solver: Solver) -> Solver:
    """The same solver, but a step that fits the data worse than the zero vector is not taken.

    Step t is taken if |y - X w_t|^2 <= (1 + 1e-6) |y|^2, with room for rounding alone, and otherwise the state stays as it
    is. So this holds at every t when the solver starts from zero, and a learned solver cannot explode on a matrix unlike
    its training ones. The rule reads X, y and the iterate alone, is the same in training and in use, and is invariant to
    the scale of y. After the idea of Heaton et al. 2020 (arXiv:2003.01880), with the data misfit as the measure of progress.
    """

    def step(state: Any, prompt: Prompt, layer: Any) -> Any:
        proposal = solver.step(state, prompt, layer)
        error = prompt.y - design_matrix(prompt) @ solver.iterate(proposal)
        accepted = error @ error <= prompt.y @ prompt.y * (1.0 + 1e-6)
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposal, state)

    return solver._replace(step=step)
