"""The figure of mixtures of regressions, from results alone."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.table import Column, Table

from experiments.common import Results
from experiments.figures import COLOURS, Draw, panels_of
from experiments.mixture.claims import CASES
from experiments.mixture.comparing import cells
from experiments.mixture.methods import METHODS

TITLES = {
    "two, 1": ("two, |b| / sigma = 1", COLOURS["solver"]),
    "two, 5": ("two, |b| / sigma = 5", COLOURS["sky"]),
    "three": ("three, |b| / sigma = 5", COLOURS["transformer"]),
}
# method -> colour, style, label
LINES = {
    "zero": (COLOURS["classical"], "--", "zero"),
    "least squares": (COLOURS["classical"], "-", "least squares"),
    "linear": (COLOURS["limit"], "-", "best linear in y"),
    "attention": (COLOURS["transformer"], "-", "best linear attention"),
    "random start": (COLOURS["accent"], "-", "EM, random start"),
    "restarted": (COLOURS["trained"], "-", "EM, best of several"),
    "spectral": (COLOURS["sky"], "-", "EM, spectral subspace"),
    "annealed": (COLOURS["solver"], "-", "EM, annealed"),
    "near the truth": (COLOURS["solver"], ":", "EM, started near the truth"),
    "Bayes": (COLOURS["ink"], "-", "posterior mean"),
}
SHADES = ("trained", "accent", "limit", "sky", "solver")
# of tables -> colour
MODELS = {"mixture": "solver", "Transformer": "transformer", "class known": "classical"}
LEAST = 1e-17  # of what is drawn: double precision ends there


def plot(results: Results) -> Figure:
    """Constructions, linear attention, rows of methods and the posterior mean, rates, and tables."""
    rows = sorted({(int(name.split("/")[1]), int(name.split("/")[2])) for name in cells(results, "rows")})
    # of the rows: the noisiest and the cleanest of few components, and the cleanest of many
    corners = dict.fromkeys((rows[0], max(row for row in rows if row[0] == rows[0][0]), rows[-1])) if rows else {}
    ratios = sorted({int(name.split("/")[1]) for name in cells(results, "bayes")})
    draws: dict[str, Draw] = {
        "exact/": by_width,
        f"exact/{CASES[0]}/inner": by_descents,
        "attention/": by_time,
        "risk/": by_length,
        **{f"rows/{count}/{ratio}/": partial(by_examples, count=count, ratio=ratio) for count, ratio in corners},
        **{f"bayes/{ratio}/": partial(by_posterior, ratio=ratio) for ratio in ratios[-1:]},
        "slopes/": by_rate,
        "slopes/ratios": by_steps,
        "tables/petals/rows": partial(by_row, name="petals"),
        "tables/": by_likelihood,
    }
    return panels_of(results, draws, columns=3, width=16.0, height=4.2)


def ticks(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic axis of x whose ticks are the data."""
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())


def names_above(axes: Axes) -> None:
    """A legend over the lines of a logarithmic axis of y, which is made longer for it."""
    low, high = axes.get_ylim()
    axes.set_ylim(top=high * (high / low) ** 0.35)
    axes.legend(fontsize=7, ncols=2, loc="upper center")


def by_width(axes: Axes, results: Results) -> None:
    """The largest gap of Transformer and gradient EM over prompts and steps."""
    every = set()
    for case, (label, colour) in TITLES.items():
        widths = results[f"exact/{case}/cells"]
        every |= set(widths.tolist())
        gaps = np.array([results[f"exact/{case}/gap/{count}"].max() for count in widths])
        axes.plot(widths, gaps, "o-", color=colour, label=label)
        axes.plot(widths, gaps[0] * (widths[0] / widths) ** 2, "--", color=colour, linewidth=0.8, alpha=0.7)
    axes.plot([], [], "--", color=COLOURS["ink"], linewidth=0.8, label="a quarter where the width doubles")
    axes.set(title="Transformer against gradient EM", xlabel="cells of its curves", ylabel="largest |entry of difference|")
    axes.set_yscale("log")
    ticks(axes, np.array(sorted(every)))
    axes.legend()


def by_descents(axes: Axes, results: Results) -> None:
    """Gradient EM against EM, by how many descents a step has."""
    for case, (label, colour) in TITLES.items():
        gaps = np.maximum(results[f"exact/{case}/inner"], LEAST)
        axes.plot(results["exact/inner"], gaps, "o-", color=colour, label=label)
    axes.set(title="Gradient EM against EM", xlabel="steps of descent in each of EM", ylabel="largest |entry of difference|")
    axes.set_yscale("log")
    ticks(axes, results["exact/inner"])
    axes.legend()


