"""The figure and the table of the benchmark, from results alone."""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, style_of
from experiments.l2o_benchmark.methods import PLAN

ORACLE = "true support known"


def decibels(errors: Float[np.ndarray, " count"], sizes: Float[np.ndarray, " count"]) -> float:
    """10 log10(sum of errors / sum of sizes): every signal counts by its size."""
    return float(10.0 * np.log10(np.sum(errors, dtype=np.float64) / np.sum(sizes, dtype=np.float64)))


def own_decibels(errors: Float[np.ndarray, " count"], sizes: Float[np.ndarray, " count"]) -> Float[np.ndarray, " count"]:
    """10 log10(error / size + 1e-10) of every signal: Open-L2O's convention is their mean."""
    return 10.0 * np.log10(errors / sizes + 1e-10)


def settings_of(results: Results) -> list[str]:
    """The settings of this run."""
    return [name for name in PLAN if f"{name}/{ORACLE}/nmse" in results]


def table(results: Results) -> Table:
    """NMSE on test signals after all steps: ratio of sums, its interval, mean of the signals' own dB, and the worst signals."""
    shown = Table("setting", "method", "NMSE, dB", "95 %", "mean dB", "99.9 % of signals below", "training")
    for name in settings_of(results):
        for title in (*PLAN[name], ORACLE):
            nmse, low, high = results[f"{name}/{title}/nmse"]
            mean, _, worst = results[f"{name}/{title}/own"]
            spent = results.get(f"{name}/{title}/seconds")
            shown.add_row(
                name,
                title,
                f"{nmse:.2f}",
                f"{low:.2f} … {high:.2f}",
                f"{mean:.2f}",
                f"{worst:.1f}",
                "" if spent is None else f"{spent[-1]:.0f} s",
            )
    return shown


def plot(results: Results) -> Figure:
    """NMSE by step, a panel a setting, and below it validation NMSE by training step."""
    names = settings_of(results)
    figure, panels = plt.subplots(2, len(names), figsize=(3.1 * len(names) + 0.6, 6.0), squeeze=False, height_ratios=(3, 2))
    lines: dict[str, Line2D] = {}  # of all panels, for one legend
    for column, name in enumerate(names):
        upper, lower = panels[:, column]
        floor = float(results[f"{name}/{ORACLE}/nmse"][0])
        steps = np.arange(len(results[f"{name}/ISTA/test curve"]))
        for title in PLAN[name]:
            curve = results[f"{name}/{title}/test curve"]
            (lines[title],) = upper.plot(steps, curve, linewidth=1.3, **style_of(title))
            if f"{name}/{title}/steps" in results:
                seen, history = results[f"{name}/{title}/steps"], results[f"{name}/{title}/history"]
                lower.plot(seen, history, marker=".", **style_of(title))
        if floor > -100.0:
            lines[ORACLE] = upper.axhline(floor, color=COLOURS["ink"], linewidth=0.8, linestyle=":")
        upper.set(title=name, xlabel="step", xlim=(0, steps[-1]))
        upper.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        lower.set(xlabel="training step", xscale="log")
        lower.xaxis.set_minor_formatter(NullFormatter())
    panels[0, 0].set_ylabel("NMSE on test signals, dB")
    panels[1, 0].set_ylabel("NMSE on validation signals, dB")
    figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=7, handlelength=3.0)
    return figure
