"""The certified Lasso at many penalties: the path of one problem, and of all prefixes of many prompts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.certified.descent import Descent
from jaxl2o.certified.homotopy import LARGEST, Homotopy, homotopy, largest_level
from jaxl2o.certified.lasso import Certified, certified
from jaxl2o.certified.method import Method
from jaxl2o.certified.problem import Fraction, Problem, Scaling, check_magnitudes, problem
from jaxl2o.certified.standard import standardised
from jaxl2o.types import ScalarLike

# scikit-learn's: 100 penalties in equal ratios, from the smallest one whose answer is zero down to a thousandth of it
GRID = Fraction(np.geomspace(1.0, 1e-3, 100))

# so many prompts walk together: their tableaus stay in the cache, and few wait for the one with the most breakpoints
TOGETHER = 256


class Path(NamedTuple):
    """At k penalties, in the caller's order and scaling: answers, duality gaps, whether those are as asked, and the steps."""

    penalties: Float[Array, "*many k"]
    solutions: Float[Array, "*many k d"]
    gaps: Float[Array, "*many k"]
    converged: Bool[Array, "*many k"]
    steps: Int[Array, "*many k"]


def certified_path(
    given: Problem,
    levels: Array | Fraction = GRID,
    method: Method | None = None,
    tolerance: ScalarLike = 1e-8,
    max_steps: int = 100_000,
) -> Path:
    """`certified` for the problem with its penalties (a, b) times each of k levels; its ridge stays.

    levels: (k,), > 0, in any order, or `Fraction` of the smallest one whose answer is zero.  `Homotopy` walks once, and its
    `finish` certifies all answers, and mends those that need it; any other method goes from the largest level to the
    smallest, each from the answer before. None is `Homotopy` where it can be, up to 64 columns, and else `Descent`.
    steps: for `Homotopy` the breakpoints before the answer, and those of the finish.
    Pure, and differentiable in the problem and the levels; vmap it over problems.
    """
    if isinstance(levels, Fraction):
        top = largest_level(given)
        levels = jnp.asarray(levels.of_largest, dtype=given.x.dtype) * jnp.where(top > 0.0, top, 1.0)

    def at(level: Array, start: Array, method: Method) -> Certified:
        return certified(given.at(level), method, start, tolerance, max_steps)

    if method is None:
        method = Homotopy() if given.x.shape[1] <= LARGEST else Descent()
    if isinstance(method, Homotopy):
        finish = method.finish
        scaled, unit, label = lax.stop_gradient(standardised(given))
        solutions, breakpoints = homotopy(scaled, lax.stop_gradient(levels))
        answers = jax.vmap(lambda level, start: at(level, start, finish))(levels, solutions * (label / unit)[None])
        answers = answers._replace(steps=answers.steps + breakpoints)
    else:

        def descend(w: Array, level: Array) -> tuple[Array, Certified]:
            answer = at(level, w, method)
            return answer.solution, answer

        order = jnp.argsort(-levels)
        _, answers = lax.scan(descend, jnp.zeros_like(given.above), levels[order])
        answers = jax.tree.map(lambda leaf: leaf[jnp.argsort(order)], answers)
    return Path(levels, answers.solution, answers.gap, answers.converged, answers.steps)


_certified_path = jax.jit(certified_path, static_argnames=("method", "max_steps"))


def lasso_path(
    x: Any,
    y: Any,
    penalties: Any = GRID,
    *,
    ridge: ScalarLike = 0.0,
    weights: Any = None,
    nonnegative: bool = False,
    scaling: Scaling = "mean",
    method: Method | None = None,
    tolerance: float = 1e-8,
    max_steps: int = 100_000,
) -> Path:
    """Minimise 1/(2n) |X w - y|^2 + penalty sum_j weights_j |w_j| + ridge/2 |w|^2 at k penalties, with certificates.

    penalties: (k,), > 0, in any order, or `Fraction(shares)` of the smallest one whose answer is zero; 100 from 1 to .001 of
    that by default, as scikit-learn's `lasso_path`. `Path.penalties` has them as numbers.  method: `Homotopy` walks once
    through all; others go from the largest to the smallest, each from the answer before; None is the one up to 64 columns
    and `Descent` beyond.  All else is as in `lasso`: every answer has its gap, numbers are answered in float64, traced
    arguments in the dtype of JAX.

    Raises `ValueError` as `lasso` does, and for penalties that are no vector.
    """
    check_penalties(penalties)

    def run(solve: Callable[..., Path]) -> Path:
        given = problem(x, y, 1.0, ridge=ridge, weights=weights, nonnegative=nonnegative, scaling=scaling)
        count = max(given.x.shape[0], 1) if scaling == "mean" else 1
        path = solve(given, _as_levels(penalties), method, tolerance, max_steps)
        return path._replace(gaps=path.gaps / count)

    if not checks.concrete((x, y, penalties, ridge, weights)):
        return run(certified_path)
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, run(_certified_path))


