"""What is trained: a Transformer and LISTA-VM on sparse recovery, and a layer so wide that its state has 100 MB."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxl2o.models.encoding import interleaved
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import small_tf
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, TrainState, start
from jaxl2o.types import Instance, Key, Params, Prompt, Solver, Task

SEED = 0
D, N, SPARSITY = 20, 10, 3
BATCH, GROUP = 64, 8  # tasks of a step, and of a group
# what a layout changes of a recipe whose tasks are taken in groups
LAYOUTS: dict[str, dict[str, Any]] = {"groups": {}, "groups, cut": {"sharding": "fsdp"}, "shares": {"at_once": 0}}
WIDE = (2048, 4096)  # 8.4 million numbers, three times with Adam's moments: 100 MB


def model(name: str, devices: int) -> tuple[Recipe, TrainState]:
    """Recipe and first state of "transformer", Small TF of 4 layers, or "lista-vm" of 12 layers."""
    task = sparse_recovery(exactly(D, SPARSITY), fresh(N, D))
    if name == "transformer":
        learner, loss = transformer_learner(small_tf(D, 4), interleaved(D)), losses.all_prefixes()
        predict = learner.prefixes
        params = jax.jit(learner.init)(jax.random.key(SEED), task.sample(jax.random.key(SEED)).prompt)
    else:
        params = VaryingLayers(jnp.tile(0.1 * jnp.eye(D), (12, 1, 1)), jnp.full(12, jnp.log(0.01)))
        predict, loss = learned(lambda key, prompt: params, bounded).predict, losses.all_steps()
    recipe = Recipe(predict, lambda step: task, loss, optax.adam(1e-4), BATCH, devices=devices, at_once=GROUP)
    return recipe, start(recipe, params, jax.random.key(SEED + 1))


def bounded(params: VaryingLayers) -> Solver:
    """LISTA-VM whose thresholds are exponentials of what is learned."""
    return lista_vm(params._replace(threshold=jnp.exp(params.threshold)))


def wide() -> tuple[Recipe, TrainState]:
    """A layer of 2048 inputs and 4096 outputs that learns to sum its inputs, with Adam."""
    columns = WIDE[0]

    def sample(key: Key) -> Instance:
        inputs = jax.random.normal(key, (columns,))
        return Instance(Prompt(None, inputs, None, jnp.ones(columns, dtype=bool)), inputs.sum()[None], None)

    def predict(params: Params, prompt: Prompt) -> Array:
        return jnp.tanh(prompt.y @ params).sum()[None, None]

    task = Task(sample, lambda w, prompt: jnp.zeros(()), lambda w, x: x)
    recipe = Recipe(predict, lambda step: task, losses.last_step(), optax.adam(1e-4), BATCH)
    params = jax.random.normal(jax.random.key(SEED), WIDE) / columns**0.5
    return recipe, start(recipe, params, jax.random.key(SEED + 1))
