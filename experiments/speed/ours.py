"""Our side: a training step of a shape, with the settings whose worth is measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
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
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.accounting import matrix_peak, model_flops
from jaxl2o.training.loop import Chunk, Recipe, TrainState, advance, start, train
from jaxl2o.training.losses import Loss
from jaxl2o.training.parallel import compute_dtype, devices_for, place
from jaxl2o.types import Key, Learner, Params, Predict, Prompt

SEED = 0
THRESHOLD = 0.02  # of LISTA-VM's steps at the start


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


def transformer(shape: Shape, settings: Settings) -> tuple[Learner, Callable[[Params, Prompt], Array], Loss]:
    """A Transformer of this shape, how it answers, and its loss: the errors at all prefixes."""
    if shape.model == "small-tf":
        wide = {"width": shape.width, "head_dim": shape.width, "mlp_dim": 4 * shape.width}
        config, encoding = replace(small_tf(shape.d, shape.depth), **wide), interleaved(shape.d)
    else:
        config = gpt2(shape.d, shape.depth, shape.heads, shape.width, shape.positions)
        encoding = alternating(shape.d)
    config = replace(config, unroll=settings.unroll, remat=settings.remat, dtype=settings.dtype or compute_dtype())
    return transformer_learner(config, encoding), answers(config, encoding, settings), losses.all_prefixes()


def unrolled(shape: Shape) -> tuple[Learner, Callable[[Params, Prompt], Array], Loss]:
    """LISTA-VM of `depth` steps, how it answers, and its loss: the error of the last step. It starts as ISTA."""
    size = (2 * shape.n + 1) / (shape.n**0.5 + shape.d**0.5) ** 2  # about the largest that is stable: |X|^2 concentrates

    def init(key: Key, prompt: Prompt) -> VaryingLayers:
        return VaryingLayers(jnp.tile(size * jnp.eye(shape.d), (shape.depth, 1, 1)), jnp.full(shape.depth, THRESHOLD))

    learner = learned(init, lista_vm)
    return learner, learner.predict, losses.last_step()


def prepare(shape: Shape, settings: Settings) -> tuple[Recipe, TrainState]:
    """The recipe and the first state: Adam on sparse recovery."""
    learner, predict, loss = unrolled(shape) if shape.model == "lista-vm" else transformer(shape, settings)
    task = sparse_recovery(exactly(shape.d, shape.sparsity), fresh(shape.n, shape.d))
    recipe = Recipe(
        predict,
        lambda step: task,
        loss,
        optax.adam(shape.rate),
        shape.batch,
        devices=settings.devices or devices_for(shape.batch),
        at_once=settings.at_once,
    )

    @jax.jit  # one program, where every operation by itself would be compiled by itself
    def first() -> TrainState:
        key = jax.random.key(SEED)
        return start(recipe, learner.init(key, task.sample(key).prompt), jax.random.key(SEED + 1))

    return recipe, first()


def plan(recipe: Recipe, state: TrainState, dispatch: int) -> dict[str, float]:
    """The model FLOP of a step, and the bytes that the compiled call of so many steps plans for, on all its devices.

    The bytes are of arguments, results and what lies between. What is compiled here `train` need not compile again.
    """
    program = jax.jit(advance, static_argnums=(0, 2), donate_argnums=1)
    memory: Any = program.lower(recipe, place(state, recipe.devices), dispatch).compile().memory_analysis()
    ends = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    planned = recipe.devices * (ends + memory.temp_size_in_bytes)
    return {"flops": float(model_flops(recipe, state)), "planned": float(planned)}


def run(recipe: Recipe, state: TrainState, dispatch: int, turn: Callable[[list[float]], None]) -> None:
    """Train without end, by the library's own driver; `turn` is given the seconds of the steps of every chunk."""

    def report(chunk: Chunk) -> None:
        size = len(chunk.losses)
        turn([chunk.seconds / size] * size)

    train(recipe, state, 10**6 * dispatch, dispatch, report)


def cost(shape: Shape) -> dict[str, float]:
    """The model FLOP of a step, and the FLOP/s of this machine's matrix products on all its devices."""
    return {"flops": float(model_flops(*prepare(shape, Settings()))), "peak": matrix_peak(jax.local_device_count())}


def curve(shape: Shape, devices: int, at_once: int, steps: int) -> list[float]:
    """The losses of the first steps on so many devices, in such groups."""
    recipe, state = prepare(shape, Settings(devices=devices, at_once=at_once))
    chunks: list[np.ndarray] = []
    train(recipe, state, steps, steps, lambda chunk: chunks.append(chunk.losses))
    return np.concatenate(chunks).tolist()