def by_time(axes: Axes, results: Results) -> None:
    """The distance to the best matrix along flow, gradient descent and Adam, independent components."""
    steps = results["attention/steps"]
    for name, colour in zip(("isotropic", "diagonal", "correlated"), ("solver", "transformer", "limit"), strict=True):
        for title, style, width in (("flow", "-", 2.2), ("descent", "--", 1.0), ("Adam", ":", 1.4)):
            gaps = np.maximum(results[f"attention/independent/{name}/{title}"], LEAST)
            label = f"{name} inputs" if title == "flow" else None
            colours = COLOURS[colour] if title != "descent" else COLOURS["ink"]
            axes.plot(steps, gaps, style, color=colours, linewidth=width, label=label, alpha=0.55 if title == "flow" else 1.0)
    for title, style in (("gradient descent, same step", "--"), ("Adam", ":")):
        axes.plot([], [], style, color=COLOURS["ink"], label=title, linewidth=1.0)
    axes.set(title="Linear attention: from a small start to A*", xlabel="steps (of gradient flow: their time)")
    axes.set(ylabel="|u U - A*| / |A*|", xscale="log", yscale="log")
    axes.legend(loc="lower left")


def by_length(axes: Axes, results: Results) -> None:
    """The risk of A* at the trained length and others: closed form, and means over drawn prompts."""
    lengths = results["attention/lengths"]
    for name, colour in zip(("isotropic", "diagonal", "correlated"), ("solver", "transformer", "limit"), strict=True):
        for prior, style, marker in (("independent", "-", "o"), ("symmetric", "--", "s")):
            mean, error, closed = results[f"risk/{prior}/{name}"].T
            axes.plot(lengths, closed, style, color=COLOURS[colour], linewidth=1.0)
            axes.errorbar(lengths, mean, 1.96 * error, fmt=marker, color=COLOURS[colour], capsize=2)
        axes.plot([], [], color=COLOURS[colour], label=f"{name} inputs")
    axes.plot([], [], "o-", color=COLOURS["ink"], label="three components, independent")
    axes.plot([], [], "s--", color=COLOURS["ink"], label="b and -b, of 0.8 and 0.2")
    axes.set(title="Risk of A* (for 20 examples): closed form, drawn", xlabel="examples of a prompt", ylabel="E (y - y_hat)^2")
    ticks(axes, lengths)
    axes.legend()


def by_examples(axes: Axes, results: Results, count: int, ratio: int) -> None:
    """The mean excess of every method with its interval, and the median as a dot."""
    rows = [results[f"rows/{count}/{ratio}/{n}"] for n in results["rows/lengths"]]
    lines_of(axes, results["rows/lengths"], np.stack(rows), METHODS)
    axes.set_title(f"{count} components, |b| / sigma = {ratio}")


def by_posterior(axes: Axes, results: Results, ratio: int) -> None:
    """The same for Gaussian components, with the posterior mean."""
    rows = [results[f"bayes/{ratio}/{n}"] for n in results["bayes/lengths"]]
    lines_of(axes, results["bayes/lengths"], np.stack(rows), (*METHODS, "Bayes"))
    axes.set_title(f"2 Gaussian components, d = 8, 1 / sigma = {ratio}")


