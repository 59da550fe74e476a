"""The house style of figures: one colour an algorithm, the same in every figure, and labels at the ends of lines."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from experiments.common import Results

# colour-blind safe: Wong 2011, and two darker ones
COLOURS = {
    "solver": "#0072B2",
    "transformer": "#D55E00",
    "trained": "#CC79A7",
    "classical": "#7F7F7F",
    "limit": "#009E73",
    "accent": "#E69F00",
    "sky": "#56B4E9",
    "ink": "#222222",
    "plum": "#6A3D7C",
    "brown": "#7A4A1E",
}
# an algorithm keeps its colour wherever it is drawn; variants, named behind a comma, share it unless they stand here
ALGORITHMS = {
    # least squares
    "least squares": "ink",
    "minimum norm": "ink",
    "ridge": "classical",
    "best linear in y": "plum",
    "LMMSE": "plum",
    "posterior mean": "limit",
    "Bayes": "limit",
    # first-order methods
    "gradient descent": "sky",
    "momentum": "trained",
    "Nesterov": "accent",
    "conjugate gradients": "solver",
    "Krylov oracle": "ink",
    "GD++": "ink",
    # memories of the Memformer
    "no memory": "classical",
    "tied": "accent",
    "Memformer": "plum",
    "gated by the inputs": "sky",
    # Newton's method
    "Newton-Schulz": "solver",
    "Newton-Schulz in one layer": "sky",
    "third order": "limit",
    "fourth order": "ink",
    "higher order": "sky",
    "damped Newton": "plum",
    # mixtures of regressions
    "zero": "classical",
    "EM": "solver",
    # sparse recovery, without learning
    "ISTA": "classical",
    "FISTA": "classical",
    "Lasso": "classical",
    "OMP": "classical",
    "block ISTA": "ink",
    "AMP": "limit",
    "OAMP": "limit",
    "TISTA": "limit",
    # sparse recovery, learned for one matrix
    "LISTA": "sky",
    "LISTA-CP": "accent",
    "LISTA-CPSS": "accent",
    "LAMP": "trained",
    "ALISTA": "solver",
    "NA-ALISTA": "transformer",
    "AGLISTA": "plum",
    "HyperLISTA": "plum",
    # sparse recovery, learned for any matrix
    "Ada-LISTA": "accent",
    "LISTA-VM": "solver",
    "LISTA-VM with momentum": "sky",
    "in-context ALISTA": "trained",
    "in-context ALISTA, branches": "plum",
    "in-context ALISTA, ridge, branches": "plum",
    # networks
    "Transformer": "transformer",
    "Small TF": "accent",
    "Small TF, from the theorem": "transformer",
    "GPT-2": "brown",
    "linear attention": "brown",
}
# of those that share a colour: variants, and neighbours of one family; all others are drawn full
DASHES = {
    "ridge": ":",
    "zero": "--",
    "gradient descent, preconditioned": "--",
    "conjugate gradients, preconditioned": "--",
    "Memformer, diagonal": "--",
    "damped Newton, any n": "--",
    "ISTA": "--",
    "ISTA, 400 steps": "-.",
    "FISTA, 400 steps": ":",
    "Lasso": ":",
    "OAMP": "--",
    "TISTA": ":",
    "LISTA-CPSS": "--",
    "LISTA-CP, fresh matrices": ":",
    "ALISTA, 485 steps": "--",
    "NA-ALISTA, 2,000 steps": "--",
    "HyperLISTA": "--",
    "LISTA-VM, factored heads": "--",
    "LISTA-VM, known support": ":",
    "LISTA-VM, linear read-out": "-.",
    "in-context ALISTA, 16 steps": "--",
    "in-context ALISTA, 24 steps": "-.",
    "in-context ALISTA, without D": ":",
    "in-context ALISTA, any n": "--",
    "EM, random start": ":",
    "EM, best of several": "--",
    "EM, spectral subspace": "-.",
    "EM, started near the truth": (0, (1, 3)),
    "EM, two at a time": "--",
    "EM, b and -b": "-.",
    "linear attention, layer norm": "-.",
}


def colour_of(title: str) -> str:
    """The colour of an algorithm: its own, or that of its name before the comma."""
    return COLOURS[ALGORITHMS.get(title) or ALGORITHMS[title.partition(",")[0]]]


def style_of(title: str) -> dict[str, Any]:
    """The colour of an algorithm and its dashes, as `Axes.plot` takes them: no two of one panel have both in common."""
    return {"color": colour_of(title), "linestyle": DASHES.get(title) or DASHES.get(title.partition(",")[0], "-")}


def shades(title: str, count: int) -> list[tuple[float, float, float]]:
    """An algorithm's colour from light to dark, for variants in an order: of one it is the colour itself."""
    own, places = np.array(to_rgb(colour_of(title))), np.linspace(-0.6, 0.5, count) if count > 1 else np.zeros(count)
    return [tuple(own + (1.0 - own) * -place if place < 0.0 else own * (1.0 - place)) for place in places]


Draw = Callable[[Axes, Results], None]


def panels_of(results: Results, draws: dict[str, Draw], columns: int, width: float, height: float) -> Figure:
    """A grid of panels, row by row, of those whose key begins the name of a result: what was not measured has no panel.

    width: of the figure.  height: of a row; both in inches.
    """
    drawn = [draw for key, draw in draws.items() if any(name.startswith(key) for name in results)]
    rows = -(-len(drawn) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False)
    for axes in panels.flat[len(drawn) :]:
        axes.set_visible(False)
    for axes, draw in zip(panels.flat, drawn, strict=False):
        draw(axes, results)
    return figure


def label_ends(axes: Axes, ends: dict[str, tuple[float, str]], gap: float) -> None:
    """Write each name right of the axes at its line's end, (y, colour), moved apart so that no two are closer than `gap`.

    On a logarithmic axis of y the gap is in decades.
    """
    decades = axes.get_yscale() == "log"
    names = sorted(ends, key=lambda name: ends[name][0])
    places = [np.log10(ends[name][0]) if decades else ends[name][0] for name in names]
    for _ in range(200):
        for lower in range(len(places) - 1):
            short = gap - (places[lower + 1] - places[lower])
            if short > 0:
                places[lower] -= short / 2
                places[lower + 1] += short / 2
    right = axes.get_xlim()[1]
    # to the middle of the name's left side, so that it strikes through no other name
    leader = {"arrowstyle": "-", "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 0, "relpos": (0.0, 0.5)}
    for name, place in zip(names, places, strict=True):
        axes.annotate(
            name,
            xy=(right, ends[name][0]),
            xytext=(right * 1.08, 10.0**place if decades else place),
            color=ends[name][1],
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops=leader | {"color": ends[name][1]},
        )


def bare(axes: Axes) -> None:
    """A picture, not a plot: no ticks, no frame, no grid."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
