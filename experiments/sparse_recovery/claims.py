"""What the results say: relative errors after all steps, fits of rates, and what the bound allows."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.intervals import student
from experiments.sparse_recovery.config import SEEDS
from experiments.sparse_recovery.parts import DRAWS
from experiments.sparse_recovery.rates import Rates, rates
from jaxl2o.evaluation.curves import QUANTILES

OWN = "a proposition of this library"
FLAGSHIP = "fresh/in-context ALISTA"


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run."""
    found: list[Claim] = []
    if f"{FLAGSHIP}/mean" in results:
        found += of_fresh_matrices(results)
    if any(key.startswith("bound/") for key in results):
        found += [of_the_bound(results), of_a_known_support(results)]
    if "one/LISTA-CP, own 0/mean" in results:
        found.append(of_one_matrix(results))
    if "length/Bayes" in results:
        found.append(of_every_length(results))
    if "noise/Bayes/mean" in results:
        found.append(of_noise(results))
    if "blocks/ISTA/mean" in results:
        found.append(of_blocks(results))
    return found


def last(results: Results, key: str) -> float:
    """The relative error after all steps."""
    return float(results[f"{key}/mean"][0, -1])


def error(results: Results, id: str, key: str, text: str, expected: float) -> Claim:
    """A mean relative error, at most the expected one."""
    mean, low, high = (float(row[-1]) for row in results[f"{key}/mean"])
    count = int(results[f"{key}/signals"])
    return claim(f"sparse/{id}", text, mean, "<=", expected, n=count, seeds=SEEDS, interval=(low, high))


def of_fresh_matrices(results: Results) -> list[Claim]:
    """The main table, the theorem at trained parameters, and rates."""
    median = float(results[f"{FLAGSHIP}/quantiles"][QUANTILES.index(0.5), -1])
    count = int(results[f"{FLAGSHIP}/signals"])

    def slow(name: str) -> str:
        return next(key[: -len("/mean")] for key in results if key.startswith(f"fresh/{name}, ") and key.endswith("/mean"))

    return [
        claim(
            "sparse/in-context-alista-gap",
            "largest gap of the Transformer to the trained solver, float64, 20 Newton-Schulz layers",
            float(results["gap"].max()),
            "<=",
            1e-10,
            n=results["gap"].size,
            seeds=SEEDS[3:4],
            kind="theorem",
            source=OWN,
        ),
        error(results, "lista-vm-fresh-n10", "fresh/LISTA-VM", "LISTA-VM with its safeguard: relative error", 0.25),
        error(results, "in-context-alista-fresh-n10", FLAGSHIP, "in-context ALISTA: relative error", 0.05),
        claim(
            "sparse/in-context-alista-median-n10",
            "in-context ALISTA: median of the signals' relative errors",
            median,
            "<=",
            0.002,
            n=count,
            seeds=SEEDS,
        ),
        error(
            results,
            "branches-fresh-n10",
            f"{FLAGSHIP}, branches",
            "in-context ALISTA in d + 1 branches, the simplest answer: relative error",
            0.02,
        ),
        halting(results),
        power_law(results, "ista", slow("ISTA"), "ISTA", -1.0),
        power_law(results, "fista", slow("FISTA"), "FISTA", -2.0),
        geometric(results, "lista-vm", "fresh/LISTA-VM", "LISTA-VM", slower="fresh/ISTA"),
        geometric(results, "in-context-alista", FLAGSHIP, "in-context ALISTA", slower="fresh/LISTA-VM"),
    ]


def halting(results: Results) -> Claim:
    """How many steps are taken on average, and what that costs."""
    whole = next(key[: -len(", halted/mean")] for key in results if key.endswith(", halted/mean"))
    steps, depth = results["halting/steps"], results[f"{whole}/mean"].shape[1] - 1
    text = f"steps taken on average of {depth}; relative error {last(results, f'{whole}, halted'):.4f}, not halted "
    return claim(
        "sparse/halting-steps",
        text + f"{last(results, whole):.4f}; half of the signals take at most {np.median(steps):.0f}",
        float(steps.mean()),
        "<=",
        depth / 2,
        n=steps.size,
        seeds=SEEDS,
        interval=tuple(steps.mean() + 1.96 * steps.std() / np.sqrt(steps.size) * np.array([-1.0, 1.0])),
    )


def fitted(results: Results, key: str) -> tuple[Rates, int]:
    """The fits of the median error by step, and over how many steps."""
    medians = results[f"{key}/quantiles"][QUANTILES.index(0.5), 1:]
    return rates(medians), len(medians)


