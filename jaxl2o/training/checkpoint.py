"""Checkpoints of a run: the latest few and every n-th are kept, each written whole or not at all, while training goes on.

They belong to no number of devices or processes: every process writes the parts of arrays that it holds, and reads those that
it is to hold. A checkpoint is used if all processes read their parts and the whole has the checksums that were written with it.
Nothing is compressed: the numbers of a training hardly can be, and the attempt takes the cores that the next step wants.
"""

import hashlib
import itertools
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, EveryNSteps, LatestN

from jaxl2o.checks import InputError
from jaxl2o.training.checksums import checksums
from jaxl2o.training.hosts import highest, together, told
from jaxl2o.training.loop import TrainState


class CheckpointError(InputError):
    """Checkpoints that cannot be used: all damaged, or of another run or version."""


class CheckpointWarning(UserWarning):
    """A damaged checkpoint was passed over for an older one."""


class DamagedError(ValueError):
    """What is wrong with one checkpoint, said of it: "cannot be read"."""


class About(NamedTuple):
    """What stands beside a state, as JSON: the run's config, the numbers of its key, kind and checksum of every array; a seal.

    seal: a checksum of the others.
    """

    config: dict[str, Any]
    seed: list[int]
    arrays: dict[str, str]
    checksums: dict[str, int]
    seal: str = ""

    def sealed(self) -> "About":
        """The same, with the seal that belongs to it."""
        text = json.dumps(self._replace(seal="")._asdict(), sort_keys=True)
        return self._replace(seal=hashlib.sha256(text.encode()).hexdigest())


class Checkpoints:
    """The checkpoints of one run in one folder, each with the run's config beside it. Use it as a context manager.

    keep_latest: so many of the newest are kept.  keep_every: besides, those whose step is a multiple of it.
    config: what identifies the run, as JSON; a folder written under another config is refused.

    With several processes all make the same calls, on one folder that all of them see.
    """

    def __init__(self, folder: Path, config: dict[str, Any], keep_latest: int = 2, keep_every: int = 10_000) -> None:
        self._folder = folder.resolve()
        self._config = config
        self._handler = ocp.PyTreeCheckpointHandler(use_compression=False)
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        handlers.add("state", ocp.args.PyTreeSave, self._handler)
        handlers.add("about", ocp.args.JsonSave, ocp.JsonCheckpointHandler())
        self._manager = ocp.CheckpointManager(
            self._folder,
            handler_registry=handlers,
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
        about = About(self._config, seed(state), kinds(state), checksums(state)).sealed()._asdict()
        with system_errors(self._folder):
            self._manager.save(
                int(state.step), args=ocp.args.Composite(state=ocp.args.PyTreeSave(state), about=ocp.args.JsonSave(about))
            )

    def wait(self) -> None:
        """Return when the last save is on the disk; raises its `OSError` if it failed."""
        with system_errors(self._folder):
            self._manager.wait_until_finished()

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state that all processes read whole, with the tree, dtypes and shardings of `like`; None if none is saved.

        A damaged checkpoint is named in a `CheckpointWarning` and set aside, under its step and ".damaged", if one before it is
        whole. Raises `CheckpointError` if all are damaged, or the newest that can be read has another config or key, holds
        other arrays, or is of another version. Other errors, of a disk that cannot be read or of memory, come as they are.
        """
        damaged: dict[int, DamagedError] = {}
        while (step := self._newest_before(min(damaged, default=sys.maxsize))) >= 0:
            try:
                state = self._load(step, like)
            except DamagedError as error:
                damaged[step] = error
                continue
            if damaged:
                self._set_aside(damaged, step)
            return state
        if damaged:
            what = "; ".join(f"{step} {error}" for step, error in damaged.items())
            raise CheckpointError(
                f"no checkpoint in {self._folder} is whole ({what}); start over in an empty folder (--fresh)."
            ) from next(iter(damaged.values()))
        return None

    def _newest_before(self, bound: int) -> int:
        """The newest step below this one that any process sees; -1 if there is none."""
        return highest(max((step for step in self._manager.all_steps() if step < bound), default=-1))

    def _set_aside(self, damaged: dict[int, DamagedError], whole: int) -> None:
        """Rename the damaged steps, which would be in the way of what is saved next; nothing that was written is lost."""

        def rename() -> bool:
            for step in damaged:
                path, names = self._folder / str(step), (f"{step}.damaged{i or ''}" for i in itertools.count())
                if path.exists():
                    path.rename(next(free for free in map(self._folder.joinpath, names) if not free.exists()))
            return True

        told(rename)
        self._manager.reload()
        for step, error in damaged.items():
            sentence = f"the checkpoint {self._folder / str(step)} {error}; it is set aside, and step {whole} is used."
            warnings.warn(sentence, CheckpointWarning, stacklevel=3)

    def _load(self, step: int, like: TrainState) -> TrainState:
        """The state of one step, on all processes or none.

        `DamagedError` if it is not what was saved, `CheckpointError` if it is another run's.
        """
        # before the attempt, for they are of all processes
        arrays, key = kinds(like), seed(like)
        state, sums = together(partial(self._read, step, like, arrays, key), DamagedError)
        found = checksums(state)  # of all processes, so all must have read

        def compare() -> None:
            if found != sums:
                raise DamagedError(f"is damaged, in {differing(found, sums)}")

        together(compare, DamagedError)
        return state

    def _read(self, step: int, like: TrainState, arrays: dict[str, str], key: list[int]) -> tuple[TrainState, dict[str, int]]:
        """The arrays of one step that this process holds, and the checksums of all. Waits for no other process."""
        folder = self._folder / str(step)
        with reading(folder):
            fields = json.loads((folder / "about" / "metadata").read_text(encoding="utf-8"))
            about = None if "digest" in fields else About(**fields)
        if about is None:
            raise CheckpointError(
                f"{folder} was written by another version of this library; finish the run with that one, or start over in an "
                "empty folder (--fresh)."
            )
        if about != about.sealed():
            raise DamagedError("is damaged, in what stands beside its arrays")
        if about.config != self._config:
            raise CheckpointError(
                f"{self._folder} belongs to a run with other values of {differing(about.config, self._config)}; "
                "use another folder, or start over in an empty one (--fresh)."
            )
        if about.arrays != arrays:
            raise CheckpointError(
                f"{folder} holds other arrays than this run's, in {differing(about.arrays, arrays)}; "
                "start over in an empty folder (--fresh)."
            )
        if about.seed != key:
            raise CheckpointError(
                f"{folder} was trained from another key than this run's; give the same seed, use another "
                "folder, or start over in an empty folder (--fresh)."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.PyTreeRestore(abstract, ocp.checkpoint_utils.construct_restore_args(abstract))
        with reading(folder):
            # not by the manager, which ends by waiting for processes that may have failed
            return self._handler.restore(self._manager.directory / str(step) / "state", args=args), about.checksums


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """What tensorstore raises when the system fails it, a ValueError with the system's number in its text, is an OSError."""
    try:
        yield
    except ValueError as error:
        number = re.search(r"os_error_code='(\d+)'", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


# what Orbax, tensorstore and JSON raise for files that are missing, torn or garbled
DECODING = (ValueError, TypeError, LookupError, AttributeError, EOFError, NotImplementedError, FileNotFoundError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What cannot be decoded is damaged; a file that the system does not let be read, and memory that ends, are not."""
    try:
        with system_errors(path):
            yield
    except DECODING as error:
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
