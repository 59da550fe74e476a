"""What the results say of memories."""

from typing import NamedTuple

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.memformer.config import SEEDS

DUTTA = "Dutta and Sra 2024 (arXiv:2410.07263)"
CG = -6.395  # the log loss of four steps of conjugate gradients on isotropic prompts, computed apart, +- .003
REACHED = 0.02  # nats above the limit, at most


class Level(NamedTuple):
    """A log loss, its 95 % interval and its standard error."""

    value: float
    interval: tuple[float, float]
    error: float


def level(results: Results, key: str, step: int = -1) -> Level:
    """The logarithm of the mean loss of all seeds' prompts after so many steps."""
    mean, count = results[f"{key}/loss"][:, step].mean(), len(results[f"{key}/loss"])
    error = float(np.sqrt(np.sum(results[f"{key}/error"][:, step] ** 2)) / count / mean)
    value = float(np.log(mean))
    return Level(value, (value - 1.96 * error, value + 1.96 * error), error)


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run."""
    found = []
    if "gap/limit" in results:
        found += of_limits(results)
    if "network/exact loss" in results:
        found += of_training(results)
    if "rotated/conjugate gradients, preconditioner learned/loss" in results:
        found.append(of_preconditioner(results))
    if "gap/gate" in results:
        found += of_the_gate(results)
    if "mixture/routed by the inputs" in results:
        found.append(of_the_mixture(results))
    if "sweep/seconds" in results:
        found.append(of_the_sweep(results))
    return found


def of_limits(results: Results) -> list[Claim]:
    """The construction has the least loss; conjugate gradients are exact, and as good as they are known to be."""
    gap, exact = results["gap/limit"], results["gap/exact conjugate gradients"]
    found = [
        claim(
            "memformer/limit-gap",
            "largest difference, over depths, of the construction's exact loss and the least loss of fixed coefficients",
            float(np.abs(gap).max()),
            "<=",
            1e-10,
            n=len(gap),
            seeds=SEEDS,
            kind="theorem",
            source="a proposition of this library",
        ),
        claim(
            "memformer/exact-cg-gap",
            "largest gap of the exact layers to conjugate gradients, up to layer 2d, float64",
            float(exact.max()),
            "<=",
            1e-10,
            n=exact.size,
            seeds=SEEDS,
            kind="theorem",
            source="a proposition of this library",
        ),
    ]
    key = "isotropic/conjugate gradients"
    if results[f"{key}/loss"].shape[1] == 5:
        measured = level(results, key)
        found.append(
            Claim(
                "memformer/cg-isotropic-l4",
                "log loss of four steps of conjugate gradients, isotropic; within four standard errors",
                "own computation of the expected loss",
                "measured",
                "=",
                CG,
                4.0 * measured.error,
                measured.value,
                measured.interval,
                int(results[f"{key}/prompts"]),
                SEEDS,
                "nats",
            )
        )
    return found


def of_training(results: Results) -> list[Claim]:
    """Training finds the limit."""
    best, reached = np.log(results["limit/isotropic"]), np.log(results["network/exact loss"])
    return [
        claim(
            "memformer/trained-untied-l4",
            "exact log loss of the coefficients of a trained Transformer that remembers all gradients, four layers, isotropic",
            float(reached[-1]),
            "<=",
            float(best[-1]) + REACHED,
            n=1,
            seeds=SEEDS,
            unit="nats",
        ),
        claim(
            "memformer/trained-untied-any-depth",
            "the same over the limit, the largest over depths",
            float((reached - best).max()),
            "<=",
            REACHED,
            n=len(best),
            seeds=SEEDS,
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
        seeds=SEEDS,
        interval=measured.interval,
        unit="nats",
        source=DUTTA,
    )


def of_the_gate(results: Results) -> list[Claim]:
    """The gate that reads inputs carries one method to every scale, and is better than any fixed coefficients."""
    measured, best = level(results, "isotropic/gated by the inputs"), float(np.log(results["limit/isotropic"][-1]))
    return [
        claim(
            "memformer/gate-equivariance",
            "largest relative gap of predictions on (3 x, 3 w) to nine times those on (x, w), all layers, float64",
            float(results["gap/gate"].max()),
            "<=",
            1e-10,
            n=results["gap/gate"].size,
            seeds=SEEDS,
            kind="theorem",
            source="a proposition of this library",
        ),
        claim(
            "memformer/gated-minus-limit-l4",
            "log loss of the gated method at variance one, four layers, minus the limit of fixed coefficients",
            measured.value - best,
            "<=",
            0.0,
            n=int(results["isotropic/gated by the inputs/prompts"]),
            seeds=SEEDS,
            interval=(measured.interval[0] - best, measured.interval[1] - best),
            unit="nats",
        ),
    ]


def of_the_mixture(results: Results) -> Claim:
    """Experts whose gates read the inputs are better than any one method for all components."""
    best, routed = results["mixture/one for all"][-1], results["mixture/routed by the inputs"][-1]
    error = float(results["mixture/error of routed"][-1] / routed)
    value = float(np.log(routed / best))
    return claim(
        "memformer/routed-minus-one-for-all",
        "log loss of three experts routed by their inputs, at the largest depth, minus that of the best one for all components",
        value,
        "<=",
        0.0,
        n=int(results["mixture/prompts"]),
        seeds=SEEDS,
        interval=(value - 1.96 * error, value + 1.96 * error),
        unit="nats",
    )


def of_the_sweep(results: Results) -> Claim:
    """Many trainings at once cost less each."""
    cost = results["sweep/seconds"] / results["sweep/counts"]
    return claim(
        "memformer/sweep-cost-ratio",
        f"seconds a model with {results['sweep/counts'][-1]} at once, over those of one alone",
        float(cost[-1] / cost[0]),
        "<=",
        1.0,
        n=int(results["sweep/counts"][-1]),
        seeds=SEEDS,
        kind="ratio",
    )
