"""Trainings in a process of their own: `python -m experiments.scale.worker JOB`, with the job of workers.py in JSON.

The model, the tasks and their order are the same in all processes, on any number of devices. A training that is kept leaves the
arrays of its last state in end.npz.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.scale.models import LAYOUTS, model
from experiments.scale.workers import Job, end_of
from jaxl2o.training.hosts import start_processes
from jaxl2o.training.loop import Chunk, TrainState, train
from jaxl2o.training.run import train_in


def say(answer: dict[str, Any]) -> None:
    """One line of JSON to whoever started this."""
    print(json.dumps(answer), flush=True)


def trained(job: Job, name: str, layout: str) -> tuple[TrainState, list[float]]:
    """A model's last state on all devices of all processes, and the losses on the way; it says from where it goes on."""
    recipe, state = model(name, jax.device_count())
    recipe = recipe._replace(**LAYOUTS[layout])
    losses: list[float] = []

    def report(chunk: Chunk) -> None:
        if not losses:
            say({"began": int(chunk.state.step) - len(chunk.losses)})
        losses.extend(chunk.losses.tolist())

    if job.folder is None:
        return train(recipe, state, job.steps, job.chunk, report), losses
    return train_in(Path(job.folder), recipe, state, job.steps, job.chunk, {"model": name}, report), losses


def keep(state: TrainState, path: Path) -> None:
    """Write the arrays of a state by their names, the key by its numbers."""
    state = state._replace(key=jax.random.key_data(state.key))
    leaves = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    np.savez(path, allow_pickle=False, **leaves)


def main(job: Job) -> None:
    """Join the other processes if there are any, train, and say the losses."""
    start_processes(job.coordinator, job.processes, job.process)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in job.models}
    for name in job.models:
        for layout in job.layouts:
            state, found[name][layout] = trained(job, name, layout)
            if job.folder is not None:
                keep(state, end_of(Path(job.folder)))
    say({"losses": found})


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
