"""The house style of figures: one colour a method, the same in every figure, and labels at the ends of lines."""

from matplotlib.axes import Axes

# colour-blind safe (Wong 2011); a method keeps its colour wherever it is drawn
COLOURS = {
    "solver": "#0072B2",
    "transformer": "#D55E00",
    "trained": "#CC79A7",
    "classical": "#7F7F7F",
    "limit": "#009E73",
    "accent": "#E69F00",
    "ink": "#222222",
}


def label_ends(axes: Axes, ends: dict[str, tuple[float, float, str]], gap: float) -> None:
    """Write each name right of its line's end, (x, y, colour), moved apart so that no two are closer than `gap` in y."""
    placed = float("-inf")
    for name, (x, y, colour) in sorted(ends.items(), key=lambda item: item[1][1]):
        placed = max(y, placed + gap)
        axes.annotate(
            name, (x, y), xytext=(x, placed), textcoords="data", color=colour, fontsize=8, va="center", annotation_clip=False
        )


def bare(axes: Axes) -> None:
    """A picture, not a plot: no ticks, no frame, no grid."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
