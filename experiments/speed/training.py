"""The training step beside PyTorch's: Small TF and GPT-2 on prompts of sparse recovery, on this machine's CPU.

Claim. Our step trains more tasks a second than the fastest PyTorch form of the same model: at least 2.5 times as many for Small
TF at n = 10, 2 times at n = 40, 1.2 times for GPT-2; on 1, 2, 4 and 8 devices the losses of 50 steps agree to 1e-4.
Source. Own measurement. PyTorch: a ReLU decoder as Liu et al. 2025 describe it (arXiv:2410.13981), with a map a head or one map
for all heads, and Hugging Face's GPT2Model as Garg et al. 2022 use it (arXiv:2208.01066); eager and compiled, as many threads
as cores, the same float32, batch of 64, 12 layers, Adam, and fresh tasks in every step.
How. Every contender is a process of its own; they take turns, a few steps a round, and each says the median seconds of a step,
compiling apart. A ratio is of one round, against the fastest PyTorch contender; the median over rounds is claimed, and its
interval is from the least to the largest round. The table has what every change to our step is worth.
Command. python -m experiments speed.training --preset quick (needs the extra `speed`)
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from experiments.common import Claim, Results, Run
from experiments.figures import COLOURS
from experiments.speed.shapes import SHAPES, Shape
from jaxl2o.checks import require

COST = {"smoke": "25 s", "quick": "12 min"}
TARGETS = {"small-tf": 2.5, "small-tf-n40": 2.0, "gpt2": 1.2}
SEEDS = (0, 1)


@dataclass(frozen=True)
class Config:
    """Which shapes, and how long they are timed."""

    shapes: tuple[str, ...] = ("small-tf", "small-tf-n40", "gpt2")  # of experiments/speed/shapes.py
    torch: bool = True  # time PyTorch too
    depth: int = 12  # layers
    changes: bool = True  # time our step after every change; else before all and after all
    rounds: int = 5  # turns of every contender
    seconds: float = 1.0  # of one turn, about
    curve_steps: int = 50  # of the comparison of device counts
    devices: tuple[int, ...] = (1, 2, 4, 8)  # counts that are compared, the first being the measure

    def __post_init__(self) -> None:
        for name in ("depth", "rounds", "curve_steps"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in self.shapes:
            require(name in SHAPES, f"there is no shape {name!r}; choose from {', '.join(SHAPES)}.")


PRESETS = {
    "smoke": Config(
        shapes=("small-tf",), torch=False, depth=1, changes=False, rounds=2, seconds=0.05, curve_steps=4, devices=(1, 2)
    ),
    "quick": Config(),
}


class Contender(NamedTuple):
    """A way to take the step: its name in the table, and its job for the worker."""

    name: str
    job: dict[str, Any]


def contenders(shape: Shape, config: Config) -> list[Contender]:
    """Ours, change by change, each on top of the ones before; then PyTorch's."""
    groups = 8 if shape.n > 10 else 0
    ladder = [
        ("textbook", {"module": "textbook", "devices": 1, "dispatch": 1}),
        ("many steps a dispatch", {"module": "textbook", "devices": 1}),
        ("merged, feature-major module", {"together": False, "unroll": False, "devices": 1}),
        ("all prompts together", {"unroll": False, "devices": 1}),
        ("a device a core", {"unroll": False}),
        ("layers without a loop", {}),
    ]
    ladder += [(f"groups of {groups} tasks", {"at_once": groups})] if groups else []
    ladder = ladder if config.changes else [ladder[0], ladder[-1]]
    ours = [Contender(name, {"side": "ours", "settings": {"dispatch": 4, **settings}}) for name, settings in ladder]
    models = ["small-tf per head", "small-tf all heads"] if shape.model == "small-tf" else ["gpt2 Hugging Face"]
    theirs = [
        Contender(
            f"PyTorch {model}, {'compiled' if compiled else 'eager'}", {"side": "torch", "model": model, "compiled": compiled}
        )
        for model in models
        for compiled in (False, True)
    ]
    return ours + (theirs if config.torch else [])


@contextmanager
def worker(job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A process that does the job; it is ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.speed.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        ask(process, json.dumps(job))
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(process: subprocess.Popen[str], line: object) -> None:
    """Give a worker a line."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> Any:
    """The next answer of a worker; what libraries print besides is passed over. `RuntimeError` if it has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("{", "[")):
            return json.loads(line)
    raise RuntimeError(f"a worker ended with status {process.wait()}; its own words stand above.")


def state(job: dict[str, Any]) -> Any:
    """The one answer of a job that is no contender."""
    with worker(job) as process:
        return hear(process)


