"""A parametrised solver, and how its iterates answer queries, make a Learner."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from jaxl2o import checks
from jaxl2o.objectives import linear_prediction
from jaxl2o.solvers.unroll import Unrolled, unroll
from jaxl2o.types import Key, Learner, Params, Prompt, Solver, predict_prefixes


def learned(
    init: Callable[[Key, Prompt], Params],
    solver: Callable[[Params], Solver],
    predict: Callable[[Any, Array], Array] = linear_prediction,
    gradient: Unrolled = Unrolled(),
    n_steps: int | None = None,
) -> Learner:
    """The Learner whose t-th answer is `predict(iterate after t steps, x_query)`.

    init: (key, prompt) -> params.  solver: params -> Solver.  predict as in `Task`; without queries the answer is the
    iterate itself.  n_steps: None for all learned layers of the solver; a solver without layers must be given a number.
    """

    def answer(params: Params, prompt: Prompt) -> Array:
        unrolled = solver(params)
        layers = jax.tree.leaves(unrolled.layers)
        checks.require(
            n_steps is not None or len(layers) > 0, "the solver has no learned layers to count; give learned its n_steps."
        )
        iterates = unroll(unrolled, prompt, layers[0].shape[0] if n_steps is None else n_steps, gradient)
        return iterates if prompt.x_query is None else jax.vmap(predict, in_axes=(0, None))(iterates, prompt.x_query)

    return Learner(init, answer, predict_prefixes(answer))
