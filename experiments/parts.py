"""Parts of a run that are kept: an interrupted run goes on behind the last one that is whole."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.common import Results, Run, readable, write_atomically
from jaxl2o.training.hosts import told


def kept(run: Run, title: str, compute: Callable[[], Results]) -> Results:
    """What `compute` gives, from the run's folder if it is there; else computed, under its title, and written there.

    Of several processes the first one says whether it is there, and writes; all compute, or all read.
    """
    path = place_of(run, title).with_suffix(".npz")
    if told(path.exists):
        with readable(path), np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return dict(file)
    with run.stage(title):
        found = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: np.savez(temporary, allow_pickle=False, **found))
    return found


def place_of(run: Run, title: str) -> Path:
    """Where the part of this title is kept: a training's folder, or a file with a suffix."""
    return run.folder / "training" / title.replace(" ", "-").replace(",", "")
