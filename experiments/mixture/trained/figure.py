"""The figure of Transformers trained on mixtures, from results alone."""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, Draw, panels_of, shades, style_of
from experiments.mixture.panels import LINES as SHARED
from experiments.mixture.panels import ticks
from experiments.mixture.trained.claims import chosen, gaps, grid, level, slope
from experiments.mixture.trained.fresh import BASELINES
from experiments.mixture.trained.sets import LAWS

# method -> its line's style, and label; other methods as in the figure of all mixtures
LINES = SHARED | {
    "ridge": (style_of("ridge"), "ridge"),
    "transformer": (style_of("Transformer") | {"marker": "o"}, "trained Transformer"),
}
LEAST = 1e-3  # gap that is drawn
METHODS = (*BASELINES, "near the truth", "Bayes", "transformer")
# in the map
SHORT = {name: LINES[name][1].split(",")[0] for name in METHODS} | {"linear": "best\nlinear in y"}
SHORT |= {"attention": "linear\nattention", "restarted": "EM, best\nof several", "spectral": "EM,\nspectral"}
SHORT |= {"annealed": "EM,\nannealed", "random start": "EM"}
SHORT |= {"transformer": "Transformer"}
DASHED = ("-", "--", ":", "-.")  # by the number of components


def plot(results: Results) -> Figure:
    """Excess by length at every ratio; who wins; attention, width and depth; components; training sets."""
    ratios = [int(ratio) for ratio in results.get("map/ratios", ())]
    draws: dict[str, Draw] = {
        **{f"map/{ratio}/": partial(by_length, ratio=ratio) for ratio in ratios},
        "validation/": winners,
        "shapes/": by_width,
        "shapes/depths": by_depth,
        "counts/": by_count,
        "sets/": by_loss,
        "sets/sizes": by_gap,
    }
    figure = panels_of(results, draws, columns=3, width=16.0, height=4.2)
    if ratios:
        lines = [Line2D([], [], label=label, **style) for style, label in map(LINES.__getitem__, METHODS)]
        columns = -(-len(lines) // 2)
        figure.legend(handles=lines, loc="outside upper center", ncols=columns, handlelength=3.5, title="panels by SNR")
    return figure


def drawn(axes: Axes, at: np.ndarray, rows: list[np.ndarray], style: dict[str, Any], label: str | None) -> None:
    """Means, and their 95 % intervals over seeds, of logarithms; rows: errors whose last axis is that of prompts."""
    means = [np.asarray(row, dtype=float).mean(axis=-1) for row in rows]
    values = np.array([mean.mean() for mean in means])
    spread = np.exp([np.nan_to_num(level(np.log(mean)).half) for mean in means])
    axes.plot(at, values, label=label, **style)
    axes.fill_between(at, values / spread, values * spread, color=style["color"], alpha=0.15, linewidth=0)


def labelled(axes: Axes, at: np.ndarray, title: str) -> None:
    """Both axes logarithmic: examples, and the excess risk."""
    axes.set(title=title, xlabel="examples", ylabel="excess risk", yscale="log")
    ticks(axes, at)


def by_length(axes: Axes, results: Results, ratio: int) -> None:
    """Every method's mean excess; the figure has their legend."""
    at = results["map/lengths"]
    for name in METHODS:
        style, label = LINES[name]
        drawn(axes, at, [results[f"map/{ratio}/{n}/{name}"] for n in at], style, label)
    labelled(axes, at, f"Two components, SNR {ratio}")


def mean_of(results: Results, ratio: int, n: int, name: str) -> float:
    """The mean excess over all test prompts, and all networks."""
    return float(np.mean(results[f"map/{ratio}/{n}/{name}"]))


def winners(axes: Axes, results: Results) -> None:
    """Of every cell the method with the least excess, and what the network's is over the best other's."""
    ratios, lengths, best = list(results["map/ratios"]), list(results["map/lengths"]), chosen(results)
    for ratio, n in grid(results):
        means = {name: mean_of(results, ratio, n, name) for name in (*BASELINES, "transformer")}
        name = min(means, key=lambda name: means[name])
        over = means["transformer"] / min(means[other] for other in BASELINES)
        x, y = lengths.index(n), ratios.index(ratio)
        edge = COLOURS["ink"] if (ratio, n) == (best.ratio, best.n) else "white"
        axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=LINES[name][0]["color"], alpha=0.25))
        axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, edgecolor=edge, fill=False, linewidth=1.5))
        axes.text(x, y, f"{SHORT[name]}\n{over:.2f}", ha="center", va="center")
    axes.set(
        title="Who wins; number: Transformer over the best other", xlabel="examples; framed: the claims' cell", ylabel="SNR"
    )
    axes.set_xticks(range(len(lengths)), [str(n) for n in lengths])
    axes.set_yticks(range(len(ratios)), [str(ratio) for ratio in ratios])
    axes.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(-0.5, len(ratios) - 0.5))
    axes.grid(False)


def compared(axes: Axes, results: Results, titles: dict[str, str], title: str) -> None:
    """Networks of these names, whose labels are the values: from light to dark, of softmax dashed."""
    at = results["shapes/lengths"]
    for (name, label), shade in zip(titles.items(), shades("Transformer", len(titles)), strict=True):
        style = {"color": shade, "marker": "o", "linestyle": "--" if name.startswith("softmax") else "-"}
        drawn(axes, at, [results[f"shapes/{name}/{n}"] for n in at], style, label)
    labelled(axes, at, title)
    axes.legend()


