"""The part that times: how long a step waits for a save of 100 MB, in the background or not."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.scale.models import wide
from jaxl2o.training.checkpoint import Checkpoints
from jaxl2o.training.loop import Chunk, train

if TYPE_CHECKING:
    from experiments.scale import Config

BETWEEN = 5  # chunks without a save after each with one
STEPS = 2  # of a chunk


def stalls(config: "Config", run: Run) -> Results:
    """Seconds of chunks that begin with a save in the background, with one that is waited for, and with none."""
    return kept(run, "stalls", partial(measured, config, run))


def measured(config: "Config", run: Run) -> Results:
    """One training, in which both kinds of save take turns; a chunk's seconds are those between two reports.

    calls: of them, the seconds until a save in the background returns; the rest is what its threads take from the step.
    """
    recipe, state = wide()
    round_of = ["background", *["none"] * BETWEEN, "waited", *["none"] * BETWEEN]
    plan = [*["warming up"] * 3, *round_of * config.saves]
    seconds: dict[str, list[float]] = {kind: [] for kind in plan}
    calls: list[float] = []
    began, kinds = perf_counter(), iter([*plan[1:], "none"])

    with TemporaryDirectory(dir=run.folder) as folder, Checkpoints(Path(folder), {}) as checkpoints:
        kind = plan[0]

        def report(chunk: Chunk) -> None:
            nonlocal began, kind
            now = perf_counter()
            seconds[kind].append(now - began)
            kind = next(kinds)
            began = now
            if kind != "none":
                checkpoints.save(chunk.state)
            if kind == "background":
                calls.append(perf_counter() - now)
            if kind == "waited":
                checkpoints.wait()

        train(recipe, state, STEPS * len(plan), STEPS, report)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.opt_state)))
    shown = {"calls": calls, **{kind: seconds[kind] for kind in ("none", "background", "waited")}}
    return {"stalls/bytes": np.array(size), **{f"stalls/{kind}": np.array(found) for kind, found in shown.items()}}
