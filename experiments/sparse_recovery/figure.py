"""The figure of sparse recovery, from results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import Results
from experiments.figures import COLOURS, colour_of, label_ends, style_of
from experiments.sparse_recovery.rows import titles

# whose parameters meet other laws
LEARNED = (
    "LISTA-VM",
    "LISTA-VM with momentum",
    "in-context ALISTA",
    "in-context ALISTA, branches",
)


def plot(results: Results) -> Figure:
    """Error by step, by number of measurements and by law; one matrix, noise, blocks; and the bound."""
    figure, panels = plt.subplots(3, 2, figsize=(11.5, 14.5))
    draws = {
        "fresh": by_step,
        "length": by_length,
        "shift": by_law,
        "one": one_matrix,
        "noise": noise_and_blocks,
        "bound": bound,
    }
    for axes, (key, draw) in zip(panels.flat, draws.items(), strict=True):
        if any(name.startswith(f"{key}/") for name in results):
            draw(axes, results)
        else:
            axes.set_visible(False)  # the part was not run
    return figure


def by_step(axes: Axes, results: Results) -> None:
    """Median over signals, since a mean is that of the few hardest."""
    depth = max(results[f"fresh/{title}/quantiles"].shape[1] for title in titles(results, "fresh") if "steps" in title) - 1
    for title in titles(results, "fresh"):
        medians = results[f"fresh/{title}/quantiles"][0]
        if len(medians) < 2 or title.startswith(("LISTA-VM,", "OMP")) or title.endswith("halted"):
            continue
        axes.plot(np.arange(1, len(medians)), medians[1:], label=title, **style_of(title))
    axes.set(title="A new matrix for every signal", xlabel="step", ylabel="median relative error", xscale="log", yscale="log")
    axes.set(xlim=(1, depth), ylim=(1e-6, 1.0))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=3.0)


def by_length(axes: Axes, results: Results) -> None:
    """Means over signals, one set of parameters a method."""
    lengths, ends, floor = results["length/lengths"], {}, 1e-5
    for key, rows in results.items():
        title = key.removeprefix("length/")
        if key.startswith("length/") and title != "lengths":
            means = np.maximum(rows[:, 0], floor)  # what is below is drawn at the edge
            axes.plot(lengths, means, color=colour_of(title), marker="o", clip_on=False)
            ends[title] = (float(means[-1]), colour_of(title))
    axes.set(title="One set of parameters for every n", xlabel="measurements", ylabel="mean relative error", yscale="log")
    axes.set(ylim=(floor, 2.0), xlim=(0, lengths[-1]))
    label_ends(axes, ends, gap=0.3)


def by_law(axes: Axes, results: Results) -> None:
    """Means over signals of laws that the parameters have not seen."""
    rows = titles(results, "shift")
    laws = list(dict.fromkeys(row.rpartition("/")[0] for row in rows))
    places = np.arange(len(laws))[::-1]
    for i, title in enumerate(LEARNED):
        means = np.array([results[f"shift/{law}/{title}/mean"][:, -1] for law in laws])
        axes.barh(places + 0.3 - 0.2 * i, means[:, 0], 0.18, color=colour_of(title), label=title)
    axes.set(title="Laws that were not trained on", xlabel="mean relative error; bars end at 1.2", xlim=(0, 1.2))
    axes.set_yticks(places, laws)
    axes.legend(loc="lower left", bbox_to_anchor=(1.0, 0.0))


def one_matrix(axes: Axes, results: Results) -> None:
    """Medians by step on the matrix of the training, and on ones that were not seen, whatever the training."""
    for title in titles(results, "one"):
        name, _, what = title.partition(", ")
        if what in ("own 0", "unseen 0") or "trained on" in what:
            medians = results[f"one/{title}/quantiles"][0]
            style = "-" if what == "own 0" else "--" if what == "unseen 0" else ":"
            label = name if what == "own 0" else None
            axes.plot(np.arange(len(medians)), medians, style, color=colour_of(name), label=label)
    axes.set(title="Weights of one matrix: on it (full), on others (dashed)", ylabel="median relative error")
    axes.set(xlabel="step; dotted: trained on a pool or on fresh ones", yscale="log", ylim=(1e-4, 1e4), xlim=(0, None))
    axes.legend(loc="lower left")


def noise_and_blocks(axes: Axes, results: Results) -> None:
    """Means, with intervals over signals."""
    rows = [(part, title) for part in ("noise", "blocks") for title in titles(results, part)]
    means = np.array([results[f"{part}/{title}/mean"][:, -1] for part, title in rows])
    places = np.array([-i - (part == "blocks") for i, (part, _) in enumerate(rows)], dtype=float)
    colours = [colour_of(title) for _, title in rows]
    axes.barh(places, means[:, 0], 0.7, color=colours, xerr=np.abs(means[:, 1:] - means[:, :1]).T)
    axes.set_yticks(places, [title for _, title in rows])
    axes.set(title="Noise; below, signals of one block of four", xlabel="mean relative error")


def bound(axes: Axes, results: Results) -> None:
    """The worst |w_k - beta|_1 of all instances, and the worst that the bound allows."""
    sizes = sorted({int(key.split("/")[1]) for key in results if key.startswith("bound/")})
    for shade, n in zip(np.linspace(0.35, 1.0, len(sizes)), sizes, strict=True):
        supports = sorted({int(key.split("/")[2]) for key in results if key.startswith(f"bound/{n}/")})
        for q, style in zip(supports, ("--", "-"), strict=True):
            errors = results[f"bound/{n}/{q}/errors"]
            rate = results[f"bound/{n}/{q}/rate"].max()
            steps = np.arange(len(errors))
            name = f"n = {n}, r ≤ {rate:.2f}" + ("" if q == supports[-1] else ", known support")
            axes.semilogy(steps, errors, style, color=colour_of("LISTA-VM"), alpha=shade, label=name)
            axes.semilogy(steps, rate**steps, linestyle=":", color=COLOURS["ink"], alpha=shade, linewidth=0.9)
    axes.set(title="LISTA-VM and its bound", xlabel="step", ylabel="largest |w − β|₁ / |β|₁; dotted: rᵏ", ylim=(1e-12, 20))
    axes.legend(fontsize=7)