def by_width(axes: Axes, results: Results) -> None:
    """Networks of other widths, and of softmax attention."""
    width, depth = results["shapes/main"]
    titles = {f"relu, width {other}, {depth} layers": f"ReLU attention, width {other}" for other in results["shapes/widths"]}
    titles[f"softmax, width {width}, {depth} layers"] = f"softmax attention, width {width}"
    compared(axes, results, titles, f"Attention, width: {layers(depth)}, SNR {results['shapes/ratio']}, one training")


def by_depth(axes: Axes, results: Results) -> None:
    """Networks of other depths."""
    width, _ = results["shapes/main"]
    titles = {f"relu, width {width}, {depth} layers": layers(depth) for depth in results["shapes/depths"]}
    compared(axes, results, titles, f"Layers: width {width}, SNR {results['shapes/ratio']}, one training")


def layers(depth: int) -> str:
    """So many of them."""
    return f"{depth} layer{'s' if depth > 1 else ''}"


def by_count(axes: Axes, results: Results) -> None:
    """Networks of more components, and two other methods."""
    at = results["counts/lengths"]
    for dashes, count in zip(DASHED, results["counts/counts"], strict=False):
        for name in ("transformer", "ridge", "restarted"):
            style, label = LINES[name]
            rows = [results[f"counts/{count}/{n}/{name}"] for n in at]
            drawn(axes, at, rows, style | {"linestyle": dashes}, label if dashes == "-" else None)
        axes.plot([], [], color=COLOURS["ink"], linestyle=dashes, label=f"{count} components")
    labelled(axes, at, f"Components: SNR {results['counts/ratio']}, one training")
    axes.legend()


def kinds(results: Results) -> list[tuple[str, int, tuple[float, float, float]]]:
    """Of the training sets: law, depth and shade."""
    depths = [int(depth) for depth in results.get("sets/depths", ())]
    cases = [(law, depth) for law in LAWS for depth in depths if f"sets/{law}/{depth}/own" in results]
    return [(*case, shade) for case, shade in zip(cases, shades("Transformer", len(cases)), strict=True)]


def by_loss(axes: Axes, results: Results) -> None:
    """The loss above the oracle's, on fresh prompts and on the training set."""
    sizes = results["sets/sizes"]
    for law, depth, colour in kinds(results):
        own, fresh = results[f"sets/{law}/{depth}/own"], results[f"sets/{law}/{depth}/fresh"]
        axes.plot(sizes, fresh.mean(axis=(0, 2)), "o-", color=colour, label=f"{layers(depth)}, components {law}")
        axes.plot(sizes, own.mean(axis=0), "o:", color=colour)
    axes.axhline(0.0, color=COLOURS["classical"], linewidth=0.8)
    axes.plot([], [], "-", color=COLOURS["ink"], label="on fresh prompts")
    axes.plot([], [], ":", color=COLOURS["ink"], label="on the training set")
    axes.set(title="Training on B fixed prompts of one label", xlabel="B", ylabel="squared error above the oracle's")
    ticks(axes, sizes)
    low, high = axes.get_ylim()
    axes.set_ylim(top=high + 0.5 * (high - low))  # room for the legend above the lines
    axes.legend(loc="upper right")


def by_gap(axes: Axes, results: Results) -> None:
    """Their difference, and its slope."""
    sizes = results["sets/sizes"]
    for law, depth, colour in kinds(results):
        found, fitted = gaps(results, law, depth).mean(axis=1), slope(results, law, depth).value
        text = f", slope {fitted:.2f}" if np.isfinite(fitted) else ""
        axes.plot(sizes, found.mean(axis=0), "o-", color=colour, label=f"{layers(depth)}, components {law}{text}")
        axes.fill_between(sizes, np.maximum(found.min(axis=0), LEAST), found.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    (law, depth, _), *_ = kinds(results)
    guide = gaps(results, law, depth).mean(axis=(0, 1))[0] * (sizes[0] / sizes) ** 0.5
    axes.plot(sizes, guide, "--", color=COLOURS["ink"], linewidth=0.8, label="1 / sqrt(B)")
    axes.set(title="Generalisation gap; bands: all trainings", xlabel="B", ylabel="loss on fresh prompts - on the set")
    axes.set_yscale("log")
    ticks(axes, sizes)
    axes.legend()


def table(results: Results) -> Table:
    """The excess by length: means of all methods, and medians, as means of EM are those of few prompts."""
    shown = Table("what", "mean, by length", "median")
    for ratio in results.get("map/ratios", ()):
        for name in METHODS:
            rows = [results[f"map/{ratio}/{n}/{name}"] for n in results["map/lengths"]]
            means, medians = ("  ".join(f"{of(row):.3g}" for row in rows) for of in (np.mean, np.median))
            shown.add_row(f"SNR {ratio}, {LINES[name][1]}", means, medians)
        chains = [np.median(results[f"map/{ratio}/{n}/chains"]) for n in results["map/lengths"]]
        shown.add_row(f"SNR {ratio}, effective chains", "", "  ".join(f"{value:.1f}" for value in chains))
    for law, depth, _ in kinds(results):
        own, fresh = results[f"sets/{law}/{depth}/own"], results[f"sets/{law}/{depth}/fresh"]
        text = ("  ".join(f"{value:.3g}" for value in means) for means in (fresh.mean(axis=(0, 2)), own.mean(axis=0)))
        shown.add_row(f"components {law}, {layers(depth)}: fresh and own loss, by B", *text)
    return shown
