"""What is claimed of the Lasso's speed and exactness, from results alone."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.speed.lasso.problems import CASES, GAP

TARGETS = {"many-small": 5.0, "shared-x": 3.0, "few-large": 1.0 / 3.0}


def fastest(name: str, results: Results, family: str, without: str = "never") -> np.ndarray:
    """(penalties, rounds): seconds a problem of that contender of a family whose median, at each penalty, is the least."""
    seconds = results[f"{name}/seconds"]
    pairs = enumerate(zip(results[f"{name}/names"], results[f"{name}/families"], strict=True))
    own = np.array([i for i, (title, whose) in pairs if whose == family and without not in str(title)])
    best = own[np.argmin(np.median(seconds[:, :, own], axis=1), axis=1)]
    return np.stack([seconds[k, :, i] for k, i in enumerate(best)])


def ratios(name: str, results: Results) -> np.ndarray:
    """(rounds,): the time of scikit-learn's fastest estimator over ours, at the penalty where that is worse."""
    found = fastest(name, results, "scikit-learn", without="bare") / fastest(name, results, "ours")
    return found[np.argmin(np.median(found, axis=1))]


def relative(found: np.ndarray, right: np.ndarray) -> float:
    """The largest relative error."""
    return float(np.abs(found / right - 1.0).max())


def claims(results: Results) -> list[Claim]:
    """Of every part that was measured."""
    parts = {"prefixes": prefixes, "agreement": agrees, "diabetes": paths, "gradient": derivative, "unrolled": unrolled}
    cases = [name for name in TARGETS if f"{name}/seconds" in results]
    found = [ratio(name, results) for name in cases]
    if cases:
        gaps = np.concatenate([results[f"{name}/gap"].ravel() for name in cases])
        words = "relative gap of any answer of any contender, computed anew: the largest"
        seeds = tuple(CASES[name].seed for name in cases)
        found.append(claim("lasso/largest-gap", words, float(gaps.max()), "<=", GAP, n=len(gaps), seeds=seeds))
    for part, make in parts.items():
        if any(name.startswith(f"{part}/") for name in results):
            found += make(results)
    return found


def ratio(name: str, results: Results) -> Claim:
    """How many times as fast as scikit-learn, of one case."""
    value = ratios(name, results)
    return claim(
        f"lasso/{name}-vs-sklearn",
        f"{CASES[name].title}, one core: scikit-learn's fit over ours, time a problem, worse penalty, median and range",
        float(np.median(value)),
        ">=",
        TARGETS[name],
        n=len(value),
        seeds=(CASES[name].seed,),
        kind="ratio",
        interval=(float(value.min()), float(value.max())),
    )


def prefixes(results: Results) -> list[Claim]:
    """The baseline of in-context learning."""
    seconds, (prompts, subset) = results["prefixes/seconds"], results["prefixes/prompts"]
    theirs = float(results["prefixes/their_seconds"]) * int(prompts) / int(subset)
    words = f"all 40 prefixes of {prompts:,} prompts at five penalties, {int(results['prefixes/cores'])} cores"
    return [
        claim(
            "lasso/prefix-baseline-seconds",
            f"{words}; one core of scikit-learn's fits: {theirs:,.0f} s, by {subset} prompts",
            float(np.median(seconds)),
            "<=",
            60.0,
            n=int(prompts),
            seeds=(4,),
            interval=(float(seconds.min()), float(seconds.max())),
            unit="s",
        ),
        claim(
            "lasso/prefix-baseline-gap", f"{words}: largest relative gap", float(results["prefixes/gap"]), "<=", GAP,
            n=int(prompts), seeds=(4,),
        ),
    ]  # fmt: skip


def agrees(results: Results) -> list[Claim]:
    """Beside celer."""
    difference, slack = results["agreement/difference"], results["agreement/slack"]
    unclear, options = int(results["agreement/unclear"].sum()), {"n": len(difference), "seeds": (5,)}
    closer, count = float(np.abs(results["agreement/closer"]).max()), len(difference)
    signs = (
        f"(ours - celer's) / celer's from {difference.min():.1e} to {difference.max():.1e}, and with tol 1e-13 to ±{closer:.1e}"
    )
    return [
        claim(
            "lasso/celer-objective-gap", f"objectives of {count} problems, celer's tol 1e-10: {signs}; the largest, absolutely",
            float(np.abs(difference).max()), "<=", 1e-9, **options,
        ),
        claim(
            "lasso/celer-objective-excess", f"objectives of {count} problems: how far ours is above celer's, at most",
            float(difference.max()), "<=", 1e-9, **options,
        ),
        claim(
            "lasso/celer-support-misses", f"coordinates in one support alone, {unclear} without strict complementarity apart",
            float(results["agreement/support"].sum()), "<=", 0.0, **options,
        ),
        claim(
            "lasso/gaps-too-small", "problems whose gap is less than the suboptimality in extended precision",
            float(np.sum(slack < 0.0)), "<=", 0.0, **options,
        ),
    ]  # fmt: skip


def paths(results: Results) -> list[Claim]:
    """Real data."""
    ours, theirs = results["diabetes/ours"], results["diabetes/scikit-learn"]
    gap = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    words = "path of the diabetes table beside scikit-learn's with tol 1e-12: largest difference beside the largest coefficient"
    return [claim("lasso/diabetes-path-gap", words, gap, "<=", 1e-8, n=len(ours), seeds=(), kind="theorem")]


def derivative(results: Results) -> list[Claim]:
    """By the penalty."""
    right = results["gradient/closed"]
    beside = f"; jaxopt's {relative(results['gradient/jaxopt'], right):.1e}" if "gradient/jaxopt" in results else ""
    words = f"d(validation loss)/d(penalty) on the diabetes table beside the closed form: largest relative error{beside}"
    error = relative(results["gradient/ours"], right)
    return [claim("lasso/gradient-penalty-error", words, error, "<=", 1e-10, n=len(right), seeds=(), kind="theorem")]


def unrolled(results: Results) -> list[Claim]:
    """The reverse pass."""
    few, many = results["unrolled/reverse"][0], results["unrolled/reverse"][-1]
    ratio, steps = many / few, results["unrolled/steps"]
    return [
        claim(
            "lasso/reverse-cost-ratio",
            f"reverse pass with the implicit rule behind {steps[-1]:,} steps over that behind {steps[0]:,}, median and range",
            float(np.median(ratio)),
            "<=",
            1.2,
            n=len(ratio),
            seeds=(6,),
            kind="ratio",
            interval=(float(ratio.min()), float(ratio.max())),
        )
    ]
