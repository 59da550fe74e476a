"""The part that moves: legs on several numbers of devices, one after another, beside a training that stays on one."""

import shutil
from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept, place_of
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
            title = f"elastic {model} {way}"
            results |= kept(run, title, partial(losses, config, run, model, title, legs, f"elastic/{model}/{way}"))
    return results


def losses(config: "Config", run: Run, model: str, title: str, legs: list[tuple[int, int]], key: str) -> Results:
    """The loss of every step, trained in legs of (devices, steps in all)."""
    folder = place_of(run, title)
    shutil.rmtree(folder, ignore_errors=True)
    quickly = bool(jax.config.read("jax_disable_most_optimizations"))  # as in this process
    for devices, steps in legs:
        finish(launch(Leg(model, str(folder), devices, steps, config.chunk), quickly))
    return {key: np.array([record["loss"] for record in metrics.read(folder / "metrics.jsonl")])}
