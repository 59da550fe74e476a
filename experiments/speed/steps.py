"""A training step's time and memory against depth, width, context and batch: exponents of Small TF's and of LISTA-VM's.

Claim. A step's time is linear in depth and batch, lies between linear and quadratic in context and width, and what the compiler
plans to hold is linear in depth and batch.
Source. Own measurement. Small TF and LISTA-VM are of Liu et al. 2025 (arXiv:2410.13981).
How. One size at a time is varied around 12 layers, 10 examples and a batch of 64: layers or steps, width (Small TF's D, every
head's dimension growing along, from 42; LISTA-VM's d, from 84), examples, tasks. Every size is a process of its own with a
device a core; those of one row take turns, compiling apart, two steps a call: with one the compiler drops the loop. An exponent
is the least-squares slope of log time by log size over the sizes above the geometric middle of the range, a slope a round; the
interval is Student's over rounds. It holds the noise of the clock, not that a power law is only approached: wider ranges give
other slopes. Memory is what the compiled program plans for, on all devices, and beside it the most that the process held,
of which some 600 MiB are Python, JAX and compiling. Arithmetic is model FLOP.
Expected. Time: 1 for depth and batch, less for what a step costs at any size; 1 to 2 for context, as projections are linear and
scores quadratic, and for width, where products grow quadratically and run faster. LISTA-VM: at most what arithmetic has.
Command. python -m experiments speed.steps --preset quick
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from experiments.claims import Claim
from experiments.common import Results, Run
from experiments.parts import kept
from experiments.speed.exponents import mean_exponent, upper
from experiments.speed.processes import in_turns
from experiments.speed.shapes import VARIED
from experiments.speed.steps_figure import plot as plot
from experiments.speed.steps_figure import table as table
from jaxl2o.checks import require

COST = {"smoke": "10 s", "quick": "8 min"}
SEEDS = (0, 1)  # of parameters and of tasks, of every contender
# quantity -> what it is called, in the words of a claim
QUANTITIES = {"seconds": ("time", "a step's time"), "planned": ("memory", "what the compiler plans to hold")}
# model, quantity, what is varied -> the expected exponent and its tolerance, set beforehand
EXPECTED = {
    ("small-tf", "seconds", "depth"): (1.0, 0.1),
    ("small-tf", "seconds", "width"): (1.5, 0.5),
    ("small-tf", "seconds", "context"): (1.5, 0.5),
    ("small-tf", "seconds", "batch"): (1.0, 0.15),
    ("small-tf", "planned", "depth"): (1.0, 0.1),
    ("small-tf", "planned", "batch"): (1.0, 0.15),
    ("lista-vm", "seconds", "batch"): (1.0, 0.15),
}
# model -> what is varied -> the field of its shape
FIELDS = {
    "small-tf": {"depth": "depth", "width": "width", "context": "n", "batch": "batch"},
    "lista-vm": {"depth": "depth", "width": "d", "context": "n", "batch": "batch"},
}


@dataclass(frozen=True)
class Config:
    """The sizes of every row, and how long they are timed; a row without sizes is left out."""

    models: tuple[str, ...] = tuple(VARIED)
    depth: tuple[int, ...] = (1, 3, 6, 12, 24)  # layers, or LISTA-VM's steps
    width: tuple[int, ...] = (21, 42, 84, 168, 336)
    context: tuple[int, ...] = (10, 20, 40, 80, 160)  # examples
    batch: tuple[int, ...] = (16, 32, 64, 128, 256)
    rounds: int = 4  # turns of every size
    seconds: float = 0.25  # of one turn, about

    def __post_init__(self) -> None:
        require(self.rounds >= 2, f"rounds is {self.rounds}; an interval needs at least 2.")
        for name in self.models:
            require(name in VARIED, f"there is no model {name!r}; choose from {', '.join(VARIED)}.")
        for name in FIELDS["small-tf"]:
            sizes = getattr(self, name)
            rises = min(sizes, default=1) >= 1 and list(sizes) == sorted(set(sizes))
            require(len(sizes) != 1 and rises, f"{name} is {sizes}; give none, or two or more positive sizes that rise.")


PRESETS = {
    "smoke": Config(("lista-vm",), depth=(), width=(), context=(), batch=(8, 16), rounds=2, seconds=0.02),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """Every row of every model, one after another."""
    rows = [(model, name) for model in config.models for name in FIELDS[model] if getattr(config, name)]
    results: Results = {}
    for model, name in rows:
        found = kept(run, f"{model} by {name}", partial(measure, model, name, config, run))
        results |= {f"{model}/{name}/{key}": value for key, value in found.items()}
    return results


def measure(model: str, name: str, config: Config, run: Run) -> Results:
    """By size: seconds (rounds, sizes), planned and resident bytes, and model FLOP."""
    sizes = getattr(config, name)
    shapes = [VARIED[model]._replace(**{FIELDS[model][name]: size}) for size in sizes]
    jobs = [{"side": "ours", "shape": shape._asdict(), "settings": {"dispatch": 2}} for shape in shapes]
    clock = in_turns(f"{model} by {name}", jobs, config.rounds, config.seconds, run)
    return {
        "sizes": np.array(sizes),
        "seconds": clock.seconds,
        "planned": np.array([told["planned"] for told in clock.itself]),
        "resident": clock.memory,
        "flops": np.array([told["flops"] for told in clock.itself]),
    }


def claims(results: Results) -> list[Claim]:
    """The exponents that something was expected of."""
    return [
        exponent_claim(*key, results, *expected) for key, expected in EXPECTED.items() if f"{key[0]}/{key[2]}/sizes" in results
    ]


def exponent_claim(model: str, quantity: str, name: str, results: Results, expected: float, tolerance: float) -> Claim:
    """One exponent; of time with its interval, while a plan has no sampling error."""
    sizes = results[f"{model}/{name}/sizes"]
    found, half = mean_exponent(sizes, results[f"{model}/{name}/{quantity}"])
    word, words = QUANTITIES[quantity]
    own = "" if model == "small-tf" else f"{model}-"
    fitted = sizes[upper(sizes)]
    return Claim(
        f"speed/{own}{word}-exponent-{name}",
        f"{model}: exponent of {words} by {name}, from {fitted[0]} to {fitted[-1]}",
        "own measurement",
        "measured",
        "=",
        expected,
        tolerance,
        found,
        (found - half, found + half) if quantity == "seconds" else None,
        len(fitted),
        SEEDS,
        "",
    )
