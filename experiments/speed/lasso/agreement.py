"""Whether our answers are celer's: objectives, supports, and gaps beside what is truly left."""

from typing import NamedTuple

import jax
import numpy as np
from scipy import linalg

from experiments.common import Results
from experiments.speed.lasso import theirs
from experiments.speed.lasso.problems import NOISE, Data, largest_penalties
from jaxl2o.certified.descent import Descent
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import problem

SHAPES = ((100, 40), (40, 100))  # n, d
CORRELATIONS = (0.0, 0.9)  # of neighbouring columns; of others its powers
SHARES = (0.5, 0.1, 0.03, 0.01, 0.001)  # of the largest penalty
SPARSITY = 8
TOLERANCE = 1e-12  # of ours
THEIRS = (1e-10, 1e-13)  # of celer: as asked, and as small as it answers
MARGIN = 1e-3  # a coordinate counts if its correlation is so far below the penalty, or it so far from zero, relatively
SEED = 5


class Answers(NamedTuple):
    """Of many problems of one shape: our w and gaps, in "half_sum", and celer's w at both of its tolerances."""

    ours: np.ndarray
    gaps: np.ndarray
    theirs: np.ndarray
    closer: np.ndarray


def draw_columns(rng: np.random.Generator, count: int, n: int, d: int, correlation: float) -> Data:
    """Rows whose neighbouring columns correlate so, each from N(0, 1); 8 coefficients from N(0, 1), noise 0.1."""
    x = rng.normal(size=(count, n, d))
    for j in range(1, d):
        x[..., j] = correlation * x[..., j - 1] + np.sqrt(1.0 - correlation**2) * x[..., j]
    chosen = rng.random((count, d)).argsort(axis=1) < SPARSITY
    w = np.where(chosen, rng.normal(size=(count, d)), 0.0)
    return Data(x, np.einsum("bnd,bd->bn", x, w) + NOISE * rng.normal(size=(count, n)))


def beside_celer(repeats: int) -> Results:
    """Every shape, correlation and share, so many times: relative objective differences, misses of supports and of gaps."""
    rng, found = np.random.default_rng(SEED), []
    for n, d in SHAPES:
        parts = [draw_columns(rng, repeats * len(SHARES), n, d, correlation) for correlation in CORRELATIONS]
        data = Data(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        penalties = np.tile(np.repeat(SHARES, repeats), len(CORRELATIONS)) * largest_penalties(data)
        answers = solved(data, penalties)
        found += [compare(x, y, lam, *each) for x, y, lam, *each in zip(*data, penalties, *answers, strict=True)]
    return {f"agreement/{name}": np.array([getattr(one, name) for one in found]) for name in Compared._fields}


def solved(data: Data, penalties: np.ndarray) -> Answers:
    """Both sides, in float64."""
    with jax.enable_x64(True):
        solve = jax.jit(
            jax.vmap(lambda x, y, lam: certified(problem(x, y, lam, scaling="half_sum"), Descent(), tolerance=TOLERANCE))
        )
        ours = jax.tree.map(np.asarray, solve(*data, penalties))
    return Answers(ours.solution, ours.gap, *map(theirs.celer(data, penalties, 1), THEIRS))


class Compared(NamedTuple):
    """difference, closer: (our P - theirs) / theirs, at celer's two tolerances.  support: coordinates in which supports differ
    though complementarity is strict.  unclear: in which it is not.  slack: our gap less the true suboptimality, beside P(0).
    """

    difference: float
    closer: float
    support: int
    unclear: int
    slack: float


def compare(x: np.ndarray, y: np.ndarray, penalty: float, w: np.ndarray, gap: float, *others: np.ndarray) -> Compared:
    """One problem."""

    def objective(u: np.ndarray) -> np.longdouble:
        r = y.astype(np.longdouble) - x.astype(np.longdouble) @ u
        return r @ r / 2 + np.longdouble(penalty) * np.abs(u).sum()

    best = exact(x, y, penalty, w)
    c = np.abs(x.T @ (y - x @ best)).astype(float)
    zero, nonzero = c < (1.0 - MARGIN) * penalty, np.abs(best) > MARGIN * np.abs(best).max()
    clear = zero | nonzero
    ours, theirs = objective(w), [objective(other) for other in others]
    unit = float(y @ y) / 2.0
    return Compared(
        float((ours - theirs[0]) / theirs[0]),
        float((ours - theirs[-1]) / theirs[-1]),
        int(np.sum(((w != 0.0) != (others[-1] != 0.0)) & clear)),
        int(np.sum(~clear)),
        float((gap - (ours - objective(best))) / unit),
    )


def exact(x: np.ndarray, y: np.ndarray, penalty: float, w: np.ndarray) -> np.ndarray:
    """The minimiser on the support and with the signs of w, refined until it is right in extended precision.

    The infimum over more than it asks for, so that its objective is at most the least one if the support has that one's.
    """
    active = np.flatnonzero(w)
    columns = x[:, active].astype(np.longdouble)
    signs = np.sign(w[active])
    factor = linalg.cho_factor(x[:, active].T @ x[:, active])
    refined = np.zeros(len(active), dtype=np.longdouble)
    for _ in range(6):
        left = columns.T @ (y - columns @ refined) - np.longdouble(penalty) * signs
        refined = refined + linalg.cho_solve(factor, left.astype(float))
    best = np.zeros(len(w), dtype=np.longdouble)
    best[active] = refined
    return best
