"""Our side: a training step of a shape, with the settings whose worth is measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
import optax

from experiments.speed import textbook
from experiments.speed.shapes import Shape
from jaxl2o.models.encoding import alternating, interleaved
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import gpt2, small_tf
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.accounting import matrix_peak, model_flops
from jaxl2o.training.loop import Chunk, Recipe, TrainState, start, train

SEED = 0


@dataclass(frozen=True)
class Settings:
    """How a step is computed; what it computes is always the same."""

    module: str = "library"  # or "textbook"
    together: bool = True  # all prompts go through the module at once; else vmap of one
    unroll: bool = True  # layers compiled one by one; else looped over
    devices: int = 0  # CPU devices that share the batch; 0: every core is one
    at_once: int = 0  # tasks of a device at one time; 0: all
    dispatch: int = 20  # steps in one call of the compiled program
    remat: bool = False
    dtype: str | None = None
    flags: str = ""  # of XLA, for the whole process


def prepare(shape: Shape, settings: Settings) -> tuple[Recipe, TrainState]:
    """The recipe and the first state: Adam on all prefixes of sparse recovery."""
    if shape.model == "small-tf":
        config, encoding = small_tf(shape.d, shape.depth), interleaved(shape.d)
    else:
        config = gpt2(shape.d, shape.depth, shape.heads, shape.width, shape.positions)
        encoding = alternating(shape.d)
    config = replace(config, unroll=settings.unroll, remat=settings.remat, dtype=settings.dtype)
    learner = transformer_learner(config, encoding)
    task = sparse_recovery(exactly(shape.d, shape.sparsity), fresh(shape.n, shape.d))
    predict = learner.prefixes
    if settings.module == "textbook":
        predict = partial(textbook.prefixes, config, encoding)
    elif not settings.together:
        predict = getattr(predict, "one", predict)
    recipe = Recipe(
        predict,
        lambda step: task,
        losses.all_prefixes(),
        optax.adam(shape.rate),
        shape.batch,
        devices=settings.devices or jax.local_device_count(),
        at_once=settings.at_once,
    )
    params = jax.jit(learner.init)(jax.random.key(SEED), task.sample(jax.random.key(SEED)).prompt)
    return recipe, start(recipe, params, jax.random.key(SEED + 1))


def run(shape: Shape, settings: Settings, turn: Callable[[list[float]], None]) -> None:
    """Train without end, by the library's own driver; `turn` is given the seconds of the steps of every chunk."""
    recipe, state = prepare(shape, settings)

    def report(chunk: Chunk) -> None:
        size = len(chunk.losses)
        turn([chunk.seconds / size] * size)

    train(recipe, state, 10**6 * settings.dispatch, settings.dispatch, report)


def cost(shape: Shape) -> dict[str, float]:
    """The model FLOP of a step, and the FLOP/s of this machine's matrix products on all its devices."""
    return {"flops": float(model_flops(*prepare(shape, Settings()))), "peak": matrix_peak(jax.local_device_count())}


def curve(shape: Shape, devices: int, steps: int) -> list[float]:
    """The losses of the first steps on so many devices."""
    recipe, state = prepare(shape, Settings(devices=devices))
    chunks: list[np.ndarray] = []
    train(recipe, state, steps, steps, lambda chunk: chunks.append(chunk.losses))
    return np.concatenate(chunks).tolist()
