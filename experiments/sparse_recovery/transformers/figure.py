"""The figure of the Transformers, from results alone."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import Results
from experiments.figures import COLOURS, Draw, colour_of, panels_of
from experiments.sparse_recovery.rows import titles
from experiments.sparse_recovery.transformers.claims import MEDIAN, RIVAL, last, repetitions
from experiments.sparse_recovery.transformers.networks import RISE

SHOWN = ("LISTA-VM, trained on", "LISTA-VM with momentum, trained on", "Transformer, filled", "Transformer")


def plot(results: Results) -> Figure:
    """Error by layer, repetitions, beyond the trained depth; random start, supports, heads and read-outs; alignment."""
    draws: dict[str, Draw] = {
        "theorem 0": by_layer,
        "theorem": by_repetition,
        "repeated": beyond,
        "alignment/Transformer, filled": lambda axes, found: heat(axes, found, "Transformer, filled"),
        "alignment/Transformer/": lambda axes, found: heat(axes, found, "Transformer"),
        "support": by_support,
        "structure": by_structure,
        "shapes": by_shape,
        "random/loss": training,
        "random/by length": by_length,
        "random 10/": lambda axes, found: answers_by_layer(axes, found, 10),
        "random 20/": lambda axes, found: answers_by_layer(axes, found, 20),
        "random 40/": lambda axes, found: answers_by_layer(axes, found, 40),
        "alignment/Small TF/token error": decoded,
        "alignment/Small TF/answers": lambda axes, found: heat(axes, found, "Small TF", "answers ", "gradient descent"),
    }
    return panels_of(results, draws, columns=3, width=14.5, height=3.9)


def by_layer(axes: Axes, results: Results) -> None:
    """Median over signals, of the first repetition."""
    depth = results["theorem 0/Transformer/mean"].shape[1] - 1
    for title in SHOWN:
        medians = results[f"theorem 0/{title}/quantiles"][MEDIAN]
        style = "--" if "filled" in title else "-"
        axes.plot(np.arange(len(medians)), medians, color=colour_of(title), linestyle=style, label=title)
    axes.set(title="From the theorem, trained on", xlabel="layer or step", ylabel="median relative error", yscale="log")
    axes.set_xlim(0, depth)
    axes.legend(fontsize=8)


def by_repetition(axes: Axes, results: Results) -> None:
    """Every repetition's errors over its rival's, so that a point below 1 is better than LISTA-VM trained on."""
    count = repetitions(results)
    for row, title in enumerate(("LISTA-VM with momentum, trained on", "Transformer, filled", "Transformer")):
        for median, marker in ((False, "o"), (True, "D")):
            values = [last(results, i, title, median) / last(results, i, RIVAL, median) for i in range(count)]
            label = ("median" if median else "mean") if row == 0 else None
            place = np.full(count, float(row)) + (0.12 if median else -0.12)
            axes.plot(values, place, marker, color=colour_of(title), fillstyle="full" if median else "none", label=label)
    axes.set_yticks(range(3), ["with momentum,\ntrained on", "Transformer,\nfilled", "Transformer"])
    axes.axvline(1.0, color=COLOURS["ink"], linewidth=0.8)
    axes.set(title="Error over that of LISTA-VM, trained on", xlabel="ratio, one point a repetition", ylim=(-0.6, 2.6))
    axes.set_xlim(0.0, None)
    axes.legend()


def beyond(axes: Axes, results: Results) -> None:
    """Means beyond the depth that was trained."""
    layers = results["repeated/Transformer/mean"].shape[1] - 1
    for title in titles(results, "repeated"):
        means = results[f"repeated/{title}/mean"][0]
        axes.plot(np.arange(len(means)), means, color=colour_of(title), label=title)
    axes.axvline(layers / 2, color=COLOURS["ink"], linestyle=":")
    axes.set(title="The last layer, repeated", xlabel="layer or step", ylabel="mean relative error")
    axes.set(ylim=(0.0, 1.05), xlim=(0, layers))
    axes.legend(loc="upper right", frameon=True, framealpha=1.0, edgecolor="none")


def training(axes: Axes, results: Results) -> None:
    """The losses of networks from a random start, smoothed; they rise with the number of coordinates."""
    for key, losses in results.items():
        if key.startswith("random/loss/"):
            title = key.removeprefix("random/loss/")
            style = "--" if "," in title else "-"
            axes.plot(np.linspace(0.0, 1.0, len(losses)), losses, color=colour_of(title), linestyle=style, label=title)
    for share in RISE:
        axes.axvline(share, color=COLOURS["ink"], linewidth=0.8, linestyle=":")
    axes.set(title="From a random start", ylabel="squared error, mean over prefixes", xlim=(0, 1))
    axes.set_xlabel("share of the training; coordinates join between the dotted lines", fontsize=8)
    axes.set_ylim(0.0, 1.35 * axes.get_ylim()[1])  # room for the names
    axes.legend(loc="upper right", fontsize=8, frameon=True, framealpha=1.0, edgecolor="none")


def by_length(axes: Axes, results: Results) -> None:
    """Their errors by the number of measurements, beside the answer that knows nothing of sparsity."""
    for key, means in results.items():
        if key.startswith("random/by length/"):
            title = key.removeprefix("random/by length/")
            style = "--" if "," in title else "-"
            axes.plot(np.arange(len(means)), means, color=colour_of(title), linestyle=style, label=title)
    axes.set(title="From a random start: every prefix", xlabel="measurements", ylabel="mean relative error", ylim=(0, 1.1))
    axes.legend()


def by_support(axes: Axes, results: Results) -> None:
    """Signals that live in the first coordinates; full bars are not told, and find it by their training, if at all."""
    sizes = sorted({int(key.split()[1].partition("/")[0]) for key in results if key.startswith("support ")})
    bars(axes, results, {f"first {size}": f"support {size}" for size in sizes})
    axes.set_title("Signals that live in the first coordinates")


def by_structure(axes: Axes, results: Results) -> None:
    """Blocks, and noise."""
    bars(axes, results, {"one block of four": "structure/blocks", "noise": "structure/noise"})
    axes.set_title("Blocks, and noise")


def bars(axes: Axes, results: Results, groups: dict[str, str]) -> None:
    """Means of the rows of each part, a group a part; hollow for what is told, and for what is not trained on."""
    rows = list(dict.fromkeys(title for part in groups.values() for title in titles(results, part)))
    width = 0.8 / len(rows)
    for i, title in enumerate(rows):
        means = [results[key][0, -1] if (key := f"{part}/{title}/mean") in results else np.nan for part in groups.values()]
        hollow = title.endswith(("told", "filled"))
        places = np.arange(len(groups)) + (i + 0.5) * width - 0.4
        colour = colour_of(title)
        axes.bar(places, means, 0.9 * width, facecolor="none" if hollow else colour, edgecolor=colour, label=title)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set(ylabel="mean relative error", ylim=(0.0, 1.45 * axes.get_ylim()[1]))  # room for the names
    axes.legend(fontsize=7, ncols=2, loc="upper left")


def by_shape(axes: Axes, results: Results) -> None:
    """Means, with intervals over test signals."""
    rows = titles(results, "shapes")
    means = np.array([results[f"shapes/{title}/mean"][:, -1] for title in rows])
    places = np.arange(len(rows))[::-1]
    axes.barh(places, means[:, 0], 0.7, color=colour_of("Small TF"), xerr=np.abs(means[:, 1:] - means[:, :1]).T)
    axes.set_yticks(places, rows)
    axes.set(title="A small Small TF: heads and read-outs", xlabel="mean relative error")


def heat(axes: Axes, results: Results, title: str, decoded_by: str = "", rival: str = "LISTA-VM with momentum") -> None:
    """Cosines between the errors of every layer's estimate and of every step's iterate."""
    cosines = results[f"alignment/{title}/{decoded_by}{rival}"]
    image = axes.imshow(cosines, origin="lower", cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    axes.figure.colorbar(image, ax=axes, label="cosine of errors", pad=0.02)
    axes.set(title=f"Errors of {title}", xlabel=f"step of {rival}", ylabel="layer")
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks(range(0, len(cosines), 2))
    axes.grid(False)


def decoded(axes: Axes, results: Results) -> None:
    """What is known of the signal after every layer: by what the network answers, and by a linear read-out of a token."""
    for title in ("Small TF", "GPT-2"):
        for name, style in (("answers", "-"), ("token", "--")):
            if (key := f"alignment/{title}/{name} error") in results:
                label = {"answers": f"{title}, answers", "token": f"{title}, query's token"}[name]
                axes.plot(np.arange(len(results[key])), results[key], color=colour_of(title), linestyle=style, label=label)
    key = "alignment/Small TF, random parameters/token error"
    axes.plot(np.arange(len(results[key])), results[key], color=COLOURS["ink"], linestyle=":", label="token, random parameters")
    axes.set(title="Decoded from every layer", xlabel="layer", ylabel="relative error of the decoded signal", ylim=(0, 1.5))
    axes.legend(fontsize=8)


def answers_by_layer(axes: Axes, results: Results, n: int) -> None:
    """What networks from a random start answer after every layer, through their last read-out, beside steps of solvers."""
    for title in titles(results, f"random {n}"):
        means = results[f"random {n}/{title}/mean"][0]
        if len(means) == 1:
            axes.axhline(means[0], color=colour_of(title), linestyle=":", label=title)
        else:
            style = "--" if "," in title else "-"
            axes.plot(np.arange(len(means)), means, color=colour_of(title), linestyle=style, label=title)
    axes.set(title=f"Labels after {n} measurements", xlabel="layer or step", ylabel="mean relative error", ylim=(0.0, 1.9))
    axes.set_xlim(0, None)
    axes.legend(fontsize=8)
