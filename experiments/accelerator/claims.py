"""What is claimed of a device. Expectations were set before anything was measured on an accelerator, but for a sweep's.

That of a sweep on accelerators, a tenth, was set after the first run on an H100, which measured 0.002 where at most 1 had been
expected: it is an expectation for other devices.
"""

import numpy as np

from experiments.accelerator.config import FEWEST, SEED
from experiments.claims import Claim, claim
from experiments.common import Results

FACTOR = 10.0  # a device may sum in another order, whose rounding is not the CPU's
CPU_SHARE = 0.5  # of the kept tasks a second, for another CPU, which is not alone either and compiles layers in a loop
CPU_SWEEP, SWEEP = 1.0, 0.1  # of the seconds alone, for a training of many in one call: on a CPU, on an accelerator
SECONDS = 480.0  # the whole run, which is to be cheap enough for a machine that is lent
FRACTIONS = {"small-tf": 0.05, "gpt2": 0.2}  # of the peak of matrix products: heads of width 42 fill no matrix unit


def batches(results: Results, name: str) -> list[int]:
    """The batches at which a shape was timed, the smallest first."""
    return sorted(int(key.split("/")[1]) for key in results if key.startswith(f"{name}/") and key.endswith("/seconds"))


def speed(results: Results, name: str, batch: int) -> float:
    """The median tasks a second."""
    return float(batch / np.median(results[f"{name}/{batch}/seconds"]))


def fraction(results: Results, name: str, batch: int) -> float:
    """Model FLOP/s over those of large products in the same dtype on all devices."""
    flops = results[f"{name}/{batch}/flops"] / np.median(results[f"{name}/{batch}/seconds"])
    return float(flops / results[f"peak/{results['dtype']}"])


def crossing_gap(results: Results) -> np.ndarray:
    """By step: |loss of the training that moves / loss of the one that stays - 1|."""
    return np.abs(results["crossing/moves"] / results["crossing/stays"] - 1.0)


def cost_ratio(results: Results) -> float:
    """Seconds a model among the most in one call, over the seconds of one alone."""
    seconds = results["sweep/seconds"] / results["sweep/counts"]
    return float(seconds[-1] / seconds[0])


def claims(results: Results) -> list[Claim]:
    """Exactness, resumption, speed and fraction of peak of every shape, the cost of a sweep, the run's seconds."""
    gaps, moved, counts = results["exact/highest"] / results["exact/cpu"], crossing_gap(results), results["sweep/counts"]
    here, there = results["crossing/places"]
    found = [
        claim(
            "accelerator/exactness-float32",
            f"{len(gaps)} constructions in float32, products at highest precision: worst gap over the kept CPU's",
            float(gaps.max()),
            "<=",
            FACTOR,
            n=len(gaps),
            seeds=(SEED,),
            kind="theorem",
            source="the constructions' theorems, as in the experiment exactness",
        ),
        claim(
            "accelerator/resume-gap",
            f"losses of a training that goes from {here} to {there} and back: largest relative difference from one that stays",
            float(moved.max()),
            "<=",
            1e-4,
            n=len(moved),
            seeds=(SEED,),
        ),
    ]
    for name, two_cores in zip(results["shapes"], results["two-cores"], strict=True):
        found += shape_claims(results, str(name), float(two_cores))
    ratio = claim(
        f"accelerator/sweep-{counts[-1]}-ratio",
        f"seconds a model of {counts[-1]} small trainings in one call, over the seconds of one alone",
        cost_ratio(results),
        "<=",
        CPU_SWEEP if on_cpu(results) else SWEEP,
        n=fewest_calls(results),
        seeds=(SEED,),
        kind="ratio",
    )
    return [*found, ratio, *run_seconds(results)]


def on_cpu(results: Results) -> bool:
    """Whether the device is a CPU, by its name."""
    return str(results["device"]).startswith("cpu")


def fewest_calls(results: Results) -> int:
    """How many timed calls each of the two compared medians has at least; runs that did not count them made so many or more."""
    return int(results["sweep/calls"][[0, -1]].min()) if "sweep/calls" in results else FEWEST


def run_seconds(results: Results) -> list[Claim]:
    """What the run took; nothing of one that did not clock its parts."""
    if "seconds" not in results:
        return []
    text, seconds = "seconds of all parts of the run, compiling and all", float(results["seconds"])
    return [claim("accelerator/seconds", text, seconds, "<=", SECONDS, n=1, seeds=(SEED,), unit="s")]


def shape_claims(results: Results, name: str, two_cores: float) -> list[Claim]:
    """A shape's tasks a second at its own batch, and its fraction of the peak at the largest."""
    sizes = batches(results, name)
    first, largest = sizes[0], sizes[-1]
    share = CPU_SHARE if on_cpu(results) else 1.0
    return [
        claim(
            f"accelerator/{name}-tasks-per-second",
            f"{name}, {first} tasks a step, {results['dtype']}: beside {share:g} of the kept two CPU cores' tasks/s",
            speed(results, name, first),
            ">=",
            share * two_cores,
            n=len(results[f"{name}/{first}/seconds"]),
            seeds=(SEED,),
            unit="tasks/s",
        ),
        claim(
            f"accelerator/{name}-of-peak",
            f"{name}, {largest} tasks a step: model FLOP/s over those of large {results['dtype']} products on all devices",
            fraction(results, name, largest),
            ">=",
            FRACTIONS[name.removesuffix("-n40")],
            n=len(results[f"{name}/{largest}/seconds"]),
            seeds=(SEED,),
            kind="ratio",
        ),
    ]
