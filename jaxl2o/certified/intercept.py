"""An intercept, and examples that count more or less: both are gone once rows are centred and scaled."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float


class Centred(NamedTuple):
    """sum_i c_i (<x_i, w> + b - y_i)^2 = |X w - Y|^2 at the best b, for rows X_i = sqrt(c_i) (x_i - mean), Y_i likewise.

    symbol      code      shape
    X           x         (n, d)
    Y           y         (n,)
    sum_i c_i   total     ()
    means       x_mean    (d,), zero without an intercept
                y_mean    (), zero without an intercept
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    total: Float[Array, ""]
    x_mean: Float[Array, " d"]
    y_mean: Float[Array, ""]

    def intercept(self, w: Any) -> Any:
        """b = y_mean - <x_mean, w>, for one w or for many, (..., d)."""
        return self.y_mean - w @ self.x_mean


def centred(x: Any, y: Any, counts: Any, intercept: bool) -> Centred:
    """The rows of x (n, d) and y (n,) by how much each counts, (n,) and >= 0 with a sum above zero: NumPy's, or JAX's.

    A count of zero leaves an example out, two is the same example twice. Without an intercept the means are taken as zero.
    """
    total = counts.sum()
    x_mean, y_mean = (counts @ x / total, counts @ y / total) if intercept else (0.0 * x[0], 0.0 * y[0])
    root = counts**0.5
    return Centred(_about(x, x_mean, root[:, None]), _about(y, y_mean, root), total, x_mean, y_mean)


def _about(values: Any, mean: Any, root: Any) -> Any:
    """root * (values - mean), but zero in columns that differ from their mean by rounding alone."""
    apart = root * (values - (mean[None] if values.ndim == 2 else mean))
    rounding = len(values) * np.finfo(apart.dtype).eps * abs(root * values).max(axis=0)
    kept = abs(apart).max(axis=0) > rounding
    return apart * (kept[None] if values.ndim == 2 else kept)
