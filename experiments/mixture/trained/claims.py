"""What the results say of Transformers that are trained in context, of one cell of the grid that validation draws choose."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.mixture.trained.config import CHAINS, TEST, TRAINING
from experiments.mixture.trained.fresh import BASELINES

JIN = "Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183)"
RECALLED = "Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183), as recalled"
ENOUGH = 4  # effective chains, in the median, below which an estimate of Bayes' says little
LAW = "drawn anew"  # of the components, in the claim of the gap
NAMES = {
    "zero": "predicting zero",
    "least squares": "least squares",
    "ridge": "ridge",
    "linear": "the best estimate linear in y",
    "attention": "the best layer of linear attention",
    "random start": "EM from a random start",
    "restarted": "EM from the best of several starts",
    "spectral": "EM from the spectral subspace",
    "annealed": "annealed EM from the best of several starts",
}


class Level(NamedTuple):
    """A mean and half of its 95 % interval."""

    value: float
    half: float

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean."""
        return self.value - self.half, self.value + self.half


class Cell(NamedTuple):
    """Of the grid: its ratio of signal to noise, the length of its prompts, and the best baseline on validation draws."""

    ratio: int
    n: int
    baseline: str


def level(values: Float[np.ndarray, "*groups"]) -> Level:
    """The mean over groups that are crossed, seeds of tests and of trainings, by Student's law of the fewest of them.

    A single training adds no uncertainty to what is said of it.
    """
    axes = [axis for axis in range(values.ndim) if values.shape[axis] > 1]
    if not axes:
        return Level(float(values.mean()), float("nan"))
    margins = [np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).mean(axis=1) for axis in axes]
    error = np.sqrt(sum(margin.var(ddof=1) / len(margin) for margin in margins))
    fewest = min(len(margin) for margin in margins)
    return Level(float(values.mean()), float(stats.t.ppf(0.975, fewest - 1) * error))


def grid(results: Results) -> list[tuple[int, int]]:
    """Every ratio of signal to noise, with every length."""
    return [(int(ratio), int(n)) for ratio in results["map/ratios"] for n in results["map/lengths"]]


def chosen(results: Results) -> Cell:
    """Where the network does best against the best baseline, on validation draws."""

    def place(cell: tuple[int, int]) -> float:
        *baselines, network = results["validation/{}/{}".format(*cell)]
        return float(network / min(baselines))

    ratio, n = min(grid(results), key=place)
    return Cell(ratio, n, BASELINES[int(np.argmin(results[f"validation/{ratio}/{n}"][:-1]))])


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run."""
    found: list[Claim] = []
    if "map/ratios" in results:
        found += [of_the_closed_form(results), *of_the_cell(results)]
        trusted = [cell for cell in grid(results) if np.median(results["map/{}/{}/chains".format(*cell)]) >= ENOUGH]
        found += [of_bayes(results, trusted)] if trusted else []
    if "shapes/widths" in results and len(results["shapes/widths"]) > 1:
        found.append(of_widths(results))
    if "sets/sizes" in results and len(results["sets/sizes"]) > 1:
        found.append(of_the_gap(results))
    return found


def of_the_closed_form(results: Results) -> Claim:
    """What one layer of linear attention errs at most."""
    scores, count = [], 0
    for ratio, n in grid(results):
        errors = np.asarray(results[f"map/{ratio}/{n}/attention"], dtype=float)
        difference = errors.mean() - float(results[f"closed/{ratio}/{n}"])
        scores.append(abs(difference) / (errors.std(ddof=1) / np.sqrt(errors.size)))
        count += errors.size
    return claim(
        "mixture/trained-attention-closed-form",
        "best layer of linear attention: largest deviation of its measured excess from the closed form, in standard errors, "
        f"{len(scores)} cells",
        float(max(scores)),
        "<=",
        4.0,
        n=count,
        seeds=TEST,
        kind="theorem",
        source="the closed form, in limits.linear_attention",
    )


def ratio_of(over: np.ndarray, under: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Of mean errors (networks, seeds, prompts) and (seeds, prompts) on the same prompts, with 95 % of both kinds of seeds."""
    over, under = np.asarray(over, dtype=float), np.asarray(under, dtype=float)
    value = float(over.mean() / under.mean())
    half = level(np.log(over.mean(axis=-1)) - np.log(under.mean(axis=-1))[None]).half
    return value, (value * float(np.exp(-half)), value * float(np.exp(half)))


