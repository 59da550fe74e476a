"""Any Optax optimiser of any objective is a Solver, so that it can be unrolled, compared and differentiated as one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Prompt, PyTree, ScalarLike, Solver


class OptaxState(NamedTuple):
    """iterate: what is optimised; optimizer: the optimiser's own state."""

    iterate: PyTree
    optimizer: PyTree


def from_optax(
    optimizer: optax.GradientTransformation,
    objective: Callable[[Any, Prompt], ScalarLike],
    init: Callable[[Prompt], Any] = start_at_zero,
) -> Solver:
    """iterate <- iterate + update(grad objective(iterate, prompt)), by the rule of an Optax optimiser (DeepMind 2020).

    objective: (iterate, prompt) -> scalar.  init: prompt -> iterate, of any structure.  Optimisers that also ask for the
    value or for the function, such as `optax.polyak_sgd` or `optax.lbfgs`, get them. The residual is the gradient.
    """
    update = optax.with_extra_args_support(optimizer).update

    def first(prompt: Prompt) -> OptaxState:
        iterate = init(prompt)
        return OptaxState(iterate, optimizer.init(iterate))

    def step(state: OptaxState, prompt: Prompt, _: None) -> OptaxState:
        def objective_here(iterate: Any) -> ScalarLike:
            return objective(iterate, prompt)

        value, gradient = jax.value_and_grad(objective_here)(state.iterate)
        change, further = update(gradient, state.optimizer, state.iterate, value=value, grad=gradient, value_fn=objective_here)
        return OptaxState(optax.apply_updates(state.iterate, change), further)

    return Solver(first, step, lambda state: state.iterate, residual=jax.grad(objective))
