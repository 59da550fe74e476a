"""The figure of mixtures of regressions, from results alone."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.table import Column, Table

from experiments.common import Results
from experiments.figures import COLOURS, Draw, colour_of, panels_of
from experiments.mixture.claims import CASES
from experiments.mixture.comparing import cells
from experiments.mixture.methods import METHODS
from experiments.mixture.panels import LINES, by_examples, by_noise, by_posterior, by_rate, by_slope, by_steps, ticks

TITLES = {
    "two, 1": ("two, |b| / sigma = 1", COLOURS["solver"]),
    "two, 5": ("two, |b| / sigma = 5", COLOURS["sky"]),
    "three": ("three, |b| / sigma = 5", COLOURS["transformer"]),
}
# of tables -> colour
MODELS = {
    "mixture": colour_of("EM"),
    "Transformer": colour_of("Transformer"),
    "two constants": COLOURS["accent"],
    "class known": COLOURS["classical"],
}
LEAST = 1e-17  # of what is drawn: double precision ends there


def plot(results: Results) -> Figure:
    """Constructions, linear attention, rows of methods and the posterior mean, rates, and tables."""
    rows = sorted({(int(name.split("/")[1]), int(name.split("/")[2])) for name in cells(results, "rows")})
    # of the rows: the noisiest of few components, and the cleanest of every number
    cleanest = {count: (count, ratio) for count, ratio in rows}
    corners = dict.fromkeys((rows[0], *cleanest.values())) if rows else {}
    lengths = results.get("rows/lengths", np.zeros(0, dtype=int)).tolist()
    ratios = sorted({int(name.split("/")[1]) for name in cells(results, "bayes")})
    draws: dict[str, Draw] = {
        "exact/": by_width,
        f"exact/{CASES[0]}/inner": by_descents,
        "attention/": by_time,
        "risk/": by_length,
        **{f"rows/{count}/{ratio}/": partial(by_examples, count=count, ratio=ratio) for count, ratio in corners},
        **{f"rows/{count}/": partial(by_noise, count=count, n=lengths[len(lengths) // 2]) for count, _ in rows[:1]},
        **{f"bayes/{ratio}/": partial(by_posterior, ratio=ratio) for ratio in ratios[-1:]},
        "slopes/lengths": by_rate,
        "slopes/ratios": by_slope,
        "slopes/": by_steps,
        "tables/petals/rows": partial(by_row, name="petals"),
        "tables/": by_likelihood,
    }
    figure = panels_of(results, draws, columns=3, width=14.0, height=3.4)
    if rows or ratios:
        named = [Line2D([], [], label=label, **style) for style, label in LINES.values()]
        title = "methods, in panels of the excess over the oracle"
        figure.legend(handles=named, loc="outside upper center", ncols=5, handlelength=3.5, title=title)
    return figure


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
    which is tried on the first splits; a mixture of two constants; components known.
    """
    names = [name.split("/")[1] for name in results if name.endswith("/likelihood/mixture")]
    ticks_at = []
    for place, name in enumerate(names):
        one = results[f"tables/{name}/likelihood/one regression"]
        for shift, (model, colour) in enumerate(MODELS.items()):
            values = results[f"tables/{name}/likelihood/{model}"]
            gain = values - one[: len(values)]
            spread = np.linspace(-0.06, 0.06, len(gain)) if len(gain) > 1 else np.zeros(1)
            at = place + 0.21 * (shift - 1.5)
            axes.plot(at + spread, gain, "o", color=colour, alpha=0.5)
            label = model.replace("mixture", "EM") if place == 0 else None
            axes.plot([at - 0.08, at + 0.08], [gain.mean()] * 2, color=colour, label=label)
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
