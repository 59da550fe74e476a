"""What the curve says: where methods stand at ten measurements, below d, and beside the Bayes estimate."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.sparse_recovery.config import SEEDS
from experiments.sparse_recovery.prefixes.config import BAYES, RANDOM, SMALL_TF
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
    """The largest ratio of two mean errors over some numbers of measurements."""
    rows, others = results[f"by length/{method}"], results[f"by length/{rival}"]
    worst = max(lengths, key=lambda n: rows[n, 0] / others[n, 0])
    where = f"with {worst} measurements" + (f", the worst of {lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else "")
    (mean, low, high), (other, other_low, other_high) = rows[worst], others[worst]
    signals = min(int(results[f"by length/{title}/signals"]) for title in (method, rival))
    interval = (low / other_high, high / other_low)  # of both means' ends: wider than 95 %, for they share signals
    text = f"mean error of {method} over that of {rival}, {where}"
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
