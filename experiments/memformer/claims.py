"""What the results say of memories."""

from typing import NamedTuple

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.intervals import student
from experiments.memformer.config import SWEPT, TEST, TRAINING

DUTTA = "Dutta and Sra 2024 (arXiv:2410.07263)"
OWN = "a proposition of this library"
# log losses of 1 to 4 steps of conjugate gradients that were computed apart, each known to within its standard error
CONJUGATE = {"isotropic": (-0.096, -1.781, -3.767, -6.395), "rotated": (0.687, 0.147, -0.606, -1.604)}
KNOWN = {"isotropic": 0.003, "rotated": 0.001}
REACHED = 0.02  # nats above the limit, at most
DEPTH = 4  # of the claims that name it


class Level(NamedTuple):
    """A log loss, its 95 % interval and its standard error."""

    value: float
    interval: tuple[float, float]
    error: float


def level(results: Results, key: str, step: int = -1) -> Level:
    """The logarithm of the mean loss of all seeds' prompts after so many steps; the error is that of prompts or of seeds.

    The interval is the wider of two: a normal one from the spread of prompts, and Student's from that of the few seeds.
    """
    losses, errors = (results[f"{key}/{name}"][:, step] for name in ("loss", "error"))
    count = len(losses)
    of_prompts = np.sqrt(np.sum(errors**2)) / count / losses.mean()
    of_seeds = np.std(losses, ddof=1) / np.sqrt(count) / losses.mean() if count > 1 else 0.0
    half = float(np.nanmax([1.96 * of_prompts, student(losses) / losses.mean()]))
    value = float(np.log(losses.mean()))
    return Level(value, (value - half, value + half), float(max(of_prompts, of_seeds)))


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run, at the depth that they name."""
    found = []
    if "gap/limit" in results:
        found += of_limits(results)
    if len(results.get("limit/isotropic", ())) != DEPTH + 1:
        return found
    found += of_conjugate_gradients(results)
    if "network/exact loss" in results:
        found += of_training(results)
    if "rotated/conjugate gradients, preconditioner learned/loss" in results:
        found.append(of_preconditioner(results))
    if "gap/gate" in results:
        found += of_the_gate(results)
    if "mixture/routed by the inputs" in results:
        found += of_the_mixture(results)
    if "sweep/seconds" in results:
        found.append(of_the_sweep(results))
    return found


def of_limits(results: Results) -> list[Claim]:
    """The construction has the least loss, and conjugate gradients are exact."""
    gap, exact = results["gap/limit"], results["gap/exact conjugate gradients"]
    return [
        claim(
            "memformer/limit-gap",
            "largest difference, over depths, of the construction's exact loss and the least one of fixed scalar coefficients",
            float(np.abs(gap).max()),
            "<=",
            1e-10,
            n=len(gap),
            seeds=(),
            kind="theorem",
            source=OWN,
        ),
        claim(
            "memformer/exact-cg-gap",
            "largest gap of the exact layers to conjugate gradients, up to layer 2d, float64",
            float(exact.max()),
            "<=",
            1e-10,
            n=exact.size,
            seeds=TEST[:1],
            kind="theorem",
            source=OWN,
        ),
    ]


def of_conjugate_gradients(results: Results) -> list[Claim]:
    """They are as good as they are known to be."""
    measured = level(results, key := "isotropic/conjugate gradients")
    scores = [
        abs(found.value - known) / np.hypot(found.error, KNOWN[law])
        for law, row in CONJUGATE.items()
        for step, known in enumerate(row, start=1)
        for found in [level(results, f"{law}/conjugate gradients", step)]
    ]
    count, source = int(results[f"{key}/prompts"]), "the expected loss, computed apart"
    return [
        Claim(
            "memformer/cg-isotropic-l4",
            "log loss of four steps of conjugate gradients, isotropic; within four standard errors",
            source,
            "measured",
            "=",
            CONJUGATE["isotropic"][-1],
            4.0 * float(np.hypot(measured.error, KNOWN["isotropic"])),
            measured.value,
            measured.interval,
            count,
            TEST,
            "nats",
        ),
        claim(
            "memformer/cg-rows",
            "the largest deviation of eight such log losses, one to four steps on both laws, in standard errors",
            float(max(scores)),
            "<=",
            4.0,
            n=count,
            seeds=TEST,
            source=source,
        ),
    ]


def of_training(results: Results) -> list[Claim]:
    """Training finds the limit."""
    best = np.log(results["limit/isotropic"])
    seeds = np.log(results["exact/isotropic"]) - best[None, 1:]
    return [
        claim(
            "memformer/trained-untied-l4",
            "exact log loss of the trained coefficients of a Transformer that remembers all gradients, four layers, isotropic",
            float(np.log(results["network/exact loss"])[-1]),
            "<=",
            float(best[-1]) + REACHED,
            n=1,
            seeds=TRAINING[:1],
            unit="nats",
        ),
        claim(
            "memformer/trained-untied-any-depth",
            "the same over the limit, trained as the solver that it equals: the largest over depths and seeds",
            float(seeds.max()),
            "<=",
            REACHED,
            n=seeds.size,
            seeds=TRAINING[: len(seeds)],
            unit="nats",
        ),
    ]


def of_preconditioner(results: Results) -> Claim:
    """A learned preconditioner serves exact conjugate gradients as the given one does."""
    key = "rotated/conjugate gradients, preconditioner learned"
    measured = level(results, key)
    return claim(
        "memformer/exact-cg-noniso-l4",
        "log loss of four exact layers with a learned preconditioner, inputs not isotropic; published Memformer -2.04",
        measured.value,
        "<=",
        -6.0,
        n=int(results[f"{key}/prompts"]),
        seeds=(*TRAINING, *TEST),
        interval=measured.interval,
        unit="nats",
        source=DUTTA,
    )


def of_the_gate(results: Results) -> list[Claim]:
    """The gate that reads inputs carries one method to every scale, and is better than any fixed scalar coefficients."""
    measured, best = level(results, "isotropic/gated by the inputs"), float(np.log(results["limit/isotropic"][-1]))
    return [
        claim(
            "memformer/gate-equivariance",
            "largest relative gap of predictions on (3 x, 3 w) to nine times those on (x, w), all layers, float64",
            float(results["gap/gate"].max()),
            "<=",
            1e-10,
            n=results["gap/gate"].size,
            seeds=TEST[:1],
            kind="theorem",
            source=OWN,
        ),
        claim(
            "memformer/gated-minus-limit-l4",
            "log loss of the gated method at variance one, four layers, minus the limit of fixed scalar coefficients",
            measured.value - best,
            "<=",
            0.0,
            n=int(results["isotropic/gated by the inputs/prompts"]),
            seeds=TEST,
            interval=(measured.interval[0] - best, measured.interval[1] - best),
            unit="nats",
        ),
    ]


def of_the_mixture(results: Results) -> list[Claim]:
    """Experts whose gates read the inputs are better than any one set of scalar coefficients for all components."""
    best, routed = results["mixture/one for all"][-1], results["mixture/routed by the inputs"]
    coarse = results["mixture/routed by the inputs, fewer nodes"]
    return [
        claim(
            "memformer/routed-minus-one-for-all",
            "log loss of three experts routed by their inputs, four layers, minus that of the best coefficients for all",
            float(np.log(routed[-1] / best)),
            "<=",
            0.0,
            n=len(routed),
            seeds=(),
            kind="theorem",
            source=OWN,
            unit="nats",
        ),
        claim(
            "memformer/routed-quadrature-gap",
            "largest change of the log loss of the routed experts, over layers, with half the nodes along each axis",
            float(np.abs(np.log(routed / coarse)).max()),
            "<=",
            1e-3,
            n=len(routed),
            seeds=(),
            kind="theorem",
            source=OWN,
            unit="nats",
        ),
    ]


def of_the_sweep(results: Results) -> Claim:
    """Many trainings at once cost less each."""
    cost = results["sweep/seconds"] / results["sweep/counts"]
    return claim(
        "memformer/sweep-cost-ratio",
        f"seconds a model with {results['sweep/counts'][-1]} at once, over those of one alone, without compiling",
        float(cost[-1] / cost[0]),
        "<=",
        1.0,
        n=int(results["sweep/counts"][-1]),
        seeds=(SWEPT,),
        kind="ratio",
    )
