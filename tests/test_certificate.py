"""The duality gap bounds the true suboptimality: both are compared in rational arithmetic, in which nothing is rounded."""

from fractions import Fraction as Rational
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import Problem

# n, d, penalty as a share of the largest, ridge, w >= 0
SHAPES = {
    "tall": (12, 5, 0.1, 0.0, False),
    "wide": (6, 12, 0.05, 0.0, False),
    "elastic": (8, 10, 0.1, 0.5, False),
    "nonnegative": (10, 6, 0.02, 0.0, True),
    "weak": (12, 6, 0.001, 0.0, False),
}
DTYPES = {"float32": np.float32, "float64": np.float64}


def exact(values):
    """The rationals that floating-point numbers are."""
    return [exact(row) if np.ndim(row) else Rational(float(row)) for row in values]


def dot(a, b):
    """<a, b>."""
    return sum((p * q for p, q in zip(a, b, strict=True)), Rational(0))


def solved(matrix, rhs):
    """The solution of a square system, by elimination."""
    rows = [[*row, b] for row, b in zip(matrix, rhs, strict=True)]
    for k in range(len(rows)):
        pivot = next(i for i in range(k, len(rows)) if rows[i][k] != 0)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        rows = [row if i == k else [a - row[k] * b for a, b in zip(row, rows[k], strict=True)] for i, row in enumerate(rows)]
    return [row[-1] for row in rows]


class Exactly:
    """A problem in rational numbers."""

    def __init__(self, problem):
        """All of its numbers, as they are; bounds of infinity stay."""
        self.columns, self.y = exact(np.asarray(problem.x).T), exact(problem.y)
        self.above = exact(problem.above)
        self.below = [Rational(float(b)) if np.isfinite(b) else None for b in problem.below]
        self.ridge = exact(problem.ridge)

    def residual(self, w):
        """y - X w."""
        return [y - sum(c[i] * v for c, v in zip(self.columns, w, strict=True)) for i, y in enumerate(self.y)]

    def objective(self, w):
        """P(w)."""
        r = self.residual(w)
        costs = [v * a if v >= 0 else -v * b for v, a, b in zip(w, self.above, self.below, strict=True)]
        return dot(r, r) / 2 + sum(costs, Rational(0)) + sum(e * v * v for e, v in zip(self.ridge, w, strict=True)) / 2

    def best(self, near):
        """The minimiser, if it has the signs of `near`: stationary, signs kept, the other correlations within their bounds."""
        active = [j for j, v in enumerate(near) if v != 0]
        slope = [self.above[j] if near[j] > 0 else -self.below[j] for j in active]
        gram = [[dot(self.columns[i], self.columns[j]) + (self.ridge[i] if i == j else 0) for j in active] for i in active]
        values = solved(gram, [dot(self.columns[j], self.y) - s for j, s in zip(active, slope, strict=True)])
        w = [Rational(0)] * len(near)
        for j, v in zip(active, values, strict=True):
            w[j] = v
        correlations = [dot(c, self.residual(w)) for c in self.columns]
        assert all(v * np.sign(near[j]) > 0 for j, v in zip(active, values, strict=True))
        assert all(c <= a for j, (c, a) in enumerate(zip(correlations, self.above, strict=True)) if j not in active)
        assert all(
            b is None or -b <= c for j, (c, b) in enumerate(zip(correlations, self.below, strict=True)) if j not in active
        )
        return w


@cache
def example(name, dtype):
    """A problem in a dtype, its rational twin, and the least value of P."""
    n, d, share, ridge, nonnegative = SHAPES[name]
    rng = np.random.default_rng(len(name))
    x = rng.normal(size=(n, d)).astype(dtype)
    y = (x[:, :2].sum(axis=1) + 0.3 * rng.normal(size=n)).astype(dtype)
    penalty = np.full(d, share * np.max(np.abs(x.T @ y)), dtype=dtype)
    below = np.full(d, np.inf, dtype=dtype) if nonnegative else penalty
    problem = Problem(*map(jnp.asarray, (x, y, penalty, below, np.full(d, ridge, dtype=dtype))))
    twin = Exactly(problem)
    wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=jnp.float64), problem)
    best = twin.best(np.asarray(certified(wide, tolerance=1e-13).solution))
    return problem, twin, best, twin.objective(best)


GAP = jax.jit(duality_gap)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
@given(seed=st.integers(0, 2**31 - 1), exponent=st.floats(-18.0, 2.0))
def test_the_gap_bounds_the_suboptimality(name, dtype, seed, exponent):
    """P(w) - P* <= gap exactly, from far away to the last digit of the minimiser."""
    problem, twin, best, least = example(name, DTYPES[dtype])
    d = len(best)
    w = np.array([float(v) for v in best]) + 10.0**exponent * np.random.default_rng(seed).normal(size=d)
    w = (np.maximum(w, 0.0) if SHAPES[name][4] else w).astype(DTYPES[dtype])
    bound = float(GAP(problem, jnp.asarray(w)).bound)
    assert twin.objective(exact(w)) - least <= Rational(bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
def test_the_gap_is_hardly_more_than_rounding_at_the_minimiser(name, dtype):
    """At the rounded minimiser the relative gap is a few hundred units of rounding, most of it the allowance for rounding."""
    problem, _, best, _ = example(name, DTYPES[dtype])
    gap = GAP(problem, jnp.asarray([float(v) for v in best], dtype=DTYPES[dtype]))
    unit = np.finfo(DTYPES[dtype]).eps
    assert 0.0 < gap.rounding <= gap.bound <= 400.0 * unit * problem.at_zero
    assert gap.bound - gap.rounding <= 40.0 * unit * problem.at_zero
