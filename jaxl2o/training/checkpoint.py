"""Checkpoints of a run: the latest few and every n-th are kept, each written whole or not at all, while training goes on.

They belong to no number of devices or processes: every process writes the parts of arrays that it holds, and reads those that
it is to hold.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, EveryNSteps, LatestN

from jaxl2o.checks import InputError
from jaxl2o.training.checksums import checksums
from jaxl2o.training.loop import TrainState


class CheckpointError(InputError):
    """Checkpoints that cannot be used: all damaged, or of another run."""


class CheckpointWarning(UserWarning):
    """A damaged checkpoint was passed over for an older one."""


class DamagedError(ValueError):
    """What is wrong with one checkpoint, said of it: "cannot be read"."""


class About(NamedTuple):
    """What stands beside a state, as JSON: the run's config, the numbers of its key, and kind and checksum of every array."""

    config: dict[str, Any]
    seed: list[int]
    arrays: dict[str, str]
    checksums: dict[str, int]


class Checkpoints:
    """The checkpoints of one run in one folder, each with the run's config beside it. Use it as a context manager.

    keep_latest: so many of the newest are kept.  keep_every: besides, those whose step is a multiple of it.
    config: what identifies the run, as JSON; a folder written under another config is refused.

    With several processes all make the same calls, on one folder that all of them see.
    """

    def __init__(self, folder: Path, config: dict[str, Any], keep_latest: int = 2, keep_every: int = 10_000) -> None:
        self._folder = folder.resolve()
        self._config = config
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep_latest), EveryNSteps(keep_every)]),
                cleanup_tmp_directories=True,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Wait for the last save, and close. If that save failed, its error is raised, or noted on what ended the block."""
        try:
            self.wait()
        except OSError as error:
            if value is None:
                raise
            value.add_note(f"Besides, the last checkpoint could not be written: {error}")
        finally:
            self._manager.close()

    def save(self, state: TrainState) -> None:
        """Begin to write the state under its own step, with the kind and checksum of every array.

        Returns when the state has been copied, so that its buffers may be donated; it is written to a temporary name, which
        is renamed in the end, by threads. Waits for the save before this one, and raises its `OSError` if it failed.
        """
        about = About(self._config, seed(state), kinds(state), checksums(state))._asdict()
        with self._writing():
            self._manager.save(
                int(state.step), args=ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about))
            )

    def wait(self) -> None:
        """Return when the last save is on the disk; raises its `OSError` if it failed."""
        with self._writing():
            self._manager.wait_until_finished()

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state that is whole, with the tree, dtypes and shardings of `like`; None if nothing is saved yet.

        A damaged checkpoint is named in a `CheckpointWarning` and removed if one before it is whole. Raises `CheckpointError`
        if all are damaged, or the newest that can be read has another config or key, or holds other arrays.
        """
        damaged: dict[int, DamagedError] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state = self._load(step, like)
            except DamagedError as error:
                damaged[step] = error
                continue
            for newer, error in damaged.items():
                sentence = f"the checkpoint {self._folder / str(newer)} {error}; it is removed, and step {step} is used."
                warnings.warn(sentence, CheckpointWarning, stacklevel=2)
                self._manager.delete(newer)
            return state
        if damaged:
            what = "; ".join(f"{step} {error}" for step, error in damaged.items())
            raise CheckpointError(
                f"no checkpoint in {self._folder} is whole ({what}); start over in an empty folder (--fresh)."
            ) from next(iter(damaged.values()))
        return None

    def _load(self, step: int, like: TrainState) -> TrainState:
        """The state of one step. `DamagedError` if it is not what was saved, `CheckpointError` if it is another run's."""
        with reading():
            about = About(**self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"])
        if about.config != self._config:
            raise CheckpointError(
                f"{self._folder} belongs to a run with other values of {differing(about.config, self._config)}; "
                "use another folder, or start over in an empty one (--fresh)."
            )
        if about.arrays != kinds(like):
            raise CheckpointError(
                f"{self._folder / str(step)} holds other arrays than this run's, in {differing(about.arrays, kinds(like))}; "
                "start over in an empty folder (--fresh)."
            )
        if about.seed != seed(like):
            raise CheckpointError(
                f"{self._folder / str(step)} was trained from another key than this run's; give the same seed, use another "
                "folder, or start over in an empty folder (--fresh)."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        with reading():
            args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            state = self._manager.restore(step, args=args)["state"]
        found = checksums(state)
        if found != about.checksums:
            raise DamagedError(f"is damaged, in {differing(found, about.checksums)}")
        return state

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What tensorstore raises when it cannot write, a ValueError with the system's number in its text, is an OSError."""
        try:
            yield
        except ValueError as error:
            number = re.search(r"os_error_code='(\d+)'", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(self._folder)) from error


@contextmanager
def reading() -> Iterator[None]:
    """Orbax raises many kinds: every one means that this checkpoint cannot be used."""
    try:
        yield
    except Exception as error:
        raise DamagedError(f"cannot be read ({type(error).__name__})") from error


def differing(a: dict[str, Any], b: dict[str, Any]) -> str:
    """The names under which two dictionaries do not have the same."""
    return ", ".join(sorted(name for name in {*a, *b} if a.get(name) != b.get(name)))


def kinds(state: TrainState) -> dict[str, str]:
    """The name of every array in a state, with its dtype and shape."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def seed(state: TrainState) -> list[int]:
    """The numbers of the run's key."""
    return np.asarray(jax.random.key_data(state.key)).ravel().tolist()
