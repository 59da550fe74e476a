"""The figure and the table of a device, from results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from experiments.accelerator.claims import batches, crossing_gap, fraction, speed
from experiments.common import Results
from experiments.figures import COLOURS


def table(results: Results) -> Table:
    """Every shape and batch: milliseconds a step, tasks a second beside two cores, fraction of the peak, seconds to compile."""
    peak = float(results[f"peak/{results['dtype']}"])
    memory = float(results["memory"]) / 2**30
    shown = Table(
        "shape",
        "batch",
        "ms a step",
        "tasks/s",
        "× two cores",
        "of the peak",
        "compiling",
        title=f"{results['device']}: {peak / 1e12:.3g} TFLOP/s in {results['dtype']}, {memory:.1f} GiB at most",
    )
    for name, two_cores in zip(results["shapes"], results["two-cores"], strict=True):
        for batch in batches(results, name):
            shown.add_row(
                str(name),
                f"{batch:,}",
                f"{1000 * np.median(results[f'{name}/{batch}/seconds']):.2f}",
                f"{speed(results, name, batch):,.0f}",
                f"{speed(results, name, batch) / two_cores:.1f}",
                f"{fraction(results, name, batch):.1%}",
                f"{results[f'{name}/{batch}/compiling']:.0f} s",
            )
    shown.caption = f"{results['sweep/counts'][-1]} small trainings in {results['sweep/whole']:.1f} s, compiling and all"
    return shown


def plot(results: Results) -> Figure:
    """Gaps of the constructions; gaps of the losses by step; tasks a second; the cost of a model by how many there are."""
    figure, panels = plt.subplots(2, 2, figsize=(10.5, 6.4))
    for draw, axes in zip((exact, crossing, speeds, cost), panels.flat, strict=True):
        draw(axes, results)
    figure.suptitle(str(results["device"]), x=0.01, ha="left", fontsize=9)
    return figure


def exact(axes: Axes, results: Results) -> None:
    """The largest gap of every construction at two precisions, and on the CPU of the kept results."""
    names = results["exact/names"]
    places = np.arange(len(names))[::-1]
    kinds = {
        "default": ("default precision", COLOURS["accent"], "o"),
        "highest": ("highest precision", COLOURS["transformer"], "o"),
        "cpu": ("the kept CPU, highest", COLOURS["ink"], "|"),
    }
    for kind, (label, colour, marker) in kinds.items():
        axes.semilogx(results[f"exact/{kind}"], places, marker, color=colour, label=label, markersize=9 if marker == "|" else 5)
    axes.set_yticks(places, [str(name).replace("-", " ") for name in names])
    axes.set(title="constructions in float32", xlabel="largest |network − solver| / (1 + max |solver|)")
    axes.margins(y=0.15)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.18), ncols=3, columnspacing=1.0, handletextpad=0.2)


def crossing(axes: Axes, results: Results) -> None:
    """The relative difference of the two trainings' losses, and where the second was."""
    gap = crossing_gap(results)
    leg = len(gap) // 3
    here, there = results["crossing/places"]
    axes.axvspan(leg + 0.5, 2 * leg + 0.5, color=COLOURS["sky"], alpha=0.2, linewidth=0.0, label=f"on {there}")
    shown = np.where(gap > 0.0, gap, np.nan)  # equal losses have no place on a logarithmic axis
    axes.set(xlim=(0, len(gap) + 1), yscale="log", ylim=(1e-9, 1e-3))
    axes.plot(np.arange(1, len(gap) + 1), shown, "o", color=COLOURS["transformer"], label=f"else on {here}")
    axes.axhline(1e-4, color=COLOURS["ink"], linewidth=0.8, linestyle="--", label="at most, as claimed")
    axes.set(
        title="a training that moves and comes back",
        xlabel="step (equal losses are not drawn)",
        ylabel="|loss / loss of one that stays − 1|",
    )
    axes.legend(loc="lower left")


def speeds(axes: Axes, results: Results) -> None:
    """Tasks a second: of two cores, and of this device at each batch, with its fraction of the peak."""
    names = [str(name) for name in results["shapes"]]
    width, most = 0.27, max(len(batches(results, name)) for name in names)
    kinds = [
        ("two CPU cores, kept", COLOURS["classical"]),
        ("64 tasks a step", COLOURS["sky"]),
        ("large batch", COLOURS["solver"]),
    ]
    for kind, (label, colour) in enumerate(kinds[: most + 1]):
        if kind == 0:
            heights, notes = results["two-cores"], [""] * len(names)
        else:
            sizes = [batches(results, name)[min(kind, len(batches(results, name))) - 1] for name in names]
            heights = [speed(results, name, size) for name, size in zip(names, sizes, strict=True)]
            notes = [f"{100 * fraction(results, name, size):.3g}" for name, size in zip(names, sizes, strict=True)]
        places = np.arange(len(names)) + width * (kind - most / 2)
        axes.bar(places, heights, width, color=colour, label=label)
        for place, height, note in zip(places, heights, notes, strict=True):
            axes.text(place, height * 1.06, note, ha="center", fontsize=7)
    axes.set_yscale("log")
    axes.margins(y=0.12)
    axes.set_xticks(np.arange(len(names)), names)
    axes.grid(axis="x", visible=False)
    axes.set(title=f"training steps; above, % of the {results['dtype']} peak", ylabel="tasks a second")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)


def cost(axes: Axes, results: Results) -> None:
    """Seconds a model, by how many are trained in one call."""
    counts = results["sweep/counts"]
    each = results["sweep/seconds"] / counts
    axes.loglog(counts, each, marker="o", color=COLOURS["transformer"], label="in one call")
    axes.loglog(counts, np.full(len(counts), each[0]), "--", color=COLOURS["classical"], label="one after another")
    axes.set(title="small trainings in one call", xlabel="trainings", ylabel="seconds a training")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
