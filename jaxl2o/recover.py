"""Recover a sparse signal from a user's own measurements, by any method."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import Fraction, prompt_problem
from jaxl2o.limits.least_squares import minimum_norm
from jaxl2o.types import Prompt

Method = Callable[[Prompt], Float[Array, " d"]]


def lasso_at(fraction: float, tolerance: float = 1e-8, max_steps: int = 100_000) -> Method:
    """The Lasso with a fraction of the largest penalty of the prompt, solved to a relative duality gap of `tolerance`."""
    checks.positive("fraction", fraction)

    def solve(prompt: Prompt) -> Float[Array, " d"]:
        return certified(prompt_problem(prompt, Fraction(fraction)), tolerance=tolerance, max_steps=max_steps).solution

    return solve


METHODS: dict[str, Method] = {"lasso": lasso_at(0.05), "minimum_norm": minimum_norm}


def recover(x: Any, y: Any, method: str | Method = "lasso") -> Float[np.ndarray, " d"]:
    """The coefficients w with y = X w, by a method, in the user's own units and dtype float64.

    x: (n, d) measurement matrix.  y: (n,) measurements.  method: a name in `METHODS`, or a function of a Prompt: a
    solver of the library run by `unroll(..., keep="last")` with trained layers is one.

    The method sees columns of mean square 1 (as those of N(0, I) rows have) and labels of mean square 1; both scalings
    are undone. What a method minimises, a penalty or a norm, it minimises in the scaled coordinates. So
    recover(x, c y) = c recover(x, y), scaling a column of x divides its coefficient, and the order of the rows does not
    matter. Columns of zeros get the coefficient 0. n = 0 and y = 0 give zeros. Runs in float64.

    Raises `ValueError` for shapes that do not fit, non-finite values and names that are not in `METHODS`.
    """
    if isinstance(method, str):
        checks.require(
            method in METHODS, f"there is no method {method!r}; choose one of {', '.join(METHODS)}, or pass a function."
        )
        method = METHODS[method]
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    checks.shape("x", x, (None, None))
    checks.shape("y", y, (x.shape[0],))
    checks.finite("x", x)
    checks.finite("y", y)
    column = _root_mean_square(x)
    label = _root_mean_square(y)
    with jax.enable_x64(True):
        prompt = Prompt.of(x / np.where(column > 0, column, 1.0), y / (label if label > 0 else 1.0))
        solution = np.asarray(jax.jit(method)(prompt), dtype=np.float64)
    checks.shape("the method's answer", solution, (x.shape[1],))
    checks.finite("the method's answer", solution)
    return np.where(column > 0, solution * label / np.where(column > 0, column, 1.0), 0.0)


def _root_mean_square(values: Float[np.ndarray, "n *rest"]) -> Float[np.ndarray, "*rest"]:
    largest = np.max(np.abs(values), axis=0, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    return np.asarray(largest * np.sqrt(np.sum((values / safe) ** 2, axis=0) / max(len(values), 1)))
