"""What every experiment shares: its folder, how it is run, resumed and kept.

A run's folder is runs/NAME/PRESET (PRESET-<8 hex> with overrides): config.json, the folders of its trainings and summary.json,
what they cost, results.npz, figure.png and .pdf, claims.json. Every file is written under a temporary name and renamed: a kill
leaves it whole or absent. Of several processes the first one writes, and all of them see the folder.
"""

import hashlib
import importlib
import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.claims import Claim, table_of
from experiments.placement import Placement
from experiments.provenance import environment
from jaxl2o.checks import InputError, require
from jaxl2o.files import write_whole
from jaxl2o.training.accounting import summarise
from jaxl2o.training.hosts import is_first_process, told
from jaxl2o.training.loop import Chunk

EXPERIMENTS = (
    "exactness",
    "compressed_sensing",
    "sparse_recovery",
    "sparse_recovery.transformers",
    "sparse_recovery.at_length",
    "sparse_recovery.gpt2",
    "sparse_recovery.weights",
    "sparse_recovery.prefixes",
    "l2o_benchmark",
    "l2o_benchmark.weights",
    "memformer",
    "memformer.published",
    "memformer.weights",
    "newton",
    "mixture",
    "mixture.trained",
    "mixture.weights",
    "scale",
    "speed.training",
    "speed.steps",
    "speed.devices",
    "speed.sweep",
    "speed.evaluation",
    "speed.lasso",
    "accelerator",
    "pod",
)
RESULTS = Path(__file__).parent / "results"
STYLE = Path(__file__).parent / "style.mplstyle"
Results = dict[str, np.ndarray]


class Run(NamedTuple):
    """Where a run lives, where it speaks, and how its trainings lie on the devices."""

    folder: Path
    console: Console
    placement: Placement = Placement()

    @contextmanager
    def bar(self, title: str, n_steps: int, batch_size: int) -> Iterator[Callable[[Chunk], None]]:
        """A progress bar for one training, fed by the chunks that `train` reports: loss, tasks/s and time left."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4g}  {task.fields[speed]:,.0f} tasks/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task(title, total=n_steps, loss=float("nan"), speed=0.0)

            def report(chunk: Chunk) -> None:
                speed = len(chunk.losses) * batch_size / chunk.seconds
                progress.update(bar, completed=int(chunk.state.step), loss=float(chunk.losses.mean()), speed=speed)

            yield report

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Say what is being done, and afterwards how long it took."""
        began = time.perf_counter()
        with self.console.status(f"{title} …"):
            yield
        self.console.print(f"{title}: {time.perf_counter() - began:.1f} s")


def load(name: str) -> ModuleType:
    """The module of an experiment. It has Config, PRESETS, run, plot and claims, and its docstring says what it costs."""
    return importlib.import_module(f"experiments.{name}")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """`write_whole`, in the first process alone."""
    if is_first_process():
        write_whole(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in their own order."""
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8"))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever fails while `path` is read means that it is damaged: `InputError` in its place."""
    try:
        yield
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged and cannot be read ({type(error).__name__}); start the run over with --fresh."
        ) from error


def folder_of(root: Path, name: str, preset: str, config: Any, default: Any) -> Path:
    """root/NAME/PRESET, with 8 hex digits of the overridden values behind it if there are any."""
    overrides = {key: value for key, value in asdict(config).items() if value != asdict(default)[key]}
    if not overrides:
        return root / name / preset
    digest = hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()[:8]
    return root / name / f"{preset}-{digest}"


def execute(
    name: str, preset: str, config: Any, root: Path, fresh: bool, keep: bool, console: Console, placement: Placement
) -> list[Claim]:
    """Run an experiment in its folder, or read it if it is finished; resumes what was interrupted.

    Of several processes all run it, and the first one concludes; the others have no claims.

    Raises `InputError` if the folder holds a run of another config, unless `fresh` starts it over.
    """
    module = load(name)
    folder = folder_of(root, name, preset, config, module.PRESETS[preset])

    def finished() -> bool:
        if fresh and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        claim_folder(folder, json.loads(json.dumps(asdict(config))))
        return (folder / "claims.json").exists() and (folder / "results.npz").exists()

    if told(finished):
        console.print(f"{folder} is finished; --fresh runs it again.")
    else:
        console.print(f"{name}, preset {preset}, in {folder}")
        if preset == "smoke":
            # nearly all of a smoke run's time is compiling; what is compiled runs for milliseconds
            jax.config.update("jax_disable_most_optimizations", True)
        # an accelerator's default products are coarser than float32, and claims are about float32
        with jax.default_matmul_precision("highest"):
            results = module.run(config, Run(folder, console, placement))
            write_atomically(folder / "results.npz", lambda path: np.savez_compressed(path, allow_pickle=False, **results))
            summary = summarise(folder)
        if summary["trainings"]:
            write_json(folder / "summary.json", summary)
    if not is_first_process():
        return []
    results = results_of(folder)
    claims = conclude(module, results, folder, console)
    console.print(table_of(claims))
    if keep:
        if hasattr(module, "keep_more"):
            module.keep_more(folder)
        keep_results(folder, RESULTS / name / kept_name(module, folder.name, results))
    return claims


def claim_folder(folder: Path, resolved: dict[str, Any]) -> None:
    """Write config.json, or refuse a folder that another config has written."""
    path = folder / "config.json"
    if path.exists():
        with readable(path):
            found = dict(json.loads(path.read_text(encoding="utf-8"))["config"])
        if found != resolved:
            differing = ", ".join(sorted(key for key in {*found, *resolved} if found.get(key) != resolved.get(key)))
            raise InputError(f"{folder} holds a run with other values of {differing}; start it over with --fresh.")
    else:
        write_json(path, {"config": resolved, "environment": environment()})


def results_of(folder: Path) -> Results:
    """The arrays of a finished run; `InputError` if they are damaged."""
    path = folder / "results.npz"
    with readable(path), np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        return dict(file)


def conclude(module: ModuleType, results: Results, folder: Path, console: Console) -> list[Claim]:
    """Redraw the figure, print the experiment's own table if it has one, and restate the claims; from results.npz alone."""
    with plt.style.context(STYLE):
        figure = module.plot(results)
        try:
            for suffix in ("png", "pdf"):
                # without a date, so that redrawing gives the same bytes
                write_atomically(
                    folder / f"figure.{suffix}", lambda path: figure.savefig(path, metadata={"CreationDate": None})
                )
                figure.set_layout_engine("none")  # places are found once
        finally:
            plt.close(figure)
    if hasattr(module, "table"):
        console.print(module.table(results))
    claims: list[Claim] = module.claims(results)
    write_json(folder / "claims.json", [{**found._asdict(), "holds": found.holds} for found in claims])
    return claims


def kept_name(module: ModuleType, name: str, results: Results) -> str:
    """The name of a run's kept folder: that of its own, or what the experiment's `kept_as` makes of it, such as a device's."""
    return module.kept_as(name, results) if hasattr(module, "kept_as") else name


def keep_results(folder: Path, target: Path) -> None:
    """Copy what is worth committing: config, results, figure, claims and what trainings cost; refuses results above 1 MiB."""
    size = (folder / "results.npz").stat().st_size
    require(size <= 2**20, f"{folder / 'results.npz'} has {size:,} bytes; committed results have at most 1 MiB.")
    target.mkdir(parents=True, exist_ok=True)
    names = ("config.json", "results.npz", "figure.png", "claims.json", "summary.json")  # the last one if it trained anything
    for name in (name for name in names if (folder / name).exists()):
        write_atomically(target / name, lambda path, name=name: shutil.copyfile(folder / name, path))
