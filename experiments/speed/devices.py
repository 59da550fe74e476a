"""Strong and weak scaling of a training step over 1 to 8 CPU devices: virtual devices of one machine's few cores.

Claim. Two devices on two cores are faster than one, and devices beyond the cores cost little: they share what is there.
Source. Own measurement. Small TF and LISTA-VM are of Liu et al. 2025 (arXiv:2410.13981).
How. N devices are N parts into which JAX divides one CPU, so no more than its cores compute at one time: the ideal is min(N,
cores) times the tasks a second of one device. And one device is no single core, as XLA's large products have all cores already.
Strong: one batch of 64 tasks is shared among the devices. Weak: every device has 64 tasks of its own. Twelve layers, ten
examples. Every number of devices is a process of its own with two threads a device; they take turns, compiling apart, four
steps a call. A ratio is of one round; the median over six rounds is claimed, and the least and the largest of six enclose the
median ratio of these processes with a probability of 97 %.
Expected. Set beforehand: at least 1 for two devices over one; at 8 devices at least 0.8 of the tasks a second of 2 where every
device keeps its 64 tasks, and 0.5 where 64 are shared, which leaves a device 8.
Command. python -m experiments speed.devices --preset quick
"""

from dataclasses import dataclass
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.table import Table

from experiments import machine
from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.figures import COLOURS
from experiments.parts import kept
from experiments.speed.processes import in_turns
from experiments.speed.shapes import VARIED
from experiments.speed.steps_figure import MODELS
from jaxl2o.checks import require

COST = {"smoke": "6 s", "quick": "4 min"}
SEEDS = (0, 1)  # of parameters and of tasks, of every contender
# kind -> what it is
KINDS = {"strong": "one batch, shared", "weak": "a batch for every device"}
# kind, devices, over devices -> the least ratio of tasks/s
EXPECTED = {("strong", 2, 1): 1.0, ("strong", 8, 2): 0.5, ("weak", 2, 1): 1.0, ("weak", 8, 2): 0.8}


