"""What the certified Lasso minimises: one form for l1, elastic net, weighted and non-negative problems."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Prompt, ScalarLike, design_matrix

# "half_sum": 1/2 |X w - y|^2 + penalty |w|_1 (signal processing); "mean": the squares divided by n (scikit-learn, this library)
Scaling = Literal["half_sum", "mean"]


# columns and labels whose largest number is smaller, or larger than its inverse, are refused: their squares have to be numbers
SMALLEST = 1e-100


class Fraction(NamedTuple):
    """A penalty as a share of the smallest one at which the answer is zero, whatever the scaling; or many, (k,), of a path."""

    of_largest: Any


class Problem(NamedTuple):
    """P(w) = 1/2 |X w - y|^2 + sum_j (a_j max(w_j, 0) + b_j max(-w_j, 0)) + 1/2 sum_j e_j w_j^2.

    a = b is the Lasso, weighted if they vary; e > 0 the elastic net; b = infinity is w >= 0; a_j = b_j = infinity leaves a
    column out. Rows of zeros change nothing, so unused examples may stay.

    symbol   code    shape
    X        x       (n, d)
    y        y       (n,)
    a        above   (d,), > 0
    b        below   (d,), > 0
    e        ridge   (d,), >= 0
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    above: Float[Array, " d"]
    below: Float[Array, " d"]
    ridge: Float[Array, " d"]

    @property
    def at_zero(self) -> Float[Array, ""]:
        """P(0) = |y|^2 / 2, the unit of relative gaps."""
        return 0.5 * self.y @ self.y

    def slope(self, w: Float[Array, " d"]) -> Float[Array, " d"]:
        """The derivative of the penalty where w_j is not zero, a_j or -b_j, and zero where it is; the ridge apart."""
        return jnp.where(w > 0.0, self.above, jnp.where(w < 0.0, -self.below, 0.0))

    def objective(self, w: Float[Array, " d"]) -> Float[Array, ""]:
        """P(w)."""
        r = self.residual(w)
        return 0.5 * r @ r + self.slope(w) @ w + 0.5 * self.ridge @ w**2

    def residual(self, w: Float[Array, " d"]) -> Float[Array, " n"]:
        """y - X w."""
        return self.y - self.x @ w

    def correlation(self, w: Float[Array, " d"]) -> Float[Array, " d"]:
        """X'(y - X w) - e w, minus the gradient of the smooth part: at the best w within [-b, a], and `slope` off zero."""
        return self.x.T @ self.residual(w) - self.ridge * w

    def at(self, level: ScalarLike) -> "Problem":
        """The problem with its penalties times a level; the ridge stays."""
        return self._replace(above=_times(self.above, level), below=_times(self.below, level))

    def proximal(self, u: Float[Array, " d"], size: Float[Array, "*d"]) -> Float[Array, " d"]:
        """argmin_w 1/2 |w - u|^2 + size * penalty(w): the soft threshold, on each side with its own."""
        return jnp.maximum(u - size * self.above, 0.0) - jnp.maximum(-u - size * self.below, 0.0)


def problem(
    x: Any,
    y: Any,
    penalty: ScalarLike | Fraction,
    *,
    ridge: ScalarLike = 0.0,
    weights: Any = None,
    nonnegative: bool = False,
    scaling: Scaling = "mean",
    n_used: ScalarLike | None = None,
) -> Problem:
    """The `Problem` that minimises, in scaling "mean",

        1/(2n) |X w - y|^2 + penalty sum_j weights_j |w_j| + ridge/2 |w|^2

    and in "half_sum" 1/2 |X w - y|^2 instead of the first term. scikit-learn's ElasticNet(alpha, l1_ratio) is
    penalty = alpha l1_ratio, ridge = alpha (1 - l1_ratio) in "mean".

    x: (n, d); y: (n,).  penalty: > 0, or `Fraction(share)`.  weights: (d,), > 0, of which infinity leaves a column out;
    None is 1.  nonnegative: w >= 0.  n_used: what "mean" divides by where rows of zeros pad the data; None is n.

    Raises `ValueError` for shapes that do not fit and, where values are concrete, for non-finite data, a penalty or
    weights that are not above zero (only an exact fit would have a certificate) and a ridge below zero.
    """
    check_problem(x, y, penalty, ridge, weights, scaling)
    x, y = jnp.asarray(x, dtype=float), jnp.asarray(y, dtype=float)
    n, d = x.shape
    weights = jnp.ones(d, dtype=x.dtype) if weights is None else jnp.asarray(weights, dtype=x.dtype)
    count = jnp.asarray(max(n, 1) if n_used is None else n_used, dtype=x.dtype) if scaling == "mean" else 1.0
    relative = isinstance(penalty, Fraction)
    level = penalty.of_largest * largest(x, y, weights, nonnegative) if relative else count * penalty
    above = _times(weights, level)
    below = jnp.full_like(above, jnp.inf) if nonnegative else above
    return Problem(x, y, above, below, jnp.full(d, count * ridge, dtype=x.dtype))


