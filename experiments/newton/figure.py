"""The figure of Newton's method in context, from results alone."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, Draw, panels_of
from experiments.newton.claims import widths

SHADES = ("classical", "accent", "trained", "transformer", "sky")
ORDER = {2: COLOURS["solver"], 3: COLOURS["limit"], 4: COLOURS["ink"]}
MODEL = {"plain": (COLOURS["classical"], "linear attention"), "norm": (COLOURS["transformer"], "with layer norm")}
LEAST = 1e-17  # of what is drawn: double precision ends there


def plot(results: Results) -> Figure:
    """Distances and losses of logistic regression; what training adds; orders; trained attention; lines; tables; gaps."""
    draws: dict[str, Draw] = {
        "logistic/": by_step,
        "logistic/width": by_width,
        "improved/": by_training,
        "encoder/": by_encoder,
        "orders/1/": lambda axes, found: by_order(axes, found, 1),
        "orders/10/": lambda axes, found: by_order(axes, found, 10),
        "attention/1/": lambda axes, found: by_layers(axes, found, 1),
        "attention/5/": lambda axes, found: by_layers(axes, found, 5),
        "lines/near": lambda axes, found: along(axes, found, "near"),
        "lines/far": lambda axes, found: along(axes, found, "far"),
        "tables/": by_table,
        "exact/": by_condition,
    }
    return panels_of(results, draws, columns=2, width=14.0, height=4.4)


def by_step(axes: Axes, results: Results) -> None:
    """The median distance to the minimiser after every step, of the exact method and of every width."""
    for colour, cells in zip(SHADES, widths(results), strict=False):
        middle = np.median(results[f"logistic/distance/{cells}"], axis=0)
        axes.plot(middle, color=COLOURS[colour], label=f"Transformer, {int(results[f'logistic/width/{cells}'])} hidden units")
    for title, style in (("exact", "-"), ("inexact", ":")):
        middle = np.maximum(np.median(results[f"logistic/distance/{title}"], axis=0), LEAST)
        label = "exact damped Newton" if title == "exact" else "inverse by Newton-Schulz"
        axes.plot(middle, style, color=COLOURS["solver"], linewidth=1.0, label=label)
    axes.set(title="Logistic regression: distance to the minimiser", xlabel="steps", ylabel="median of prompts", yscale="log")
    axes.legend(fontsize=8)


def by_width(axes: Axes, results: Results) -> None:
    """The largest error against exact damped Newton, and the theorem's bound."""
    cells = widths(results)
    hidden = [int(results[f"logistic/width/{count}"]) for count in cells]
    axes.plot(hidden, [results[f"logistic/error/{count}"].max() for count in cells], "o-", color=COLOURS["transformer"])
    errors = [results[f"logistic/error/{count}"].max() for count in cells]
    fourfold = errors[0] * (hidden[0] / np.array(hidden)) ** 2
    axes.plot(hidden, fourfold, "--", color=COLOURS["limit"], label="a quarter where the width doubles")
    axes.set(title="Largest error of all prompts and steps", xlabel="hidden units of the widest MLP", ylabel="|w - exact w|")
    axes.set(xscale="log", yscale="log")
    axes.legend(fontsize=8)


def by_training(axes: Axes, results: Results) -> None:
    """Distances to the minimiser before and after training on: median, and 5 and 95 % of prompts."""
    cells = sorted({int(name.split("/")[-1]) for name in results if name.startswith("improved/")})
    for shade, count in zip(SHADES[1:], cells, strict=False):
        for title, style in (("theorem", "--"), ("trained on", "-")):
            low, middle, high = results[f"improved/{title}/{count}"]
            axes.plot(middle, style, color=COLOURS[shade], label=f"{count} cells, {title}")
            axes.fill_between(range(len(middle)), low, high, color=COLOURS[shade], alpha=0.12, linewidth=0)
    axes.set(title="The same widths, trained on from the theorem", xlabel="steps", ylabel="distance to the minimiser")
    axes.set_yscale("log")
    axes.legend(fontsize=8)


def by_encoder(axes: Axes, results: Results) -> None:
    """Mean squared distance to the minimiser of a trained softmax encoder, by layers, and of Newton's steps."""
    newton = np.maximum(results["encoder/Newton"], LEAST)
    axes.plot(newton[:, 1], color=COLOURS["solver"], label="damped Newton, by steps")
    axes.plot(newton[:, 0], "--", color=COLOURS["solver"])
    layers, trained = results["encoder/layers"], results["encoder/trained"]
    axes.plot(layers, trained[:, 1], "o-", color=COLOURS["transformer"], label="trained softmax encoder, by layers")
    axes.plot(layers, trained[:, 0], "o--", color=COLOURS["transformer"])
    axes.plot([], [], "--", color=COLOURS["ink"], label="dashed: loss over the least")
    axes.set(title="Logistic regression: squared distance over d", xlabel="steps or layers", ylabel="mean of prompts")
    axes.set(yscale="log", ylim=(1e-9, None))
    axes.legend(fontsize=8)


