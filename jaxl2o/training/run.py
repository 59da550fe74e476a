"""A training run that lives in a folder: the same call again resumes it, and trains no step twice.

metrics.jsonl has what the mathematics determines, one line a step; timing.jsonl has the clock, one line a chunk: its seconds
without compiling, tasks and model FLOP a second, and the number of devices; checkpoints/ has the states. After a kill at any
moment, all three are cut back to the newest checkpoint that is whole. SIGTERM stops a run behind a chunk, when its state is
saved. With several processes, all on one folder, the first writes metrics and timing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxl2o.training import metrics
from jaxl2o.training.accounting import model_flops
from jaxl2o.training.checkpoint import Checkpoints
from jaxl2o.training.hosts import told
from jaxl2o.training.loop import Chunk, Recipe, TrainState, train_placed
from jaxl2o.training.parallel import place
from jaxl2o.training.preemption import Preempted, preemption


def train_in(
    folder: Path,
    recipe: Recipe,
    state: TrainState,
    n_steps: int,
    chunk_size: int = 100,
    config: dict[str, Any] | None = None,
    report: Callable[[Chunk], None] = lambda chunk: None,
    checkpoint_every: int = 1,
    keep_latest: int = 2,
    keep_every: int = 10_000,
) -> TrainState:
    """`train` with metrics, timing and checkpoints in `folder`; resumes bit-exactly from the newest whole checkpoint there.

    The state may have been saved on another number of devices or processes; then the curve goes on up to the rounding of sums.
    It is laid out as the recipe says before anything is read, and what is read comes in that layout: so between steps the
    devices hold one state, besides the one that was given, which lasts as long as the caller keeps it.

    checkpoint_every: chunks between checkpoints; the end is always saved.  config: what identifies the run, as JSON.

    Raises `CheckpointError` for foreign checkpoints, or if all are damaged, `DivergedError` for a loss that is not finite, and
    `Preempted` if SIGTERM came.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        preemption() as asked_to_stop,
        Checkpoints(folder / "checkpoints", config or {}, keep_latest, keep_every) as checkpoints,
    ):
        state = place(state, recipe.devices, recipe.sharding)  # the name lets go of what was given
        saved = checkpoints.restore(state)
        state = state if saved is None else saved
        del saved
        done = int(state.step)
        # the first process alone cuts, and if it fails none goes on
        told(lambda: all(metrics.cut(folder / name, done) is None for name in ("metrics.jsonl", "timing.jsonl")))

        flops = model_flops(recipe, state)

        def keep(chunk: Chunk) -> None:
            done, size = int(chunk.state.step), len(chunk.losses)
            first = done - size + 1
            losses = ({"step": first + i, "loss": float(value)} for i, value in enumerate(chunk.losses))
            metrics.append(folder / "metrics.jsonl", losses)
            clock = {
                "step": done,
                "seconds": chunk.seconds,
                "tasks_per_second": size * recipe.batch_size / chunk.seconds,
                "flops_per_second": size * flops / chunk.seconds,
                "devices": recipe.devices,
            }
            metrics.append(folder / "timing.jsonl", [clock])
            stop = asked_to_stop()
            if stop or done >= n_steps or (done // chunk_size) % checkpoint_every == 0:
                checkpoints.save(chunk.state)
            report(chunk)
            if stop:
                checkpoints.wait()
                raise Preempted(f"SIGTERM stopped the training in {folder} after step {done}, which is saved.")

        return train_placed(recipe, state, n_steps, chunk_size, keep)
