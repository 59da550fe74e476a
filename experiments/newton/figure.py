"""The figure of Newton's method in context, from results alone."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, Draw, colour_of, panels_of, shades, style_of
from experiments.newton.claims import widths
from experiments.newton.training_claims import laws

SHADES = shades("Transformer", 5)  # a Transformer whose MLPs grow
ORDER = {2: colour_of("Newton-Schulz"), 3: colour_of("third order"), 4: colour_of("fourth order")}
MORE = colour_of("higher order")
MODEL = {
    "plain": (style_of("linear attention"), "linear attention"),
    "norm": (style_of("linear attention, layer norm"), "with layer norm"),
}
CONSTRUCTED = ("Newton-Schulz", "Newton-Schulz in one layer", "third order", "least squares", "ridge")
LEAST, SINGLE = 1e-15, 1e-9  # of what is drawn: there double and single precision end


def plot(results: Results) -> Figure:
    """Logistic regression: steps, widths, training, an encoder, tables; gaps; orders; trained attention and its lines."""
    draws: dict[str, Draw] = {
        "logistic/": by_step,
        "logistic/width": by_width,
        "improved/": by_training,
        "encoder/": by_encoder,
        "tables/": by_table,
        "exact/conditions": by_condition,
        "exact/Newton-Schulz/float32": by_depth,
    }
    for condition in (1, 5, 10):
        draws[f"orders/{condition}/"] = lambda axes, found, condition=condition: by_order(axes, found, condition)
    for law in laws(results):
        draws[f"attention/{law}/"] = lambda axes, found, law=law: by_layers(axes, found, law)
    for place in ("near", "far"):
        draws[f"lines/{place}"] = lambda axes, found, place=place: along(axes, found, place)
    return panels_of(results, draws, columns=3, width=18.0, height=4.2)


def by_step(axes: Axes, results: Results) -> None:
    """The median distance to the minimiser after every step, of the exact method, of every width, and of gradient descent."""
    for colour, cells in zip(SHADES, widths(results), strict=False):
        middle = np.median(results[f"logistic/distance/{cells}"], axis=0)
        axes.plot(middle, color=colour, label=f"{cells} cells: {int(results[f'logistic/width/{cells}'])} hidden units")
    for title, style, method, label in (
        ("exact", "-", "damped Newton", "exact damped Newton"),
        ("inexact", ":", "damped Newton", "inverse by Newton-Schulz"),
        ("line search", "--", "gradient descent", "gradient descent, line search"),
    ):
        middle = np.median(results[f"logistic/distance/{title}"], axis=0)
        axes.plot(middle, style, color=colour_of(method), label=label)
    axes.set(title="Logistic regression: distance to the minimiser", xlabel="steps", ylabel="median of prompts", yscale="log")
    axes.set_ylim(bottom=LEAST)
    axes.legend(fontsize=8)


def by_width(axes: Axes, results: Results) -> None:
    """The largest error against exact damped Newton, where the block rests, and the bound of that."""
    cells = widths(results)
    hidden = [int(results[f"logistic/width/{count}"]) for count in cells]
    errors = [results[f"logistic/error/{count}"].max() for count in cells]
    rest = [results[f"logistic/distance/{count}"][:, -1].max() for count in cells]
    axes.plot(hidden, errors, "o-", color=colour_of("Transformer"), label="from exact Newton, all steps")
    axes.plot(hidden, rest, "s--", color=colour_of("Transformer"), label="from the minimiser, after the last step")
    for key, style, label in (("tolerance", "-", "the theorem's bound of the former"), ("bound", "--", "bound of the latter")):
        axes.plot(hidden, [results[f"logistic/{key}/{count}"] for count in cells], style, color=COLOURS["limit"], label=label)
    axes.set(title="Logistic regression: largest distances", xlabel="hidden units of the widest MLP", ylabel="of all prompts")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(hidden, [str(count) for count in hidden])
    axes.minorticks_off()
    axes.legend(fontsize=8)


def by_training(axes: Axes, results: Results) -> None:
    """Distances to the minimiser before and after training on: median, and 5 and 95 % of prompts, a line for every seed."""
    cells = sorted({int(name.split("/")[-1]) for name in results if name.startswith("improved/")})
    for shade, count in zip(SHADES[1::2], cells, strict=False):
        for title, style in (("theorem", "--"), ("trained on", "-")):
            for seed, (low, middle, high, _) in enumerate(results[f"improved/{title}/{count}"]):
                axes.plot(middle, style, color=shade, label=None if seed else f"{count} cells, {title}")
                axes.fill_between(range(len(middle)), low, high, color=shade, alpha=0.08, linewidth=0)
    trained = (next(rows for name, rows in results.items() if name.startswith("improved/")).shape[-1] - 1) // 2
    axes.axvline(trained, color=COLOURS["classical"], linewidth=0.8, linestyle=":", label="the step that training saw")
    axes.set(title="The same widths, trained on from the theorem", xlabel="steps", ylabel="distance to the minimiser")
    axes.set_yscale("log")
    axes.legend(fontsize=8)


def by_encoder(axes: Axes, results: Results) -> None:
    """Mean squared distance to the minimiser of a trained softmax encoder, by layers, and of Newton's steps."""
    axes.plot(results["encoder/Newton"][0, :, 1], color=colour_of("damped Newton"), label="damped Newton, by steps")
    axes.plot(results["encoder/Newton"][0, :, 0], "--", color=colour_of("damped Newton"))
    layers, means = results["encoder/layers"], results["encoder/trained"][:, :, 0]
    for measure, style in ((1, "o-"), (0, "o--")):
        label = "trained softmax encoder, by layers; seeds" if measure else None
        axes.plot(layers, means[:, :, measure].mean(axis=1), style, color=colour_of("Transformer"), label=label)
        low, high = means[:, :, measure].min(axis=1), means[:, :, measure].max(axis=1)
        axes.fill_between(layers, low, high, color=colour_of("Transformer"), alpha=0.2, linewidth=0)
    axes.plot([], [], "-", color=COLOURS["ink"], label="squared distance over d")
    axes.plot([], [], "--", color=COLOURS["ink"], label="loss over the least")
    axes.set(title="Logistic regression by a trained encoder", xlabel="steps or layers", ylabel="mean of prompts")
    axes.set(yscale="log", ylim=(1e-12, None))
    axes.legend(fontsize=8)


