"""A parametrised solver, and how its iterates answer queries, make a Learner."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from jaxl2o.objectives import linear_prediction
from jaxl2o.solvers.unroll import Unrolled, unroll
from jaxl2o.types import Key, Learner, Params, Prompt, Solver, predict_prefixes


def learned(
    init: Callable[[Key, Prompt], Params],
    solver: Callable[[Params], Solver],
    predict: Callable[[Any, Array], Array] = linear_prediction,
    gradient: Unrolled = Unrolled(),
) -> Learner:
    """The Learner whose t-th answer is `predict(iterate after t steps, x_query)`, over all layers of the solver.

    init: (key, prompt) -> params.  solver: params -> Solver with learned layers.  predict as in `Task`; without
    queries the answer is the iterate itself.
    """

    def answer(params: Params, prompt: Prompt) -> Array:
        unrolled = solver(params)
        depth = jax.tree.leaves(unrolled.layers)[0].shape[0]
        iterates = unroll(unrolled, prompt, depth, gradient)
        return iterates if prompt.x_query is None else jax.vmap(predict, in_axes=(0, None))(iterates, prompt.x_query)

    return Learner(init, answer, predict_prefixes(answer))
