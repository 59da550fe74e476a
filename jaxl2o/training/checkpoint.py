"""Checkpoints of a run: the latest few and every n-th are kept, each written whole or not at all."""

import errno
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, EveryNSteps, LatestN

from jaxl2o.checks import InputError
from jaxl2o.training.loop import TrainState


class CheckpointError(InputError):
    """A checkpoint that cannot be used: damaged, or of another run."""


class Checkpoints:
    """The checkpoints of one run in one folder, each with the run's config beside it. Use it as a context manager.

    keep_latest: so many of the newest are kept.  keep_every: besides, those whose step is a multiple of it.
    config: what identifies the run, as JSON; a folder written under another config is refused.
    """

    def __init__(self, folder: Path, config: dict[str, Any], keep_latest: int = 2, keep_every: int = 10_000) -> None:
        self._folder = folder.resolve()
        self._config = config
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep_latest), EveryNSteps(keep_every)]),
                cleanup_tmp_directories=True,
                enable_async_checkpointing=False,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._manager.close()

    def save(self, state: TrainState) -> None:
        """Write the state under its own step, to a temporary name first, with the kind and a digest of every array."""
        about = {"config": self._config, "seed": seed(state), "arrays": kinds(state), "digest": digest(state)}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about))
        try:
            self._manager.save(int(state.step), args=args)
        except ValueError as error:  # what tensorstore raises when it cannot write
            full = "RESOURCE_EXHAUSTED" in str(error) or "No space left" in str(error)
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, os.strerror(code), str(self._folder)) from error

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state, with the tree, dtypes and devices of `like`; None if nothing is saved yet.

        Raises `CheckpointError` if the newest checkpoint is damaged, has another config or key, or holds other arrays.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        about = self._read(step, about=ocp.args.JsonRestore())["about"]
        saved, arrays = about["config"], about["arrays"]
        if saved != self._config:
            raise CheckpointError(
                f"{self._folder} belongs to a run with other values of {differing(saved, self._config)}; "
                "use another folder, or start over in an empty one (--fresh)."
            )
        if arrays != kinds(like):
            raise CheckpointError(
                f"{self._folder / str(step)} holds other arrays than this run's, in {differing(arrays, kinds(like))}; "
                "start over in an empty folder (--fresh)."
            )
        if about["seed"] != seed(like):
            raise CheckpointError(
                f"{self._folder / str(step)} was trained from another key than this run's; give the same seed, use another "
                "folder, or start over in an empty folder (--fresh)."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        state = self._read(step, state=ocp.args.StandardRestore(abstract))["state"]
        if digest(state) != about["digest"]:
            raise CheckpointError(
                f"the checkpoint {self._folder / str(step)} is damaged; remove it to go on from the one before, "
                "or start over in an empty folder (--fresh)."
            )
        return state

    def _read(self, step: int, **args: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**args))
        except Exception as error:  # orbax raises many kinds: every one means that this folder cannot be used
            raise CheckpointError(
                f"the checkpoint {self._folder / str(step)} cannot be read ({type(error).__name__}); remove it to go on "
                "from the one before, or start over in an empty folder (--fresh)."
            ) from error


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


def digest(state: TrainState) -> str:
    """A checksum of every byte of a state."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()