@dataclass(frozen=True)
class Config:
    """Which models on how many devices, and how long they are timed."""

    models: tuple[str, ...] = tuple(VARIED)
    kinds: tuple[str, ...] = tuple(KINDS)
    devices: tuple[int, ...] = (1, 2, 4, 8)
    depth: int = 12  # layers, or LISTA-VM's steps
    batch: int = 64  # tasks: of all devices (strong), or of every one (weak)
    rounds: int = 6  # turns of every contender
    seconds: float = 0.5  # of one turn, about

    def __post_init__(self) -> None:
        for name in ("depth", "rounds"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in self.models:
            require(name in VARIED, f"there is no model {name!r}; choose from {', '.join(VARIED)}.")
        for name in self.kinds:
            require(name in KINDS, f"there is no kind {name!r}; choose from {', '.join(KINDS)}.")
        counts = list(self.devices)
        require(
            counts[:1] == [1] and counts == sorted(set(counts)),
            f"devices is {self.devices}; give rising numbers that begin with 1.",
        )
        require(
            self.batch >= 1 and all(self.batch % count == 0 for count in counts),
            f"batch is {self.batch}; it must be a positive multiple of every number of devices.",
        )


PRESETS = {
    # one process, which has nothing to be compared with
    "smoke": Config(("lista-vm",), ("strong",), devices=(1,), depth=2, batch=8, rounds=2, seconds=0.02),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """Strong and weak scaling of every model."""
    results: Results = {"devices": np.array(config.devices), "cores": np.array(machine.cores())}
    for model in config.models:
        for kind in config.kinds:
            speeds = kept(run, f"{model} {kind}", partial(measure, model, kind, config, run))
            results[f"{model}/{kind}"] = speeds["tasks a second"]
    return results


def measure(model: str, kind: str, config: Config, run: Run) -> Results:
    """Tasks a second, (rounds, devices)."""
    batches = [config.batch * (count if kind == "weak" else 1) for count in config.devices]
    jobs = [
        {
            "side": "ours",
            "shape": VARIED[model]._replace(depth=config.depth, batch=batch)._asdict(),
            "settings": {"devices": count, "dispatch": 4},
            "devices": [count],
        }
        for count, batch in zip(config.devices, batches, strict=True)
    ]
    clock = in_turns(f"{model}, {KINDS[kind]}", jobs, config.rounds, config.seconds, run)
    return {"tasks a second": np.array(batches) / clock.seconds}


def speed_up(results: Results, row: str) -> Float[np.ndarray, "rounds devices"]:
    """Tasks a second over those of one device, round by round."""
    return results[row] / results[row][:, :1]


def table(results: Results) -> Table:
    """Tasks a second, how many times those of one device, and that over what the cores allow."""
    shown = Table(
        "model", "scaling", "devices", "tasks/s", "speed-up", "efficiency a device", f"of {results['cores']} cores' ideal"
    )
    for model, (title, _) in MODELS.items():
        for kind in KINDS:
            if f"{model}/{kind}" not in results:
                continue
            medians = np.median(speed_up(results, f"{model}/{kind}"), axis=0)
            speeds = np.median(results[f"{model}/{kind}"], axis=0)
            for count, speed, ratio in zip(results["devices"], speeds, medians, strict=True):
                ideal = min(count, results["cores"])
                shown.add_row(
                    title, kind, str(count), f"{speed:,.0f}", f"{ratio:.2f}", f"{ratio / count:.0%}", f"{ratio / ideal:.0%}"
                )
    return shown


def plot(results: Results) -> Figure:
    """Times the tasks a second of one device, medians and ranges of the rounds, a panel a kind, and what the cores allow."""
    devices, cores = results["devices"], int(results["cores"])
    ratios = 2.0 ** np.arange(-1, np.log2(cores) + 1)
    figure, panels = plt.subplots(1, 2, figsize=(7.2, 3.3), sharey=True)
    for axes, (kind, words) in zip(panels, KINDS.items(), strict=True):
        axes.plot(
            devices, np.minimum(devices, cores), color=COLOURS["classical"], linestyle="--", label=f"ideal on {cores} cores"
        )
        for model, (title, colour) in MODELS.items():
            if f"{model}/{kind}" in results:
                found = speed_up(results, f"{model}/{kind}")
                median = np.median(found, axis=0)
                spread = np.abs(np.array([found.min(axis=0), found.max(axis=0)]) - median)
                axes.errorbar(devices, median, spread, color=colour, marker="o", capsize=2, elinewidth=0.8, label=title)
        axes.set(xscale="log", yscale="log", xlabel=f"virtual CPU devices, on {cores} cores", title=f"{kind}: {words}")
        axes.set_xticks(devices, [str(count) for count in devices])
        axes.set_yticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("tasks a second, × one device")
    panels[1].legend(loc="lower right")
    return figure


def claims(results: Results) -> list[Claim]:
    """The ratios of tasks a second that something was expected of."""
    counts = list(results["devices"])
    return [
        ratio_claim(model, kind, many, few, results)
        for model in MODELS
        for kind, many, few in EXPECTED
        if f"{model}/{kind}" in results and {many, few} <= set(counts)
    ]


def ratio_claim(model: str, kind: str, many: int, few: int, results: Results) -> Claim:
    """So many devices over so few: the median and the range of the rounds."""
    speeds, counts = results[f"{model}/{kind}"], list(results["devices"])
    ratio = speeds[:, counts.index(many)] / speeds[:, counts.index(few)]
    own = "" if model == "small-tf" else f"{model}-"
    return claim(
        f"speed/{own}{kind}-{many}-over-{few}",
        f"{model}, {KINDS[kind]}: tasks/s on {many} virtual devices over those on {few}, {results['cores']} cores",
        float(np.median(ratio)),
        ">=",
        EXPECTED[kind, many, few],
        n=len(ratio),
        seeds=SEEDS,
        kind="ratio",
        interval=(float(ratio.min()), float(ratio.max())),
    )
