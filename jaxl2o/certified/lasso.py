"""The certified Lasso: any method, from any start, and a duality gap that proves how close the answer is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.derivative import with_derivative
from jaxl2o.certified.descent import Descent
from jaxl2o.certified.method import Method
from jaxl2o.certified.problem import Fraction, Problem, Scaling, check_problem, problem, widened
from jaxl2o.certified.standard import standardised
from jaxl2o.types import Prompt, ScalarLike

# where an answer may come from before it is finished: an iterate, or what makes one of a prompt, such as a learned solver
Start = Array | np.ndarray | Callable[[Prompt], Array]


class Certified(NamedTuple):
    """An answer (d,), its duality gap, whether that is as small as asked, the steps, and the first gaps, if asked for."""

    solution: Float[Array, " d"]
    gap: Float[Array, ""]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]
    history: Float[Array, " checks"] | None


def certified(
    given: Problem,
    method: Method = Descent(),
    start: Float[Array, " d"] | None = None,
    tolerance: ScalarLike = 1e-8,
    max_steps: int = 100_000,
    history: int = 0,
) -> Certified:
    """The minimiser of P by a method, with its gap: at most tolerance * P(0), or `converged` is false.

    The gap is that of the solution returned, in "half_sum", with all products at the highest precision of the device.
    Pure, and differentiable in the problem in both modes; vmap it over problems. A start that is not finite, or no better
    than zero, is replaced by zero. All is done on columns and labels that are scaled by powers of two to at most 1, so
    that no scale of the data under- or overflows.
    """
    check_run(method, tolerance, max_steps, history)
    with jax.default_matmul_precision("highest"):
        scaled, unit, label = standardised(given)
        frozen = lax.stop_gradient(scaled)
        zero = jnp.zeros_like(scaled.above)
        first = zero
        if start is not None:
            first = lax.stop_gradient(jnp.asarray(start, dtype=zero.dtype) * unit / label)
            first = jnp.where(frozen.objective(first) < frozen.at_zero, first, zero)
        limit = jnp.asarray(tolerance * frozen.at_zero, dtype=zero.dtype)
        # a method's own gap may lack rounding: it is given nine tenths of the limit
        run = method(frozen, first, 0.9 * limit, max_steps, history)
        solution = with_derivative(scaled, lax.stop_gradient(run.solution))
        gap = duality_gap(frozen, lax.stop_gradient(solution)).bound
    in_units = times(times(gap, label), label)
    seen = None if run.history is None else times(times(run.history, label), label)
    return Certified(solution * label / unit, in_units, (gap <= limit) & jnp.isfinite(in_units), run.steps, seen)


def times(gap: Float[Array, "*checks"], unit: ScalarLike) -> Float[Array, "*checks"]:
    """gap * unit, which is not rounded to zero."""
    return jnp.where(gap > 0.0, jnp.maximum(gap * unit, jnp.finfo(gap.dtype).tiny), gap)


def check_run(method: Any, tolerance: Any, max_steps: Any, history: Any = 0) -> None:
    """Refuse what no run can be made of."""
    is_method = callable(method) and not isinstance(method, type)
    checks.require(is_method, f"method is {method!r}; it must be one such as Descent(), Fista() or Homotopy().")
    checks.shape("tolerance", tolerance, ())
    checks.nonnegative("tolerance", tolerance)
    for name, value in (("max_steps", max_steps), ("history", history)):
        whole = isinstance(value, int | np.integer) and bool(value >= 0)
        checks.require(whole, f"{name} is {value!r}; it must be a whole number of at least 0.")


def lasso(
    x: Any,
    y: Any,
    penalty: ScalarLike | Fraction,
    *,
    ridge: ScalarLike = 0.0,
    weights: Any = None,
    nonnegative: bool = False,
    scaling: Scaling = "mean",
    method: Method = Descent(),
    start: Start | None = None,
    tolerance: float = 1e-8,
    max_steps: int = 100_000,
    history: int = 0,
) -> Certified:
    """Minimise 1/(2n) |X w - y|^2 + penalty sum_j weights_j |w_j| + ridge/2 |w|^2, with a certificate.

    x: (n, d); y: (n,).  penalty: > 0, or `Fraction(share)` of the smallest one whose answer is zero.  scaling: "half_sum"
    for 1/2 |X w - y|^2 in place of the mean.  weights: (d,), > 0.  nonnegative: w >= 0.  method: `Descent`, `Fista`,
    `Homotopy`.  start: an iterate (d,), or a function of a `Prompt` that makes one, such as a learned solver run by
    `unroll(..., keep="last")`: the method finishes what it brings.  history: how many gaps to keep.

    gap >= P(w) - P*, in the scaling and the units that were asked; `converged` says that it is at most tolerance * P(0),
    P(0) = |y|^2 / (2n) or |y|^2 / 2. Numbers are answered in float64, as NumPy arrays, whatever JAX's default precision is.
    Under `jit`, `vmap` and `grad` the answer is traced, in the dtype of JAX, and the gap has the rounding of that dtype
    added: in float32 no more than about 1e-5 P(0) can be certified, so ask for that. n = 0 and y = 0 give zero.

    Raises `ValueError` for shapes that do not fit, non-finite values, columns or labels whose largest number is beyond
    1e+-100, and a penalty or weights that are not above zero: at zero only an exact fit would have a certificate.
    """
    options = (nonnegative, scaling, method, tolerance, max_steps, history)
    numbers = (x, y, penalty, ridge, weights)
    if not checks.concrete((numbers, None if callable(start) else start)):
        return _solve(*numbers, start(Prompt.of(x, y)) if callable(start) else start, *options)
    check_problem(*numbers, scaling)
    check_run(method, tolerance, max_steps, history)
    with jax.enable_x64(True):
        wide = tuple(map(widened, numbers))
        first = start(Prompt.of(x, y)) if callable(start) else start
        if first is not None:
            checks.shape("start", first, (np.shape(x)[1],))
        return jax.tree.map(np.asarray, _compiled(*wide, first, *options))


def _solve(
    x: Any,
    y: Any,
    penalty: ScalarLike | Fraction,
    ridge: ScalarLike,
    weights: Any,
    start: Any,
    nonnegative: bool,
    scaling: Scaling,
    method: Method,
    tolerance: ScalarLike,
    max_steps: int,
    history: int,
) -> Certified:
    given = problem(x, y, penalty, ridge=ridge, weights=weights, nonnegative=nonnegative, scaling=scaling)
    answer = certified(given, method, start, tolerance, max_steps, history)
    share = 1.0 / max(given.x.shape[0], 1) if scaling == "mean" else 1.0
    seen = None if answer.history is None else times(answer.history, share)
    return answer._replace(gap=times(answer.gap, share), history=seen)


_compiled = jax.jit(_solve, static_argnames=("nonnegative", "scaling", "method", "max_steps", "history"))
