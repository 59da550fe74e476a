"""The training loop: a pure `advance`, and `train`, its one impure driver.

The batch of step t is a function of fold_in(key, t). There is no loader and no iterator whose state could be lost: a run is
its TrainState, and continuing from a saved one gives the same bytes as never having stopped.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.training.losses import Loss
from jaxl2o.training.parallel import Sharding, TaskKeys, mean_over_tasks, place, settle, stay
from jaxl2o.types import Instance, Key, Params, Prompt, Task, answer_tasks


class Recipe(NamedTuple):
    """What is trained, on what, and how.

    predict: `learner.predict` or `learner.prefixes`.  task_at: (step) -> Task.  loss: see `losses`.
    optimizer: any optax transformation; which parameters move is its business.  batch_size: tasks a step.
    params_at: (params, step) -> params, for stages and unmasking. `step` is traced, so curricula are masks.
    devices: of all processes, as many of each, which share a step's tasks.  at_once: tasks of a device whose activations are
    held at one time, the rest following one group after another; 0: all. Neither changes which tasks a step has, nor their loss
    but for rounding, which a deep network makes large in time: with `at_once` set, 1, 2, 4, ... devices add in one order, which
    avoids that. Several devices of a CPU whose tasks hold linear solves need more threads than devices (set NPROC), or they
    wait for ever; and each solve is to have one (OPENBLAS_NUM_THREADS=1), or it is many times slower.
    sharding: how parameters and optimiser lie on the devices between steps: whole on each, or "fsdp", cut among them, so that a
    training keeps about 1 / devices of their bytes on each. The state that a training starts from is whole on one device until
    whoever made it lets it go, and the one that it returns is again. The curve is the same up to the order of sums.
    (`losses.log_mean_relative` alone compares the tasks that are held at one time with each other.)
    """

    predict: Callable[[Params, Prompt], Array]
    task_at: Callable[[Int[Array, ""]], Task]
    loss: Loss
    optimizer: optax.GradientTransformation
    batch_size: int
    params_at: Callable[[Params, Int[Array, ""]], Params] = lambda params, step: params
    devices: int = 1
    at_once: int = 0
    sharding: Sharding = "replicated"


class TrainState(NamedTuple):
    """Everything that a run is. step: how many are done; key: the run's only randomness, never changed."""

    params: Params
    opt_state: Any
    step: Int[Array, ""]
    key: Key


def start(recipe: Recipe, params: Params, key: Key) -> TrainState:
    """The state before the first step. Parameters may come from `init`, from training, or from a construction."""
    params = jax.tree.map(jnp.array, params)
    return TrainState(params, recipe.optimizer.init(params), jnp.zeros((), dtype=int), key)


def task_keys(recipe: Recipe, step: Int[Array, ""], key: Key) -> TaskKeys:
    """The keys of the tasks of one step: a function of fold_in(key, step), on however many devices they are drawn."""
    return jax.random.split(jax.random.fold_in(key, step), recipe.batch_size)


def mean_loss(recipe: Recipe, params: Params, step: Int[Array, ""], keys: TaskKeys) -> Float[Array, ""]:
    """The mean loss over the tasks of these keys."""

    def loss(trajectory: Array, instance: Instance) -> Float[Array, ""]:
        return recipe.loss(trajectory, instance, step)

    return jnp.mean(answer_tasks(recipe.predict, recipe.params_at(params, step), recipe.task_at(step).sample, loss, keys))


def advance(recipe: Recipe, state: TrainState, n_steps: int) -> tuple[TrainState, Float[Array, " n_steps"]]:
    """Take `n_steps` optimiser steps; returns the new state and the loss of every step. Pure: `vmap` of it is a sweep."""

    def value_and_gradient(at: tuple[Params, Int[Array, ""]], keys: TaskKeys) -> tuple[Float[Array, ""], Params]:
        params, step = at
        return jax.value_and_grad(mean_loss, argnums=1)(recipe, params, step, keys)

    mean = mean_over_tasks(value_and_gradient, recipe.devices, recipe.at_once, recipe.sharding)

    def step(state: TrainState, _: None) -> tuple[TrainState, Float[Array, ""]]:
        value, gradient = mean((state.params, state.step), task_keys(recipe, state.step, state.key))
        updates, opt_state = recipe.optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = TrainState(params, opt_state, state.step + 1, state.key)
        return stay(state, recipe.devices, recipe.sharding), value

    return lax.scan(step, state, length=n_steps)


class Chunk(NamedTuple):
    """What `train` reports after every chunk: the state, the losses of its steps, and the seconds it took without compiling."""

    state: TrainState
    losses: Float[np.ndarray, " steps"]
    seconds: float


ADVICE = (
    "the last good checkpoint is kept: start a run from it, or anew, with a lower learning rate, a clipped gradient or a "
    "bounded loss."
)


class DivergedError(RuntimeError):
    """The loss or a parameter became infinite or not a number; what was saved before is still good."""


@jax.jit
def finite(params: Params) -> Bool[Array, ""]:
    """Whether all parameters are finite numbers: one answer, on whatever devices and processes they lie."""
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]))


def train(
    recipe: Recipe, state: TrainState, n_steps: int, chunk_size: int, report: Callable[[Chunk], None] = lambda chunk: None
) -> TrainState:
    """Advance until `n_steps` are done in all: `train_placed` of a copy of the state, laid out as the recipe says.

    The caller's own state is left as it is, where it is.
    """
    return train_placed(recipe, place(state, recipe.devices, recipe.sharding), n_steps, chunk_size, report)


def train_placed(
    recipe: Recipe, state: TrainState, n_steps: int, chunk_size: int, report: Callable[[Chunk], None] = lambda chunk: None
) -> TrainState:
    """Advance until `n_steps` are done in all, in jitted chunks with donated buffers; each chunk is reported.

    state: lies as `parallel.place` leaves it, and is given away: its buffers become those of the next.

    All that will run is compiled before the first step: a chunk, and the rest if the chunks do not divide the steps.

    A state that has come further is returned as it is. Reports hold the live state, on all devices: copy what must outlast
    the call. The returned state is whole, on the first device alone, so that what follows runs there once. Where there are
    several processes (`hosts.start_processes`), all call this alike, and each gets the state on its own first device.

    Raises `DivergedError` as soon as a loss or a parameter is not finite, before that chunk is reported.
    """
    checks.require(chunk_size >= 1, f"chunk_size is {chunk_size}; it must be at least 1.")
    run = jax.jit(advance, static_argnums=(0, 2), donate_argnums=1)
    done = int(state.step)
    left = max(0, n_steps - done)
    sizes = {min(chunk_size, left), left % chunk_size} - {0}
    compiled = {size: run.lower(recipe, state, size).compile() for size in sizes}
    while done < n_steps:
        size = min(chunk_size, n_steps - done)
        began = time.perf_counter()
        state, values = compiled[size](state)
        losses = np.asarray(values)
        seconds = time.perf_counter() - began
        if not np.isfinite(losses).all():
            first = done + 1 + int(np.argmin(np.isfinite(losses)))
            raise DivergedError(f"the loss of step {first} is {losses[first - done - 1]}; {ADVICE}")
        if not finite(state.params):
            raise DivergedError(f"the parameters after step {done + size} are not finite; {ADVICE}")
        done += size
        report(Chunk(state, losses, seconds))
    return settle(state, recipe.devices)
