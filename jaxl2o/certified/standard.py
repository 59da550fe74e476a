"""The standard form of a problem: its data scaled by powers of two to at most 1, which rounds nothing and never overflows."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.certified.problem import Problem


def check_magnitudes(x: Any, y: Any) -> None:
    """Refuse data whose largest number is beyond 1e+-150, whose squares float64 could not hold."""
    for name, values in (("x", x), ("y", y)):
        top = float(np.max(np.abs(np.asarray(values, dtype=np.float64)), initial=0.0))
        fits = top == 0.0 or 1e-150 < top < 1e150 or not np.isfinite(top)
        checks.require(fits, f"{name} has numbers of size {top:.3g}; scale it to be between 1e-150 and 1e150.")


def standardised(given: Problem) -> tuple[Problem, Float[Array, " d"], Float[Array, ""]]:
    """The problem in w * unit / label, where X / unit and y / label are at most 1; as powers of two they round nothing."""

    def power(largest: Array) -> Array:
        return jnp.where(largest > 0.0, jnp.ldexp(jnp.ones_like(largest), jnp.frexp(largest)[1]), 1.0)

    unit = power(lax.stop_gradient(jnp.max(jnp.abs(given.x), axis=0, initial=0.0)))
    label = power(lax.stop_gradient(jnp.max(jnp.abs(given.y), initial=0.0)))
    penalty = unit * label
    x, y = given.x / unit[None], given.y / label
    return Problem(x, y, given.above / penalty, given.below / penalty, given.ridge / unit**2), unit, label
