"""Recover a sparse signal from a user's own measurements, by any method."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxl2o import checks
from jaxl2o.methods import method_of
from jaxl2o.methods.method import Method, Named
from jaxl2o.types import Prompt


def recover(x: Any, y: Any, method: str | Method = "lasso") -> Float[np.ndarray, " d"]:
    """The coefficients w with y = X w, by a method, in the user's own units and dtype float64.

    x: (n, d) measurement matrix.  y: (n,) measurements.  method: a name in `methods.METHODS`, or a function of a Prompt: a
    solver of the library run by `unroll(..., keep="last")` with trained layers is one.

    The method sees columns of mean square 1 (as those of N(0, I) rows have) and labels of mean square 1; both scalings
    are undone. What a method minimises, a penalty or a norm, it minimises in the scaled coordinates. So
    recover(x, c y) = c recover(x, y), scaling a column of x divides its coefficient, and the order of the rows does not
    matter. Columns of zeros get the coefficient 0. n = 0 and y = 0 give zeros. Runs in float64. Methods that step have a scale
    of their own, besides, in which their step sizes serve every X: `methods.method.in_unit_steps`.

    To a Transformer among the models that ship the order of the rows and the signs of columns do matter. What ships was trained
    on columns of mean square 1 on average and on labels of the mean square of its card, which its method gives to these.

    Raises `ValueError` for shapes that do not fit, non-finite values, names that are not in `METHODS`, problems outside the
    range of a theorem or of a model that ships, and methods that diverge.
    """
    named = method_of(method) if isinstance(method, str) else Named("solver", "the caller's own", method)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    checks.shape("x", x, (None, None))
    checks.shape("y", y, (x.shape[0],))
    checks.finite("x", x)
    checks.finite("y", y)
    outside = named.outside(*x.shape)
    checks.require(outside is None, f"{outside}; take the method 'lasso', which is for any.")
    column, label = root_mean_square(x), root_mean_square(y)
    with jax.enable_x64(True):
        prompt = Prompt.of(x / np.where(column > 0, column, 1.0), y / (label if label > 0 else 1.0))
        solution = np.asarray(jax.jit(named.answer)(prompt), dtype=np.float64)
    checks.shape("the method's answer", solution, (x.shape[1],))
    checks.require(bool(np.all(np.isfinite(solution))), "the method diverged on these x and y; take another, such as 'lasso'.")
    return np.where(column > 0, solution * label / np.where(column > 0, column, 1.0), 0.0)


def root_mean_square(values: Float[np.ndarray, "n *rest"]) -> Float[np.ndarray, "*rest"]:
    """sqrt(mean of squares) over the first axis, whatever the scale; zero where there are no rows."""
    largest = np.max(np.abs(values), axis=0, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    return np.asarray(largest * np.sqrt(np.sum((values / safe) ** 2, axis=0) / max(len(values), 1)))