def of_the_cell(results: Results) -> list[Claim]:
    """The network against the best baseline and against Bayes."""
    ratio, n, baseline = chosen(results)
    key = f"map/{ratio}/{n}"
    network, few = results[f"{key}/transformer"], results[f"{key}/Bayes"].shape[-1]
    where = (
        f"SNR {ratio}, {n} examples, the cell that validation draws chose: excess risk of the trained Transformer over that of"
    )
    best, best_interval = ratio_of(network, results[f"{key}/{baseline}"])
    # the error of the chains is in their estimate's excess, to which it only adds
    exact = results[f"{key}/Bayes"] - results[f"{key}/sampling"]
    bayes, bayes_interval = ratio_of(network[..., :few], exact)
    seeds = (*TRAINING[: len(network)], *TEST)
    return [
        claim(
            "mixture/tf-over-best-baseline",
            f"{where} {NAMES[baseline]}, the best baseline there",
            best,
            "<=",
            1.0,
            n=network[0].size,
            seeds=seeds,
            kind="ratio",
            interval=best_interval,
        ),
        claim(
            "mixture/tf-over-bayes",
            f"{where} Bayes' estimate, by {np.median(results[f'{key}/chains']):.1f} effective chains in the median; their "
            f"Monte-Carlo error, {results[f'{key}/sampling'].mean() / exact.mean():.1%} of the latter, is taken off",
            bayes,
            "<=",
            1.1,
            n=network[0, ..., :few].size,
            seeds=(*seeds, CHAINS),
            kind="ratio",
            interval=bayes_interval,
        ),
    ]


def of_bayes(results: Results, cells: list[tuple[int, int]]) -> Claim:
    """No method errs less than the posterior mean."""
    scores, count, networks = [], 0, len(results["map/{}/{}/transformer".format(*cells[0])])
    for key in (f"map/{ratio}/{n}" for ratio, n in cells):
        best = np.asarray(results[f"{key}/Bayes"], dtype=float)
        for errors in (*(results[f"{key}/{name}"] for name in BASELINES), *results[f"{key}/transformer"]):
            difference = errors[:, : best.shape[1]] - best
            scores.append(difference.mean() / (difference.std(ddof=1) / np.sqrt(difference.size)))
        count += best.size
    return claim(
        "mixture/trained-bayes-not-beaten",
        f"least excess of any method over Bayes', in standard errors, {len(cells)} cells of {ENOUGH} effective chains or more",
        float(min(scores)),
        ">=",
        -4.0,
        n=count,
        seeds=(*TRAINING[:networks], *TEST, CHAINS),
        kind="bound",
        source="the posterior mean has the least mean squared error",
    )


def of_widths(results: Results) -> Claim:
    """The width matters little."""
    (_, depth), n, ratio = results["shapes/main"], int(results["shapes/lengths"].max()), int(results["shapes/ratio"])
    least, most = int(results["shapes/widths"].min()), int(results["shapes/widths"].max())
    wide, narrow = (results[f"shapes/relu, width {width}, {depth} layers/{n}"] for width in (most, least))
    value, interval = ratio_of(wide[None], narrow)
    return claim(
        "mixture/trained-width-effect",
        f"SNR {ratio}, {n} examples: excess risk at width {most} over that at width {least}, one training each; the paper sees "
        "little effect",
        value,
        "=",
        1.0,
        n=wide.size,
        seeds=(TRAINING[0], *TEST),
        interval=interval,
        source=RECALLED,
    )._replace(tolerance=0.1)


def gaps(results: Results, law: str, depth: int) -> Float[np.ndarray, "trainings seeds sizes"]:
    """The loss on the fresh prompts of every test seed minus that on the training set."""
    own, fresh = results[f"sets/{law}/{depth}/own"], results[f"sets/{law}/{depth}/fresh"]
    return np.moveaxis(fresh, -1, 1).astype(float) - own[:, None]


def slope(results: Results, law: str, depth: int) -> Level:
    """Of the logarithm of the mean gap on that of B; NaN where a mean gap is not positive.

    Logarithms are taken to be linear near the mean, so that the gaps of single trainings and seeds may have any sign.
    """
    found = gaps(results, law, depth)
    mean, at = found.mean(axis=(0, 1)), np.log(results["sets/sizes"])
    centred = at - at.mean()
    logs = np.log(np.where(mean > 0.0, mean, np.nan)) + found / mean - 1.0
    return level(logs @ centred / (centred @ centred))


def of_the_gap(results: Results) -> Claim:
    """The gap falls at least as fast as the theorem's bound."""
    depth, sizes = int(results["sets/depths"][-1]), results["sets/sizes"]
    found, (trainings, _, _) = slope(results, LAW, depth), gaps(results, LAW, depth).shape
    return claim(
        "mixture/trained-gap-slope",
        f"{depth} layers, {results['sets/steps']} steps on B = {sizes.min()} to {sizes.max()} prompts of one label: slope of "
        "the log generalisation gap on log B; a bound of order 1 / sqrt(B), for minimisers, suggests -0.5 or less; large sets "
        "are seen a few times only, which narrows their gap too",
        found.value,
        "<=",
        -0.5,
        n=trainings * len(sizes),
        seeds=(*TRAINING[:trainings], *TEST),
        interval=found.interval if np.isfinite(found.interval).all() else None,
        source=JIN,
    )
