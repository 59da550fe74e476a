"""The part that kills: SIGKILL at random moments, of starts and of saves too, beside a training that nobody kills."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.scale.workers import Job, Worker, answers, end_of, finish, launch
from jaxl2o.training import metrics

if TYPE_CHECKING:
    from experiments.scale import Config

SEED, DEVICES = 140, 2
MARGIN = 1.2  # starts are killed until so many times the seconds that the first one took: later ones have a state to restore


class Life(NamedTuple):
    """A process until it was killed.

    began: the step that it went on from; if it was killed before it could say it, the newest save when it was started.
    spoke: whether it said it, when its first chunk was done.  saved, reached: on the disk after the kill, the step of the
    newest save that is whole, and that of the last metrics.  within: whether it left a save of its own under a temporary name.
    """

    began: int
    spoke: bool
    saved: int
    reached: int
    within: bool


def kills(config: "Config", run: Run) -> Results:
    """Where every process began and was killed, what was saved by then, and whether the end is that of a run never killed."""

    def measured() -> Results:
        with TemporaryDirectory() as one, TemporaryDirectory() as other:
            return compared(config, Path(one), Path(other))

    return kept(run, "kills", measured)


def compared(config: "Config", *folders: Path) -> Results:
    """Both trainings, the one that is killed in the first folder: by turns after its first chunk, and from its start on."""
    one, other = (Job(("lista-vm",), DEVICES, config.killed_steps, config.chunk, folder=str(folder)) for folder in folders)
    moments, start, lives = np.random.default_rng(SEED).uniform(size=config.kills), 0.0, []
    for i in range(config.kills):
        before, launched, worker = on_disk(folders[0]), time.perf_counter(), launch(one)
        if i % 2 == 0:
            began = begun(worker)
            start = start or time.perf_counter() - launched
            moments[i] *= config.window
            time.sleep(moments[i])
        else:
            began = None
            moments[i] *= MARGIN * start
            time.sleep(max(0.0, launched + moments[i] - time.perf_counter()))
        lives.append(ended(worker, folders[0], before, began))
    worker = launch(one)
    last = begun(worker)
    finish(worker)
    finish(launch(other))
    return {
        "kills/moments": moments,
        "kills/start": np.array(start),
        "kills/resumed": resumed(lives, last),
        "kills/same": np.array(same(*folders)),
        **{f"kills/{name}": np.array(column) for name, column in zip(Life._fields, zip(*lives, strict=True), strict=True)},
    }


def on_disk(folder: Path) -> tuple[int, set[tuple[str, int]]]:
    """The newest save that is whole, 0 without one; and those under temporary names, by name and inode."""
    paths = list((folder / "checkpoints").glob("*"))
    saved = max((int(path.name) for path in paths if path.name.isdigit()), default=0)
    return saved, {(path.name, path.stat().st_ino) for path in paths if "tmp" in path.name}


def begun(worker: Worker) -> int:
    """The step from which a worker goes on, which it says when its first chunk is done."""
    assert worker.stdout is not None
    for answer in answers(worker.stdout):
        if "began" in answer:
            return answer["began"]
    raise RuntimeError(
        f"a worker ended with status {worker.wait()} before a first chunk; if that is 0, take more killed_steps."
    )


def ended(worker: Worker, folder: Path, before: tuple[int, set[tuple[str, int]]], began: int | None) -> Life:
    """Kill a worker, and tell its life.

    before: what was on the disk at its launch.  began: the step that it went on from, if it was heard.
    """
    worker.kill()
    words, _ = worker.communicate()
    if worker.returncode != -signal.SIGKILL:
        raise RuntimeError(f"a worker ended by itself, with status {worker.returncode}; take more killed_steps.")
    if began is None:
        began = next((answer["began"] for answer in answers(iter(words.splitlines()))), None)
    saved, temporary = on_disk(folder)
    reached = max((record["step"] for record in metrics.read(folder / "metrics.jsonl")), default=0)
    # what an earlier life left is removed at the next start, perhaps only after this kill
    within = bool(temporary - before[1])
    return Life(before[0] if began is None else began, began is not None, saved, reached, within)


def resumed(lives: Sequence[Life], last: int) -> np.ndarray:
    """By life, what the next process that spoke went on from; `last`, which nobody killed, spoke in the end."""
    found, following = [], last
    for life in reversed(lives):
        found.append(following)
        following = life.began if life.spoke else following
    return np.array(found[::-1])


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
