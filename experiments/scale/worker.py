"""One leg of a training, in a process of its own: `python -m experiments.scale.worker LEG`, with the leg in JSON.

It says from which step it goes on as soon as its first chunk is done, and leaves the arrays of its last state in end.npz.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from experiments.scale.legs import Leg, end_of
from experiments.scale.models import model
from jaxl2o.training.loop import Chunk
from jaxl2o.training.run import train_in


def main(leg: Leg) -> None:
    """Train, and keep the end."""
    recipe, state = model(leg.model, leg.devices)
    spoken = False

    def say(chunk: Chunk) -> None:
        nonlocal spoken
        if not spoken:
            print(int(chunk.state.step) - len(chunk.losses), flush=True)
        spoken = True

    folder = Path(leg.folder)
    state = train_in(folder, recipe, state, leg.steps, leg.chunk, {"model": leg.model}, say)
    state = state._replace(key=jax.random.key_data(state.key))
    leaves = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    np.savez(end_of(folder), allow_pickle=False, **leaves)


if __name__ == "__main__":
    main(Leg(**json.loads(sys.argv[1])))
