"""The paper's figures drawn again, from results alone: dotted on the prompts trained on, dashed on fresh ones, solid sound."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, Draw, colour_of, panels_of, shades
from experiments.intervals import student
from experiments.memformer.claims import level

STYLES = {"own": ":", "fresh": "--", "sound": "-"}
MEANING = {
    "own": "as published, on the prompts that were trained on",
    "fresh": "as published, on fresh prompts",
    "sound": "trained on fresh prompts",
}
INK, LIMIT = COLOURS["ink"], COLOURS["limit"]


class Row(NamedTuple):
    """What a panel draws of a case. key: PANEL/TITLE.  published: log losses read off the paper, by layer; may be empty."""

    key: str
    title: str
    colour: str | tuple[float, float, float]
    published: tuple[float, ...] = ()


PLAIN, MEMORY, GATED = colour_of("no memory"), colour_of("Memformer"), colour_of("gated by the inputs")
BY_PROMPTS = shades("Memformer", 4)
OF_NONE = (0.25, -0.30, -0.71, -1.08)
ROWS = {
    "1a": [
        Row("1a/scalar, no memory", "no memory", PLAIN, (0.81, 0.48, 0.23, -0.01)),
        Row("1a/scalar, momentum", "momentum", colour_of("momentum"), (0.81, 0.49, 0.20, -0.13)),
    ],
    "1b": [
        Row("1b/no memory", "no memory", PLAIN, OF_NONE),
        Row("1b/momentum", "momentum", colour_of("momentum"), (0.12, -0.90, -1.58, -1.96)),
    ],
    "2a": [
        Row("1b/no memory", "no memory", PLAIN, OF_NONE),
        Row("2a/Hadamard", "Hadamard", MEMORY, (0.12, -0.84, -1.62, -2.04)),
    ],
    "2b": [
        Row("2b/no memory", "no memory", PLAIN, (0.12, -0.85, -1.18, -1.73)),
        Row("2b/Hadamard", "Hadamard", MEMORY, (0.12, -0.82, -1.35, -1.60)),
    ],
    "accelerated": [Row("accelerated/Hadamard, of the past", "Hadamard, of the past", MEMORY, (0.25, -0.66, -1.26, -1.95))],
    "moving": [
        Row("moving/GD++, no memory", "no memory", PLAIN, (0.13, -2.47, -4.44, -6.02)),
        Row("moving/GD++, Hadamard, of the past", "Hadamard, of the past", MEMORY, (0.13, -2.50, -4.70, -6.53)),
    ],
    "few": [
        Row("few/1 prompt", "1 prompt", BY_PROMPTS[0]),
        Row("few/10 prompts", "10 prompts", MEMORY, (-0.75, -1.14, -2.00, -2.20)),
        Row("few/10 prompts, 5 heads", "10 prompts, 5 heads", BY_PROMPTS[3], (-0.80, -1.13, -2.21, -2.15)),
    ],
    "extracted": [
        Row("extracted/10 prompts", "10 prompts", BY_PROMPTS[0], (-1.53, -3.52, -23.19, -26.50)),
        Row("extracted/50 prompts", "50 prompts", BY_PROMPTS[1], (-0.40, -0.77, -1.23, -1.42)),
        Row("extracted/100 prompts", "100 prompts", BY_PROMPTS[2], (-0.21, -0.42, -1.02, -1.03)),
        Row("extracted/1000 prompts", "1000 prompts", BY_PROMPTS[3], (0.20, -0.07, -0.58, -0.88)),
    ],
}
TITLES = {
    "1a": "Momentum, scalar scores, condition 16 (their Fig. 1a)",
    "1b": "Momentum, free scores, condition 16 (Fig. 1b)",
    "2a": "Hadamard memory, condition 16 (Fig. 2a)",
    "2b": "Hadamard memory, isotropic (Fig. 2b)",
    "accelerated": "Against momentum and Nesterov's, condition 16",
    "moving": "GD++, condition 16 (last code)",
    "few": "Trained on few prompts, scalar scores (Figs. 4, 5)",
    "extracted": "The method apart from a Transformer, isotropic",
}
# of momentum and Nesterov's, by their titles
ACCELERATED = {"momentum": (1.46, 1.24, 0.98, 0.77), "Nesterov": (0.92, 0.51, 0.28, 0.06)}
# log losses by variance and layer: of the expert of variance 1, 2 or 3 alone, of three experts elsewhere
SCALES = {
    0.5: (-0.87, -1.48, -1.71, -2.14),
    1.0: (0.67, -0.43, -0.96, -1.19),
    1.5: (1.12, -0.16, -0.65, -0.74),
    2.0: (1.83, 0.60, 0.16, -0.41),
    2.5: (2.14, 0.85, 0.37, 0.12),
    3.0: (2.53, 1.17, 0.76, 0.10),
    3.5: (2.82, 1.52, 1.04, 0.79),
}
MIXTURE = {"gates": (0.48, 0.56, 0.37, -0.26), "gates and memories": (0.57, -0.39, -0.99, -1.45)}
LOWEST, HIGHEST = -15.0, 5.0  # of what is drawn: below, a set has been fitted exactly; above, layers diverge


def plot(results: Results) -> Figure:
    """A panel for each of the paper's figures."""
    draws: dict[str, Draw] = {f"{panel}/": lambda axes, found, panel=panel: by_layer(axes, found, panel) for panel in TITLES}
    figure = panels_of(results, draws | {"scales/": by_variance, "mixture/": of_the_mixture}, columns=2, width=14.0, height=4.4)
    lines = [Line2D([], [], color=INK, ls=style, label=MEANING[name]) for name, style in STYLES.items()]
    lines.append(Line2D([], [], color=INK, linestyle="", marker="o", fillstyle="none", label="published"))
    lines.append(
        Line2D([], [], color=LIMIT, linewidth=4.0, alpha=0.35, label="best scalar coefficients; GD++: floor of its degree")
    )
    figure.legend(handles=lines, loc="outside upper center", ncols=3)
    return figure