def by_order(axes: Axes, results: Results, condition: int) -> None:
    """Error by step and order, with 95 % of the mean over covariances."""
    for order in orders_of(results, f"orders/{condition}/0/"):
        colour = ORDER.get(order, MORE)
        for noise, style in (("0", "-"), ("0.1", "--")):
            errors = results[f"orders/{condition}/{noise}/{order}"]
            mean, half = errors.mean(axis=0), 1.96 * errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
            label = f"order {order}" if noise == "0" else None
            axes.plot(mean, style, color=colour, label=label)
            axes.fill_between(
                range(len(mean)), np.maximum(mean - half, LEAST), mean + half, color=colour, alpha=0.2, linewidth=0
            )
    axes.plot([], [], "--", color=COLOURS["ink"], label="noise of 0.1")
    axes.set(title=f"Newton's orders, condition {condition}", xlabel="steps", ylabel="mean squared error / d", yscale="log")
    axes.set_ylim(bottom=SINGLE)
    axes.legend(fontsize=8)


def orders_of(results: Results, prefix: str) -> list[int]:
    """Those that results with this prefix have."""
    return sorted(int(name.removeprefix(prefix)) for name in results if name.startswith(prefix))


def by_layers(axes: Axes, results: Results, law: str) -> None:
    """Trained linear attention by layers, and the orders by steps, on the same prompts."""
    layers = results["attention/layers"]
    for title, (style, label) in MODEL.items():
        means = results[f"attention/{law}/{title}"][:, :, 0]
        axes.plot(layers, means.mean(axis=1), marker="o", label=label, **style)
        low, high = means.min(axis=1), means.max(axis=1)
        axes.fill_between(layers, low, high, color=style["color"], alpha=0.2, linewidth=0)
    for order in orders_of(results, f"attention/{law}/order "):
        mean = results[f"attention/{law}/order {order}"][:, 0]
        axes.plot(layers, mean, "--", color=ORDER.get(order, MORE), label=f"Newton, order {order}")
    axes.set(title=f"Trained attention, {law}: seeds", xlabel="layers or steps", ylabel="mean squared error / d")
    if law == "condition 1":
        axes.plot(1, results["attention/one layer"], "*", color=COLOURS["ink"], markersize=9, label="best one layer, one head")
    axes.set(yscale="log", ylim=(SINGLE, None))
    axes.legend(fontsize=8)


