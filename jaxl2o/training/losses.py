"""What training minimises: a penalty of the errors of a trajectory, at the last step, at all steps, or at all prefixes.

A loss is (trajectory, instance, step) -> scalar: the trajectory is what a Learner answers after 0..T steps, `step` is the
training step, traced, for curricula. A penalty is a function of one error, prediction minus label.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import TASKS, Instance

Penalty = Callable[[Float[Array, "..."]], Float[Array, "..."]]
Loss = Callable[[Float[Array, "steps k"], Instance, Array], Float[Array, ""]]


def squared(error: Float[Array, "..."]) -> Float[Array, "..."]:
    """error^2."""
    return error**2


def bounded(scale: float = 1.0) -> Penalty:
    """log(1 + (error / scale)^2): squared for small errors, so slow for large ones that rare prompts cannot break training."""
    checks.positive("scale", scale)
    return lambda error: jnp.log1p((error / scale) ** 2)


def last_step(penalty: Penalty = squared) -> Loss:
    """The mean penalty over the queries, of the last answers: trajectory (T+1, m)."""
    return lambda trajectory, instance, step: jnp.mean(penalty(trajectory[-1] - instance.y_query))


def all_steps(penalty: Penalty = squared) -> Loss:
    """The mean penalty over the queries and over steps 1..T: every layer is asked to be good, which eases deep unrolling."""
    return lambda trajectory, instance, step: jnp.mean(penalty(trajectory[1:] - instance.y_query[None]))


def log_relative(floor: float = 1e-10) -> Loss:
    """The mean over steps 1..T of log(|error|^2 / |label|^2 + floor): what decibels average, trajectory (T+1, m).

    Every factor by which an error shrinks counts the same, at any size, so late steps of a fast solver matter as much as
    early ones. A task whose labels are all zero counts as size 1.
    """
    checks.positive("floor", floor)

    def loss(trajectory: Float[Array, "steps m"], instance: Instance, step: Array) -> Float[Array, ""]:
        error = jnp.sum((trajectory[1:] - instance.y_query[None]) ** 2, axis=1)
        size = jnp.sum(instance.y_query**2)
        return jnp.mean(jnp.log(error / jnp.where(size > 0.0, size, 1.0) + floor))

    return loss


def log_mean_relative(floor: float = 1e-10) -> Loss:
    """The mean over steps 1..T of log(mean |error|^2 / mean |label|^2 + floor), means over the tasks held at one time.

    It is what a ratio of sums in decibels is, so tasks that are hard for a solver weigh more than in `log_relative`. A task's
    share is its own error over the mean of all, which gives the gradient of the logarithm. Trajectory: (T+1, m).
    """
    checks.positive("floor", floor)

    def loss(trajectory: Float[Array, "steps m"], instance: Instance, step: Array) -> Float[Array, ""]:
        error = jnp.sum((trajectory[1:] - instance.y_query[None]) ** 2, axis=1)
        size = lax.pmean(jnp.sum(instance.y_query**2), TASKS)
        relative = error / jnp.where(size > 0.0, size, 1.0)
        level = lax.stop_gradient(lax.pmean(relative, TASKS)) + floor
        return jnp.mean(jnp.log(level) + (relative + floor) / level - 1.0)

    return loss


def all_prefixes(penalty: Penalty = squared) -> Loss:
    """The mean penalty over all prefixes, of the last answers: trajectory (T+1, n+1), from `Learner.prefixes`."""

    def loss(trajectory: Float[Array, "steps prefixes"], instance: Instance, step: Array) -> Float[Array, ""]:
        labels = jnp.concatenate([instance.prompt.y, instance.y_query])
        return jnp.mean(penalty(trajectory[-1] - labels))

    return loss
