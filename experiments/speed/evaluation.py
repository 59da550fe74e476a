"""A million evaluation tasks in the memory of a hundred thousand: a Transformer of twelve layers, and LISTA-VM.

Claim. The most memory that a process holds does not depend on how many tasks it evaluates.
Source. Own measurement. Both are LISTA-VM of Liu et al. 2025 (arXiv:2410.13981) with twelve steps, once as the solver and once
as the Transformer that their Theorem 4.1 fills with it, of four ReLU heads and width 42; its layers are not trained.
How. Sparse recovery, d = 20, 10 examples, 3 coefficients. Each number of tasks is a fresh process, which streams errors in
chunks, on all devices, and says the most memory that it held. Compiling is apart from the tasks a second. Both methods get
the same tasks, so their errors also say whether the theorem holds in float32 on a million prompts.
Command. python -m experiments speed.evaluation --preset quick
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from rich.table import Table

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.figures import colour_of
from experiments.parts import kept
from experiments.speed.evaluated import SEED
from experiments.speed.processes import state
from jaxl2o.checks import require

COST = {"smoke": "6 s", "quick": "12 min"}
TITLES = {"lista-vm": "LISTA-VM, 12 steps", "transformer": "Transformer, 12 layers"}


@dataclass(frozen=True)
class Config:
    """Which methods, and on how many tasks."""

    models: tuple[str, ...] = tuple(TITLES)
    counts: tuple[int, ...] = (10_000, 100_000, 1_000_000)  # tasks; the last two are compared
    chunk: int = 256  # tasks of a device at one time

    def __post_init__(self) -> None:
        unknown = ", ".join(sorted({*self.models} - {*TITLES}))
        require(not unknown and len(self.models) > 0, f"models are {self.models}; choose from {', '.join(TITLES)}.")
        require(len(self.counts) >= 2, f"counts are {self.counts}; give at least two numbers of tasks to compare.")


# the same number of tasks twice is measured once, in one process
PRESETS = {"smoke": Config(models=("lista-vm",), counts=(1000, 1000)), "quick": Config()}


def run(config: Config, run: Run) -> Results:
    """Every method on every number of tasks, the fewest first; each is kept as soon as it is measured."""
    results: Results = {"counts": np.array(config.counts)}
    for model in config.models:
        found = [
            kept(run, f"{model} {count}", partial(measure, {"model": model, "count": count, "chunk": config.chunk}))
            for count in config.counts
        ]
        results |= {f"{model}/{part}": np.stack([one[part] for one in found]) for part in found[0]}
    return results


def measure(job: dict[str, object]) -> Results:
    """What a fresh process says of one evaluation."""
    return {name: np.array(value) for name, value in state({"side": "evaluation"} | job).items()}


def claims(results: Results) -> list[Claim]:
    """The growth of memory, and that both methods have the same errors."""
    models, (few, many) = [model for model in TITLES if f"{model}/memory" in results], results["counts"][-2:]
    growth = [results[f"{model}/memory"][-1] / results[f"{model}/memory"][-2] for model in models]
    found = [
        claim(
            "scale/eval-memory-ratio",
            f"peak resident memory at {many:,} tasks over that at {few:,}, fresh processes: the larger of the methods'",
            float(max(growth)),
            "<=",
            1.05,
            n=len(models),
            seeds=(SEED,),
            kind="ratio",
        )
    ]
    if len(models) == 2:
        solver, transformer = (results[f"{model}/mean"][-1] for model in models)
        found.append(
            claim(
                "scale/eval-same-curve",
                f"mean errors of the Transformer and of the solver that it equals, {many:,} tasks: largest relative difference",
                float(np.abs(transformer / solver - 1.0).max()),
                "<=",
                1e-4,
                n=int(many),
                seeds=(SEED,),
            )
        )
    return found


def table(results: Results) -> Table:
    """Every evaluation: tasks a second, memory, and the error after the last step."""
    shown = Table("method", "tasks", "seconds", "tasks/s", "peak memory", "mean error", "median error")
    for model in (model for model in TITLES if f"{model}/memory" in results):
        for i, count in enumerate(results["counts"]):
            seconds, error = results[f"{model}/seconds"][i], 1.96 * results[f"{model}/standard_error"][i, -1]
            shown.add_row(
                TITLES[model],
                f"{count:,}",
                f"{seconds:.3g}",
                f"{count / seconds:,.0f}",
                f"{results[f'{model}/memory'][i] / 2**20:,.0f} MiB",
                f"{results[f'{model}/mean'][i, -1]:.5f} ± {error:.5f}",
                f"{results[f'{model}/quantiles'][i, 0, -1]:.4f}",
            )
    return shown


def plot(results: Results) -> Figure:
    """Peak memory and seconds by the number of tasks."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
    for model in (model for model in TITLES if f"{model}/memory" in results):
        style = {"color": colour_of(TITLES[model]), "marker": "o", "markersize": 4, "label": TITLES[model]}
        left.plot(results["counts"], results[f"{model}/memory"] / 2**20, **style)
        right.plot(results["counts"], results[f"{model}/seconds"], **style)
    left.set(xlabel="tasks", ylabel="peak memory, MiB", xscale="log", yscale="log", title="Memory of a fresh process")
    right.set(xlabel="tasks", ylabel="seconds", xscale="log", yscale="log", title="Time, without compiling")
    low, high = left.get_ylim()
    left.set_ylim(low / 2.0, high * 2.0)
    left.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}")
    right.legend(fontsize=8)
    return figure
