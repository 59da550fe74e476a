"""Gradient descent with a backtracking line search, for any objective: the baseline that needs no step size."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Prompt, ScalarLike, Solver


def backtracking(
    objective: Callable[[Float[Array, " d"], Prompt], Float[Array, ""]],
    longest: ScalarLike = 1.0,
    shrinkage: float = 0.5,
    trials: int = 30,
) -> Solver:
    """w <- w - s g with the longest s of longest, longest * shrinkage, ... for which f(w - s g) <= f(w) - s |g|^2 / 2.

    Armijo 1966, with 1/2 as the share of the first-order decrease: a step of 1 / L always has it where f'' <= L I, so s is
    at least shrinkage / L unless the `trials` end before. Then, as beyond the precision of f, w stays where it is. All trials
    are evaluated at once, so that the step vmaps.
    """
    checks.positive("longest", longest)
    checks.require(0.0 < shrinkage < 1.0, f"shrinkage is {shrinkage:g}; it must lie strictly between 0 and 1.")
    checks.require(trials >= 1, f"trials is {trials}; it must be at least 1.")

    def step(w: Float[Array, " d"], prompt: Prompt, _: None) -> Float[Array, " d"]:
        value, slope = jax.value_and_grad(objective)(w, prompt)
        sizes = longest * shrinkage ** jnp.arange(trials)
        values = jax.vmap(lambda size: objective(w - size * slope, prompt))(sizes)
        enough = values <= value - 0.5 * sizes * (slope @ slope)
        return w - jnp.where(enough.any(), sizes[jnp.argmax(enough)], 0.0) * slope

    return Solver(start_at_zero, step, lambda w: w, residual=jax.grad(objective))
