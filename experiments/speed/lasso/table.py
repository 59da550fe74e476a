"""The table: every contender of every case, from results alone."""

import numpy as np
from rich.table import Table

from experiments.common import Results
from experiments.speed.lasso.problems import CASES, PENALTIES


def table(results: Results) -> Table:
    """Time a problem, beside ours, the worst gap, the tolerance, the first time of all problems with compiling; gradients."""
    headings = ("", "at", "contender", "problems", "time a problem", "× ours", "worst error", "tolerance", "first")
    words = "error: relative gap, or of the gradient; first: all problems, and compiling"
    shown = Table(*headings, title=f"float64, one core and one thread each; {words}")
    for name in (name for name in CASES if f"{name}/seconds" in results):
        ours = results[f"{name}/families"] == "ours"
        for k, share in enumerate(PENALTIES):
            median = np.median(results[f"{name}/seconds"][k], axis=0)
            for i, title in enumerate(results[f"{name}/names"]):
                shown.add_row(
                    CASES[name].title if k == i == 0 else "",
                    f"{share:g}" if i == 0 else "",
                    str(title),
                    f"{results[f'{name}/counts'][i]:,}",
                    spelt(median[i]),
                    f"{median[i] / median[ours].min():.2f}",
                    f"{results[f'{name}/gap'][k, i]:.1e}",
                    f"{results[f'{name}/tolerance'][k, i]:.0e}",
                    f"{results[f'{name}/first'][k, i]:.1f} s",
                )
            shown.add_section()
    if "unrolled/seconds" in results:
        for k, most in enumerate(results["unrolled/steps"]):
            median = np.median(results["unrolled/seconds"][:, k], axis=1)
            for i, title in enumerate(results["unrolled/names"]):
                error = f"{results['unrolled/errors'][i, k]:.1e}"
                words = "gradient through a loop" if k == i == 0 else ""
                at = f"{most:,} steps" if i == 0 else ""
                shown.add_row(words, at, str(title), "1", spelt(median[i]), f"{median[i] / median[0]:.2f}", error, "", "")
    return shown


def spelt(seconds: float) -> str:
    """A time in the unit that suits it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
