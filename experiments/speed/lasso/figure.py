"""The figure: time a problem of every contender, and a path of real data on which both sides agree."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from experiments.common import Results
from experiments.figures import COLOURS, panels_of
from experiments.speed.lasso.problems import CASES, PENALTIES

COLOUR = {
    "ours": COLOURS["solver"],
    "scikit-learn": COLOURS["classical"],
    "celer": COLOURS["limit"],
    "skglm": COLOURS["accent"],
    "jaxopt": COLOURS["trained"],
}


def case(name: str):
    """What draws a case: a line a contender, a full marker for the stronger penalty, a hollow one for the weaker."""

    def draw(axes: Axes, results: Results) -> None:
        seconds, families = results[f"{name}/seconds"] * 1e3, [str(family) for family in results[f"{name}/families"]]
        median = np.median(seconds, axis=1)
        order = np.argsort(-median.max(axis=0))
        for place, i in enumerate(order):
            colour = COLOUR[families[i]]
            axes.plot(median[:, i], [place, place], color=colour, linewidth=1.0, alpha=0.5)
            for k in range(len(PENALTIES)):
                axes.plot([seconds[k, :, i].min(), seconds[k, :, i].max()], [place, place], color=colour)
                fill = colour if k == 0 else "white"
                axes.plot(median[k, i], place, "o", color=colour, markerfacecolor=fill, markersize=5)
        axes.set_yticks(np.arange(len(order)), [str(results[f"{name}/names"][i]) for i in order])
        for label, i in zip(axes.get_yticklabels(), order, strict=True):
            label.set_color(COLOUR[families[i]])
        axes.set(xscale="log", xlabel="ms a problem, one core", title=CASES[name].title)
        axes.set_ylim(-0.7, len(order) - 0.3)
        axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="x", which="both", labelsize=8, length=3.0, pad=3.5)

    return draw


def diabetes(axes: Axes, results: Results) -> None:
    """Both paths: ours as lines, scikit-learn's as dots on them."""
    shares = results["diabetes/penalties"] / results["diabetes/penalties"].max()
    axes.plot(shares, results["diabetes/ours"], color=COLOUR["ours"], linewidth=1.0)
    axes.plot(shares[::3], results["diabetes/scikit-learn"][::3], ".", color=COLOUR["scikit-learn"], markersize=4)
    lines, dots = axes.lines[0], axes.lines[-1]
    axes.legend([lines, dots], ["ours", "scikit-learn"], loc="lower left")
    axes.set(xscale="log", xlabel="penalty, of the largest", ylabel="coefficient", title="Diabetes: paths of both")
    axes.invert_xaxis()


def plot(results: Results) -> Figure:
    """A panel a case, and the path."""
    draws = {f"{name}/": case(name) for name in CASES} | {"diabetes/": diabetes}
    figure = panels_of(results, draws, 2, 7.6, 2.9)
    if any(f"{name}/names" in results for name in CASES):
        ink = COLOURS["ink"]
        style = {"color": ink, "marker": "o", "markersize": 5, "linestyle": "none"}
        marks = [Line2D([], [], markerfacecolor=fill, **style) for fill in (ink, "white")]
        words = [f"{share:g} of the largest penalty" for share in PENALTIES]
        figure.legend(marks, words, loc="outside lower center", ncols=2)
    return figure
