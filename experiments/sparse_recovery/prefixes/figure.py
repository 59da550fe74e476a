"""The figure."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from experiments.common import Results


def plot(results: Results) -> Figure:
    """Errors by length."""
    figure, axes = plt.subplots()
    for key, rows in results.items():
        if key.startswith("by length/") and not key.endswith("signals"):
            axes.semilogy(rows[:, 0])
    return figure
