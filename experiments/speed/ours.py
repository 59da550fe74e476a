"""Our side: a training step of a shape, with the settings whose worth is measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

import jax
import numpy as np
import optax
from jaxtyping import Array

from experiments.speed import textbook
from experiments.speed.shapes import Shape
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, Stream, alternating, interleaved
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import gpt2, small_tf
from jaxl2o.models.transformer import Transformer
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.accounting import matrix_peak, model_flops
from jaxl2o.training.loop import Chunk, Recipe, TrainState, start, train
from jaxl2o.training.parallel import compute_dtype, devices_for
from jaxl2o.types import Params, Predict, Prompt

SEED = 0


@dataclass(frozen=True)
class Settings:
    """How a step is computed; what it computes is always the same.

    module: the textbook's; the library's on every prompt by itself, on all prompts together, or together with the readers of
    its attention in spans, which is what `transformer_learner` does.
    """

    module: Literal["textbook", "alone", "together", "in spans"] = "in spans"
    unroll: bool = True  # layers compiled one by one; else looped over
    devices: int = 0  # CPU devices that share the batch; 0: every core is one
    at_once: int = 0  # tasks of a device at one time; 0: all
    dispatch: int = 20  # steps in one call of the compiled program
    remat: bool = False  # layers are computed again in the backward pass
    dtype: str = ""  # of the products; empty: what the device is made for
    flags: str = ""  # of XLA, for the whole process


def answers(config: TransformerConfig, encoding: Encoding, settings: Settings) -> Callable[[Params, Prompt], Array]:
    """`Learner.prefixes` by the module that the settings name."""
    if settings.module == "textbook":
        return partial(textbook.prefixes, config, encoding)
    if settings.module == "in spans":
        return transformer_learner(config, encoding).prefixes
    apply, read = cast(Callable[..., Stream], Transformer(config).apply), encoding.read_prefixes
    assert read is not None

    def one(params: Params, prompt: Prompt) -> Array:
        return read(apply({"params": params}, encoding.tokens(prompt)), prompt)

    def many(params: Params, prompts: Prompt) -> Array:
        return jax.vmap(read)(apply({"params": params}, jax.vmap(encoding.tokens)(prompts)), prompts)

    return one if settings.module == "alone" else Predict(one, many)


def prepare(shape: Shape, settings: Settings) -> tuple[Recipe, TrainState]:
    """The recipe and the first state: Adam on all prefixes of sparse recovery."""
    if shape.model == "small-tf":
        config, encoding = small_tf(shape.d, shape.depth), interleaved(shape.d)
    else:
        config = gpt2(shape.d, shape.depth, shape.heads, shape.width, shape.positions)
        encoding = alternating(shape.d)
    config = replace(config, unroll=settings.unroll, remat=settings.remat, dtype=settings.dtype or compute_dtype())
    task = sparse_recovery(exactly(shape.d, shape.sparsity), fresh(shape.n, shape.d))
    recipe = Recipe(
        answers(config, encoding, settings),
        lambda step: task,
        losses.all_prefixes(),
        optax.adam(shape.rate),
        shape.batch,
        devices=settings.devices or devices_for(shape.batch),
        at_once=settings.at_once,
    )
    init = jax.jit(transformer_learner(config, encoding).init)
    params = init(jax.random.key(SEED), task.sample(jax.random.key(SEED)).prompt)
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


def curve(shape: Shape, devices: int, at_once: int, steps: int) -> list[float]:
    """The losses of the first steps on so many devices, in such groups."""
    recipe, state = prepare(shape, Settings(devices=devices, at_once=at_once))
    chunks: list[np.ndarray] = []
    train(recipe, state, steps, steps, lambda chunk: chunks.append(chunk.losses))
    return np.concatenate(chunks).tolist()
