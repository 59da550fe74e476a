"""Two processes over loopback against one: the same training on two devices, whoever has them.

One process with two CPU devices, and two processes with one each, on JAX's own runtime. In groups of tasks both add in one
order, whole or cut over the devices; "shares", without groups, is for information.
"""

import socket
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.scale.models import LAYOUTS
from experiments.scale.workers import Job, finish, launch

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
    """By model and layout, the losses that each of so many processes has, with two CPU devices in all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    steps = config.process_steps
    job = Job(config.models, 2 // count, steps, steps, tuple(LAYOUTS), coordinator=coordinator, processes=count)
    return [answer["losses"] for answer in finish(*(launch(job._replace(process=i)) for i in range(count)))]
