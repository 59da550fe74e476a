"""How a sweep's times are shown: which kinds of prompts there are, ratios, the table and the figure."""

from typing import Any, Literal

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS

ASKED = 5.0  # how many times as fast 256 Memformers on the same prompts are to be
PROMPTS_OF = {"memformer": ("same", "given", "own"), "transformer": ("same", "own")}
WORDS = {
    "same": "same prompts: one program draws them once for all, which is part of its ratio",
    "given": "given prompts: drawn beforehand, so the ratio is of batching, and of sharing models between devices",
    "own": "own prompts: drawn by each model",
}
COLOURS_OF = {"one after another": COLOURS["classical"], "one program": COLOURS["transformer"]}
LINES: dict[str, Literal["-", ":", "--"]] = {"same": "-", "given": ":", "own": "--"}


def measured(results: Results) -> list[tuple[str, str]]:
    """What was measured: models and prompts."""
    return [(name, prompts) for name in PROMPTS_OF for prompts in PROMPTS_OF[name] if f"{name}/{prompts}/counts" in results]


def ratios(results: Results, key: str) -> np.ndarray:
    """(counts, rounds): how many times as fast one program is."""
    return results[f"{key}/seconds"][..., 0] / results[f"{key}/seconds"][..., 1]


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
                f"{np.median(ratio):.2f} ({np.min(ratio):.2f} … {np.max(ratio):.2f})",
                f"{planned[0]:,.0f}, {planned[1]:,.0f} MiB",
                f"{resident[0]:,.0f}, {resident[1]:,.0f} MiB",
            )
    return shown


def plot(results: Results) -> Figure:
    """Milliseconds a model, their ratio, and planned memory, by the number of models; a column a model."""
    names = list(dict.fromkeys(name for name, _ in measured(results)))
    figure, panels = plt.subplots(3, len(names), figsize=(max(3.7 * len(names), 5.2), 7.8), squeeze=False, sharex="col")
    for name, prompts in measured(results):
        above, middle, below = panels[:, names.index(name)]
        key, style = f"{name}/{prompts}", {"linestyle": LINES[prompts], "marker": "o", "markersize": 3}
        counts, seconds, budget = (results[f"{key}/{part}"] for part in ("counts", "seconds", "budget"))
        for side, colour in enumerate(COLOURS_OF.values()):
            with_spread(above, counts, 1000.0 * seconds[..., side] / counts[:, None], color=colour, **style)
            below.plot(counts, results[f"{key}/planned"][:, side] / 2**20, color=colour, **style)
        with_spread(middle, counts, ratios(results, key), color=COLOURS["ink"], **style)
        below.axhline(budget / 2**20, color=COLOURS["accent"], linewidth=1.0)
        middle.axhline(1.0, color=COLOURS["classical"], linewidth=0.6)
        above.set(title=name.capitalize(), ylabel="ms a model", xscale="log", yscale="log")
        middle.set(ylabel="one after another / one program")
        below.set(xlabel=f"models (line: budget of {budget >> 20} MiB)", ylabel="planned MiB a device", yscale="log")
        for axes in (above, below):
            axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
    for column, name in enumerate(names):
        every = max((results[f"{name}/{prompts}/counts"] for of, prompts in measured(results) if of == name), key=len)
        panels[-1, column].set_xticks(every, [f"{count}" for count in every])
        panels[-1, column].set_xticks([], minor=True)
    if "memformer" in names:
        axes = panels[1, names.index("memformer")]
        axes.plot(256, ASKED, marker="_", markersize=14, markeredgewidth=2.0, color=COLOURS["accent"])
        words = f"{ASKED:g} asked of\nthe same prompts"
        axes.annotate(words, (256, ASKED), (0, -5), textcoords="offset points", ha="center", va="top", fontsize=7)
    entries = [Line2D([], [], color=colour, label=side) for side, colour in COLOURS_OF.items()]
    entries += [Line2D([], [], color=COLOURS["ink"], linestyle=LINES[kind], label=words) for kind, words in WORDS.items()]
    figure.legend(handles=entries, loc="outside lower left", fontsize=7)
    return figure


def with_spread(axes: Axes, counts: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """Draw the median of the rounds, with the range of all of them. values: (counts, rounds), NaN where there was no round."""
    median = np.median(values, axis=1)
    spread = np.abs(np.stack([np.min(values, axis=1), np.max(values, axis=1)]) - median)
    axes.errorbar(counts, median, spread, **style)
