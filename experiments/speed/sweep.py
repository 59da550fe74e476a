"""Many models in one program beside the same compiled program called for one after another, on this machine's CPU.

Claim. A sweep of 256 Memformers that see the same prompts, in one program, is at least five times as fast as training one after
another, and stays within the memory that it was given. Where every model draws prompts of its own there is little to win:
drawing is most of a small model's step, and it is shared by nobody; and a Transformer's step keeps the cores busy by itself.
Source. Own measurement. The Memformer of four layers, d = 5, n = 20 and a batch of 512 is that of Dutta and Sra 2024
(arXiv:2410.07263), as the solver that it equals; the Transformer of 3 layers, 2 heads and width 64 the smallest of Garg et al.
2022 (arXiv:2208.01066), on all prefixes of 20 examples, d = 5, a batch of 64.
How. N short trainings, of 5 steps and of 2, each from its own start and at its own rate; with prompts of their own, or with
those that all see, which one program draws once for a whole group. Serial: the compiled program of one model is called N times.
It is done in the fastest of three ways, found at 16 models: waiting for each, on one device or on all, which share its prompts;
or all queued at once. One program: `sweep`, all devices sharing the models, in groups that fit a budget, 32 MiB a device for
the Memformer and 256 MiB for the Transformer. Each side is a process of its own; they take turns, compiling apart. The median
over six rounds of a round's ratio is claimed; the least and the largest of six enclose the median ratio of these processes with
a probability of 97 %. The Transformer stops at 64 models: 1000 take minutes a turn. Planned memory is the compiler's, of a
device; resident is the most that the whole process held, Python and JAX among it.
Command. python -m experiments speed.sweep --preset quick
"""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from rich.table import Table

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.figures import COLOURS
from experiments.parts import kept
from experiments.speed.processes import Job, in_turns
from experiments.speed.swept import MODELS, PROMPTS, axes_of, training
from jaxl2o.checks import require
from jaxl2o.evaluation.grid import group_size
from jaxl2o.evaluation.memory import at_once_for, memory

COST = {"smoke": "10 s", "quick": "15 min"}
WAYS = ("waiting", "shared", "queued")
PROMPTS_OF = {"same": False, "own": True}  # prompts -> whether each model draws its own
CLAIMED = {  # what was measured -> its claim
    ("memformer", "same", 256): ("scale/sweep-256", 5.0),
    ("memformer", "own", 256): ("scale/sweep-256-own-prompts", 1.0),
    ("transformer", "same", 64): ("scale/sweep-transformer-64", 1.0),
    ("transformer", "own", 64): ("scale/sweep-transformer-64-own-prompts", 1.0),
}
SIDES = ("one after another", "one program")


@dataclass(frozen=True)
class Config:
    """Which models, how many of them, and how long they are timed."""

    memformers: tuple[int, ...] = (1, 4, 16, 64, 256, 1000)
    transformers: tuple[int, ...] = (1, 4, 16, 64)
    prompts: tuple[str, ...] = tuple(PROMPTS_OF)  # those that all models see, or their own
    ways: tuple[str, ...] = WAYS  # to train one after another, of which the fastest is taken
    rounds: int = 6  # turns of both sides
    seconds: float = 0.3  # of one turn, at least: small sweeps are repeated

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"rounds is {self.rounds}; it must be at least 1.")
        for name, known in (("prompts", PROMPTS_OF), ("ways", WAYS)):
            unknown = ", ".join(sorted({*getattr(self, name)} - {*known}))
            require(not unknown, f"{name} has {unknown}; choose from {', '.join(known)}.")

    @property
    def counts(self) -> dict[str, tuple[int, ...]]:
        """The numbers of models, by model."""
        return {"memformer": self.memformers, "transformer": self.transformers}


