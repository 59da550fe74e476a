"""Workers: trainings in processes of their own, each with so many CPU devices."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments import machine

Worker = subprocess.Popen[str]


class Job(NamedTuple):
    """What a worker trains: every model in every layout, both of models.py, until so many steps are done in all.

    devices: of this process.  folder: where a single training is kept, with a checkpoint after every chunk, and goes on; none
    is kept without.  coordinator, processes, process: as JAX's runtime takes them.
    """

    models: tuple[str, ...]
    devices: int
    steps: int
    chunk: int
    layouts: tuple[str, ...] = ("groups",)
    folder: str | None = None
    coordinator: str | None = None
    processes: int = 1
    process: int = 0


def launch(job: Job) -> Worker:
    """A worker at its job; smoke runs, which compile in haste, have workers that do."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(bool(jax.config.read("jax_disable_most_optimizations"))),
        machine.SOLVING: "1",
        **machine.devices(job.devices),
    }
    command = [sys.executable, "-m", "experiments.scale.worker", json.dumps(job._asdict())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def answers(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """What a worker says: where each training goes on from, {"began": step}, when its first chunk is done; in the end losses.

    What libraries print besides is passed over.
    """
    return (json.loads(line) for line in lines if line.startswith("{"))


def finish(*workers: Worker) -> list[dict[str, Any]]:
    """The last answer of each, when all have ended. As soon as one ends badly all are ended, and it is a `RuntimeError`."""
    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            ends = {pool.submit(worker.communicate): worker for worker in workers}
            for end in as_completed(ends):
                if ends[end].returncode != 0:
                    raise RuntimeError(f"a worker ended with status {ends[end].returncode}; its own words stand above.")
        finally:
            for worker in workers:
                worker.kill()
    return [list(answers(iter(end.result()[0].splitlines())))[-1] for end in ends]


def end_of(folder: Path) -> Path:
    """Where a finished training leaves the arrays of its last state."""
    return folder / "end.npz"
