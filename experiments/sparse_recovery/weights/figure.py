"""The figure of the models that ship: their errors by the number of measurements, as users ask."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import Results
from experiments.figures import colour_of

# colour and line of each; those of one kind share a colour
SHOWN = {
    "minimum norm": (colour_of("minimum norm"), ":"),
    "in-context-alista": (colour_of("in-context ALISTA"), "-"),
    "in-context-alista-branches": (colour_of("in-context ALISTA, branches"), "-"),
    "in-context-alista-any-n": (colour_of("in-context ALISTA"), "--"),
    "small-tf": (colour_of("Small TF, from the theorem"), "-"),
    "small-tf-random": (colour_of("Small TF"), "-"),
}


def plot(results: Results) -> Figure:
    """One curve a model, with 95 % intervals: drawn thick where it answers, thin where it refuses."""
    figure, axes = plt.subplots(figsize=(7.0, 4.2))
    for name, (colour, line) in SHOWN.items():
        if f"{name}/by length" not in results:
            continue
        mean, low, high = results[f"{name}/by length"].T[:3]
        least, most = results.get(f"{name}/range", np.array([0, np.inf]))
        lengths = results["lengths"]
        within = (lengths >= least) & (lengths <= most)
        axes.semilogy(lengths, mean, line, color=colour, linewidth=0.8, alpha=0.5)
        axes.semilogy(lengths, np.where(within, mean, np.nan), line, color=colour, linewidth=2.0, marker=".", label=name)
        axes.fill_between(lengths, np.maximum(low, 1e-9), high, color=colour, alpha=0.12, linewidth=0)
    axes.set(xlabel="measurements", ylabel="mean relative error", ylim=(1e-6, 3.0), title="what ships, as users ask it")
    axes.legend(loc="lower left", fontsize=8)
    return figure
