"""Panels of methods beside each other: excess risk by examples and by noise, and the rates of EM."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from experiments.common import Results
from experiments.figures import COLOURS, colour_of, shades, style_of
from experiments.mixture.claims import slope_of
from experiments.mixture.methods import METHODS

# method -> its line's style, and label
LINES = {
    "zero": (style_of("zero"), "zero"),
    "least squares": (style_of("least squares"), "least squares"),
    "linear": (style_of("best linear in y"), "best linear in y"),
    "attention": (style_of("linear attention"), "best linear attention"),
    "random start": (style_of("EM, random start"), "EM, random start"),
    "restarted": (style_of("EM, best of several"), "EM, best of several"),
    "spectral": (style_of("EM, spectral subspace"), "EM, spectral subspace"),
    "annealed": (style_of("EM, annealed"), "EM, annealed"),
    "near the truth": (style_of("EM, started near the truth"), "EM, started near the truth"),
    "Bayes": (style_of("posterior mean"), "posterior mean"),
}


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


def by_examples(axes: Axes, results: Results, count: int, ratio: int) -> None:
    """The mean excess of every method with its interval, and the median as a dot."""
    rows = [results[f"rows/{count}/{ratio}/{n}"] for n in results["rows/lengths"]]
    lines_of(axes, results["rows/lengths"], np.stack(rows), METHODS)
    axes.set_title(f"{count} components, |b| / sigma = {ratio}")


def by_noise(axes: Axes, results: Results, count: int, n: int) -> None:
    """The same against the ratio of signal to noise, for prompts of one length."""
    found = {ratio: results[f"rows/{count}/{ratio}/{n}"] for ratio in ratios_of(results, count)}
    lines_of(axes, np.array(list(found)), np.stack(list(found.values())), METHODS)
    axes.set(title=f"{count} components, {n} examples", xlabel="|b| / sigma (dots: medians)")


def ratios_of(results: Results, count: int) -> list[int]:
    """Of signal to noise, of the rows of so many components."""
    names = [name.split("/") for name in results if name.startswith(f"rows/{count}/")]
    return sorted({int(parts[2]) for parts in names})


def by_posterior(axes: Axes, results: Results, ratio: int) -> None:
    """The same for Gaussian components, with the posterior mean."""
    rows = [results[f"bayes/{ratio}/{n}"] for n in results["bayes/lengths"]]
    lines_of(axes, results["bayes/lengths"], np.stack(rows), (*METHODS, "Bayes"))
    axes.set_title(f"2 Gaussian components, d = 8, 1 / sigma = {ratio}")


def lines_of(axes: Axes, lengths: np.ndarray, rows: np.ndarray, methods: tuple[str, ...]) -> None:
    """rows: (lengths, methods, mean, its error, three quantiles). The figure has the lines' legend."""
    for place, name in enumerate(methods):
        if name in LINES:
            style, _ = LINES[name]
            mean, error, _, median, _ = rows[:, place].T
            low, high = np.maximum(mean - 1.96 * error, 0.5 * median), mean + 1.96 * error
            axes.plot(lengths, mean, **style)
            axes.fill_between(lengths, low, high, color=style["color"], alpha=0.15, linewidth=0)
            axes.plot(lengths, median, "o", color=style["color"], markersize=2.5)
    axes.set(xlabel="examples (dots: medians)", ylabel="excess over the oracle", yscale="log")
    ticks(axes, lengths)


def by_rate(axes: Axes, results: Results) -> None:
    """EM's mean error and its interval at every noise; the Transformer's on few prompts, and EM's on the same ones."""
    lengths = results["slopes/lengths"]
    ratios = results["slopes/ratios"]
    for shade, ratio in zip(shades("EM", len(ratios)), ratios, strict=True):
        errors = results[f"slopes/{ratio:g}/errors"]
        half = 1.96 * errors.std(axis=1, ddof=1) / errors.shape[1] ** 0.5
        axes.errorbar(lengths, errors.mean(axis=1), half, color=shade, label=f"|b| / sigma = {ratio:g}", capsize=2)
        keys = [name for name in results if name.startswith(f"slopes/network/{ratio:g}/") and name.endswith("/errors")]
        for name in keys:
            n, own = int(name.split("/")[3]), results[name]
            same = errors[list(lengths).index(n), : len(own)].mean()
            axes.plot(n, own.mean(), "D", color=colour_of("Transformer"), markersize=5)
            axes.plot(n, same, "x", color=COLOURS["ink"], markersize=4)
    first = results[f"slopes/{results['slopes/ratios'][0]:g}/errors"].mean(axis=1)[0]
    for power, style in ((0.25, ":"), (0.5, "--")):
        line = 1.3 * first * (lengths[0] / lengths) ** power
        axes.plot(lengths, line, style, color=COLOURS["ink"], linewidth=0.9, label=f"slope {-power:g}")
    axes.plot([], [], "D", color=colour_of("Transformer"), markersize=5, label="Transformer, few prompts")
    axes.plot([], [], "x", color=COLOURS["ink"], markersize=4, label="EM on the same ones")
    axes.set(title="EM from a good start, d = 8", xlabel="examples", ylabel="mean |b - b*|, and its interval", yscale="log")
    ticks(axes, lengths)
    names_above(axes)


def by_steps(axes: Axes, results: Results) -> None:
    """EM's steps to convergence: mean, and 5 and 95 % of prompts."""
    lengths = results["slopes/lengths"]
    ratios = results["slopes/ratios"]
    for shade, ratio in zip(shades("EM", len(ratios)), ratios, strict=True):
        mean, _, low, _, high = results[f"slopes/{ratio:g}/steps"].T
        axes.plot(lengths, mean, "o-", color=shade, label=f"|b| / sigma = {ratio:g}")
        axes.fill_between(lengths, low, high, color=shade, alpha=0.12, linewidth=0)
    axes.set(title="Its steps to convergence", xlabel="examples", ylabel="mean steps, and 5 to 95 % of prompts", yscale="log")
    ticks(axes, lengths)
    names_above(axes)


def by_slope(axes: Axes, results: Results) -> None:
    """The slope over all lengths, and over their first and second half, where there are four or more."""
    lengths, ratios = results["slopes/lengths"], results["slopes/ratios"]
    parts = {"all lengths": slice(None)}
    if len(lengths) >= 4:
        middle = len(lengths) // 2
        parts |= {f"to {lengths[middle]:g}": slice(middle + 1), f"from {lengths[middle]:g}": slice(middle, None)}
    for (label, part), fmt in zip(parts.items(), ("o-", "v--", "^:"), strict=False):
        found = [slope_of(lengths[part], results[f"slopes/{ratio:g}/errors"][part]) for ratio in ratios]
        slopes = np.array([slope for slope, _ in found])
        error = np.abs(np.array([interval for _, interval in found]).T - slopes)
        axes.errorbar(ratios, slopes, error, fmt=fmt, color=colour_of("EM"), capsize=2, label=label)
    for power, style in ((-0.25, ":"), (-0.5, "--")):
        axes.axhline(power, linestyle=style, color=COLOURS["ink"], linewidth=0.9)
    axes.set(title="Slope of log error on log n", xlabel="|b| / sigma", ylabel="slope; lines: -1/4 and -1/2")
    ticks(axes, ratios)
    axes.legend()