def logs(results: Results, key: str, protocol: str) -> np.ndarray:
    """Log losses by layer: as published the mean over seeds of their logarithms, sound the logarithm of the mean."""
    losses = np.asarray(results[f"{key}/{protocol}/loss"], dtype=float)
    with np.errstate(divide="ignore"):
        return np.log(losses.mean(axis=0)) if protocol == "sound" else np.log(losses).mean(axis=0)


def interval(results: Results, key: str, protocol: str, step: int = -1) -> tuple[float, float]:
    """Its 95 %: sound of `level`, as published of the mean over seeds alone, by Student's law."""
    if protocol == "sound":
        return level(results, f"{key}/sound", step).interval
    with np.errstate(divide="ignore", invalid="ignore"):
        return over_seeds(np.log(np.asarray(results[f"{key}/{protocol}/loss"], dtype=float)[:, step]))


def over_seeds(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean over seeds, by Student's law; of one seed there is none."""
    mean, half = float(values.mean()), student(values)
    return mean - half, mean + half


def by_layer(axes: Axes, results: Results, panel: str) -> None:
    """One figure of the paper."""
    law = "isotropic" if panel in ("2b", "extracted") else "rotated"
    scalar = panel in ("1a", "few")
    rows = [row for row in ROWS[panel] if f"{row.key}/own/loss" in results]
    depth = len(results[f"limit/{law}"])
    layers = np.arange(1, depth + 1)
    for row in rows:
        for protocol, style in STYLES.items():
            if f"{row.key}/{protocol}/loss" in results:
                label = row.title if protocol == "fresh" else None
                values = np.clip(logs(results, row.key, protocol), LOWEST, HIGHEST)
                axes.plot(layers, values, style, color=row.colour, label=label)
                if protocol == "sound":
                    ends = np.transpose([interval(results, row.key, protocol, step) for step in range(depth)])
                    axes.fill_between(layers, *np.clip(ends, LOWEST, HIGHEST), color=row.colour, alpha=0.2, linewidth=0)
        if row.published:
            axes.plot(range(1, 5), np.maximum(row.published, LOWEST), "o", color=row.colour, markersize=5, fillstyle="none")
    if panel == "accelerated":
        accelerated(axes, results, layers)
    for name, style in (("20 examples", "-"), ("as published", "--")):
        losses = results[f"conjugate gradients, {name}/{law}"]
        label = "conjugate gradients" if style == "-" else "the same, of 19 examples"
        axes.plot(
            layers, np.log(losses.mean(axis=0)), style, color=colour_of("conjugate gradients"), linewidth=1.0, label=label
        )
    best = results["limit/moving"] if panel == "moving" else results[f"limit/{'rotated' if scalar else 'isotropic'}"]
    axes.plot(layers[: len(best)], np.log(best), color=LIMIT, linewidth=4.0, alpha=0.35, zorder=0)
    if panel == "extracted":
        axes.plot(layers, np.log(results[f"limit/{law}, as published"]), ":", color=LIMIT, label="best of 19 examples")
    note = f", drawn from {LOWEST:.0f} to {HIGHEST:.0f}" if panel in ("few", "extracted", "moving") else ""
    axes.set(title=TITLES[panel] + note, xlabel="layers", ylabel="log of the mean squared error", xlim=(0.9, depth + 0.1))
    axes.set_xticks(layers)
    axes.legend(fontsize=8)


def accelerated(axes: Axes, results: Results, layers: np.ndarray) -> None:
    """Momentum and Nesterov's, which are not trained: as published, and tuned."""
    for title in ("momentum", "Nesterov"):
        colour = colour_of(title)
        axes.plot(layers, np.log(results[f"{title}, as published"]), "--", color=colour, label=title)
        axes.plot(layers, np.log(results[f"{title}, tuned"]), "-", color=colour)
        axes.plot(layers, np.log(results[f"{title}, tuned, preconditioned"]), "-.", color=colour)
        axes.plot(range(1, 5), ACCELERATED[title], "o", color=colour, markersize=5, fillstyle="none")
    axes.plot([], [], "-.", color=INK, label="tuned, preconditioned")


def by_variance(axes: Axes, results: Results) -> None:
    """Experts at other scales, after the last layer."""
    variances = results["scales/variances"]
    for name, style, colour in (
        ("own", ":", MEMORY),
        ("fresh", "--", MEMORY),
        ("gated by its inputs", "-", GATED),
    ):
        values = np.log(results[f"scales/{name}"][:, -1])
        middle = np.median(values, axis=0)
        label = (
            "one expert, gated by its inputs" if style == "-" else "experts, gates fitted to labels" if style == ":" else None
        )
        axes.plot(variances, middle, style, color=colour, marker=".", label=label)
        axes.fill_between(variances, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, linewidth=0)
    published = [(variance, SCALES[variance][-1]) for variance in variances if float(variance) in SCALES]
    axes.plot(*zip(*published, strict=True), "o", color=MEMORY, markersize=5, fillstyle="none")
    axes.set(title="Experts (GD++) at other scales, deepest: median and range of seeds")
    axes.set(xlabel="variance of inputs and of solutions", ylabel="log of the mean squared error")
    axes.legend(fontsize=8)


def of_the_mixture(axes: Axes, results: Results) -> None:
    """Experts of three components."""
    layers = np.arange(1, len(results["mixture/one for all"]) + 1)
    for name, colour in (("gates", PLAIN), ("gates and memories", MEMORY)):
        for protocol in ("own", "fresh"):
            values = np.log(results[f"mixture/{name}/{protocol}"])
            label = f"{name} fitted to labels" if protocol == "own" else None
            axes.plot(layers, np.median(values, axis=0), STYLES[protocol], color=colour, label=label)
            axes.fill_between(layers, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, linewidth=0)
        axes.plot(range(1, 5), MIXTURE[name], "o", color=colour, markersize=5, fillstyle="none")
    for name, style in (("one for all", "-"), ("one for each, told which", "-.")):
        axes.plot(layers, np.log(results[f"mixture/{name}"]), style, color=LIMIT, label=f"best scalars, inputs stay: {name}")
    routed = np.log(results["mixture/routed by the inputs"])
    axes.plot(layers, routed, color=GATED, label="the same, routed by the inputs")
    axes.set(
        title="Experts of a mixture, d = 1: median and range of seeds", xlabel="layers", ylabel="log of the mean squared error"
    )
    axes.set_xticks(layers)
    axes.legend(fontsize=8)


def table(results: Results) -> Table:
    """Log losses by layer, of every case and protocol, beside the published ones."""
    shown = Table("panel", "case", "protocol", "by layer", "95 %, last", "published")
    for panel, rows in ROWS.items():
        for row in rows:
            for protocol in STYLES:
                if row.key.startswith(f"{panel}/") and f"{row.key}/{protocol}/loss" in results:
                    values = "  ".join(f"{value:.2f}" for value in logs(results, row.key, protocol))
                    low, high = interval(results, row.key, protocol)
                    published = "  ".join(f"{value:.2f}" for value in row.published)
                    shown.add_row(panel, row.title, protocol, values, f"{low:.2f} … {high:.2f}", published)
    for name, losses in results.items():
        if name.startswith("mixture/") and losses.ndim == 2:
            title, protocol = name.removeprefix("mixture/").rsplit("/", 1)
            values = "  ".join(f"{value:.2f}" for value in np.median(np.log(losses), axis=0))
            shown.add_row("mixture", title, protocol, values, "", "  ".join(f"{value:.2f}" for value in MIXTURE.get(title, ())))
    return shown