def lines_of(axes: Axes, lengths: np.ndarray, rows: np.ndarray, methods: tuple[str, ...]) -> None:
    """rows: (lengths, methods, mean, its error, three quantiles)."""
    for place, name in enumerate(methods):
        if name in LINES:
            colour, style, label = LINES[name]
            mean, error, _, median, _ = rows[:, place].T
            axes.plot(lengths, mean, style, color=colour, label=label)
            axes.fill_between(
                lengths,
                np.maximum(mean - 1.96 * error, 0.5 * median),
                mean + 1.96 * error,
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(lengths, median, "o", color=colour, markersize=2.5)
    axes.set(xlabel="examples (dots: medians)", ylabel="excess over the oracle", yscale="log")
    ticks(axes, lengths)
    names_above(axes)


def by_rate(axes: Axes, results: Results) -> None:
    """EM's mean error and its interval at every noise; the Transformer's on few prompts, and EM's on the same ones."""
    lengths = results["slopes/lengths"]
    for shade, ratio in zip(SHADES, results["slopes/ratios"], strict=False):
        errors = results[f"slopes/{ratio:g}/errors"]
        half = 1.96 * errors.std(axis=1, ddof=1) / errors.shape[1] ** 0.5
        axes.errorbar(lengths, errors.mean(axis=1), half, color=COLOURS[shade], label=f"|b| / sigma = {ratio:g}", capsize=2)
        keys = [name for name in results if name.startswith(f"slopes/network/{ratio:g}/") and name.endswith("/errors")]
        for name in keys:
            n, own = int(name.split("/")[3]), results[name]
            same = errors[list(lengths).index(n), : len(own)].mean()
            axes.plot(n, own.mean(), "D", color=COLOURS["transformer"], markersize=5)
            axes.plot(n, same, "x", color=COLOURS["ink"], markersize=4)
    first = results[f"slopes/{results['slopes/ratios'][0]:g}/errors"].mean(axis=1)[0]
    for power, style in ((0.25, ":"), (0.5, "--")):
        line = 1.3 * first * (lengths[0] / lengths) ** power
        axes.plot(lengths, line, style, color=COLOURS["ink"], linewidth=0.9, label=f"slope {-power:g}")
    axes.plot([], [], "D", color=COLOURS["transformer"], markersize=5, label="Transformer, few prompts")
    axes.plot([], [], "x", color=COLOURS["ink"], markersize=4, label="EM on the same ones")
    axes.set(title="EM from a good start, d = 8", xlabel="examples", ylabel="mean |b - b*|, and its interval", yscale="log")
    ticks(axes, lengths)
    names_above(axes)


def by_steps(axes: Axes, results: Results) -> None:
    """EM's steps to convergence: mean, and 5 and 95 % of prompts."""
    lengths = results["slopes/lengths"]
    for shade, ratio in zip(SHADES, results["slopes/ratios"], strict=False):
        mean, _, low, _, high = results[f"slopes/{ratio:g}/steps"].T
        axes.plot(lengths, mean, "o-", color=COLOURS[shade], label=f"|b| / sigma = {ratio:g}")
        axes.fill_between(lengths, low, high, color=COLOURS[shade], alpha=0.12, linewidth=0)
    axes.set(title="Its steps to convergence", xlabel="examples", ylabel="mean steps, and 5 to 95 % of prompts", yscale="log")
    ticks(axes, lengths)
    names_above(axes)


def by_row(axes: Axes, results: Results, name: str) -> None:
    """The rows of one split, the two lines that EM has found, and the one regression."""
    x, y, group, share = results[f"tables/{name}/rows"].T
    for member, marker, label in ((1.0, "s", "setosa"), (0.0, "o", "not setosa")):
        own = group == member
        colours = np.where(share[own] > 0.5, COLOURS["transformer"], COLOURS["solver"])
        axes.scatter(x[own], y[own], c=colours, marker=marker, s=14, alpha=0.7, linewidths=0)
        axes.plot([], [], marker, color=COLOURS["classical"], label=label)
    ends = np.array([x.min(), x.max()])
    styles = (
        (COLOURS["transformer"], "-", "component 1"),
        (COLOURS["solver"], "-", "component 2"),
        (COLOURS["ink"], "--", "one regression"),
    )
    for line, (colour, style, label) in zip(results[f"tables/{name}/lines"], styles, strict=True):
        axes.plot(ends, line[0] + line[1] * ends, style, color=colour, label=label)
    axes.set(title="Iris, species hidden: coloured by component", xlabel="sepal width, standardised")
    axes.set_ylabel("petal length, standardised")
    axes.legend(fontsize=7)


def by_likelihood(axes: Axes, results: Results) -> None:
    """Held-out log-likelihood over that of one regression, for every split: components hidden, by EM and by the Transformer,
    which is tried on the first splits, and known.
    """
    names = [name.split("/")[1] for name in results if name.endswith("/likelihood/mixture")]
    ticks_at = []
    for place, name in enumerate(names):
        one = results[f"tables/{name}/likelihood/one regression"]
        for shift, (model, colour) in enumerate(MODELS.items()):
            values = results[f"tables/{name}/likelihood/{model}"]
            gain = values - one[: len(values)]
            spread = np.linspace(-0.08, 0.08, len(gain)) if len(gain) > 1 else np.zeros(1)
            at = place + 0.27 * (shift - 1)
            axes.plot(at + spread, gain, "o", color=COLOURS[colour], alpha=0.5)
            label = model.replace("mixture", "EM") if place == 0 else None
            axes.plot([at - 0.1, at + 0.1], [gain.mean()] * 2, color=COLOURS[colour], label=label)
        right = 100.0 * results[f"tables/{name}/right/mixture"].mean()
        ticks_at.append(
            f"{name}\n{right:.0f} % told right\n({100.0 * results[f'tables/{name}/right/majority'].mean():.0f} % majority)"
        )
    axes.axhline(0.0, color=COLOURS["ink"], linewidth=0.8)
    axes.set_xticks(range(len(names)), ticks_at)
    axes.set(title="Tables: held-out gain over one regression", ylabel="nats a row, splits and their mean")
    axes.legend()


def table(results: Results) -> Table:
    """The mean excess of every method: part, components, |b| / sigma and examples; the posterior's components are two."""
    shown = Table(*(Column(title, no_wrap=True) for title in ("rows", *METHODS, "Bayes")))
    for name in cells(results, "rows") + cells(results, "bayes"):
        found = [f"{mean:.2g}" for mean in results[name][:, 0]]
        shown.add_row(name.removeprefix("rows/"), *found, *[""] * (len(METHODS) + 1 - len(found)))
    return shown
