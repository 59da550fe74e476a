"""One process of a training: `python -m experiments.scale.processes_worker JOB`, started by `processes.py`.

JOB is JSON: coordinator, processes and process, as JAX's runtime takes them; steps; models, by name. It says the losses of
every model in every layout, one line of JSON. The model, the tasks and their order are the same in all processes.
"""

import json
import sys

import jax
import numpy as np

from experiments.scale.models import LAYOUTS, model
from jaxl2o.training.hosts import start_processes
from jaxl2o.training.loop import train


def curve(name: str, layout: str, steps: int) -> list[float]:
    """The losses of a model's training on all devices of all processes."""
    recipe, state = model(name, jax.device_count())
    chunks: list[np.ndarray] = []
    train(recipe._replace(**LAYOUTS[layout]), state, steps, steps, lambda chunk: chunks.append(chunk.losses))
    return np.concatenate(chunks).tolist()


def main() -> None:
    """Join the other processes, train, and say the curves."""
    job = json.loads(sys.argv[1])
    start_processes(job["coordinator"], job["processes"], job["process"])
    found = {name: {layout: curve(name, layout, job["steps"]) for layout in LAYOUTS} for name in job["models"]}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
