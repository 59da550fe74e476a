"""The figure of the memories, from results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, Draw, colour_of, label_ends, panels_of, shades
from experiments.memformer.claims import level

# log losses after 1..4 layers, read off the paper's figures: with the memory, and without
PUBLISHED = {
    "isotropic": ((0.12, -0.82, -1.35, -1.60), (0.12, -0.85, -1.18, -1.73)),
    "rotated": ((0.12, -0.84, -1.62, -2.04), (0.25, -0.30, -0.71, -1.08)),
}
TITLES = {"isotropic": "Isotropic inputs", "rotated": "Inputs of condition 16"}


def plot(results: Results) -> Figure:
    """Loss by layers for both laws; scales; few prompts; other laws; the sweep and its cost."""
    draws: dict[str, Draw] = {
        "isotropic/": lambda axes, found: by_layer(axes, found, "isotropic"),
        "rotated/": lambda axes, found: by_layer(axes, found, "rotated"),
        "variance/": by_variance,
        "mixture/": by_component,
        "few/": by_prompts,
        "laws/": by_law,
        "sweep/excess": by_rate,
        "sweep/seconds": by_count,
    }
    return panels_of(results, draws, columns=2, width=14.0, height=4.4)


def titles(results: Results, law: str) -> list[str]:
    """The methods of a law, in the order of the run."""
    return [key[len(law) + 1 : -5] for key in results if key.startswith(f"{law}/") and key.endswith("/loss")]


def by_layer(axes: Axes, results: Results, law: str) -> None:
    """Log of the mean loss after every layer; intervals are narrower than the lines."""
    ends: dict[str, tuple[float, str]] = {}
    for title in titles(results, law):
        losses = np.log(results[f"{law}/{title}/loss"].mean(axis=0))
        colour, style = colour_of(title.replace("all gradients", "Memformer")), "-" if "preconditione" in title else "--"
        axes.plot(np.arange(len(losses)), losses, color=colour, linestyle=style)
        ends[title] = (float(losses[-1]), colour)
    bounds = {"limit of fixed scalars" + (", no preconditioner" if law == "rotated" else ""): f"limit/{law}"}
    if law == "rotated":
        bounds["the same, preconditioned"] = "limit/isotropic"
    for title, key in bounds.items():
        best = np.log(results[key])
        axes.plot(np.arange(len(best)), best, color=COLOURS["limit"], linewidth=4.0, alpha=0.35, zorder=0)
        ends[title] = (float(best[-1]), COLOURS["limit"])
    depth = len(results[f"limit/{law}"]) - 1
    for values, marker in zip(PUBLISHED[law], ("D", "s"), strict=True):
        name = "published, memory" if marker == "D" else "published, none"
        axes.plot(range(1, 5), values, marker, color=COLOURS["ink"], markersize=4, fillstyle="none", label=name)
    axes.set(title=TITLES[law], xlabel="layers", ylabel="log of the mean squared error", xlim=(0, depth))
    axes.set_xticks(range(depth + 1))
    axes.legend(loc="lower left", fontsize=8)
    label_ends(axes, ends, gap=0.06 * float(np.ptp(axes.get_ylim())))


def by_variance(axes: Axes, results: Results) -> None:
    """At the largest depth, by the variance of inputs and solutions."""
    variances = results["variance/of"]
    shift = 2.0 * np.log(variances)
    best, gated = np.log(results["limit/isotropic"][-1]), level(results, "isotropic/gated by the inputs").value
    axes.plot(variances, best + shift, color=COLOURS["limit"], label="fixed scalars, best at each variance (by scaling)")
    axes.plot(
        variances, gated + shift, color=colour_of("gated by the inputs"), label="one method, gated by its inputs (by scaling)"
    )
    for key, style in (("fresh prompts", "-"), ("same prompts", ":")):
        values = np.log(results[f"variance/fitted, {key}"])
        axes.plot(
            variances, values, style, color=colour_of("Memformer"), marker="o", label=f"three experts, gates fitted: {key}"
        )
    axes.set(title="Inputs and solutions of other scales", xlabel="variance", ylabel="log of the mean squared error")
    axes.legend(fontsize=8)


def by_component(axes: Axes, results: Results) -> None:
    """Losses on the mixture, and of each expert on its own component."""
    rows = {
        "one for all": (COLOURS["limit"], "-"),
        "one for each, told which": (COLOURS["limit"], "-."),
        "routed by the inputs": (colour_of("gated by the inputs"), "--"),
    }
    layers = np.arange(len(results["mixture/one for all"]))
    for title, (colour, style) in rows.items():
        losses = np.log(results[f"mixture/{title}"])
        axes.plot(layers, losses, color=colour, linestyle=style, label=title)
    for key, losses in results.items():
        if key.startswith("mixture/alone: "):
            style = {"color": COLOURS["ink"], "linewidth": 0.7, "linestyle": ":"}
            axes.plot(layers, np.log(losses), **style)
            axes.annotate(
                key.removeprefix("mixture/alone: "), (layers[-1], np.log(losses[-1])), fontsize=7, va="bottom", ha="right"
            )
    axes.set(title="A mixture of three laws, d = 1", xlabel="layers", ylabel="log of the mean squared error")
    axes.set_xticks(layers)
    axes.legend(fontsize=7, loc="upper right")


def by_prompts(axes: Axes, results: Results) -> None:
    """The gap of coefficients that are best on few prompts, their loss on all less that on their own: its upper quantile."""
    sizes = results["few/sizes"]
    depth = results[f"few/{sizes[0]}/gap"].shape[1]
    for layer, shade in enumerate(shades("Memformer", depth)):
        upper = [results[f"few/{size}/gap"][2, layer] for size in sizes]
        title = "1 layer" if layer == 0 else f"{layer + 1} layers"
        axes.plot(sizes, upper, color=shade, marker="o", label=title)
    axes.plot(sizes, results["few/bound"], color=COLOURS["limit"], linestyle="--", label="bound, 1 layer, inputs cut off")
    axes.set(title="Coefficients from few prompts: the gap", xlabel="prompts", ylabel="97.5 % quantile of training sets")
    axes.set(xscale="log", yscale="log")
    axes.legend(fontsize=8)


def by_law(axes: Axes, results: Results) -> None:
    """Nats above the other law's own limit."""
    worlds, excess = results["laws/worlds"], results["laws/excess"]
    image = axes.imshow(excess, cmap="viridis_r", vmin=0.0, vmax=5.0)
    axes.figure.colorbar(image, ax=axes, extend="max", pad=0.02, label=f"nats above the limit there, up to {excess.max():.1f}")
    names = [f"n {n}, condition {condition}" for n, condition in worlds]
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(title="Coefficients of one law on another", xlabel="tested on", ylabel="best for")
    axes.grid(False)


