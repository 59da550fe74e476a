"""The part that moves: legs on several numbers of devices, one after another, beside a training that stays on one."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.scale.legs import Leg, finish, launch
from jaxl2o.training import metrics

if TYPE_CHECKING:
    from experiments.scale import Config


def elastic(config: "Config", run: Run) -> Results:
    """The losses of every model, moved between devices and alone on one."""
    results: Results = {"elastic/legs": np.array(config.legs)}
    for model in config.models:
        steps = [config.leg_steps * (i + 1) for i in range(len(config.legs))]
        ways = {"alone": [(1, steps[-1])], "moved": list(zip(config.legs, steps, strict=True))}
        for way, legs in ways.items():
            results |= kept(run, f"elastic {model} {way}", partial(losses, config, model, legs, f"elastic/{model}/{way}"))
    return results


def losses(config: "Config", model: str, legs: list[tuple[int, int]], key: str) -> Results:
    """The loss of every step, trained in legs of (devices, steps in all)."""
    quickly = bool(jax.config.read("jax_disable_most_optimizations"))  # as in this process
    with TemporaryDirectory() as folder:
        for devices, steps in legs:
            finish(launch(Leg(model, folder, devices, steps, config.chunk), quickly))
        return {key: np.array([record["loss"] for record in metrics.read(Path(folder) / "metrics.jsonl")])}