def prefix_lassos(
    x: Any,
    y: Any,
    penalties: Any,
    *,
    method: Method | None = None,
    tolerance: float = 1e-8,
    max_steps: int = 100_000,
) -> Path:
    """The Lasso of every prefix of every prompt at every penalty: 1/(2i) |X_:i w - y_:i|^2 + penalty |w|_1 for i = 1..n.

    x: (B, n, d); y: (B, n).  penalties: (k,), > 0, in any order, or `Fraction(shares)` of each prefix's own largest.
    Returns a `Path` whose arrays have the axes (B, n) in front: solutions (B, n, k, d). It is the baseline of in-context
    learning, the Lasso after every example (Garg et al. 2022, arXiv 2208.01066: d = 20, penalties 1 to 1e-4). method
    is as in `lasso_path`.

    Numbers are answered in float64, as NumPy arrays; traced arguments in the dtype of JAX. A prefix whose labels are all
    zero is answered by zero, converged, with gap 0.

    Raises `ValueError` for shapes that do not fit, non-finite values, magnitudes beyond 1e+-100, and penalties that are not
    a vector of numbers above zero.
    """
    check_penalties(penalties)
    for name, values, axes in (("x", x, 3), ("y", y, 2)):
        checks.shape(name, values, (None,) * axes)
    checks.shape("y", y, np.shape(x)[:2])
    check_magnitudes(x, y)

    def run(solve: Callable[..., Path]) -> Path:
        prompts = jnp.asarray(x, dtype=float), jnp.asarray(y, dtype=float)
        return solve(*prompts, _as_levels(penalties), method, tolerance, max_steps)

    if not checks.concrete((x, y, penalties)):
        return run(_prefix_paths)
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, run(_compiled_prefix_paths))


def _prefix_paths(
    x: Float[Array, "B n d"],
    y: Float[Array, "B n"],
    levels: Array | Fraction,
    method: Method | None,
    tolerance: Any,
    max_steps: int,
) -> Path:
    """Prompts side by side, prefixes one after another: those of one length have about as many breakpoints."""
    n = y.shape[1]

    def prompt(data: tuple[Float[Array, "n d"], Float[Array, " n"]]) -> Path:
        x, y = data

        def prefix(length: Array) -> Path:
            used = jnp.arange(n) < length
            given = problem(jnp.where(used[:, None], x, 0.0), jnp.where(used, y, 0.0), 1.0, n_used=length)
            path = certified_path(given, levels, method, tolerance, max_steps)
            return path._replace(gaps=path.gaps / length)

        return lax.map(prefix, jnp.arange(1, n + 1))

    return lax.map(prompt, (x, y), batch_size=TOGETHER)


_compiled_prefix_paths = jax.jit(_prefix_paths, static_argnames=("method", "max_steps"))


def check_penalties(penalties: Any) -> None:
    """Refuse what is no vector of numbers above zero, in a `Fraction` or not."""
    values = penalties.of_largest if isinstance(penalties, Fraction) else penalties
    checks.shape("penalties", values, (None,))
    checks.require(np.size(values) > 0, "penalties has no number; give at least one.")
    checks.positive("penalties", values)


def _as_levels(penalties: Any) -> Any:
    """As a multiple of a problem with penalty 1, an absolute penalty is itself."""
    return penalties if isinstance(penalties, Fraction) else jnp.asarray(penalties, dtype=float)
