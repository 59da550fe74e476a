"""The part that moves: legs on several numbers of devices, one after another, beside a training that stays on one."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.scale.workers import Job, finish, launch
from jaxl2o.training import metrics

if TYPE_CHECKING:
    from experiments.scale import Config


def elastic(config: "Config", run: Run) -> Results:
    """The losses of every model, moved between devices and alone on one."""
    steps = [config.leg_steps * (i + 1) for i in range(len(config.legs))]
    ways = {"alone": [(1, steps[-1])], "moved": list(zip(config.legs, steps, strict=True))}
    results: Results = {"elastic/legs": np.array(config.legs)}
    for model in config.models:
        for way, legs in ways.items():
            # trainings are kept by their legs, so one that moves nowhere is the one that stays
            title = f"elastic {model} on {' '.join(str(devices) for devices, _ in legs)}"
            results[f"elastic/{model}/{way}"] = kept(run, title, partial(trained, config, model, legs))["losses"]
    return results


def trained(config: "Config", model: str, legs: list[tuple[int, int]]) -> Results:
    """The loss of every step, trained in legs of (devices, steps in all)."""
    with TemporaryDirectory() as folder:
        for devices, steps in legs:
            finish(launch(Job((model,), devices, steps, config.chunk, folder=folder)))
        return {"losses": np.array([record["loss"] for record in metrics.read(Path(folder) / "metrics.jsonl")])}