def run(config: Config, run: Run) -> Results:
    """Every shape's contenders in turn, then the curves of the device counts."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    require(
        not (config.torch and missing),
        f"{' and '.join(missing)} cannot be found; pip install '.[speed]', or time our side alone with --no-torch.",
    )
    results: Results = {}
    for name in config.shapes:
        shape = SHAPES[name]._replace(depth=config.depth)
        field = contenders(shape, config)
        cost = state({"side": "cost", "shape": shape._asdict()})
        with ExitStack() as stack:
            processes = []
            with run.stage(f"{name}: {len(field)} contenders compile and warm up"):
                for contender in field:
                    process = stack.enter_context(worker({**contender.job, "shape": shape._asdict()}))
                    hear(process)  # one after another: each is compiled with all cores to itself
                    processes.append(process)
            seconds = np.full((config.rounds, len(field)), np.nan)
            memory = np.zeros(len(field))
            steps = [1] * len(field)
            with run.stage(f"{name}: {config.rounds} rounds"):
                for turn in range(-1, config.rounds):  # the first only finds out how many steps fill a turn
                    for i, process in enumerate(processes):
                        ask(process, steps[i])
                        answer = hear(process)
                        memory[i] = answer["memory"]
                        if turn < 0:
                            steps[i] = max(1, round(config.seconds / answer["seconds"]))
                        else:
                            seconds[turn, i] = answer["seconds"]
        results |= {
            f"{name}/names": np.array([contender.name for contender in field]),
            f"{name}/ours": np.array([contender.job["side"] == "ours" for contender in field]),
            f"{name}/commands": np.array([json.dumps(contender.job) for contender in field]),
            f"{name}/seconds": seconds,
            f"{name}/memory": memory,
            f"{name}/flops": np.array(cost["flops"]),
            f"{name}/peak": np.array(cost["peak"]),
            f"{name}/batch": np.array(shape.batch),
        }
    shape = SHAPES["small-tf"]._replace(depth=config.depth)
    job = {"side": "curve", "shape": shape._asdict(), "steps": config.curve_steps, "devices": config.devices}
    for bits in (32, 64):
        with run.stage(f"small-tf: {config.curve_steps} steps on {config.devices} devices, float{bits}"):
            results[f"curves/float{bits}"] = np.array(state({**job, "bits": bits}))
    return results


def shapes_of(results: Results) -> list[str]:
    """The shapes that were timed."""
    return [name for name in SHAPES if f"{name}/seconds" in results]


def ratios(name: str, results: Results) -> np.ndarray:
    """(rounds,): tasks/s of our last contender, which has all changes, over those of the fastest PyTorch contender."""
    seconds, ours = results[f"{name}/seconds"], results[f"{name}/ours"]
    fastest = np.flatnonzero(~ours)[np.argmin(np.median(seconds[:, ~ours], axis=0))]
    return seconds[:, fastest] / seconds[:, np.flatnonzero(ours)[-1]]


def curve_gap(results: Results, bits: int) -> float:
    """The largest relative difference of a loss from that of one device."""
    curves = results[f"curves/float{bits}"]
    return float(np.abs(curves / curves[0] - 1.0).max())


def table(results: Results) -> Table:
    """Every contender: median step, tasks/s, times as fast as the textbook, fraction of the matrix peak, memory."""
    shown = Table("shape", "contender", "ms a step", "tasks/s", "× textbook", "of the peak", "memory")
    for name in shapes_of(results):
        median = np.median(results[f"{name}/seconds"], axis=0)
        for i, title in enumerate(results[f"{name}/names"]):
            fraction = results[f"{name}/flops"] / median[i] / results[f"{name}/peak"]
            shown.add_row(
                name,
                str(title),
                f"{1000 * median[i]:.1f}",
                f"{results[f'{name}/batch'] / median[i]:,.0f}",
                f"{median[0] / median[i]:.2f}",
                f"{fraction:.0%}",
                f"{results[f'{name}/memory'][i] / 2**20:,.0f} MiB",
            )
    return shown


def plot(results: Results) -> Figure:
    """Tasks a second of every contender, a panel a shape: ours change by change, then PyTorch."""
    names = shapes_of(results)
    figure, panels = plt.subplots(len(names), 1, figsize=(7.2, 2.5 * len(names)), squeeze=False)
    for axes, name in zip(panels[:, 0], names, strict=True):
        speeds = results[f"{name}/batch"] / results[f"{name}/seconds"]
        median = np.median(speeds, axis=0)
        spread = np.abs(np.array([speeds.min(axis=0), speeds.max(axis=0)]) - median)
        places = np.arange(len(median))[::-1]
        colours = [COLOURS["transformer"] if ours else COLOURS["classical"] for ours in results[f"{name}/ours"]]
        axes.barh(places, median, xerr=spread, color=colours, error_kw={"elinewidth": 0.8, "ecolor": COLOURS["ink"]})
        for place, value, most in zip(places, median, speeds.max(axis=0), strict=True):
            axes.text(most * 1.01, place, f" {value:,.0f}", va="center", fontsize=7.5)
        axes.set_yticks(places, [str(title) for title in results[f"{name}/names"]])
        axes.set_title(f"{name}: tasks a second, median and range of {len(speeds)} rounds")
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.1)
    return figure


def claims(results: Results) -> list[Claim]:
    """Our tasks/s over PyTorch's, and how far the device counts' curves lie apart."""
    found = []
    for name in shapes_of(results):
        if name in TARGETS and not results[f"{name}/ours"].all():
            ratio = ratios(name, results)
            found.append(
                Claim(
                    id=f"speed/{name}-vs-torch",
                    claim=f"{name}: our tasks/s over those of the fastest PyTorch form, median and range of the rounds",
                    source="own measurement",
                    kind="ratio",
                    relation=">=",
                    expected=TARGETS[name],
                    tolerance=0.0,
                    measured=float(np.median(ratio)),
                    interval=(float(ratio.min()), float(ratio.max())),
                    n=len(ratio),
                    seeds=SEEDS,
                    unit="",
                )
            )
    for bits, id in ((32, "speed/devices-curve-gap"), (64, "speed/devices-curve-gap-f64")):
        curves = results[f"curves/float{bits}"]
        found.append(
            Claim(
                id=id,
                claim=f"losses of {curves.shape[1]} steps on several devices beside one, float{bits}: largest difference",
                source="own measurement",
                kind="bound",
                relation="<=",
                expected=1e-4,
                tolerance=0.0,
                measured=curve_gap(results, bits),
                interval=None,
                n=curves.shape[1],
                seeds=SEEDS,
                unit="",
            )
        )
    return found
