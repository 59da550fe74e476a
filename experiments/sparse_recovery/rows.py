"""The rows of the results, part/method: their names, and their table."""

from rich.table import Table

from experiments.common import Results


def titles(results: Results, part: str) -> list[str]:
    """The rows of a part, in the order of the run."""
    return [key[len(part) + 1 : -5] for key in results if key.startswith(f"{part}/") and key.endswith("/mean")]


def table(results: Results) -> Table:
    """Relative errors after all steps: mean and interval, median, 90 % and 99.9 % quantiles, largest."""
    shown = Table("part", "method", "mean", "95 %", "median", "90 %", "99.9 %", "largest")
    for part in dict.fromkeys(key.partition("/")[0] for key in results if key.endswith("/mean")):
        for title in titles(results, part):
            mean, low, high = (row[-1] for row in results[f"{part}/{title}/mean"])
            quantiles = [f"{row[-1]:.3g}" for row in results[f"{part}/{title}/quantiles"]]
            shown.add_row(part, title, f"{mean:.4g}", f"{low:.3g} … {high:.3g}", *quantiles)
    return shown
