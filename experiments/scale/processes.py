"""Two processes over loopback against one: the same training on two devices, whoever has them.

One process with two CPU devices, and two processes with one each, on JAX's own runtime. In groups of tasks both add in one
order, whole or cut over the devices; "shares", without groups, is for information.
"""

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.scale.models import LAYOUTS

if TYPE_CHECKING:
    from experiments.scale import Config


def processes(config: "Config", run: Run) -> Results:
    """processes/MODEL/LAYOUT/one (steps,) and .../two (2, steps): losses, as one process and as each of two had them."""

    def compute() -> Results:
        [one], two = curves(config, 1), curves(config, 2)
        return {
            f"processes/{name}/{layout}/{who}": np.array(losses, dtype=np.float32)
            for name in config.models
            for layout in LAYOUTS
            for who, losses in (("one", one[name][layout]), ("two", [answer[name][layout] for answer in two]))
        }

    return kept(run, "one process and two", compute)


def curves(config: "Config", count: int) -> list[Any]:
    """What each of so many processes with two CPU devices in all answers; they are ended together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(2 // count),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(bool(jax.config.read("jax_disable_most_optimizations"))),
    }
    job = {
        "coordinator": coordinator,
        "processes": count,
        "steps": config.process_steps,
        "models": config.models,
    }
    command = [sys.executable, "-m", "experiments.scale.processes_worker"]
    workers = [
        subprocess.Popen([*command, json.dumps(job | {"process": i})], stdout=subprocess.PIPE, text=True, env=environment)
        for i in range(count)
    ]
    try:
        said = [worker.communicate()[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    if any(worker.returncode for worker in workers):
        raise RuntimeError(f"a process ended with status {[worker.returncode for worker in workers]}; its words stand above.")
    # what libraries print besides is passed over
    return [json.loads(next(line for line in words.splitlines() if line.startswith("{"))) for words in said]