def along(axes: Axes, results: Results, place: str) -> None:
    """Mean predictions along one coordinate of the query, of the deepest models and orders."""
    values, deepest = results[f"lines/{place}/values"], int(results["attention/layers"].max())
    for title, (style, label) in MODEL.items():
        mean, low, high = results[f"lines/{place}/{title}/{deepest}"]
        axes.plot(values, mean, label=f"{label}, {deepest} layers", **style)
        axes.fill_between(values, low, high, color=style["color"], alpha=0.15, linewidth=0)
    mean = results[f"lines/{place}/order 2/{deepest}"][0]
    axes.plot(values, mean, "-.", color=ORDER[2], label=f"Newton, order 2, {deepest} steps")
    axes.plot(values, results[f"lines/{place}/truth"], ":", color=COLOURS["ink"], label="truth")
    where = "where training was" if place == "near" else "far beyond"
    if place == "far":
        axes.axvspan(*results["lines/near/values"][[0, -1]], color=COLOURS["classical"], alpha=0.1, linewidth=0)
    axes.set(
        title=f"Prediction along a coordinate, {where} (condition 1)",
        xlabel="first coordinate of the query",
        ylabel="prediction",
    )
    axes.legend(fontsize=8)


def by_table(axes: Axes, results: Results) -> None:
    """The largest difference of probabilities to scikit-learn's, by the number of examples, and what the width allows."""
    bound = 0.25 * float(results["tables/bound"])
    axes.axhline(bound, color=COLOURS["limit"], label="bound of the width")
    for name, dashes in (("breast cancer", "-"), ("digits", "--")):
        sizes = sorted(
            int(key.split("/")[2]) for key in results if key.startswith(f"tables/{name}/") and key.endswith("/right")
        )
        for title, method in (("transformer", "Transformer"), ("newton", "damped Newton")):
            largest = [np.abs(results[f"tables/{name}/{n}/{title}"]).max() for n in sizes]
            axes.plot(sizes, largest, "o" + dashes, color=colour_of(method), label=f"{name}, {method}")
    axes.set(title="Real tables: probabilities against scikit-learn's", xlabel="examples", ylabel="largest difference")
    axes.set(yscale="log", ylim=(None, 40.0 * bound))  # room for the legend above the bound
    axes.legend(fontsize=8, loc="upper left", ncols=2)


def by_condition(axes: Axes, results: Results) -> None:
    """The largest gap of all layers, by condition and precision."""
    conditions = results["exact/conditions"]
    for title in CONSTRUCTED:
        colour = colour_of(title)
        for precision, style in (("float64", "o-"), ("float32", "o--")):
            gaps = [results[f"exact/{title}/{precision}/{condition}"].max() for condition in conditions]
            # a gap of zero has no place on this axis
            label = title if precision == "float64" else None
            axes.plot(conditions, [gap or np.nan for gap in gaps], style, color=colour, label=label)
    axes.plot([], [], "o--", color=COLOURS["ink"], label="dashed: float32")
    axes.set(title="Largest gap of network and solver, all layers", xlabel="condition of the covariance", ylabel="relative gap")
    axes.set(xscale="log", yscale="log")
    axes.legend(fontsize=8)


def by_depth(axes: Axes, results: Results) -> None:
    """The largest gap in single precision after every step of two iterations, by condition."""
    for shade, condition in zip(SHADES, results["exact/conditions"], strict=False):
        for title, style in (("Newton-Schulz", "-"), ("third order", "--")):
            label = f"condition {condition}" if style == "-" else None
            axes.plot(results[f"exact/{title}/float32/{condition}"], style, color=shade, label=label)
    axes.plot([], [], "--", color=COLOURS["ink"], label="dashed: third order")
    axes.set(title="Gap of network and solver in single precision", xlabel="steps", ylabel="relative gap", yscale="log")
    axes.legend(fontsize=8)


def table(results: Results) -> Table:
    """Errors over d by steps or layers: of the orders, and of trained attention."""
    shown = Table("what", "by steps or layers")
    for name in results:
        if name.startswith("orders/") and name != "orders/conditions":
            shown.add_row(name, "  ".join(f"{value:.2g}" for value in results[name].mean(axis=0)))
        if name.startswith("attention/") and name not in ("attention/layers", "attention/one layer"):
            rows = results[name] if results[name].ndim == 3 else results[name][:, None]
            shown.add_row(name, "  ".join(f"{value:.2g}" for value in rows[..., 0].mean(axis=1)))
    return shown