def _times(bounds: Float[Array, " d"], level: ScalarLike) -> Float[Array, " d"]:
    """bounds * level, whose derivative is zero, not NaN, where a bound is infinite."""
    finite = jnp.isfinite(bounds)
    return jnp.where(finite, jnp.where(finite, bounds, 0.0) * level, jnp.inf)


def check_problem(x: Any, y: Any, penalty: Any, ridge: Any, weights: Any, scaling: str) -> None:
    """Refuse what `problem` refuses: shapes always, values where they are concrete."""
    checks.require(scaling in ("mean", "half_sum"), f"scaling is {scaling!r}; it must be 'mean' or 'half_sum'.")
    checks.shape("x", x, (None, None))
    checks.shape("y", y, (np.shape(x)[0],))
    checks.require(np.shape(x)[1] > 0, "x has no columns; give at least one.")
    check_magnitudes(x, y)
    level = penalty.of_largest if isinstance(penalty, Fraction) else penalty
    checks.shape("penalty", level, ())
    checks.positive("penalty", level)
    checks.shape("ridge", ridge, ())
    checks.nonnegative("ridge", ridge)
    too_large = checks.concrete(ridge) and float(ridge) > SMALLEST**-2
    checks.require(not too_large, f"ridge is {ridge}; it must be at most {SMALLEST**-2:g}.")
    if weights is not None:
        checks.shape("weights", weights, (np.shape(x)[1],))
        if checks.concrete(weights):
            least = float(np.min(np.asarray(weights, dtype=np.float64), initial=np.inf))
            checks.require(least > 0.0, f"weights is {least:g} at its smallest; weights must be greater than zero.")


def prompt_problem(prompt: Prompt, penalty: ScalarLike | Fraction, **options: Any) -> Problem:
    """The `problem` of a prompt's used examples, in scaling "mean"."""
    return problem(design_matrix(prompt), prompt.y, penalty, n_used=prompt.n_used, **options)


def widened(value: Any) -> Any:
    """A number or array as float64 of NumPy, within a `Fraction` too; None stays."""
    if isinstance(value, Fraction):
        return Fraction(widened(value.of_largest))
    return None if value is None else np.asarray(value, dtype=np.float64)


def check_magnitudes(x: Any, y: Any) -> None:
    """Refuse, where they are concrete, numbers that are not finite, and columns of x (..., n, d) or y (..., n) off scale."""
    for name, values, axis in (("x", x, -2), ("y", y, -1)):
        checks.require(not np.iscomplexobj(values), f"{name} is complex; give real numbers.")
        masked = isinstance(values, np.ma.MaskedArray)
        checks.require(not masked, f"{name} is a masked array; leave out the examples that are masked, or fill them.")
        checks.finite(name, values)
        if checks.concrete(values):
            tops = np.max(np.abs(np.asarray(values, dtype=np.float64)), axis=axis, initial=0.0)
            beyond = np.atleast_1d(tops)[np.atleast_1d((tops > 0.0) & ((tops < SMALLEST) | (tops > 1.0 / SMALLEST)))]
            sizes = ", ".join(f"{top:.3g}" for top in beyond[:3])
            checks.require(
                len(beyond) == 0, f"{name} has a largest number of {sizes}; scale it to be between 1e-100 and 1e100, or zero."
            )


def largest(x: Float[Array, "n d"], y: Float[Array, " n"], weights: Float[Array, " d"], nonnegative: bool) -> Float[Array, ""]:
    """The smallest penalty, in "half_sum", whose answer is zero: max_j |x_j'y| / weights_j, over x_j'y > 0 if w >= 0.

    1 where zero is the answer at every penalty, so that a fraction of it is a penalty.
    """
    correlation = x.T @ y
    top = jnp.max((correlation if nonnegative else jnp.abs(correlation)) / weights, initial=0.0)
    return jnp.where(top > 0.0, top, 1.0)
