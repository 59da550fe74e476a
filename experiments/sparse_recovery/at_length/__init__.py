"""Small TF at length: filled by a theorem or begun at random, and trained on tens of millions of prompts.

Claim. A Transformer of Small TF's sizes that a theorem fills with LISTA-VM with momentum, and that is then trained with all its
parameters free, has a mean relative error below 0.10 on signals with three of twenty coefficients and ten measurements.
Source. Liu et al. 2025 (arXiv:2410.13981), for the task and Small TF; theirs is a million steps of 64 from a random start.
How. A fresh matrix for every signal, no noise, the test signals of the experiment `sparse_recovery`. From the theorem: the rate
is the one of three whose short training has the lowest error on validation signals. From random parameters: prompts of up to
40 measurements, with a curriculum of dimensions; errors are of the labels of 32 queries. One training each.
Expected. Its references at ten measurements: LISTA-VM with momentum 0.12, in-context ALISTA 0.047, FISTA with 400 steps 0.064.
Command. python -m experiments sparse_recovery.at_length --preset accelerator
"""

from functools import partial

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.parts import kept
from experiments.sparse_recovery.at_length.config import PARTS, SEEDS, Config
from experiments.sparse_recovery.at_length.figure import plot as plot
from experiments.sparse_recovery.at_length.trainings import from_random, from_theorem
from experiments.sparse_recovery.rows import table as table

COST = {"smoke": "60 s", "cpu": "never run: 2.3 h, estimated", "accelerator": "20 min on an H100"}
PRESETS = {
    "smoke": Config(
        parts=("theorem",),
        d=4,
        n=2,
        sparsity=1,
        depth=1,
        solver_steps=2,
        rates=(1e-5,),
        steps=2,
        batch=4,
        reports=2,
        validation=8,
        test=8,
    ),
    "cpu": Config(parts=("theorem",), batch=256, steps=15_000),
    "accelerator": Config(),
}


def run(config: Config, run: Run) -> Results:
    """The parts that the config asks for."""
    results: Results = {}
    for name, part in zip(PARTS, (from_theorem, from_random), strict=True):
        if name in config.parts:
            results |= kept(run, f"part {name}", partial(part, config, run))
    return results


def claims(results: Results) -> list[Claim]:
    """The error of the Transformer from the theorem, and what the training gave; that of Small TF from a random start."""
    found = []
    if "theorem/Transformer/mean" in results:
        found += from_its_theorem(results)
    if "random 10/Small TF/mean" in results:
        (mean, low, high), (least, least_low, least_high) = (
            results[f"random 10/{title}/mean"][:, -1].tolist() for title in ("Small TF", "minimum norm")
        )
        text = "Small TF from random parameters: mean relative error of labels after 10 measurements, over minimum norm's"
        signals = int(results["random 10/Small TF/signals"])
        interval = (low / least_high, high / least_low)  # of both means' ends: wider than 95 %, for they share signals
        id = "results/small-tf-random-over-minimum-norm"
        found.append(claim(id, text, mean / least, "<=", 1.0, n=signals, seeds=SEEDS, kind="ratio", interval=interval))
    return found


def from_its_theorem(results: Results) -> list[Claim]:
    """Of the Transformer that a theorem fills: its error at ten measurements, and over that of its start."""
    mean, low, high = (float(row[-1]) for row in results["theorem/Transformer/mean"])
    filled, filled_low, filled_high = (float(row[-1]) for row in results["theorem/Transformer, filled/mean"])
    signals = int(results["theorem/Transformer/signals"])
    text = "Small TF filled by a theorem and trained at length: mean relative error at ten measurements, a fresh matrix each"
    return [
        claim("results/small-tf-fresh-n10", text, mean, "<=", 0.10, n=signals, seeds=SEEDS, interval=(low, high)),
        claim(
            "results/small-tf-over-its-start",
            "the same over its own start, which is LISTA-VM with momentum",
            mean / filled,
            "<=",
            1.0,
            n=signals,
            seeds=SEEDS,
            kind="ratio",
            interval=(low / filled_high, high / filled_low),  # of both means' ends: wider than 95 %, for they share signals
        ),
    ]
