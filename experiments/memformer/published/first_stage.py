"""The first stage of the paper's code: a Transformer without memory learns, and the second stage begins where it ends.

AdamW at 1e-2 on 1000 prompts that are drawn anew every hundred steps. The gradient of every matrix is clipped to a norm of .01.
The code keeps the parameters of every hundredth step as they are before it, so the last hundred steps have no effect.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array

from experiments.memformer.published.config import Config
from jaxl2o.types import Instance, Key, Params, Task

RATE, DECAYS, CLIP = 1e-2, (0.99, 0.9), 0.01
DRAWN_EVERY = 100  # steps


def first_stage(config: Config, task: Task, loss: Callable[[Params, Instance], Array], first: Params, key: Key) -> Params:
    """What a Transformer's own matrices are after this stage, from `first`. loss: of them and of the prompts drawn."""
    optimizer = optax.chain(each_matrix_clipped(), optax.adamw(RATE, *DECAYS, weight_decay=0.0))

    def step(state: tuple[Params, optax.OptState], instances: Instance) -> tuple[Params, optax.OptState]:
        params, memory = state
        updates, memory = optimizer.update(jax.grad(loss)(params, instances), memory, params)
        return optax.apply_updates(params, updates), memory

    def on_one_draw(state: tuple[Params, optax.OptState], key: Key) -> tuple[tuple[Params, optax.OptState], None]:
        instances = jax.vmap(task.sample)(jax.random.split(key, config.prompts))
        return lax.fori_loop(0, DRAWN_EVERY, lambda _, state: step(state, instances), state), None

    draws = (config.first_steps - 1) // DRAWN_EVERY
    return lax.scan(on_one_draw, (first, optimizer.init(first)), jax.random.split(key, draws))[0][0]


def each_matrix_clipped() -> optax.GradientTransformation:
    """Every matrix, the last two axes of a leaf, to a norm of at most CLIP; a leaf of numbers has matrices of one entry."""

    def clipped(leaf: Array) -> Array:
        matrices = leaf if leaf.ndim > 2 else leaf[..., None, None]
        norm = jnp.sqrt(jnp.sum(matrices**2, axis=(-2, -1), keepdims=True))
        return (matrices * jnp.minimum(1.0, CLIP / jnp.maximum(norm, CLIP))).reshape(leaf.shape)

    return optax.stateless(lambda updates, params: jax.tree.map(clipped, updates))
