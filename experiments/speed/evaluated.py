"""What is evaluated: LISTA-VM of twelve steps, and the Transformer of twelve layers that a theorem fills with it."""

from dataclasses import replace
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp

from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.evaluation.streaming import streamed_curve
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers import varying
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery

D, N, SPARSITY, DEPTH = 20, 10, 3, 12
STEP, THRESHOLD = 0.3, 0.02  # of every layer: no training is needed to time it
SEED = 5  # of the tasks


def measure(model: str, count: int, chunk: int) -> dict[str, Any]:
    """The curve of so many tasks, on all devices; the seconds it took, and those of compiling and warming up before it."""
    began, devices = perf_counter(), jax.local_device_count()
    task = sparse_recovery(exactly(D, SPARSITY), fresh(N, D))
    layers = VaryingLayers(jnp.broadcast_to(STEP * jnp.eye(D), (DEPTH, D, D)), jnp.full(DEPTH, THRESHOLD))
    if model == "transformer":
        theorem = lista_vm(layers, N)
        learner = transformer_learner(replace(theorem.config, unroll=True), theorem.encoding)
        params = theorem.params
    else:
        learner, params = learned(lambda key, prompt: layers, varying.lista_vm), layers
    curve = streamed_curve(learner.predict, params, task, jax.random.key(SEED), 2, chunk, devices)
    start = perf_counter() - began
    began = perf_counter()
    curve = streamed_curve(learner.predict, params, task, jax.random.key(SEED), count, chunk, devices)
    return {
        "seconds": perf_counter() - began,
        "start": start,
        "mean": curve.mean.tolist(),
        "standard_error": curve.standard_error.tolist(),
        "quantiles": curve.quantiles.tolist(),
    }
