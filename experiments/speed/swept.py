"""What is swept: two models, each a short training from a start and at a rate of its own; and the ways to train many."""

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxl2o.evaluation.grid import Axes, Point, group, group_size, labels_of
from jaxl2o.evaluation.sweep import program
from jaxl2o.models.encoding import alternating
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import gpt2
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.linear_first_order import linear_first_order
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, TrainState, advance, start
from jaxl2o.training.parallel import share_out
from jaxl2o.types import Instance, Learner, Params, Task, answer_tasks

D, N, DEPTH = 5, 20, 4  # features and examples of both, and layers of the Memformer
PROMPTS = 1000  # the seed of the prompts that all models see; a model that draws its own has its number as seed


class Swept(NamedTuple):
    """A model to be swept. prefixes: it is trained on all of them.  steps: of one training.  budget: bytes of a device."""

    learner: Learner
    prefixes: bool
    batch: int
    steps: int
    budget: int


def memformer() -> Learner:
    """The linear Transformer of four layers that remembers all gradients, as the solver that it equals: coefficients alone."""

    def init(key: jax.Array, prompt: object) -> Params:
        newest = jnp.zeros((DEPTH, DEPTH)).at[:, 0].set(0.5)
        return newest + 0.01 * jax.random.normal(key, (DEPTH, DEPTH))

    return learned(init, linear_first_order)


MODELS: dict[str, Callable[[], Swept]] = {
    # Dutta and Sra 2024 (arXiv:2410.07263). The budget is the memory given; where this was measured, groups that need about
    # so much, the size of a processor's cache, are also the fastest
    "memformer": lambda: Swept(memformer(), prefixes=False, batch=512, steps=5, budget=32 * 2**20),
    # the smallest of Garg et al. 2022 (arXiv:2208.01066): 3 layers, 2 heads, width 64
    "transformer": lambda: Swept(
        transformer_learner(gpt2(D, 3, 2, 64, 2 * N + 1), alternating(D)), True, batch=64, steps=2, budget=256 * 2**20
    ),
}


def axes_of(count: int) -> Axes:
    """So many models, by their numbers."""
    return {"model": range(count)}


def task() -> Task:
    """What all are trained on."""
    return linear_regression(N, jnp.eye(D))


def given(model: Swept, prompts: str) -> Instance | None:
    """The instances of all steps, drawn beforehand, with leading axes (batch, steps); None unless prompts are to be given."""
    if prompts != "given":
        return None
    keys = jax.random.split(jax.random.key(PROMPTS), (model.batch, model.steps))
    return jax.jit(jax.vmap(jax.vmap(task().sample)))(keys)


def training(model: Swept, prompts: str, devices: int = 1) -> Callable[[Instance | None, Point], tuple[Params, jax.Array]]:
    """(given, point) -> the point's parameters and losses, after a training on prompts that are its own, the same, or given.

    "own": each point draws its own.  "same": each draws those that all points draw.  "given": none draws any.
    The number of the point says where it starts and its rate, from 1e-4 on, so that no step is the same for two of them.
    """
    learner, loss = model.learner, losses.all_prefixes() if model.prefixes else losses.last_step()
    predict = learner.prefixes if model.prefixes else learner.predict

    def train(given: Instance | None, point: Point) -> tuple[Params, jax.Array]:
        number = point["model"]
        recipe = Recipe(
            predict, lambda step: task(), loss, optax.adam(1e-4 * 1.005**number), model.batch, devices=1 if given else devices
        )
        params = learner.init(jax.random.key(number), task().sample(jax.random.key(PROMPTS)).prompt)
        state = start(recipe, params, jax.random.key(number if prompts == "own" else PROMPTS))
        if given is None:
            state, values = advance(recipe, state, model.steps)
        else:
            state, values = advance_on(recipe, state, given, model.steps)
        return state.params, values

    return train


def advance_on(recipe: Recipe, state: TrainState, given: Instance, n_steps: int) -> tuple[TrainState, jax.Array]:
    """`advance` on instances that are given, with leading axes (batch, steps), instead of drawn."""

    def step(state: TrainState, now: jax.Array) -> tuple[TrainState, jax.Array]:
        batch = jax.tree.map(lambda leaf: leaf[:, now], given)

        def mean_loss(params: Params) -> jax.Array:
            def penalty(trajectory: jax.Array, instance: Instance) -> jax.Array:
                return recipe.loss(trajectory, instance, now)

            return jnp.mean(answer_tasks(recipe.predict, params, lambda instance: instance, penalty, batch))

        value, gradient = jax.value_and_grad(mean_loss)(state.params)
        updates, opt_state = recipe.optimizer.update(gradient, state.opt_state, state.params)
        return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1, state.key), value

    return lax.scan(step, state, jnp.arange(n_steps))


def run(name: str, count: int, prompts: str, way: str, at_once: int, turn: Callable[[Sequence[float]], None]) -> None:
    """Train all models again and again, in one of the ways; `turn` is told when all is compiled, then the seconds of each time.

    One after another: the same compiled program is called for every model, either when the one before has ended, on one device
    ("waiting") or on all, which share its prompts ("shared"); or without waiting, so that JAX runs them as they come
    ("queued"). "one program": the groups of `sweep`, on all devices, which share the models. `sweep` itself compiles in every
    call, so it is its compiled program that is timed, on its groups. What `sweep` does besides, gathering what was found into
    arrays of the grid, is a copy of the models' parameters.
    """
    model, every, labels = MODELS[name](), jax.local_device_count(), labels_of(axes_of(count))
    instances = given(model, prompts)
    if way == "one program":
        size = group_size(count, at_once, every)
        arguments = [group(labels, first, size) for first in range(0, count, size)]
        train = training(model, prompts)
        call = jax.jit(lambda instances, points: program(partial(train, instances), every)(points))
    else:
        arguments = [{"model": np.asarray(number)} for number in range(count)]
        call = jax.jit(training(model, prompts, every if way == "shared" else 1))
        instances = share_out(instances, every) if way == "shared" else instances

    def train_all() -> None:
        if way == "queued":
            jax.block_until_ready([call(instances, argument) for argument in arguments])
        else:
            for argument in arguments:
                jax.block_until_ready(call(instances, argument))

    jax.block_until_ready(call(instances, arguments[0]))
    turn([0.0])
    while True:
        began = perf_counter()
        train_all()
        turn([perf_counter() - began])
