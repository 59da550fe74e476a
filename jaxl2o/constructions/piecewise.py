"""ReLU units that interpolate a curve linearly between knots, as parts of an MLP."""

import math
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


# Knots below stand where every cell errs alike: at equal steps c of a function whose derivative is about sqrt|f''|. Where a
# tail is cut off, the last knot is c / sqrt(2) from its end, so that the tail errs no more than a cell.


def hyperbolic_tangent(cells: int) -> Curve:
    """tanh z for all z, within 2.6 / cells^2: knots at equal steps of arcsin(tanh z), where tanh'' (dz)^2 = -2 tanh z."""
    step = math.pi / (cells + math.sqrt(2.0))
    values = jnp.sin((0.5 * math.pi - step / math.sqrt(2.0)) * jnp.linspace(-1.0, 1.0, cells + 1))
    return interpolant(jnp.arctanh(values), values)


def exponential(cells: int) -> Curve:
    """exp z for z <= 0, within 0.52 / cells^2, between 0 and 1, and exact at zero: knots at equal steps of exp(z / 2)."""
    step = 1.0 / (cells + math.sqrt(0.5))
    roots = jnp.linspace(math.sqrt(0.5) * step, 1.0, cells + 1)
    return interpolant(2.0 * jnp.log(roots), roots**2)


def reciprocal(cells: int, last: float) -> Curve:
    """1 / z for 1 <= z <= last, within (1 - 1 / sqrt(last))^2 / cells^2, never below: knots at equal steps of 1 / sqrt(z)."""
    roots = jnp.linspace(1.0, last**-0.5, cells + 1)
    return interpolant(roots**-2.0, roots**2)
