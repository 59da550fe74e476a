"""The problems that all contenders solve, and the gap by which every answer of theirs is judged: NumPy alone."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

PENALTIES = (0.1, 0.01)  # of the smallest penalty whose answer is zero
NOISE = 0.1
GAP = 1e-6  # the relative gap that every answer must have


class Case(NamedTuple):
    """So many problems of n examples and d features, `sparsity` of which count; `shared`: all have one X.

    together: how many problems our methods take at one time.
    """

    title: str
    problems: int
    n: int
    d: int
    sparsity: int
    shared: bool
    together: int
    seed: int


CASES = {
    "many-small": Case("10,000 problems, 40 × 20, an X each", 10_000, 40, 20, 3, False, 64, 1),
    "shared-x": Case("10,000 labels of one X, 250 × 500", 10_000, 250, 500, 25, True, 32, 2),
    "few-large": Case("100 problems, 250 × 500, an X each", 100, 250, 500, 25, False, 1, 3),
}


class Data(NamedTuple):
    """x: (count, n, d), or (n, d) for all; y: (count, n)."""

    x: np.ndarray
    y: np.ndarray

    def design(self, i: int) -> Float[np.ndarray, "n d"]:
        """X of the i-th problem."""
        return self.x if self.x.ndim == 2 else self.x[i]


def draw(case: Case) -> Data:
    """X from N(0, 1), `sparsity` coefficients from N(0, 1), noise of deviation 0.1; fewer problems are the first of more."""
    designs, supports, values, noises = np.random.default_rng(case.seed).spawn(4)
    x = designs.normal(size=(case.n, case.d) if case.shared else (case.problems, case.n, case.d))
    chosen = supports.random((case.problems, case.d)).argsort(axis=1) < case.sparsity
    w = np.where(chosen, values.normal(size=(case.problems, case.d)), 0.0)
    clean = w @ x.T if case.shared else np.einsum("bnd,bd->bn", x, w)
    return Data(x, clean + NOISE * noises.normal(size=clean.shape))


def correlations(data: Data, r: Float[np.ndarray, "count n"]) -> Float[np.ndarray, "count d"]:
    """X'r of every problem."""
    return r @ data.x if data.x.ndim == 2 else np.einsum("bnd,bn->bd", data.x, r)


def largest_penalties(data: Data) -> Float[np.ndarray, " count"]:
    """|X'y|_inf, the smallest penalty whose answer is zero, for 1/2 |X w - y|^2 + penalty |w|_1."""
    return np.abs(correlations(data, data.y)).max(axis=1)


def relative_gaps(data: Data, w: Float[np.ndarray, "count d"], penalties: Float[np.ndarray, " count"]) -> np.ndarray:
    """(P(w) - D(theta)) / P(0) of every problem, theta the residual scaled as is best of what is feasible; (count,).

    By its definition, which cancels to some 1e-16: enough beside 1e-6.
    """
    fitted = w @ data.x.T if data.x.ndim == 2 else np.einsum("bnd,bd->bn", data.x, w)
    r = data.y - fitted
    squares, unit = np.sum(r**2, axis=1), 0.5 * np.sum(data.y**2, axis=1)
    room = penalties / np.maximum(np.abs(correlations(data, r)).max(axis=1), np.finfo(float).tiny)
    s = np.clip(np.sum(data.y * r, axis=1) / np.maximum(squares, np.finfo(float).tiny), 0.0, room)
    primal = 0.5 * squares + penalties * np.abs(w).sum(axis=1)
    dual = unit - 0.5 * np.sum((s[:, None] * r - data.y) ** 2, axis=1)
    return (primal - dual) / unit
