"""The tables of the plans, in rows of words that the terminal and the page on scale share; everything from results."""

import numpy as np
from rich.console import Group
from rich.table import Table

from experiments.common import Results
from experiments.pod.devices import CHIPS
from jaxl2o.training.accounting import Product
from jaxl2o.training.budget import DAY, Device, Plan, Work, fitting, most_chips, plan
from jaxl2o.training.parallel import Sharding

CHOSEN = (1, 8, 64, 256)  # chips of the tables
SHARDINGS: tuple[Sharding, ...] = ("replicated", "fsdp")
Rows = list[list[str]]


def works(results: Results) -> dict[str, tuple[Work, int]]:
    """(work of a step, steps) of every training."""
    found = {}
    for name in map(str, results["names"]):
        *numbers, steps = map(int, results[f"work/{name}"])
        batch, at_once, *amounts = numbers
        products = tuple(Product(*map(int, row)) for row in results[f"products/{name}"])
        found[name] = Work(batch, at_once, products, *amounts), steps
    return found


def devices(results: Results) -> dict[str, Device]:
    """Every device, for products of the run's dtype."""
    return {name: chip.at(str(results["dtype"])) for name, chip in CHIPS.items()}


def chosen(results: Results) -> tuple[str, Device, float]:
    """The device of the run, by name, and the fraction of peak."""
    name = str(results["device"])
    return name, devices(results)[name], float(results["fraction"])


