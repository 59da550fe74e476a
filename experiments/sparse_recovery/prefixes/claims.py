"""What the curve says: where methods stand at ten measurements, below d, and beside the Bayes estimate."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.sparse_recovery.config import SEEDS
from experiments.sparse_recovery.prefixes.config import BAYES, RANDOM, SMALL_TF
from experiments.sparse_recovery.prefixes.figure import NAMES
from experiments.sparse_recovery.prefixes.measuring import SEED

ROUNDING = 1e-4  # of minimum norm in float32, where X is square
USED = (*SEEDS[1:3], SEED)  # training, validation, test
ANY_N = "in-context ALISTA, any n"


def claims(results: Results) -> list[Claim]:
    """Those for which a run has the methods."""
    n, d, sparsity = (int(results[key]) for key in ("n", "d", "sparsity"))
    here, below = range(n, n + 1), range(sparsity + 1, min(d, int(results["longest"]) + 1))
    ratios = (
        ("small-tf-over-lista-vm", SMALL_TF, "LISTA-VM", here),
        ("small-tf-over-fista-12", SMALL_TF, "FISTA", here),
        ("any-n-over-minimum-norm", ANY_N, "minimum norm", below),
        ("random-start-over-minimum-norm", RANDOM, "minimum norm", below),
    )
    found = [
        ratio(results, name, method, rival, lengths)
        for name, method, rival, lengths in ratios
        if {f"by length/{method}", f"by length/{rival}"} <= results.keys()
    ]
    if "by length/minimum norm" in results:
        found.append(falling(results))
    over = {key: rows for key, rows in results.items() if key.startswith("first/") and key != f"first/{BAYES}"}
    if over and f"first/{BAYES}" in results:
        found.append(least_over_bayes(results[f"first/{BAYES}"], over))
    return found


def ratio(results: Results, name: str, method: str, rival: str, lengths: range) -> Claim:
    """The largest ratio of two mean errors over some numbers of measurements; at one alone, of the errors of more signals."""
    worst = max(lengths, key=lambda n: results[f"by length/{method}"][n, 0] / results[f"by length/{rival}"][n, 0])
    if len(lengths) == 1:
        (mean, low, high), (other, other_low, other_high) = (results[f"fresh/{of}/mean"][:, -1] for of in (method, rival))
        where, counts = "", [f"fresh/{of}/signals" for of in (method, rival)]
    else:
        (mean, low, high), (other, other_low, other_high) = (results[f"by length/{of}"][worst] for of in (method, rival))
        where, counts = f", the worst of {lengths[0]} to {lengths[-1]}", [f"by length/{of}/signals" for of in (method, rival)]
    interval = (low / other_high, high / other_low)  # of both means' ends: wider than 95 %, for they share signals
    text = f"mean error of {method} over that of {NAMES.get(rival, rival)}, with {worst} measurements{where}"
    signals = min(int(results[count]) for count in counts)
    return claim(f"prefixes/{name}", text, mean / other, "<=", 1.0, n=signals, seeds=USED, kind="ratio", interval=interval)


def falling(results: Results) -> Claim:
    """Minimum norm projects the signal on the rows of X, so with every row its error falls, signal by signal."""
    rise = float(np.diff(results["by length/minimum norm"][:, 0]).max())
    text = "the most by which one more measurement raises the mean error of minimum norm on the same signals"
    signals = int(results["by length/minimum norm/signals"])
    source = "a projection on a larger space"
    return claim("prefixes/minimum-norm-rise", text, rise, "<=", ROUNDING, n=signals, seeds=USED, kind="theorem", source=source)


def least_over_bayes(bayes: np.ndarray, others: Results) -> Claim:
    """The least that a method's error has over the Bayes estimate's, over methods and numbers of measurements from one on."""
    excess = [(rows - bayes)[n] for rows in others.values() for n in range(1, len(bayes))]
    least = min(excess, key=np.mean)
    mean, half = float(least.mean()), 1.96 * float(least.std()) / np.sqrt(len(least))
    text = f"the least that a method's mean error has over the Bayes estimate's, with 1 to {len(bayes) - 1} measurements"
    interval = (mean - half, mean + half)
    return claim("prefixes/least-over-bayes", text, mean, ">=", 0.0, n=len(least), seeds=USED, kind="bound", interval=interval)
