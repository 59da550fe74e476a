"""The standard form of a problem: its data scaled by powers of two to at most 1, which rounds nothing and never overflows."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o.certified.problem import Problem


def standardised(given: Problem) -> tuple[Problem, Float[Array, " d"], Float[Array, ""]]:
    """The problem in w * unit / label, where X / unit and y / label are at most 1; as powers of two they round nothing."""

    def power(largest: Array) -> Array:
        return jnp.where(largest > 0.0, jnp.ldexp(jnp.ones_like(largest), jnp.frexp(largest)[1]), 1.0)

    unit = power(lax.stop_gradient(jnp.max(jnp.abs(given.x), axis=0, initial=0.0)))
    label = power(lax.stop_gradient(jnp.max(jnp.abs(given.y), initial=0.0)))
    penalty = unit * label
    x, y = given.x / unit[None], given.y / label
    return Problem(x, y, given.above / penalty, given.below / penalty, given.ridge / unit**2), unit, label