def by_order(axes: Axes, results: Results, condition: int) -> None:
    """Error by step and order, with 95 % of the mean over covariances."""
    for order, colour in ORDER.items():
        for noise, style in (("0", "-"), ("0.1", "--")):
            errors = results[f"orders/{condition}/{noise}/{order}"]
            mean, half = errors.mean(axis=0), 1.96 * errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
            label = f"order {order}" if noise == "0" else None
            axes.plot(np.maximum(mean, LEAST), style, color=colour, label=label)
            axes.fill_between(
                range(len(mean)), np.maximum(mean - half, LEAST), mean + half, color=colour, alpha=0.2, linewidth=0
            )
    axes.plot([], [], "--", color=COLOURS["ink"], label="noise of 0.1")
    axes.set(title=f"Newton's orders, condition {condition}", xlabel="steps", ylabel="mean squared error / d", yscale="log")
    axes.legend(fontsize=8)


def by_layers(axes: Axes, results: Results, condition: int) -> None:
    """Trained linear attention by layers, and the orders by steps, on the same prompts."""
    layers = results["attention/layers"]
    for title, (colour, label) in MODEL.items():
        found = results[f"attention/{condition}/{title}"]
        axes.plot(layers, found[:, :, 0].mean(axis=1), "o-", color=colour, label=label)
        for seed in range(found.shape[1]):
            mean, error = found[:, seed, 0], 1.96 * found[:, seed, 1]
            axes.fill_between(layers, np.maximum(mean - error, LEAST), mean + error, color=colour, alpha=0.15, linewidth=0)
    for order, colour in ORDER.items():
        mean = results[f"attention/{condition}/order {order}"][:, 0]
        axes.plot(layers, np.maximum(mean, LEAST), "--", color=colour, label=f"Newton, order {order}")
    axes.set(title=f"Trained attention, condition {condition}", xlabel="layers or steps", ylabel="mean squared error / d")
    axes.set_yscale("log")
    axes.legend(fontsize=8)


def along(axes: Axes, results: Results, place: str) -> None:
    """Mean predictions along one coordinate of the query, of the deepest models and orders."""
    values, deepest = results[f"lines/{place}/values"], int(results["attention/layers"].max())
    for title, (colour, label) in MODEL.items():
        mean, low, high = results[f"lines/{place}/{title}/{deepest}"]
        axes.plot(values, mean, color=colour, label=f"{label}, {deepest} layers")
        axes.fill_between(values, low, high, color=colour, alpha=0.15, linewidth=0)
    mean = results[f"lines/{place}/order 2/{deepest}"][0]
    axes.plot(values, mean, "-.", color=ORDER[2], label=f"Newton, order 2, {deepest} steps")
    axes.plot(values, results[f"lines/{place}/truth"], ":", color=COLOURS["ink"], label="truth")
    where = "where training was" if place == "near" else "far beyond"
    axes.set(title=f"Prediction along a coordinate, {where}", xlabel="first coordinate of the query", ylabel="prediction")
    axes.legend(fontsize=8)


def by_table(axes: Axes, results: Results) -> None:
    """The largest difference of probabilities to scikit-learn's, by the number of examples."""
    for name, colour in (("breast cancer", COLOURS["transformer"]), ("digits", COLOURS["trained"])):
        sizes = sorted(
            int(key.split("/")[2]) for key in results if key.startswith(f"tables/{name}/") and key.endswith("/right")
        )
        for title, style in (("transformer", "o-"), ("newton", "s--")):
            largest = [np.abs(results[f"tables/{name}/{n}/{title}"]).max() for n in sizes]
            label = f"{name}, {'Transformer' if title == 'transformer' else 'damped Newton'}"
            axes.plot(sizes, largest, style, color=colour, label=label)
    axes.set(title="Real tables: probabilities against scikit-learn's", xlabel="examples", ylabel="largest difference")
    axes.set_yscale("log")
    axes.legend(fontsize=8)


def by_condition(axes: Axes, results: Results) -> None:
    """The largest gap of all layers, by condition and precision."""
    conditions = results["exact/conditions"]
    for title, colour in (("Newton-Schulz", "classical"), ("third order", "accent"), ("least squares", "transformer")):
        for precision, style in (("float64", "o-"), ("float32", "o--")):
            gaps = [results[f"exact/{title}/{precision}/{condition}"].max() for condition in conditions]
            # a gap of zero has no place on this axis
            axes.plot(conditions, [gap or np.nan for gap in gaps], style, color=COLOURS[colour], label=f"{title}, {precision}")
    axes.set(title="Largest gap of network and solver, all layers", xlabel="condition of the covariance", ylabel="relative gap")
    axes.set(xscale="log", yscale="log")
    axes.legend(fontsize=8)


def table(results: Results) -> Table:
    """Errors over d by steps or layers: of the orders, and of trained attention."""
    shown = Table("what", "by steps or layers")
    for name in results:
        if name.startswith("orders/") and name != "orders/conditions":
            shown.add_row(name, "  ".join(f"{value:.2g}" for value in results[name].mean(axis=0)))
        if name.startswith("attention/") and name != "attention/layers":
            rows = results[name] if results[name].ndim == 3 else results[name][:, None]
            shown.add_row(name, "  ".join(f"{value:.2g}" for value in rows[..., 0].mean(axis=1)))
    return shown
