"""What the results say of the Transformers."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.intervals import geometric_mean
from experiments.sparse_recovery.rates import rates
from experiments.sparse_recovery.transformers.config import SEEDS
from jaxl2o.evaluation.curves import QUANTILES

MEDIAN = QUANTILES.index(0.5)
RIVAL = "LISTA-VM, trained on"


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run."""
    count = repetitions(results)
    return of_the_theorem(results, count) if count else []


def repetitions(results: Results) -> int:
    """How many trainings from the theorem there were."""
    return sum(key.startswith("theorem ") and key.endswith("/Transformer/mean") for key in results)


def last(results: Results, number: int, title: str, median: bool = False) -> float:
    """The mean or median relative error after all steps."""
    key = f"theorem {number}/{title}"
    return float(results[f"{key}/quantiles"][MEDIAN, -1] if median else results[f"{key}/mean"][0, -1])


def ratio(results: Results, count: int, title: str, rival: str, median: bool) -> tuple[float, tuple[float, float] | None]:
    """The geometric mean over repetitions of one error over the other, and its interval, from the spread of the logarithm."""
    pairs = ((last(results, i, title, median), last(results, i, rival, median)) for i in range(count))
    return geometric_mean(np.array([own / other for own, other in pairs]))


def of_the_theorem(results: Results, count: int) -> list[Claim]:
    """The trained Transformer beside its rival and beside its own start, and its rate."""
    signals = count * int(results["theorem 0/Transformer/signals"])

    def over(id: str, text: str, title: str, rival: str, median: bool = False) -> Claim:
        value, interval = ratio(results, count, title, rival, median)
        return claim(f"sparse/{id}", text, value, "<=", 1.0, n=signals, seeds=SEEDS, interval=interval, kind="ratio")

    fitted = rates(results["theorem 0/Transformer/quantiles"][MEDIAN, 1:])
    shares = f"the factor explains {fitted.geometric_fit:.3f} of the logarithm's variance, a power law {fitted.power_fit:.3f}"
    return [
        claim(
            "sparse/momentum-gap",
            "largest gap of the theorem to LISTA-VM with momentum at trained layers, float64",
            float(results["gap"].max()),
            "<=",
            1e-12,
            n=results["gap"].size,
            seeds=SEEDS,
            kind="theorem",
            source="a proposition of this library",
        ),
        over(
            "theorem-start-over-lista-vm",
            f"the Transformer, with momentum: mean error over {RIVAL}",
            "Transformer",
            RIVAL,
        ),
        over("theorem-start-over-lista-vm-median", f"its median over that of {RIVAL}", "Transformer", RIVAL, median=True),
        over("theorem-start-over-start", "its mean error over that before training", "Transformer", "Transformer, filled"),
        over(
            "theorem-start-over-momentum",
            "its mean error over that of LISTA-VM with momentum, trained on for the same time",
            "Transformer",
            "LISTA-VM with momentum, trained on",
        ),
        claim(
            "sparse/rate-small-tf",
            f"the Transformer: factor of the median error a layer; {shares}",
            fitted.factor,
            "<=",
            rates(results[f"theorem 0/{RIVAL}/quantiles"][MEDIAN, 1:]).factor,
            n=len(results["theorem 0/Transformer/mean"][0]) - 1,
            seeds=SEEDS,
        ),
    ]
