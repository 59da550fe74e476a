"""Solver -> Solver: see the prompt otherwise, such as with a shared matrix; refuse steps that make things worse; halt early."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.types import Params, Predict, Prompt, ScalarLike, Solver, design_matrix, over_tasks

LONGEST = 10.0  # a safeguarded iterate's length, in units of that which explains the labels where X is isotropic


def seen_through(solver: Solver, view: Callable[[Prompt], Prompt]) -> Solver:
    """The same solver on `view(prompt)` in place of the prompt; its iterates are what they are there."""
    residual = solver.residual
    return solver._replace(
        init=lambda prompt: solver.init(view(prompt)),
        step=lambda state, prompt, layer: solver.step(state, view(prompt), layer),
        residual=None if residual is None else lambda iterate, prompt: residual(iterate, view(prompt)),
    )


def with_matrix(solver: Solver, matrix: Float[Array, "n d"]) -> Solver:
    """The same solver on prompts that share one measurement matrix and bear none (`prompt.x` None).

    Under `vmap` a closed-over matrix stays one matrix, so B products become one large one; carried in the prompt it
    would be copied B times.
    """
    checks.shape("matrix", matrix, (None, None))
    return seen_through(solver, lambda prompt: prompt._replace(x=matrix))


def misfit(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, ""]:
    """|y - X w|^2 / |y|^2, and |X w|^2 where y is zero."""
    error, size = prompt.y - design_matrix(prompt) @ w, prompt.y @ prompt.y
    return error @ error / jnp.where(size > 0.0, size, 1.0)


def fits(w: Float[Array, " d"], prompt: Prompt) -> Bool[Array, ""]:
    """|y - X w|^2 <= (1 + 1e-6) |y|^2 and |w| <= 10 sqrt(d) |y| / |X|_F: no worse than the zero vector, and not far from it.

    X sees nothing of its null space, so the misfit alone bounds nothing there. sqrt(d) |y| / |X|_F is about the length of w
    where y = X w for an X that treats all directions alike. Both are the same when X, or y and w, are multiplied by a number.
    """
    size = jnp.linalg.norm(design_matrix(prompt))
    length = LONGEST * w.shape[0] ** 0.5 * jnp.linalg.norm(prompt.y) / jnp.where(size > 0.0, size, jnp.inf)
    return (misfit(w, prompt) <= 1.0 + 1e-6) & (jnp.linalg.norm(w) <= length)


def safeguarded(solver: Solver) -> Solver:
    """The same solver, but a step that leads to an iterate that does not fit is not taken.

    Step t is taken if w_t `fits`, and otherwise the state stays as it is. So from zero, at every t, |y - X w_t| is at most |y|,
    up to rounding, and |w_t| at most a multiple of it: a learned solver cannot explode on a matrix unlike its training ones.
    The rule reads X, y and the iterate alone, is the same in training and in use, and has no units. After the idea of Heaton et
    al. 2020 (arXiv:2003.01880), with the data misfit as the measure of progress.
    """

    def step(state: Any, prompt: Prompt, layer: Any) -> Any:
        proposal = solver.step(state, prompt, layer)
        accepted = fits(solver.iterate(proposal), prompt)
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposal, state)

    return solver._replace(step=step)


def safeguarded_answers(predict: Callable[[Params, Prompt], Array]) -> Predict:
    """The same rule for what only answers, such as a Transformer: the t-th answer is the last iterate up to t that `fits`.

    predict: (params, prompt) -> (T+1, d), iterates, so the prompts ask for no labels. Inside nothing is undone, as it is in a
    safeguarded solver. If the first iterate does not fit either, it stands.
    """

    def kept(path: Float[Array, "steps d"], prompt: Prompt) -> Float[Array, "steps d"]:
        accepted = jax.vmap(fits, in_axes=(0, None))(path, prompt)
        return path[lax.cummax(jnp.where(accepted, jnp.arange(path.shape[0]), 0))]

    def one(params: Params, prompt: Prompt) -> Array:
        return kept(predict(params, prompt), prompt)

    def many(params: Params, prompts: Prompt) -> Array:
        return jax.vmap(kept)(over_tasks(predict)(params, prompts), prompts)

    return Predict(one, many)


class Halted(NamedTuple):
    """state: the solver's own; taken: how many steps were taken."""

    state: Any
    taken: Int[Array, ""]


def halted(solver: Solver, tolerance: ScalarLike) -> Solver:
    """The same solver until its `misfit` is at most `tolerance`; from then on the state stays as it is.

    Signals differ in how many steps they need. `unroll(..., keep=lambda state: state.taken)` says how many each took.
    """
    checks.nonnegative("tolerance", tolerance)

    def init(prompt: Prompt) -> Halted:
        return Halted(solver.init(prompt), jnp.zeros((), dtype=int))

    def step(state: Halted, prompt: Prompt, layer: Any) -> Halted:
        going = misfit(solver.iterate(state.state), prompt) > tolerance
        further = Halted(solver.step(state.state, prompt, layer), state.taken + 1)
        return jax.tree.map(lambda new, old: jnp.where(going, new, old), further, state)

    return solver._replace(init=init, step=step, iterate=lambda state: solver.iterate(state.state))
