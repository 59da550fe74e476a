"""The figure and the table of how a step grows, from results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, colour_of
from experiments.speed.exponents import mean_exponent, upper

MODELS = {"small-tf": ("Small TF", colour_of("Small TF")), "lista-vm": ("LISTA-VM", colour_of("LISTA-VM"))}
LABELS = {
    "depth": "layers, or steps of LISTA-VM",
    "width": "width D, or dimension d of LISTA-VM",
    "context": "examples in context",
    "batch": "tasks in a batch",
}


def table(results: Results) -> Table:
    """Every row: its sizes, time and memory at the ends, and the exponents over the upper half, beside that of arithmetic."""
    exponents = ("FLOP ∝", "time ∝", "plan ∝", "process ∝")
    shown = Table("model", "by", "sizes", "fitted from", "ms a step", "planned MiB", *exponents)
    for model, (title, _) in MODELS.items():
        for name in LABELS:
            row = f"{model}/{name}"
            if f"{row}/sizes" not in results:
                continue
            sizes, seconds = results[f"{row}/sizes"], 1000 * np.median(results[f"{row}/seconds"], axis=0)
            planned = results[f"{row}/planned"] / 2**20
            found, half = mean_exponent(sizes, results[f"{row}/seconds"])
            flops, plan, process = (
                f"{mean_exponent(sizes, results[f'{row}/{key}'])[0]:.2f}" for key in ("flops", "planned", "resident")
            )
            shown.add_row(
                title,
                name,
                f"{sizes[0]} … {sizes[-1]}",
                str(sizes[upper(sizes)][0]),
                f"{seconds[0]:.3g} … {seconds[-1]:,.3g}",
                f"{planned[0]:.3g} … {planned[-1]:,.4g}",
                flops,
                f"{found:.2f} ± {half:.2f}",
                plan,
                process,
            )
    return shown


def plot(results: Results) -> Figure:
    """Time above, memory below, a column for what is varied; the fitted part is drawn bold, its exponent stands beside it."""
    names = [name for name in LABELS if any(f"{model}/{name}/sizes" in results for model in MODELS)]
    figure, panels = plt.subplots(
        2, len(names), figsize=(1.2 + 2.3 * len(names), 5.2), squeeze=False, sharex="col", sharey="row"
    )
    for (above, below), name in zip(panels.T, names, strict=True):
        for model in MODELS:
            if f"{model}/{name}/sizes" in results:
                draw_time(above, model, name, results)
                draw_memory(below, model, name, results)
        sizes = np.unique(np.concatenate([results.get(f"{model}/{name}/sizes", np.array([], int)) for model in MODELS]))
        for axes in (above, below):
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.margins(x=0.2, y=0.1)
        above.set_title(name)
        below.set_xlabel(LABELS[name])
    panels[0, 0].set_ylabel("ms a step")
    panels[1, 0].set_ylabel("memory (MiB)")
    keys = [Line2D([], [], color=colour, marker="o", label=title) for title, colour in MODELS.values()]
    grey = COLOURS["classical"]
    keys += [
        Line2D([], [], color=grey, linewidth=2.4, label="fitted, with its exponent"),
        Line2D([], [], color=grey, linestyle=":", label="model FLOP, scaled to the last step (above)"),
        Line2D([], [], color=grey, label="the compiler's plan (below)"),
        Line2D([], [], color=grey, linestyle="--", label="the process's peak (below)"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=min(3, len(names)))
    return figure


def draw_time(axes: Axes, model: str, name: str, results: Results) -> None:
    """The median over rounds with their range, the exponent, and what time would be if it grew as arithmetic does."""
    row, colour = f"{model}/{name}", MODELS[model][1]
    sizes, seconds, flops = (results[f"{row}/{key}"] for key in ("sizes", "seconds", "flops"))
    median = 1000 * np.median(seconds, axis=0)
    axes.fill_between(sizes, 1000 * seconds.min(axis=0), 1000 * seconds.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    axes.plot(sizes, median[-1] * flops / flops[-1], color=colour, linestyle=":", linewidth=1.1)
    draw_law(axes, sizes, median, mean_exponent(sizes, seconds)[0], colour)


def draw_memory(axes: Axes, model: str, name: str, results: Results) -> None:
    """The compiler's plan with its exponent, and the most that the process held."""
    row, colour = f"{model}/{name}", MODELS[model][1]
    sizes, planned, resident = (results[f"{row}/{key}"] for key in ("sizes", "planned", "resident"))
    axes.plot(sizes, resident / 2**20, color=colour, linestyle="--", linewidth=1.1)
    draw_law(axes, sizes, planned / 2**20, mean_exponent(sizes, planned)[0], colour)


def draw_law(axes: Axes, sizes: np.ndarray, values: np.ndarray, exponent: float, colour: str) -> None:
    """All values, the fitted ones bold, and their exponent right of the last."""
    fitted = upper(sizes)
    axes.plot(sizes, values, color=colour, marker="o", linewidth=0.9)
    axes.plot(sizes[fitted], values[fitted], color=colour, linewidth=2.4)
    axes.annotate(
        f"{exponent:.2f}",
        (sizes[-1], values[-1]),
        xytext=(5, 0),
        textcoords="offset points",
        color=colour,
        fontsize=8,
        va="center",
    )
