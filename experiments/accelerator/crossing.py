"""A training that moves to another device and back, beside one that stays."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.accelerator.config import SEED, Config
from experiments.common import Results
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses, metrics
from jaxl2o.training.loop import Recipe, start
from jaxl2o.training.run import train_in

D, N, DEPTH, BATCH = 20, 10, 12, 64
STEP, THRESHOLD = 0.36, 0.02  # M = STEP I and every threshold, before training; STEP is about (2n + 1) / |X|^2


class Place(NamedTuple):
    """Where steps are taken: on so many devices, the first of which is this one."""

    device: Any
    devices: int


def places() -> tuple[Place, Place]:
    """Here and there: an accelerator and its machine's CPU; where there is none, two devices of the CPU and one of them."""
    here = jax.local_devices()[0]
    there = jax.local_devices(backend="cpu")[0]
    alike = here.platform == "cpu"
    return Place(here, min(2, jax.local_device_count()) if alike else 1), Place(there, 1)


def advance(folder: Path, place: Place, steps: int) -> None:
    """Train LISTA-VM in this folder, from where it stands there, on this place, until so many steps are done."""
    with jax.default_device(place.device):
        task = sparse_recovery(exactly(D, 3), fresh(N, D))
        first = VaryingLayers(jnp.tile(STEP * jnp.eye(D), (DEPTH, 1, 1)), jnp.full(DEPTH, THRESHOLD))
        learner = learned(lambda key, prompt: first, lista_vm)
        recipe = Recipe(learner.predict, lambda step: task, losses.last_step(), optax.adam(5e-3), BATCH, devices=place.devices)
        train_in(folder, recipe, start(recipe, first, jax.random.key(SEED)), steps, chunk_size=20)


def carried(config: Config) -> Results:
    """The losses of a training that stays here, and of one that is here, there and here again, a checkpoint between."""
    here, there = places()
    found = {"crossing/places": np.array([f"{place.devices} × {place.device.device_kind}" for place in (here, there)])}
    ways = {
        "stays": [(here, 3 * config.leg)],
        "moves": [(here, config.leg), (there, 2 * config.leg), (here, 3 * config.leg)],
    }
    for name, way in ways.items():
        # not in the run's folder, whose trainings are summed up against one device's peak
        with tempfile.TemporaryDirectory() as folder:
            for place, steps in way:
                advance(Path(folder), place, steps)
            found[f"crossing/{name}"] = np.array([record["loss"] for record in metrics.read(Path(folder) / "metrics.jsonl")])
    return found
