"""The part that kills: SIGKILL at random moments, also within saves, beside a training that nobody kills."""

import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.scale.legs import Leg, end_of, finish, launch
from jaxl2o.training import metrics

if TYPE_CHECKING:
    from experiments.scale import Config

SEED, DEVICES = 140, 2


def kills(config: "Config", run: Run) -> Results:
    """Where every process began and was killed, what was saved by then, and whether the end is that of a run never killed."""

    def measured() -> Results:
        with TemporaryDirectory() as one, TemporaryDirectory() as other:
            return compared(config, Path(one), Path(other))

    return kept(run, "kills", measured)


def compared(config: "Config", *folders: Path) -> Results:
    """Both trainings, the one that is killed in the first folder."""
    quickly = bool(jax.config.read("jax_disable_most_optimizations"))
    legs = [Leg("lista-vm", str(folder), DEVICES, config.killed_steps, config.chunk) for folder in folders]
    moments = np.random.default_rng(SEED).uniform(0.0, config.window, config.kills)
    rows = [killed(legs[0], moment, quickly) for moment in moments]
    process = launch(legs[0], quickly)
    resumed = [begun(process)]
    finish(process)
    finish(launch(legs[1], quickly))
    began, saved, reached, within = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "kills/moments": moments,
        "kills/began": began,
        "kills/resumed": np.append(began[1:], resumed),
        "kills/saved": saved,
        "kills/reached": reached,
        "kills/within": within,
        "kills/same": np.array(same(*folders)),
    }


def begun(process: subprocess.Popen[str]) -> int:
    """The step from which a leg goes on, which it says when its first chunk is done."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        finish(process)
        raise RuntimeError("the training was over before it could be killed; take more killed_steps, or a shorter window.")
    return int(line)


def killed(leg: Leg, moment: float, quickly: bool) -> tuple[int, int, int, bool]:
    """Kill a leg so many seconds after its first chunk: where it began, its last save, its last metrics; if it was saving."""
    process = launch(leg, quickly)
    began = begun(process)
    time.sleep(moment)
    process.kill()
    process.communicate()
    folder = Path(leg.folder)
    names = [path.name for path in (folder / "checkpoints").iterdir()]
    saved = max((int(name) for name in names if name.isdigit()), default=0)
    return began, saved, metrics.read(folder / "metrics.jsonl")[-1]["step"], any("tmp" in name for name in names)


def same(a: Path, b: Path) -> bool:
    """Whether two trainings have the same metrics and the same arrays in the end, byte by byte."""
    if (a / "metrics.jsonl").read_bytes() != (b / "metrics.jsonl").read_bytes():
        return False
    with np.load(end_of(a), allow_pickle=False) as one, np.load(end_of(b), allow_pickle=False) as other:
        return sorted(one.files) == sorted(other.files) and all(
            (one[name].dtype, one[name].shape, one[name].tobytes())
            == (other[name].dtype, other[name].shape, other[name].tobytes())
            for name in one.files
        )
