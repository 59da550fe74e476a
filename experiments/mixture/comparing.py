"""What the results say of methods beside each other: rows of excess risk, and the posterior mean."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.mixture.config import BAYES, CHAINS, ROWS
from experiments.mixture.methods import METHODS, STARTS

PLACE = {name: place for place, name in enumerate((*METHODS, "Bayes"))}
HONEST = [name for name in METHODS if name != "near the truth"]
OWN = "a proposition of this library"
# components, |b| / sigma, examples; the best of these starts of EM, a method, and what the ratio of mean excesses is to be
RATIOS: dict[str, tuple[int, int, int, tuple[str, ...], str, Literal["<=", ">="], float]] = {
    "em-over-zero-low-snr": (2, 1, 64, STARTS, "zero", ">=", 1.0),
    "em-over-linear-few-examples": (2, 10, 64, STARTS[:-1], "linear", ">=", 1.0),
    "spectral-over-linear-many-examples": (2, 10, 512, ("spectral",), "linear", "<=", 0.1),
    "random-start-over-near-k5": (5, 10, 512, ("random start",), "near the truth", ">=", 10.0),
}
GAIN = (10, 32)  # |b| / sigma and examples where the posterior mean is to gain


def cells(results: Results, part: str) -> list[str]:
    """The keys of this part's summaries of all methods: they end with the number of examples."""
    return [name for name in results if name.startswith(f"{part}/") and name.split("/")[-1].isdigit()]


def ratio_of(results: Results, cell: str, above: Sequence[str], below: str) -> tuple[str, float, tuple[float, float]]:
    """Of several methods the one of least mean excess, its ratio to another's, and 95 % on a logarithmic scale, paired."""
    means, covariance = results[cell][:, 0], results[f"{cell}/covariance"]
    best = min(above, key=lambda name: means[PLACE[name]])
    pair = [PLACE[best], PLACE[below]]
    slope = np.array([1.0, -1.0]) / means[pair]  # of the logarithm of the ratio
    # for two methods that always err alike the variance is zero, up to rounding
    half = 1.96 * np.sqrt(np.maximum(slope @ covariance[np.ix_(pair, pair)] @ slope, 0.0))
    ratio = means[pair[0]] / means[pair[1]]
    return best, float(ratio), (float(ratio * np.exp(-half)), float(ratio * np.exp(half)))


def of_rows(results: Results) -> list[Claim]:
    """Attention has the excess that it must have; where EM is worse than predicting zero, and where better than all linear."""
    names, repeats = cells(results, "rows"), int(results["rows/repeats"])
    attention = np.array([results[name][PLACE["attention"]] for name in names])
    closed = np.array([float(results[f"{name}/closed"]) for name in names])
    common = {"n": repeats, "seeds": (ROWS,)}
    found = [
        claim(
            "mixture/lsa-rows-z",
            "mean excess of the best linear attention minus its closed form: largest of all rows, in standard errors",
            float(np.abs((attention[:, 0] - closed) / attention[:, 1]).max()),
            "<=",
            4.0,
            n=repeats * len(names),
            seeds=(ROWS,),
            source=OWN,
        )
    ]
    for id, (count, ratio, n, above, below, relation, expected) in RATIOS.items():
        if f"rows/{count}/{ratio}/{n}" in results:
            best, measured, interval = ratio_of(results, f"rows/{count}/{ratio}/{n}", above, below)
            which = f"{best}, the best of {len(above)} starts" if len(above) > 1 else best
            text = f"mean excess of EM ({which}) over that of {below}, {count} components, |b| / sigma = {ratio}, {n} examples"
            found.append(claim(f"mixture/{id}", text, measured, relation, expected, kind="ratio", interval=interval, **common))
    return found


def of_bayes(results: Results) -> list[Claim]:
    """No method that is not told the truth is better than the posterior mean, whose errors are uncorrelated with itself."""
    names, repeats = cells(results, "bayes"), int(results["bayes/repeats"])
    over = np.stack([results[f"{name}/over"][[PLACE[method] for method in HONEST]] for name in names])
    calibration = np.stack([results[f"{name}/calibration"] for name in names])
    chains = min(float(results[f"{name}/chains"][2]) for name in names)
    common = {"n": repeats * len(names), "seeds": (BAYES, CHAINS)}
    found = [
        claim(
            "mixture/bayes-beaten-z",
            "posterior mean by Gibbs: how much less any other method's mean excess is, at most, in paired standard errors; "
            f"5 % of prompts have fewer than {chains:.1f} chains where they are fewest",
            float((-over[..., 0] / over[..., 1]).max()),
            "<=",
            4.0,
            source="no estimate has a smaller mean squared error",
            **common,
        ),
        claim(
            "mixture/bayes-calibration-z",
            "mean of <b, bbar - b> for the posterior mean b, which is zero: largest, in standard errors",
            float(np.abs(calibration[:, 0] / calibration[:, 1]).max()),
            "<=",
            4.0,
            source="the orthogonality of conditional expectations",
            **common,
        ),
    ]
    ratio, n = GAIN
    if f"bayes/{ratio}/{n}" in results:
        best, gain, interval = ratio_of(results, f"bayes/{ratio}/{n}", HONEST, "Bayes")
        text = f"mean excess of the best other method ({best}) over the posterior mean's, 1 / sigma = {ratio}, {n} examples"
        own = {"n": repeats, "seeds": (BAYES, CHAINS), "interval": interval}
        found.append(claim("mixture/bayes-gain", text, gain, ">=", 2.0, kind="ratio", **own))
    return found
