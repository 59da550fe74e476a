"""The figure: errors by the number of measurements, at ten of them, and by the prompts of training."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.committed import committed
from experiments.common import Results
from experiments.figures import colour_of, label_ends, style_of
from experiments.sparse_recovery.prefixes.config import BAYES, METHODS, RANDOM, SMALL_TF

LEAST, GROUND = 1e-5, 3e-3  # what is below is drawn at the edge: of the curve, and of the errors at ten
PUBLISHED, READ = "GPT-2, published (Garg et al. 2022)", 0.09  # at ten measurements, read by eye off a figure of theirs
PROMPTS = 500_000 * 64  # that it was trained on, by the settings of their code
AHEAD = 1e9  # prompts to which the long training is extrapolated
# what others have kept: the experiment, and the preset
SOLVERS, LONG, GPT2 = (
    ("sparse_recovery", "quick"),
    ("sparse_recovery.at_length", "accelerator"),
    ("sparse_recovery.gpt2", "accelerator"),
)
NAMES = {"FISTA": "FISTA, 12 steps", "LISTA-VM": "LISTA-VM, any n", "in-context ALISTA": "in-context ALISTA, for n = 10"}


class Point(NamedTuple):
    """An error at ten measurements. kept: by another experiment, on other signals."""

    title: str
    mean: float
    low: float
    high: float
    kept: bool = False


def plot(results: Results) -> Figure:
    """Errors by the number of measurements, over the whole width; below, at ten alone, and by the prompts of training."""
    figure, panels = plt.subplot_mosaic([["curve", "curve"], ["ten", "prompts"]], figsize=(9.4, 8.4), height_ratios=(1.2, 1))
    by_length(panels["curve"], results)
    at_ten(panels["ten"], results)
    by_prompts(panels["prompts"], results)
    return figure


def by_length(axes: Axes, results: Results) -> None:
    """Mean errors with their intervals: thick where a model's card allows the number of measurements, thin elsewhere."""
    ends: dict[str, tuple[float, str]] = {}
    for title in METHODS:
        if f"by length/{title}" not in results:
            continue
        rows = results[f"by length/{title}"]
        # one measurement more than was measured the Bayes estimate is exact
        mean, low, high = np.maximum(np.vstack([rows, 0.0 * rows[:1]]) if title == BAYES else rows, LEAST).T
        lengths, colour = np.arange(len(mean)), colour_of(title)
        least, most = results.get(f"range/{title}", np.array([0, len(mean)]))
        within = np.where((lengths >= least) & (lengths <= most), mean, np.nan)
        style = style_of(title)["linestyle"]
        axes.semilogy(lengths, mean, style, color=colour, linewidth=0.7)
        axes.semilogy(lengths, within, style, color=colour, linewidth=2.0)
        axes.fill_between(lengths, low, high, color=colour, alpha=0.15, linewidth=0)
        ends[NAMES.get(title, title)] = (float(mean[-1]), colour)
    network = committed(*GPT2).results["random/by length/GPT-2"]
    axes.semilogy(network, color=colour_of("GPT-2"))
    axes.annotate("GPT-2", (len(network) - 1, network[-1]), (4, 0), textcoords="offset points", color=colour_of("GPT-2"))
    mark(axes, int(results["n"]))
    axes.legend(loc="upper right")
    axes.set(title="One curve over n; thin: outside the range of the model's card", xlabel="measurements n")
    axes.set(ylabel="mean relative error", xlim=(0, int(results["longest"])), ylim=(LEAST, 3.0))
    if BAYES in ends:
        _, colour = ends.pop(BAYES)
        axes.annotate(f"Bayes: 0 from\nn = {int(results['sparsity']) + 1} on", (4.3, 2e-5), color=colour, fontsize=8)
    label_ends(axes, ends, gap=0.3)


def mark(axes: Axes, x: float) -> None:
    """The published error."""
    axes.plot(x, READ, "D", color=colour_of("GPT-2"), markersize=6, fillstyle="none", zorder=5, linestyle="", label=PUBLISHED)


def measured(title: str, rows: np.ndarray) -> Point:
    """What `score` found of a method, after its last step."""
    mean, low, high = (float(row[-1]) for row in rows)
    return Point(title, mean, low, high)