PRESETS = {
    "smoke": Config(memformers=(2,), transformers=(), prompts=("same",), ways=("queued",), rounds=2, seconds=0.0),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """Both sides of every number of models, smallest first; each is kept as soon as it is measured."""
    results: Results = {}
    for name, counts in config.counts.items():
        for prompts in config.prompts if counts else ():
            key, job = f"{name}/{prompts}", {"side": "sweep", "model": name, "own": PROMPTS_OF[prompts]}
            chosen = kept(run, f"ways {name} {prompts}", partial(ways, config, job, max(counts), run))
            serial, at_once = config.ways[np.argmin(np.median(chosen["seconds"], axis=0))], int(chosen["at_once"])
            found = []
            for count in counts:
                own = job | {"count": count}
                found.append(kept(run, f"{name} {prompts} {count}", partial(both, config, own, serial, at_once, run)))
            results |= {f"{key}/{part}": np.stack([one[part] for one in found]) for part in found[0]}
            results |= {
                f"{key}/counts": np.array(counts),
                f"{key}/budget": np.array(MODELS[name]().budget),
                f"{key}/ways": np.array(config.ways),
                f"{key}/ways seconds": chosen["seconds"],
            }
    return results


def ways(config: Config, job: Job, most: int, run: Run) -> Results:
    """How to train: the seconds of 16 models one after another, by round and way, and how many at once fit into the budget."""
    model = MODELS[job["model"]]()
    at_once = at_once_for(training(model, job["own"]), axes_of(most), model.budget, jax.local_device_count())
    seconds = np.zeros((1, 1))
    if len(config.ways) > 1:
        jobs = [job | {"count": 16, "way": way, "at_once": 0} for way in config.ways]
        seconds = in_turns(f"{job['model']}, one after another", jobs, config.rounds, config.seconds, run).seconds
    return {"seconds": seconds, "at_once": np.array(at_once)}


def both(config: Config, job: Job, serial: str, at_once: int, run: Run) -> Results:
    """Of both sides: seconds by round, bytes that the compiler plans for a device, and the most that the process held."""
    model, devices, axes = MODELS[job["model"]](), jax.local_device_count(), axes_of(job["count"])
    sides = [job | {"way": serial, "at_once": 0}, job | {"way": "one program", "at_once": at_once}]
    clock = in_turns(f"{job['count']} models", sides, config.rounds, config.seconds, run)
    alone = training(model, job["own"], devices if serial == "shared" else 1)
    planned = memory(alone, axes_of(1), 1), memory(training(model, job["own"]), axes, at_once, devices)
    return {
        "seconds": clock.seconds,
        "resident": clock.memory,
        "planned": np.array(planned),
        "at_once": np.array(group_size(job["count"], at_once, devices) // devices),
    }


def measured(results: Results) -> list[tuple[str, str]]:
    """What was measured: models and prompts."""
    return [(name, prompts) for name in MODELS for prompts in PROMPTS_OF if f"{name}/{prompts}/counts" in results]


def ratios(results: Results, key: str) -> np.ndarray:
    """(counts, rounds): how many times as fast one program is."""
    return results[f"{key}/seconds"][..., 0] / results[f"{key}/seconds"][..., 1]


def claims(results: Results) -> list[Claim]:
    """How many times as fast one program is, and whether it kept its budget."""
    found = []
    for (name, prompts, count), (id, expected) in CLAIMED.items():
        counts = results.get(f"{name}/{prompts}/counts", np.array([]))
        for ratio in ratios(results, f"{name}/{prompts}")[counts == count] if count in counts else ():
            words = "prompts that all see" if prompts == "same" else "prompts of their own"
            found.append(
                claim(
                    id,
                    f"{count} {name}s on {words}: one after another over one program, median and range of the rounds",
                    float(np.median(ratio)),
                    ">=",
                    expected,
                    n=len(ratio),
                    seeds=(PROMPTS,),
                    kind="ratio",
                    interval=(float(ratio.min()), float(ratio.max())),
                )
            )
    keys = [f"{name}/{prompts}" for name, prompts in measured(results)]
    shares = np.concatenate([results[f"{key}/planned"][:, 1] / results[f"{key}/budget"] for key in keys])
    text = "bytes that the compiler plans for a device, over the budget: the largest of all sweeps"
    return [*found, claim("scale/sweep-memory", text, float(shares.max()), "<=", 1.0, n=len(shares), seeds=(PROMPTS,))]


def table(results: Results) -> Table:
    """Every sweep: seconds of both sides, their ratio, and memory."""
    shown = Table("model", "prompts", "N", "at once", "one after another", "one program", "ratio", "planned", "resident")
    for name, prompts in measured(results):
        key = f"{name}/{prompts}"
        serial = results[f"{key}/ways"][np.argmin(np.median(results[f"{key}/ways seconds"], axis=0))]
        for i, count in enumerate(results[f"{key}/counts"]):
            seconds, ratio = np.median(results[f"{key}/seconds"][i], axis=0), ratios(results, key)[i]
            planned, resident = results[f"{key}/planned"][i] / 2**20, results[f"{key}/resident"][i] / 2**20
            shown.add_row(
                name,
                prompts,
                f"{count}",
                f"{results[f'{key}/at_once'][i]}",
                f"{seconds[0]:.3g} s, {serial}",
                f"{seconds[1]:.3g} s",
                f"{np.median(ratio):.2f} ({ratio.min():.2f} … {ratio.max():.2f})",
                f"{planned[0]:,.0f}, {planned[1]:,.0f} MiB",
                f"{resident[0]:,.0f}, {resident[1]:,.0f} MiB",
            )
    return shown


def plot(results: Results) -> Figure:
    """Milliseconds a model, and planned memory, by the number of models; a column a model."""
    names = list(dict.fromkeys(name for name, _ in measured(results)))
    figure, panels = plt.subplots(2, len(names), figsize=(3.7 * len(names), 5.2), squeeze=False, sharex="col")
    for name, prompts in measured(results):
        above, below = panels[:, names.index(name)]
        key, line = f"{name}/{prompts}", "-" if prompts == "same" else "--"
        counts, seconds, budget = (results[f"{key}/{part}"] for part in ("counts", "seconds", "budget"))
        for side, colour in enumerate((COLOURS["classical"], COLOURS["transformer"])):
            style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 3}
            each = 1000.0 * seconds[..., side] / counts[:, None]
            middle = np.median(each, axis=1)
            spread = np.abs(np.stack([each.min(axis=1), each.max(axis=1)]) - middle)
            above.errorbar(counts, middle, spread, label=f"{SIDES[side]}, {prompts} prompts", **style)
            below.plot(counts, results[f"{key}/planned"][:, side] / 2**20, **style)
        below.axhline(budget / 2**20, color=COLOURS["accent"], linewidth=1.0)
        above.set(title=name.capitalize(), ylabel="ms a model", xscale="log", yscale="log")
        below.set(xlabel=f"models (line: budget of {budget >> 20} MiB)", ylabel="planned MiB a device", yscale="log")
        below.set_xticks(counts, [f"{count}" for count in counts])
        below.set_xticks([], minor=True)
        for axes in (above, below):
            axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
    panels[0, 0].legend(fontsize=7)
    return figure
