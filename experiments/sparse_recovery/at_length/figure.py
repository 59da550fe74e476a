"""The figure of the long trainings, from results alone; references from the kept results of `sparse_recovery`."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.committed import committed
from experiments.common import Results
from experiments.figures import colour_of, panels_of
from experiments.sparse_recovery.rows import titles


def plot(results: Results) -> Figure:
    """Validation error by prompts seen; errors by layer beside references; from a random start, loss and errors by length."""
    draws = {"history": learning, "theorem/": layers, "random/loss": losing, "random/by length/": lengths}
    return panels_of(results, draws, 2, 10.0, 3.4)


def learning(axes: Axes, results: Results) -> None:
    """Mean and median on validation signals, by the prompts of the training so far."""
    steps, mean, median = results["history"].T
    seen = steps * results["history/batch"]
    axes.loglog(seen, mean, color=colour_of("Transformer"), label="mean")
    axes.loglog(seen, median, color=colour_of("Transformer"), linestyle="--", label="median")
    filled = results["theorem/Transformer, filled/mean"][0, -1]
    axes.axhline(filled, color=colour_of("LISTA-VM with momentum"), linewidth=1.0, label="mean of its start")
    axes.set(title="from the theorem: validation", xlabel="prompts trained on", ylabel="relative error")
    axes.legend()


def layers(axes: Axes, results: Results) -> None:
    """Mean errors after every layer, and where references end."""
    for title in titles(results, "theorem"):
        if title != "Transformer, no safeguard":
            style = "--" if "filled" in title else "-"
            axes.semilogy(results[f"theorem/{title}/mean"][0], style, color=colour_of(title), label=title)
    others = committed("sparse_recovery").results
    for title in ("FISTA, 400 steps", "in-context ALISTA"):
        axes.axhline(others[f"fresh/{title}/mean"][0, -1], color=colour_of(title), linewidth=1.0, linestyle=":", label=title)
    axes.set(title="ten measurements: mean error", xlabel="layer", ylabel="relative error")
    axes.legend()


def losing(axes: Axes, results: Results) -> None:
    """The training loss from random parameters."""
    loss = results["random/loss"]
    axes.semilogy((np.arange(len(loss)) + 0.5) / len(loss), loss, color=colour_of("Small TF"))
    axes.set(title="from random parameters: training loss", xlabel="share of the training", ylabel="squared error")


def lengths(axes: Axes, results: Results) -> None:
    """Errors of labels by the number of measurements."""
    for title in ("minimum norm", "Small TF"):
        axes.semilogy(np.maximum(results[f"random/by length/{title}"], 1e-6), color=colour_of(title), label=title)
    axes.set(title="from random parameters: labels", xlabel="measurements", ylabel="relative error", ylim=(1e-3, 2))
    axes.legend()
