"""What experiments have kept: the config of a run and its results, from which others draw and tell."""

import json
from typing import Any, NamedTuple

import numpy as np

from experiments.common import RESULTS, Results


class Committed(NamedTuple):
    """config: of the run, by name.  results: its arrays."""

    config: dict[str, Any]
    results: Results


def committed(name: str, preset: str = "quick") -> Committed:
    """What is kept of a preset of an experiment."""
    folder = RESULTS / name / preset
    with np.load(folder / "results.npz", allow_pickle=False) as file:
        return Committed(json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"], dict(file))
