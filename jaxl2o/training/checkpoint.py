"""Checkpoints of a run: the latest few and every n-th are kept, each written whole or not at all."""

from pathlib import Path
from types import TracebackType
from typing import Any

import jax
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
        """Write the state under its own step, to a temporary name first."""
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(self._config)),
        )

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state, with the tree, dtypes and devices of `like`; None if nothing is saved yet.

        Raises `CheckpointError` if the newest checkpoint is damaged, has another config, or holds other parameters.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        saved = self._read(step, config=ocp.args.JsonRestore())["config"]
        if saved != self._config:
            differing = sorted(name for name in {*saved, *self._config} if saved.get(name) != self._config.get(name))
            raise CheckpointError(
                f"{self._folder} belongs to a run with other values of {', '.join(differing)}; "
                "use another folder, or start over with --fresh."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        state = self._read(step, state=ocp.args.StandardRestore(abstract))["state"]
        if jax.tree.structure(state) != jax.tree.structure(like):
            raise CheckpointError(
                f"{self._folder / str(step)} holds other parameters than this run's; start over with --fresh."
            )
        return state

    def _read(self, step: int, **args: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**args))
        except Exception as error:  # orbax raises many kinds: every one means that this folder cannot be used
            raise CheckpointError(
                f"the checkpoint {self._folder / str(step)} cannot be read ({type(error).__name__}); remove it to go on "
                "from the one before, or start over with --fresh."
            ) from error
