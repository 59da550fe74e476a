"""The figure and the table of the comparison, from results alone."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from rich.table import Table

from experiments.common import Results
from experiments.compressed_sensing.pictures import DATA, SIDE, psnr_interval
from experiments.figures import bare, label_ends, style_of
from jaxl2o.tasks.images import picture_of

SHOWN = {
    "original": "original",
    "Lasso": "Lasso, converged",
    "LMMSE": "LMMSE",
    "in-context ALISTA": "in-context ALISTA",
    "LISTA-VM": "(b) LISTA-VM",
    "Transformer trained": "(d) Transformer",
}
# the Transformer lies on LISTA-VM
LINES = {
    "ISTA": (style_of("ISTA"), "ISTA"),
    "FISTA": (style_of("FISTA"), "FISTA"),
    "LISTA-CP own matrix": (style_of("LISTA-CP"), "LISTA-CP, its own matrix"),
    "LISTA-CP fresh matrices": (style_of("LISTA-CP, fresh matrices"), "LISTA-CP, fresh matrices"),
    "in-context ALISTA": (style_of("in-context ALISTA"), "in-context ALISTA"),
    "LISTA-VM": (style_of("LISTA-VM"), "(b) LISTA-VM"),
    "Transformer trained": (style_of("Transformer") | {"linestyle": "--"}, "(d) Transformer, trained on"),
}
LEVELS = {"LMMSE": (style_of("LMMSE") | {"linestyle": "--"}, "LMMSE"), "Lasso": (style_of("Lasso"), "Lasso, converged")}
ORDER = (
    "mean patch",
    "ISTA",
    "FISTA",
    "Lasso",
    "LMMSE",
    "LISTA-CP own matrix",
    "LISTA-CP fresh matrices",
    "in-context ALISTA",
    "LISTA-VM",
    "LISTA-VM longer",
    "Transformer filled",
    "Transformer trained",
)
ERROR_RANGE = 0.15  # grey values: white in the error pictures
NOTE = f"|error|, white at\n{ERROR_RANGE} of the grey range;\nPSNR of the\nwhole picture"


def data_of(results: Results) -> list[str]:
    """The data sets that a run has, in the order of `DATA`."""
    return [data for data in DATA if f"{data}/blocks" in results]


def final(results: Results, data: str, method: str) -> float:
    """The PSNR of a method's last answers."""
    return float(results[f"{data}/curve/{method}"][-1])


def plot(results: Results) -> Figure:
    """A part of the unseen photograph and some digits by every method, with errors; PSNR against layer or iteration."""
    data = data_of(results)
    heights = {"photograph": 3.3, "digits": 1.0, "curves": 3.0}
    shown = [*data, "curves"]
    figure = plt.figure(figsize=(9.0, sum(heights[row] for row in shown)))
    rows = figure.add_gridspec(len(shown), 1, height_ratios=[heights[row] for row in shown])
    for row, name in enumerate(data):
        draw = _photograph if name == "photograph" else _digits
        draw(figure, rows[row], results)
    plots = rows[len(data)].subgridspec(1, 2, wspace=0.12)
    for column, name in enumerate(data):
        axes = figure.add_subplot(plots[0, column])
        _curves(axes, results, name)
        axes.set_title(f"unseen {name}")
        axes.set_xlabel("layer or iteration")
        if column == 0:
            axes.set_ylabel("PSNR, dB")
    return figure


def _photograph(figure: Figure, place: SubplotSpec, results: Results) -> None:
    grid = place.subgridspec(2, len(SHOWN), hspace=0.02, wspace=0.02)
    pictures = {}
    for method in SHOWN:
        patches = results[f"photograph/picture/{method}"].astype(float)
        pictures[method] = np.asarray(picture_of(jnp.asarray(patches.reshape(-1, patches.shape[-1])), patches.shape[1]))
    for column, (method, title) in enumerate(SHOWN.items()):
        top = figure.add_subplot(grid[0, column])
        top.imshow(pictures[method], cmap="gray", vmin=0, vmax=255)
        top.set_title(title, fontsize=8.5)
        bare(top)
        below = figure.add_subplot(grid[1, column])
        bare(below)
        if method == "original":
            below.text(0.95, 0.5, NOTE, ha="right", va="center", transform=below.transAxes, fontsize=8)
        else:
            below.imshow(np.abs(pictures[method] - pictures["original"]), cmap="magma", vmin=0, vmax=255 * ERROR_RANGE)
            below.set_xlabel(f"{final(results, 'photograph', method):.2f} dB", fontsize=8)


def _digits(figure: Figure, place: SubplotSpec, results: Results) -> None:
    grid = place.subgridspec(1, len(SHOWN), wspace=0.06)
    for column, (method, title) in enumerate(SHOWN.items()):
        digits = results[f"digits/picture/{method}"].astype(float)
        framed = np.pad(digits.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1))).reshape(len(digits), -1)
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(np.asarray(picture_of(jnp.asarray(framed), 4)), cmap="gray", vmin=0, vmax=255)
        bare(axes)
        if "photograph/blocks" not in results:
            axes.set_title(title, fontsize=8.5)
        if method == "original":
            axes.set_ylabel("unseen digits", fontsize=8)
        else:
            axes.set_xlabel(f"{final(results, 'digits', method):.2f} dB", fontsize=8)


def _curves(axes: Axes, results: Results, data: str) -> None:
    floor = final(results, data, "mean patch") - 3.0
    ends = {}
    last = max(len(results[f"{data}/curve/{method}"]) for method in LINES) - 1
    for method, (style, label) in LINES.items():
        curve = np.maximum(results[f"{data}/curve/{method}"], floor)
        axes.plot(curve, marker="o", markersize=2.5, **style)
        if curve[-1] == floor:
            label += f", {final(results, data, method):.0f} dB"
        ends[label] = (float(curve[-1]), style["color"])
    for method, (style, label) in LEVELS.items():
        level = final(results, data, method)
        axes.plot([0, last], [level, level], linewidth=1.2, **style)
        ends[label] = (level, style["color"])
    low, high = floor - 0.5, max(y for y, _ in ends.values()) + 1.5
    axes.set(xlim=(0, last), ylim=(low, high), xticks=range(0, last + 1, 2))
    label_ends(axes, ends, gap=(high - low) / 15)


def table(results: Results) -> Table:
    """PSNR with its interval, the median patch, and the time per patch of a compiled batch, by method."""
    title = "PSNR in dB, 95 % interval by bootstrap over 32 x 32 blocks or over digits; the median patch;\n"
    shown = Table("method", title=title + "time per patch, measuring included, in a compiled batch of up to 256")
    for data in data_of(results):
        shown.add_column(data, justify="right")
        shown.add_column("median", justify="right")
        shown.add_column("time", justify="right")
    for method in ORDER:
        cells = []
        for data in data_of(results):
            errors = results[f"{data}/errors/{method}"]
            low, high = psnr_interval(errors, results[f"{data}/picture_of_patch"], results[f"{data}/blocks"])
            seconds = float(results[f"{data}/seconds/{method}"])
            cells += [f"{final(results, data, method):.2f}  [{low:.2f}, {high:.2f}]"]
            cells += [f"{-10.0 * np.log10(np.median(errors)):.1f}", f"{1e6 * seconds:,.0f} µs"]
        shown.add_row(method, *cells)
    return shown