def words(value: float, unit: str = "") -> str:
    """Three digits, with k, M, G, T, P, E or Z for thousands."""
    rounded = float(f"{value:.3g}")
    power = int(np.clip(np.log10(rounded) // 3, 0, 7)) if rounded else 0
    return f"{rounded / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z'][power]}{unit}".strip()


def days(value: float) -> str:
    """Days, or hours and minutes where they are fewer."""
    for size, unit in ((1.0, "d"), (1 / 24, "h"), (1 / 1440, "min")):
        if value >= size:
            return f"{value / size:.2g} {unit}" if value / size < 99.5 else f"{value / size:,.0f} {unit}"
    return f"{value * DAY:.2g} s"


def work_table(results: Results) -> tuple[str, list[str], Rows]:
    """What does not depend on the device."""
    rows = [
        [
            name,
            words(work.parameters / 4),
            f"{work.batch:,} × {steps:,}",
            words(work.flops, "FLOP"),
            words(work.flops * steps, "FLOP"),
            f"{3 * sum(product.times for product in work.products):,}",
            words(work.parameters + work.state, "B"),
            words(work.activation, "B"),
        ]
        for name, (work, steps) in works(results).items()
    ]
    head = ["training", "parameters", "batch × steps", "a step", "the run", "operations", "parameters and Adam", "activations"]
    return "The work, activations of one task", head, rows


def days_table(results: Results) -> tuple[str, list[str], Rows]:
    """Time on the chosen device, and what takes longest in a step."""
    name, device, fraction = chosen(results)
    rows = []
    for title, (work, steps) in works(results).items():
        plans = [fitting(work, device, chips, fraction)[1] for chips in CHOSEN]
        rows.append([title, *(time_of(steps, found, device) for found in plans), plans[0].bound, plans[2].bound])
    head = ["training", *(f"{chips} chip{'s' * (chips > 1)}" for chips in CHOSEN), "longest on 1", "longest on 64"]
    return f"Time of the run on {name}", head, rows


def sharing_table(results: Results) -> tuple[str, list[str], Rows]:
    """Whether many chips are worth it: trainings a day if all share each, and if each has its own."""
    name, device, fraction = chosen(results)
    rows = []
    for title, (work, steps) in works(results).items():
        alone, many = (fitting(work, device, chips, fraction)[1] for chips in (1, 64))
        single = words(64 * DAY / (steps * alone.most)) if alone.memory <= device.memory else "–"
        reached = (f"{work.flops / (found.chips * found.most * device.peak):.2%}" for found in (alone, many))
        most = str(most_chips(work, device, fraction))
        rows.append([title, most, words(DAY / (steps * many.most)), single, *reached])
    head = [
        "training",
        "half efficient up to",
        "64 chips share each",
        "one a chip",
        "of peak on 1 chip",
        "on 64",
    ]
    return f"Chips for one training, and trainings a day, on {name}", head, rows


def time_of(steps: int, found: Plan, device: Device) -> str:
    """Of the run, communication not hidden; with a mark where it does not fit the device's memory."""
    return days(steps * found.most / DAY) + ("" if found.memory <= device.memory else " †")


def devices_table(results: Results) -> tuple[str, list[str], Rows]:
    """Days on every device, on 8, 64 and 256 chips."""
    fraction, rows = float(results["fraction"]), []
    for title, (work, steps) in works(results).items():
        row = [title]
        for device in devices(results).values():
            plans = (fitting(work, device, chips, fraction)[1] for chips in CHOSEN[1:])
            row.append("; ".join(time_of(steps, found, device) for found in plans))
        rows.append(row)
    return "Time of the run on 8; 64; 256 chips", ["training", *devices(results)], rows


def memory_table(results: Results) -> tuple[str, list[str], Rows]:
    """Bytes of a device and bytes that a chip sends in a step, both ways of sharding."""
    _, device, fraction = chosen(results)
    rows = []
    for title, (work, _) in works(results).items():
        row = [title]
        for sharding in SHARDINGS:
            for chips in (8, 64):
                found = plan(work, device, chips, sharding, fraction)
                row.append(f"{words(found.memory, 'B')}; {words(found.sent, 'B')}")
        memory = plan(work, device, 64, "fsdp", fraction).memory
        fits = [name for name, other in devices(results).items() if memory <= other.memory]
        row.append("all" if len(fits) == len(CHIPS) else ", ".join(fits) or "none")
        rows.append(row)
    head = ["training", "replicated, 8", "replicated, 64", "fsdp, 8", "fsdp, 64", "fsdp on 64 chips fits"]
    return "Memory of a device; bytes that a chip sends in a step", head, rows


def chips_table(results: Results) -> tuple[str, list[str], Rows]:
    """The devices' numbers and sources."""
    rows = [
        [
            name,
            words(device.peak, "FLOP/s"),
            words(CHIPS[name].float32, "FLOP/s"),
            words(device.memory, "B"),
            words(device.bandwidth, "B/s"),
            words(device.link, "B/s"),
            f"{device.island:,}",
            f"{device.side}",
            f"{1e6 * device.operation:g} µs",
            CHIPS[name].source,
        ]
        for name, device in devices(results).items()
    ]
    head = ["device", f"peak, {results['dtype']}", "float32", "memory", "its bandwidth", "link, one way", "chips so linked"]
    return "Devices", [*head, "side", "an operation", "source"], rows


def timed_table(results: Results) -> tuple[str, list[str], Rows]:
    """What was timed beside what is planned."""
    columns = (results.get(f"timed/{key}", np.zeros(0)) for key in ("names", "seconds", "planned"))
    rows = [
        [str(name), f"{1000 * planned:.1f} ms", f"{1000 * seconds:.1f} ms", f"{seconds / planned:.1f}"]
        for name, seconds, planned in zip(*columns, strict=True)
    ]
    return "A step on one H100", ["training", "planned", "measured", "measured over planned"], rows


TABLES = (work_table, days_table, sharing_table, devices_table, memory_table, timed_table)


def table(results: Results) -> Group:
    """All tables but that of the devices, for the terminal."""
    shown = []
    for make in TABLES:
        title, head, rows = make(results)
        one = Table(*head, title=title, title_justify="left")
        for row in rows:
            one.add_row(*row)
        shown.append(one)
    return Group(*shown)


def markdown(results: Results) -> str:
    """All tables, for the page."""
    parts = []
    for make in (*TABLES, chips_table):
        title, head, rows = make(results)
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
        parts.append("\n".join([f"**{title}**", "", *lines]))
    return "\n\n".join(parts)
