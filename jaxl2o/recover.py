"""Recover a sparse signal from a user's own measurements, by any method."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import Fraction, prompt_problem
from jaxl2o.constructions.construction import Construction
from jaxl2o.constructions.first_order import conjugate_gradient
from jaxl2o.limits.least_squares import minimum_norm
from jaxl2o.models.learner import transformer_learner
from jaxl2o.pretrained import NAMES, load_pretrained
from jaxl2o.solvers.proximal import fista, penalty_max
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt, Solver, design_matrix

SHARE = 0.05  # the penalty of the Lasso's methods, over the least one that gives zero

Method = Callable[[Prompt], Float[Array, " d"]]


def lasso_at(fraction: float, tolerance: float = 1e-8, max_steps: int = 100_000) -> Method:
    """The Lasso with a fraction of the largest penalty of the prompt, solved to a relative duality gap of `tolerance`."""
    checks.positive("fraction", fraction)

    def solve(prompt: Prompt) -> Float[Array, " d"]:
        return certified(prompt_problem(prompt, Fraction(fraction)), tolerance=tolerance, max_steps=max_steps).solution

    return solve


def by_steps(solver: Callable[[Prompt], Solver], n_steps: int) -> Method:
    """The iterate of a prompt's solver after so many steps."""
    return lambda prompt: unroll(solver(prompt), prompt, n_steps, keep="last")


def by_theorem(construction: Callable[[int], Construction]) -> Method:
    """The Transformer that a theorem fills for the prompt's d, asked for the labels of the unit vectors: its coefficients."""

    def answer(prompt: Prompt) -> Float[Array, " d"]:
        d = design_matrix(prompt).shape[1]
        filled = construction(d)
        learner = transformer_learner(filled.config, filled.encoding)
        return learner.predict(filled.params, prompt._replace(x_query=jnp.eye(d, dtype=prompt.y.dtype)))[-1]

    return answer


def pretrained(name: str) -> Method:
    """The method of a model that ships, whose weights are read when it is first asked."""
    return lambda prompt: load_pretrained(name).method(prompt)


METHODS: dict[str, Method] = {
    "lasso": lasso_at(SHARE),
    "minimum_norm": minimum_norm,
    "fista": by_steps(lambda prompt: fista(SHARE * penalty_max(prompt)), 400),
    "conjugate_gradient": by_theorem(lambda d: conjugate_gradient(jnp.eye(d), depth=2 * d)),
    **{name: pretrained(name) for name in NAMES},
}


def recover(x: Any, y: Any, method: str | Method = "lasso") -> Float[np.ndarray, " d"]:
    """The coefficients w with y = X w, by a method, in the user's own units and dtype float64.

    x: (n, d) measurement matrix.  y: (n,) measurements.  method: a name in `METHODS`, or a function of a Prompt: a
    solver of the library run by `unroll(..., keep="last")` with trained layers is one.

    The method sees columns of mean square 1 (as those of N(0, I) rows have) and labels of mean square 1; both scalings
    are undone. What a method minimises, a penalty or a norm, it minimises in the scaled coordinates. So
    recover(x, c y) = c recover(x, y), scaling a column of x divides its coefficient, and the order of the rows does not
    matter. Columns of zeros get the coefficient 0. n = 0 and y = 0 give zeros. Runs in float64.

    To a Transformer among the models that ship the order of the rows and the signs of columns do matter. What ships was trained
    on columns of mean square 1 on average and on labels of the mean square of its card, which its method gives to these.

    Raises `ValueError` for shapes that do not fit, non-finite values, names that are not in `METHODS` and problems outside the
    range of a model that ships.
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
    column, label = root_mean_square(x), root_mean_square(y)
    with jax.enable_x64(True):
        prompt = Prompt.of(x / np.where(column > 0, column, 1.0), y / (label if label > 0 else 1.0))
        solution = np.asarray(jax.jit(method)(prompt), dtype=np.float64)
    checks.shape("the method's answer", solution, (x.shape[1],))
    checks.finite("the method's answer", solution)
    return np.where(column > 0, solution * label / np.where(column > 0, column, 1.0), 0.0)


def root_mean_square(values: Float[np.ndarray, "n *rest"]) -> Float[np.ndarray, "*rest"]:
    """sqrt(mean of squares) over the first axis, whatever the scale; zero where there are no rows."""
    largest = np.max(np.abs(values), axis=0, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    return np.asarray(largest * np.sqrt(np.sum((values / safe) ** 2, axis=0) / max(len(values), 1)))
