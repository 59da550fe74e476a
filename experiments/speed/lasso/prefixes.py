"""The Lasso baseline of in-context learning: all prefixes of many prompts at five penalties, on all cores."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import jax
import numpy as np
from sklearn.linear_model import Lasso

from experiments.speed.lasso.problems import GAP, Data, relative_gaps
from jaxl2o.certified.paths import prefix_lassos

D, N, SPARSITY = 20, 40, 3
PENALTIES = (1.0, 0.1, 0.01, 0.001, 1e-4)  # of 1/(2n) |X w - y|^2 + penalty |w|_1 (Garg et al. 2022)
SEED = 4


def draw_prompts(count: int) -> Data:
    """Sparse recovery as Garg et al. draw it: 3 of 20 coefficients, N(0, 1) all, no noise; fewer prompts are the first."""
    designs, supports, values = np.random.default_rng(SEED).spawn(3)
    x = designs.normal(size=(count, N, D))
    chosen = supports.random((count, D)).argsort(axis=1) < SPARSITY
    return Data(x, np.einsum("bnd,bd->bn", x, np.where(chosen, values.normal(size=(count, D)), 0.0)))


def measure(prompts: int, subset: int, rounds: int) -> dict[str, Any]:
    """Seconds of all paths, compiling apart, and the largest relative gap; seconds of scikit-learn's fits of a subset.

    Each core is a device with its share of the prompts, in a thread of its own. scikit-learn's loop has one core.
    """
    data, devices = draw_prompts(prompts), jax.local_devices()
    shares = [
        Data(*pair) for pair in zip(np.array_split(data.x, len(devices)), np.array_split(data.y, len(devices)), strict=True)
    ]

    def solve(share: Data, device: Any) -> np.ndarray:
        with jax.default_device(device):
            return np.asarray(prefix_lassos(share.x, share.y, np.array(PENALTIES)).solutions)

    def once() -> tuple[float, np.ndarray]:
        began = perf_counter()
        with ThreadPoolExecutor(len(devices)) as pool:
            parts = list(pool.map(solve, shares, devices))
        return perf_counter() - began, np.concatenate(parts)

    first, solutions = once()
    seconds = [once()[0] for _ in range(rounds)]
    few = draw_prompts(subset)
    began = perf_counter()
    theirs = fits(few)
    their_seconds = perf_counter() - began
    return {
        "seconds": seconds,
        "cores": len(devices),
        "compiling": first - min(seconds),
        "gap": largest_gap(data, solutions),
        "their_gap": largest_gap(few, theirs),
        "their_seconds": their_seconds,
    }


def fits(data: Data) -> np.ndarray:
    """scikit-learn's answers (count, N, k, d), fit by fit, at a tol that asks for the same gap."""
    found = np.zeros((len(data.y), N, len(PENALTIES), D))
    for i, (x, y) in enumerate(zip(data.x, data.y, strict=True)):
        for n in range(1, N + 1):
            for k, penalty in enumerate(PENALTIES):
                fit = Lasso(alpha=penalty, fit_intercept=False, tol=GAP / 2.0, max_iter=1_000_000).fit(x[:n], y[:n])
                found[i, n - 1, k] = fit.coef_
    return found


def largest_gap(data: Data, solutions: np.ndarray) -> float:
    """The largest relative gap of any prefix at any penalty, from the answers (count, N, k, d) alone."""
    worst = 0.0
    for n in range(1, N + 1):
        prefix = Data(data.x[:, :n], data.y[:, :n])
        for k, penalty in enumerate(PENALTIES):
            gaps = relative_gaps(prefix, solutions[:, n - 1, k], np.full(len(data.y), n * penalty))
            worst = float(np.maximum(worst, gaps.max()))  # NaN stays
    return worst
