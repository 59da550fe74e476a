"""Contenders in processes of their own, which take turns: what one needs of the machine does not slow another down."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common import Run

Job = dict[str, Any]


class Clock(NamedTuple):
    """seconds: the median seconds of a step, by round and contender; by contender, the most bytes, and seconds to start.

    What a start takes is importing, compiling and warming up, with all cores to itself. itself: what each says of itself.
    """

    seconds: np.ndarray
    memory: np.ndarray
    start: np.ndarray
    itself: list[dict[str, float]]


def in_turns(title: str, jobs: Sequence[Job], rounds: int, seconds: float, run: Run) -> Clock:
    """Start every job and let each take steps for so many seconds a round, while the others wait."""
    with ExitStack() as stack:
        workers, start, itself = [], [], []
        with run.stage(f"{title}: {len(jobs)} contenders compile and warm up"):
            for job in jobs:
                began = perf_counter()
                process = stack.enter_context(worker(job))
                itself.append(hear(process))
                workers.append(process)
                start.append(perf_counter() - began)
        clock = Clock(np.full((rounds, len(jobs)), np.nan), np.zeros(len(jobs)), np.array(start), itself)
        steps = [1] * len(jobs)
        with run.stage(f"{title}: {rounds} rounds"):
            for turn in range(-1, rounds):  # the first only finds out how many steps fill a turn
                for i, process in enumerate(workers):
                    ask(process, steps[i])
                    answer = hear(process)
                    clock.memory[i] = answer["memory"]
                    if turn < 0:
                        steps[i] = max(1, round(seconds / answer["seconds"]))
                    else:
                        clock.seconds[turn, i] = answer["seconds"]
    return clock


def state(job: Job) -> Any:
    """The one answer of a job that is no contender."""
    with worker(job) as process:
        return hear(process)


@contextmanager
def worker(job: Job) -> Iterator[subprocess.Popen[str]]:
    """A process that does the job; it is ended with the block."""
    quickly = str(bool(jax.config.read("jax_disable_most_optimizations")))  # as in this process, where a smoke run sets it
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.speed.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": quickly},
    )
    try:
        ask(process, json.dumps(job))
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(process: subprocess.Popen[str], line: object) -> None:
    """Give a worker a line."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> Any:
    """The next answer of a worker; what libraries print besides is passed over. `RuntimeError` if it has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("{", "[")):
            return json.loads(line)
    raise RuntimeError(f"a worker ended with status {process.wait()}; its own words stand above.")
