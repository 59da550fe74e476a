"""The figure and the table, from results alone."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from experiments.common import Results
from experiments.figures import COLOURS, colour_of, panels_of
from experiments.scale.claims import gaps, process_gaps, survived
from experiments.scale.models import LAYOUTS

TITLES = {"transformer": "Small TF, 4 layers", "lista-vm": "LISTA-VM, 12 layers"}
NAMES = {model: (title, colour_of(title)) for model, title in TITLES.items()}


def plot(results: Results) -> Figure:
    """Curves that move between devices; the lives of a training that is killed; chunks by their save; two processes."""
    draws = {"elastic": moved, "kills": lives, "stalls": chunks, "processes": shared}
    return panels_of(results, draws, columns=2, width=10.0, height=3.3)


def moved(axes: Axes, results: Results) -> None:
    """Every model's curve alone, and upon it the legs of the one that moved; means over a few steps each."""
    found, legs = gaps(results), results["elastic/legs"]
    length = max(len(results[f"elastic/{model}/moved"]) for model in found) // len(legs)
    mean = max(1, length // 20)
    for model in found:
        name, colour = NAMES[model]
        alone, curve = (means(results[f"elastic/{model}/{way}"], mean) for way in ("alone", "moved"))
        steps = mean * np.arange(1, len(curve) + 1)
        axes.plot(steps, alone, color=colour, linewidth=4.0, alpha=0.3)
        axes.plot(steps, curve, color=colour, linewidth=1.0, label=f"{name}: largest gap {found[model]:.1g}")
    for i, devices in enumerate(legs):
        if i > 0:
            axes.axvline(i * length + 0.5, ymax=0.8, color=COLOURS["classical"], linewidth=0.8, linestyle=":")
        words = f"{devices} device{'s' if devices > 1 else ''}"
        axes.text((i + 0.5) * length, 0.02, words, ha="center", fontsize=8, transform=axes.get_xaxis_transform())
    axes.set_title("Moved between devices (pale: stays on 1)")
    axes.set_xlabel("step")
    axes.set_ylabel("loss" if mean == 1 else f"loss, means of {mean} steps")
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.1 * (high - low), high + 0.25 * (high - low))
    axes.legend(loc="upper right")


def means(curve: np.ndarray, count: int) -> np.ndarray:
    """The means of so many successive steps each."""
    return curve[: len(curve) // count * count].reshape(-1, count).mean(axis=1)


def lives(axes: Axes, results: Results) -> None:
    """From where every process began to where it was killed; the next one that speaks begins at what was saved."""
    began, reached, spoke, within = (results[f"kills/{name}"] for name in ("began", "reached", "spoke", "within"))
    place = np.arange(1, len(began) + 1)
    axes.vlines(place[spoke], began[spoke], reached[spoke], color=COLOURS["solver"], linewidth=3.0)
    # a process that was killed in its start has trained nothing
    ends = np.where(spoke, reached, began)
    for mask, marker, colour, words in (
        (~spoke & ~within, "v", COLOURS["accent"], "in the start"),
        (spoke & ~within, "x", COLOURS["ink"], "between saves"),
        (within, "x", COLOURS["transformer"], "within a save"),
    ):
        axes.plot(place[mask], ends[mask], marker, color=colour, markersize=6, label=f"killed {words} ({mask.sum()})")
    axes.plot(place, results["kills/resumed"], "o", color=COLOURS["limit"], markersize=3, label="goes on from here")
    axes.set_title(f"{survived(results)} of {len(began)} kills survived")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("kill")
    axes.set_ylabel("step")
    axes.legend(loc="upper left")


def chunks(axes: Axes, results: Results) -> None:
    """Every chunk's seconds, and the medians."""
    kinds = {
        "none": ("no save", "classical"),
        "background": ("save in the\nbackground", "solver"),
        "waited": ("save that is\nwaited for", "accent"),
    }
    for place, (kind, (_, colour)) in enumerate(kinds.items()):
        seconds = results[f"stalls/{kind}"]
        spread = np.linspace(-0.18, 0.18, len(seconds))
        axes.plot(place + spread, seconds, ".", color=COLOURS[colour], markersize=4, alpha=0.6)
        middle = np.median(seconds)
        axes.hlines(middle, place - 0.3, place + 0.3, color=COLOURS["ink"], linewidth=1.2)
        axes.annotate(f"{middle:.2f} s", (place + 0.32, middle), fontsize=8, va="center")
    axes.set_xticks(range(len(kinds)), [label for label, _ in kinds.values()])
    axes.set_xlim(-0.5, 2.75)
    axes.set_ylim(bottom=0.0)
    axes.grid(axis="x", visible=False)
    axes.set_title(f"A chunk and its save, {results['stalls/bytes'] / 1e6:.0f} MB")
    axes.set_ylabel("seconds")


def shared(axes: Axes, results: Results) -> None:
    """Every model's curve in one process, and upon it that of two, in groups; means over a few steps each."""
    for model, found in process_gaps(results, "groups").items():
        name, colour = NAMES[model]
        one, two = results[f"processes/{model}/groups/one"], results[f"processes/{model}/groups/two"][0]
        mean = max(1, len(one) // 60)
        steps = mean * np.arange(1, len(one) // mean + 1)
        axes.plot(steps, means(one, mean), color=colour, linewidth=4.0, alpha=0.3)
        axes.plot(steps, means(two, mean), color=colour, linewidth=1.0, label=f"{name}: largest gap {found:.1g}")
    axes.set_title("Two processes over loopback (pale: one)")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.25 * (high - low))
    axes.legend(loc="upper right")


def table(results: Results) -> Table:
    """Gaps, kills and stalls in words."""
    shown = Table("what", "measured")
    for model, found in gaps(results).items():
        legs = " -> ".join(str(devices) for devices in results["elastic/legs"])
        shown.add_row(f"{NAMES[model][0]}, {legs} devices beside 1", f"gap {found:.2g}")
    if "kills/same" in results:
        spoke, within = results["kills/spoke"], results["kills/within"]
        shown.add_row("kills within a save", f"{within.sum()} of {len(within)}")
        shown.add_row(f"kills in a start, of {results['kills/start']:.1f} s", f"{(~spoke).sum()} of {len(spoke)}")
        behind = (results["kills/reached"] - results["kills/saved"])[spoke]
        shown.add_row(
            "steps after the last save that were trained again", f"{behind.mean():.0f} a kill, at most {behind.max()}"
        )
    if "stalls/none" in results:
        plain = np.median(results["stalls/none"])
        for kind, words in (("background", "in the background"), ("waited", "that is waited for")):
            stall = np.median(results[f"stalls/{kind}"]) - plain
            shown.add_row(
                f"a save {words} of {results['stalls/bytes'] / 1e6:.0f} MB stalls a chunk of {plain:.2f} s", f"{stall:.3f} s"
            )
        shown.add_row("until the one in the background returns", f"{np.median(results['stalls/calls']):.3f} s")
    for layout in LAYOUTS:
        for model, found in process_gaps(results, layout).items():
            shown.add_row(f"{NAMES[model][0]}, two processes beside one, {layout}", f"gap {found:.2g}")
    return shown
