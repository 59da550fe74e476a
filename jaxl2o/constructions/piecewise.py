"""ReLU units that interpolate a curve linearly between knots, as parts of an MLP."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks


class Curve(NamedTuple):
    """z -> level + sum_k kinks_k relu(z - knots_k): constant before the first knot and after the last, linear between."""

    knots: Float[Array, " K"]
    level: Float[Array, ""]
    kinks: Float[Array, " K"]


def interpolant(knots: Float[Array, " K"], values: Float[Array, " K"]) -> Curve:
    """The curve through these values at these knots, which ascend.

    Where f'' is at most B and cells are h wide it is within B h^2 / 8 of f.
    """
    checks.shape("values", values, knots.shape)
    slopes = jnp.diff(values) / jnp.diff(knots)
    return Curve(knots, values[0], jnp.diff(slopes, prepend=0.0, append=0.0))


def square(cells: int, reach: float) -> Curve:
    """z^2 for 0 <= z <= reach, to be summed over z and -z: within (reach / cells)^2 / 4, never below, and exact at zero.

    After the last knot it goes on straight, since no z is beyond.
    """
    width = reach / cells
    return Curve(width * jnp.arange(cells), jnp.zeros(()), width * jnp.full(cells, 2.0).at[0].set(1.0))
