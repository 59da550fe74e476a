"""The figure and the table of the training step, from results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS
from experiments.speed.shapes import SHAPES


def shapes_of(results: Results) -> list[str]:
    """The shapes that were timed."""
    return [name for name in SHAPES if f"{name}/seconds" in results]


def table(results: Results) -> Table:
    """Every contender: median step, tasks/s, times as fast as the textbook, fraction of the matrix peak, memory."""
    shown = Table("shape", "", "contender", "ms a step", "tasks/s", "× textbook", "of the peak", "memory", "start")
    for name in shapes_of(results):
        median = np.median(results[f"{name}/seconds"], axis=0)
        for i, title in enumerate(results[f"{name}/names"]):
            fraction = results[f"{name}/flops"] / median[i] / results[f"{name}/peak"]
            shown.add_row(
                name,
                str(results[f"{name}/roles"][i]),
                str(title),
                f"{1000 * median[i]:.1f}",
                f"{results[f'{name}/batch'] / median[i]:,.0f}",
                f"{median[0] / median[i]:.2f}",
                f"{fraction:.0%}",
                f"{results[f'{name}/memory'][i] / 2**20:,.0f} MiB",
                f"{results[f'{name}/start'][i]:.0f} s",
            )
    return shown


def plot(results: Results) -> Figure:
    """Tasks a second of every contender, a panel a shape: ours change by change, what was left out, then PyTorch."""
    names = shapes_of(results)
    counts = [len(results[f"{name}/names"]) for name in names]
    figure, panels = plt.subplots(
        len(names), 1, figsize=(7.2, 0.26 * sum(counts) + 0.6 * len(names)), squeeze=False, height_ratios=counts
    )
    colours = {"ours": COLOURS["transformer"], "left out": COLOURS["accent"], "PyTorch": COLOURS["classical"]}
    for axes, name in zip(panels[:, 0], names, strict=True):
        speeds = results[f"{name}/batch"] / results[f"{name}/seconds"]
        median, most, roles = np.median(speeds, axis=0), speeds.max(axis=0), results[f"{name}/roles"]
        spread = np.abs(np.array([speeds.min(axis=0), most]) - median)
        places = np.arange(len(median))[::-1]
        axes.barh(
            places,
            median,
            xerr=spread,
            color=[colours[role] for role in roles],
            error_kw={"elinewidth": 0.8, "ecolor": COLOURS["ink"]},
        )
        for place, value, end in zip(places, median, most, strict=True):
            axes.text(end * 1.01, place, f" {value:,.0f}", va="center", fontsize=7.5)
        titles = zip(results[f"{name}/names"], roles, strict=True)
        axes.set_yticks(places, [f"({title})" if role == "left out" else str(title) for title, role in titles])
        axes.set_title(f"{name}: tasks a second, median and range of {len(speeds)} rounds; in brackets what was left out")
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.1, y=0.02)
    return figure
