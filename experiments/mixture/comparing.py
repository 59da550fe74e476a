"""What the results say of methods beside each other: rows of excess risk, and the posterior mean."""

from typing import Literal

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.mixture.config import BAYES, CHAINS, ROWS
from experiments.mixture.methods import METHODS

PLACE = {name: place for place, name in enumerate(METHODS)}
HONEST = [place for name, place in PLACE.items() if name != "near the truth"]
OWN = "a proposition of this library"
# components, |b| / sigma, examples, the two methods, and what the ratio of their mean excesses is to be
RATIOS: dict[str, tuple[int, int, int, str, str, Literal["<=", ">="], float]] = {
    "restarted-over-zero-low-snr": (2, 1, 64, "restarted", "zero", ">=", 1.0),
    "restarted-over-linear-few-examples": (2, 10, 64, "restarted", "linear", ">=", 1.0),
    "spectral-over-linear-many-examples": (2, 10, 512, "spectral", "linear", "<=", 0.1),
    "random-start-over-near-k5": (5, 10, 512, "random start", "near the truth", ">=", 10.0),
}


def cells(results: Results, part: str) -> list[str]:
    """The keys of this part's summaries of all methods: they end with the number of examples."""
    return [name for name in results if name.startswith(f"{part}/") and name.split("/")[-1].isdigit()]


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
            (a, a_error), (b, b_error) = (results[f"rows/{count}/{ratio}/{n}"][PLACE[name], :2] for name in (above, below))
            measured, error = float(a / b), float(np.hypot(a_error / a, b_error / b))
            interval = (measured * max(0.0, 1.0 - 1.96 * error), measured * (1.0 + 1.96 * error))
            text = f"mean excess of EM ({above}) over that of {below}, {count} components, |b| / sigma = {ratio}, {n} examples"
            found.append(claim(f"mixture/{id}", text, measured, relation, expected, kind="ratio", interval=interval, **common))
    return found


def of_bayes(results: Results) -> list[Claim]:
    """No method that is not told the truth is better than the posterior mean, whose errors are uncorrelated with itself."""
    names, repeats = cells(results, "bayes"), int(results["bayes/repeats"])
    over = np.stack([results[f"{name}/over"][HONEST] for name in names])
    calibration = np.stack([results[f"{name}/calibration"] for name in names])
    best = {name: float(results[name][HONEST, 0].min()) for name in names}
    gains = {name: best[name] / float(results[name][-1, 0]) for name in names}
    most = max(gains, key=lambda name: gains[name])
    chains = min(float(results[f"{name}/chains"][2]) for name in names)
    _, ratio, n = most.split("/")
    common = {"n": repeats * len(names), "seeds": (BAYES, CHAINS)}
    return [
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
        claim(
            "mixture/bayes-gain",
            f"least mean excess of all other methods over the posterior mean's, where largest: |b| / sigma = {ratio}, n = {n}",
            gains[most],
            ">=",
            2.0,
            kind="ratio",
            n=repeats,
            seeds=(BAYES, CHAINS),
        ),
    ]
