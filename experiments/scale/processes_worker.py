"""One process of a training: `python -m experiments.scale.processes_worker JOB`, started by `processes.py`.

JOB is JSON: coordinator, processes and process, as JAX's runtime takes them; steps; trainings and layouts, by name. It says the
losses of every training in every layout, one line of JSON. The model, the tasks and their order are the same in all processes.
"""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxl2o.models.encoding import interleaved
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import small_tf
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.hosts import start_processes
from jaxl2o.training.loop import Recipe, start, train

D, N, SPARSITY = 20, 10, 3
STEPS_OF_LISTA, LAYERS = 12, 2
BATCH, GROUP, RATE, SEED = 64, 8, 1e-3, 0
TRAININGS = ("LISTA-VM", "Transformer")
LAYOUTS = {
    "groups": {"at_once": GROUP},
    "groups, cut": {"at_once": GROUP, "sharding": "fsdp"},
    "shares": {},
}


def curve(training: str, layout: dict[str, Any], steps: int) -> list[float]:
    """The losses of a training on all devices of all processes: Adam on sparse recovery, from a fixed seed."""
    task = sparse_recovery(exactly(D, SPARSITY), fresh(N, D))
    if training == "LISTA-VM":
        # a gradient step whose size is that of the largest eigenvalue of X'X / (2n + 1), about
        first = VaryingLayers(jnp.tile(0.5 * jnp.eye(D), (STEPS_OF_LISTA, 1, 1)), jnp.full(STEPS_OF_LISTA, 0.05))
        learner = learned(lambda key, prompt: first, lambda layers: lista_vm(_allowed(layers)))
        answer, loss = learner.predict, losses.all_steps()
    else:
        learner = transformer_learner(small_tf(D, LAYERS), interleaved(D))
        answer, loss = learner.prefixes, losses.all_prefixes()
    key_init, key_run = jax.random.split(jax.random.key(SEED))
    recipe = Recipe(answer, lambda step: task, loss, optax.adam(RATE), BATCH, devices=jax.device_count(), **layout)
    params = jax.jit(learner.init)(key_init, task.sample(key_init).prompt)
    chunks: list[np.ndarray] = []
    train(recipe, start(recipe, params, key_run), steps, steps, lambda chunk: chunks.append(chunk.losses))
    return np.concatenate(chunks).tolist()


def _allowed(layers: VaryingLayers) -> VaryingLayers:
    return layers._replace(threshold=jnp.maximum(layers.threshold, 0.0))


def main() -> None:
    """Join the other processes, train, and say the curves."""
    job = json.loads(sys.argv[1])
    start_processes(job["coordinator"], job["processes"], job["process"])
    found = {name: {how: curve(name, LAYOUTS[how], job["steps"]) for how in job["layouts"]} for name in job["trainings"]}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