def at_ten(axes: Axes, results: Results) -> None:
    """The same at ten measurements on more signals, in the order of errors, with what others have kept."""
    points = [
        measured(NAMES.get(title, title), results[f"fresh/{title}/mean"])
        for title in METHODS
        if f"fresh/{title}/mean" in results
    ]
    for run, key, name in (
        (SOLVERS, "fresh/LISTA-VM", "LISTA-VM, for n = 10"),
        (SOLVERS, "fresh/LISTA-VM with momentum", "LISTA-VM with momentum, for n = 10"),
        (SOLVERS, "fresh/Lasso, converged", "Lasso, converged"),
        (GPT2, "random 10/GPT-2", "GPT-2, 23 million prompts"),
    ):
        points.append(measured(name, committed(*run).results[f"{key}/mean"])._replace(kept=True))
    points.append(Point(PUBLISHED, READ, READ, READ, kept=True))
    points.append(Point(BAYES, 0.0, 0.0, 0.0))
    points.sort(key=lambda point: point.mean)
    for place, point in enumerate(points):
        colour = colour_of(point.title)
        marker, filled = ("D", "none") if point.title == PUBLISHED else ("o", "none" if point.kept else "full")
        axes.plot([max(point.low, GROUND), max(point.high, GROUND)], [place, place], color=colour, linewidth=1.6)
        axes.plot(max(point.mean, GROUND), place, marker if point.mean > 0.0 else "<", color=colour, fillstyle=filled)
        text = f"{point.mean:#.2g}" if point.mean > 0.0 else "0"
        axes.annotate(text, (max(point.high, GROUND), place), (5, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_yticks(range(len(points)), [point.title for point in points])
    for label, point in zip(axes.get_yticklabels(), points, strict=True):
        label.set_color(colour_of(point.title))
    axes.set(title=f"At n = {int(results['n'])}", xlabel="mean relative error; hollow: elsewhere")
    axes.set(xscale="log", xlim=(GROUND, 1.1))


def by_prompts(axes: Axes, results: Results) -> None:
    """Error on validation signals by all prompts of the long training, and where others ended.

    Extrapolated by power laws through all of its course and through its last quarter: it is one training, whose rate falls to
    zero, so between the two is no interval of confidence.
    """
    long, solvers, network = (committed(*run).results for run in (LONG, SOLVERS, GPT2))
    spent = prompts(SOLVERS, "steps", "batch")  # of every solver, of which one fills the Transformer
    seen, errors = spent + long["history"][:, 0] * long["history/batch"], long["history"][:, 1]
    ahead, colour = np.geomspace(seen[-1], AHEAD, 20), colour_of(SMALL_TF)
    powers = [np.polyfit(np.log(seen[-count:]), np.log(errors[-count:]), 1)[0] for count in (len(seen), len(seen) // 4)]
    axes.loglog(seen, errors, color=colour)
    slow, fast = (errors[-1] * (ahead / seen[-1]) ** power for power in sorted(powers, reverse=True))
    axes.fill_between(ahead, fast, slow, color=colour, alpha=0.25, linewidth=0)
    text = f"Small TF, from the theorem;\nshaded: ∝ prompts$^{{{max(powers):.2f}}}$ to $^{{{min(powers):.2f}}}$"
    axes.annotate(text, (1.7e6, 0.057), color=colour, fontsize=8)
    for title in ("LISTA-VM with momentum", "in-context ALISTA"):
        ended(axes, title, spent, solvers[f"fresh/{title}/mean"])
    if f"fresh/{RANDOM}/mean" in results:
        ended(axes, RANDOM, prompts(LONG, "random_steps", "random_batch"), results[f"fresh/{RANDOM}/mean"])
    ended(axes, "GPT-2", prompts(GPT2, "steps", "batch"), network["random 10/GPT-2/mean"])
    mark(axes, PROMPTS)
    where = {"textcoords": "offset points", "color": colour_of("GPT-2"), "fontsize": 8}
    axes.annotate("GPT-2, published", (PROMPTS, READ), (8, -12), **where)
    axes.set(title="By prompts trained on, at n = 10", xlabel="prompts")
    axes.set(ylabel="mean relative error", xlim=(8e5, 2 * AHEAD), ylim=(0.04, 0.6))
    axes.set_yticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
    axes.yaxis.set_minor_formatter(NullFormatter())


def prompts(run: tuple[str, str], steps: str, batch: str) -> int:
    """That a kept training saw."""
    config = committed(*run).config
    return config[steps] * config[batch]


def ended(axes: Axes, title: str, seen: float, rows: np.ndarray) -> None:
    """Where a training ended, with its name."""
    error = float(rows[0, -1])
    axes.plot(seen, error, "o", color=colour_of(title), markersize=5)
    axes.annotate(title, (seen, error), (5, 5), textcoords="offset points", color=colour_of(title), fontsize=8)
