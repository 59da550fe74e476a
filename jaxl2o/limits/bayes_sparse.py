"""What no estimate from the labels can beat in sparse recovery: the posterior mean; and least squares told the support."""

import math
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.limits.least_squares import minimum_norm
from jaxl2o.types import Prompt, design_matrix

MOST_SUPPORTS = 1_000_000  # each costs a small singular value decomposition


def exactly_sparse(d: int, sparsity: int, deviation: float) -> Callable[[Prompt], Float[Array, " d"]]:
    """E[beta | X, y] by the sum over all C(d, k) supports: of all estimates the one of least mean squared error.

    y = X beta + N(0, s^2 I); beta has k entries from N(0, 1), at places uniform among d. Given its support S, beta is
    Gaussian, so that

        E[beta | y] = sum_S p(S | y) E[beta | y, S],    p(S | y) proportional to p(y | S) = N(y; 0, X_S X_S' + s^2 I)

    (Larsson and Selen 2007, IEEE Transactions on Signal Processing 55). No examples give the prior's mean, zero.

    s = 0 is the limit s -> 0. There p(y | S) grows as exp(-|residual|^2 / 2 s^2) / s^(n - rank X_S). So the supports of
    least residual stay, and of these the ones of least rank, weighed by the density of y on the range of X_S; the mean of
    beta given S is the shortest that fits. For Gaussian X all supports stay while n <= k, and only the true one for n > k.

    Rounding counts as zero, for every s: a residual up to u (|y| + |X_S| |E[beta | y, S]|), and singular values of X_S up
    to u |X_S|, where u = 16 eps of the dtype. In float32, n = k + 1 examples may leave a second support that close.

    math        code                    shape
    k, s        sparsity, deviation     (), (); s in the labels' own units
    S           supports                (C(d, k), k)
    p(S | y)    weights                 (C(d, k),)

    Raises `ValueError` for a sparsity outside 0..d, for more than a million supports, and for a negative deviation.
    """
    checks.nonnegative("deviation", deviation)
    checks.require(0 <= sparsity <= d, f"sparsity is {sparsity}, but there are {d} coordinates; ask for 0 to {d}.")
    count = math.comb(d, sparsity)
    checks.require(
        count <= MOST_SUPPORTS, f"there are {count:.2g} supports of {sparsity} in {d}; at most {MOST_SUPPORTS:,} can be summed."
    )
    supports = np.array(list(combinations(range(d), sparsity)), dtype=np.int32).reshape(count, sparsity)

    def posterior_mean(prompt: Prompt) -> Float[Array, " d"]:
        x = design_matrix(prompt)
        checks.shape("x", x, (None, d))
        # a rotation of measurement space changes no weight: d + 1 rows hold all that X and y say of each other
        rotated = jnp.linalg.qr(jnp.column_stack([x, prompt.y]), mode="r")
        x, y = rotated[:, :d], rotated[:, d]
        # accelerators may multiply float32 in fewer digits, and the residuals would no longer be rounding
        with jax.default_matmul_precision("highest"):
            fits = jax.vmap(lambda support: _fit(x[:, support], y, deviation))(supports)
        weights = jax.nn.softmax(_log_evidence(fits, deviation))
        return jnp.zeros(d, x.dtype).at[supports].add(weights[:, None] * fits.mean)

    return posterior_mean


def least_squares_on(prompt: Prompt, support: Bool[Array, " d"]) -> Float[Array, " d"]:
    """argmin |X w - y| over the w that vanish outside the support; of several, the shortest. The oracle's answer.

    Without noise it is beta as soon as the columns of the support are independent.
    """
    columns = jnp.where(support, design_matrix(prompt), 0.0)
    return jnp.where(support, minimum_norm(prompt._replace(x=columns)), 0.0)


class Fit(NamedTuple):
    """What a support makes of the labels.

    mean: E[beta_S | y, S]; residual: the distance of y from the range of X_S, of dimension rank; energy: -2 log of the
    density of y's projection onto that range, up to a constant.
    """

    mean: Float[Array, " k"]
    residual: Float[Array, ""]
    rank: Int[Array, ""]
    energy: Float[Array, ""]


def _fit(x: Float[Array, "n k"], y: Float[Array, " n"], deviation: float) -> Fit:
    unit = 16 * jnp.finfo(x.dtype).eps
    left, size, right = jnp.linalg.svd(x, full_matrices=False)
    largest = jnp.max(size, initial=0.0)
    seen = size > unit * largest
    part = jnp.where(seen, left.T @ y, 0.0)
    variance = jnp.where(seen, size**2 + deviation**2, 1.0)
    mean = right.T @ (size * part / variance)
    residual = jnp.linalg.norm(y - left @ part)
    rounding = unit * (jnp.linalg.norm(y) + largest * jnp.linalg.norm(mean))
    energy = jnp.sum(jnp.log(variance) + part**2 / variance)
    return Fit(mean, jnp.where(residual > rounding, residual, 0.0), seen.sum(), energy)


def _log_evidence(fits: Fit, deviation: float) -> Float[Array, " supports"]:
    """log p(y | S) for stacked fits, up to a constant; outside the range of X_S the labels are noise alone."""
    if deviation == 0.0:
        best = fits.residual == jnp.min(fits.residual)
        best &= fits.rank == jnp.min(fits.rank, where=best, initial=fits.mean.shape[1])
        return jnp.where(best, -0.5 * fits.energy, -jnp.inf)
    return fits.rank * math.log(deviation) - 0.5 * (fits.energy + (fits.residual / deviation) ** 2)
