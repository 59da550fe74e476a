"""A leg: a part of a training, in a process of its own with so many CPU devices; nothing here imports JAX."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from experiments import machine


class Leg(NamedTuple):
    """Train a model of models.py in a folder until so many steps are done in all; a checkpoint after every chunk."""

    model: str
    folder: str
    devices: int
    steps: int
    chunk: int


def launch(leg: Leg, quickly: bool) -> subprocess.Popen[str]:
    """The worker at this leg. Its first words are the step from which it goes on, when its first chunk is done.

    quickly: compile in haste, as smoke runs do.
    """
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(quickly),
        machine.DEVICES: str(leg.devices),
        machine.THREADS: str(max(2 * leg.devices, machine.cores())),
        machine.SOLVING: "1",
    }
    command = [sys.executable, "-m", "experiments.scale.worker", json.dumps(leg._asdict())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a leg; `RuntimeError` if it does not end well."""
    process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"a leg ended with status {process.returncode}; its own words stand above.")


def end_of(folder: Path) -> Path:
    """Where a finished training leaves the arrays of its last state."""
    return folder / "end.npz"