def shares(found: Rates) -> str:
    """How well either law explains the errors."""
    return f"the power law explains {found.power_fit:.3f} of the logarithm's variance, a factor {found.geometric_fit:.3f}"


def power_law(results: Results, id: str, key: str, name: str, expected: float) -> Claim:
    """The slope of the median error's logarithm against the step's own."""
    found, count = fitted(results, key)
    text = f"{name}: exponent of the median error by step; {shares(found)}"
    return claim(f"sparse/rate-{id}", text, found.exponent, "<=", expected, n=count, seeds=SEEDS)


def geometric(results: Results, id: str, key: str, name: str, slower: str) -> Claim:
    """The factor of the median error a step, at most that of another solver."""
    (found, count), (other, _) = fitted(results, key), fitted(results, slower)
    text = f"{name}: factor of the median error a step; {shares(found)}"
    return claim(f"sparse/rate-{id}", text, found.factor, "<=", other.factor, n=count, seeds=SEEDS)


def of_the_bound(results: Results) -> Claim:
    """No instance breaks it."""
    broken = [np.count_nonzero(value) for key, value in results.items() if key.endswith(("/broken", "/false_positive"))]
    return claim(
        "sparse/bound-violations",
        "instances that break the derived bound, or move a coordinate outside the support",
        float(sum(broken)),
        "<=",
        0.0,
        n=sum(value.size for key, value in results.items() if key.endswith("/broken")),
        seeds=SEEDS[7:],
        kind="theorem",
        source=OWN,
    )


def of_a_known_support(results: Results) -> Claim:
    """What the derived rate gains when half of the coordinates are known to be zero, at the number of examples where least."""
    found: dict[int, dict[int, np.ndarray]] = {}
    for key in results:
        if key.startswith("bound/") and key.endswith("/rate"):
            found.setdefault(int(key.split("/")[1]), {})[int(key.split("/")[2])] = results[key].astype(np.float64)
    ratios = [rows[min(rows)].mean() / rows[max(rows)].mean() for rows in found.values()]
    return claim(
        "sparse/known-support-rate",
        "mean derived rate with a known support over that without, largest over the numbers of examples",
        float(max(ratios)),
        "<=",
        1.0,
        n=sum(values.size for rows in found.values() for values in rows.values()),
        seeds=SEEDS[7:],
        kind="ratio",
        source=OWN,
    )


def of_every_length(results: Results) -> Claim:
    """Nothing stands below the Bayes estimate at any number of measurements, on the same signals, beyond its standard error."""
    below = {
        (title, int(length)): -mean - 1.96 * error
        for title in (key.removeprefix("length/") for key in results if key.startswith("length/"))
        if title not in ("lengths", "Bayes")
        for length, (_, _, mean, error) in zip(results["length/lengths"], results[f"length/{title}"], strict=True)
    }
    title, length = max(below, key=lambda pair: below[pair])
    return claim(
        "sparse/below-bayes-any-length",
        f"how far below Bayes a method stands, beyond 1.96 standard errors; most: {title}, {length} measurements",
        float(below[title, length]),
        "<=",
        1e-6,
        n=len(below),
        seeds=SEEDS[4:5],
        kind="bound",
    )


def of_one_matrix(results: Results) -> Claim:
    """LISTA-CP on its own matrices."""
    own = np.array([last(results, f"one/LISTA-CP, own {draw}") for draw in range(DRAWS)])
    half = student(own)
    return claim(
        "sparse/lista-cp-fixed-n10",
        "LISTA-CP on the one matrix it was trained for: relative error, mean over matrices",
        float(own.mean()),
        "<=",
        0.03,
        n=DRAWS,
        seeds=SEEDS[:2],
        interval=(float(own.mean() - half), float(own.mean() + half)),
    )


def of_noise(results: Results) -> Claim:
    """Nothing stands below the Bayes estimate."""
    others = [key[: -len("/mean")] for key in results if key.startswith("noise/") and key.endswith("/mean")]
    best = min((key for key in others if key != "noise/Bayes"), key=lambda key: last(results, key))
    text = f"noise of 0.2: the Bayes estimate's relative error, beside the best other, {best.removeprefix('noise/')}"
    return error(results, "bayes-noisy-n10", "noise/Bayes", text, last(results, best))


def of_blocks(results: Results) -> Claim:
    """What it is worth to know the partition."""
    return claim(
        "sparse/block-gain",
        "ISTA's relative error over block ISTA's, which is told the partition, on block signals",
        last(results, "blocks/ISTA") / last(results, "blocks/block ISTA"),
        ">=",
        1.0,
        n=int(results["blocks/ISTA/signals"]),
        seeds=SEEDS,
        kind="ratio",
    )