def by_rate(axes: Axes, results: Results) -> None:
    """Short trainings: nats above the limit by learning rate, the median of the seeds."""
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(results["sweep/conditions"])))
    for index, (condition, colour) in enumerate(zip(results["sweep/conditions"], colours, strict=True)):
        middle, low, high = np.quantile(results["sweep/excess"][:, index], (0.5, 0.25, 0.75), axis=1)
        axes.plot(results["sweep/rates"], middle, color=colour, label=f"condition {condition}")
        axes.fill_between(results["sweep/rates"], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set(title="A sweep of short trainings, two layers", xlabel="rate of Adam", ylabel="nats above the limit")
    axes.set(xscale="log", yscale="log")
    axes.legend(fontsize=8)


def by_count(axes: Axes, results: Results) -> None:
    """What one of them costs."""
    cost = results["sweep/seconds"] / results["sweep/counts"]
    axes.plot(results["sweep/counts"], cost, color=colour_of("Memformer"), marker="o")
    axes.set(title="The cost of a training", xlabel="trainings at once", ylabel="seconds for each", xscale="log", yscale="log")


def table(results: Results) -> Table:
    """Log losses after every layer, all seeds' prompts together, and 95 % of the last."""
    shown = Table("inputs", "method", "by layer", "95 %, last")
    for law in TITLES:
        for title in titles(results, law):
            key = f"{law}/{title}"
            steps = range(1, results[f"{key}/loss"].shape[1])
            low, high = level(results, key).interval
            shown.add_row(
                law, title, "  ".join(f"{level(results, key, t).value:.3f}" for t in steps), f"{low:.3f} … {high:.3f}"
            )
        if f"limit/{law}" in results:
            best = np.log(results[f"limit/{law}"][1:])
            shown.add_row(law, "limit of fixed scalar coefficients", "  ".join(f"{value:.3f}" for value in best), "exact")
    return shown
