"""The figure of the plans, from results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import Results
from experiments.figures import COLOURS, colour_of, label_ends
from experiments.pod.tables import chosen, works
from jaxl2o.training.budget import DAY, fitting

COUNTS = tuple(2**i for i in range(9))
LINES = {"arithmetic": "solver", "operations": "accent", "update": "limit", "communication": "transformer"}
# a training -> its algorithm, where that has another name
ALGORITHM_OF = {"wide, 2048": "Transformer", "wide, 4096": "Transformer", "mixture encoder": "Transformer"}
MARKS = ("o", "s", "^", "D", "v", "P", "X")
SHOWN = ("Small TF", "GPT-2, 9.5 M", "wide, 2048")


def plot(results: Results) -> Figure:
    """Days against chips, and the parts of a step of three trainings."""
    shown = [name for name in SHOWN if name in works(results)]
    figure = plt.figure(figsize=(10.0, 6.4))
    grid = figure.add_gridspec(2, 1, height_ratios=(1.25, 1.0))
    draw_days(figure.add_subplot(grid[0]), results)
    panels = grid[1].subgridspec(1, len(shown))
    for place, name in enumerate(shown):
        axes = figure.add_subplot(panels[place])
        draw_parts(axes, results, name)
        if place == 0:
            axes.set_ylabel("seconds a step")
            figure.legend(loc="outside lower center", ncols=len(LINES))
    return figure


def draw_days(axes: Axes, results: Results) -> None:
    """The run's time of every training: from all communication hidden to none; dashed where no sharding fits the memory."""
    title, device, fraction = chosen(results)
    ends = {}
    for (name, (work, steps)), mark in zip(works(results).items(), MARKS, strict=False):
        colour = colour_of(ALGORITHM_OF.get(name, name))
        plans = [fitting(work, device, chips, fraction)[1] for chips in COUNTS]
        least, most = (np.array([steps * getattr(plan, bound) / DAY for plan in plans]) for bound in ("least", "most"))
        fits = all(plan.memory <= device.memory for plan in plans[3:])
        axes.plot(COUNTS, most, marker=mark, linestyle="-" if fits else "--", color=colour)
        axes.fill_between(COUNTS, least, most, color=colour, alpha=0.2, linewidth=0)
        ends[name] = (float(most[-1]), colour)
    logarithmic(axes)
    axes.set_ylabel("days of the whole run")
    axes.set_title(
        f"Time on {title} at {fraction:.0%} of peak; bands: communication hidden or not; dashed: no memory on 8 chips"
    )
    label_ends(axes, ends, 0.35)


def draw_parts(axes: Axes, results: Results, name: str) -> None:
    """Seconds of every part of a step."""
    _, device, fraction = chosen(results)
    work, _ = works(results)[name]
    plans = [fitting(work, device, chips, fraction)[1] for chips in COUNTS]
    for part, colour in LINES.items():
        seconds = np.array([getattr(plan, part) for plan in plans])
        axes.plot(COUNTS, np.where(seconds > 0, seconds, np.nan), color=COLOURS[colour], label=part)
    logarithmic(axes)
    axes.set_title(f"{name}: parts of a step")


def logarithmic(axes: Axes) -> None:
    """Chips across, both axes in decades."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.minorticks_off()
    axes.set_xlabel("chips")
