"""The layers of one step of damped Newton for logistic regression: linear attention multiplies, ReLU MLPs bend."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxl2o.constructions.construction import Head, LayerSpec, Mlp
from jaxl2o.constructions.piecewise import Curve, interpolant
from jaxl2o.constructions.units import bend, beside, cleared, linear, products, reading, sharing, writing
from jaxl2o.models.layout import Layout
from jaxl2o.solvers.logistic import CURVATURE, damping, first_inverse
from jaxl2o.types import ScalarLike


class Cells(NamedTuple):
    """How many cells each curve has: the sigmoid and its derivative; the square, for products; the step size."""

    sigmoid: int
    square: int
    step: int


class Ranges(NamedTuple):
    """reach: the most |w|, and so |<x, w>|; slope: the most |g|; least_step: the least eta."""

    reach: ScalarLike
    slope: ScalarLike
    least_step: ScalarLike


def ranges(penalty: ScalarLike, radius: ScalarLike) -> Ranges:
    """Of points whose loss is at most the largest of a start with |w_0| <= radius: f_0 = log(1 + e^radius) + mu radius^2 / 2.

    There mu |w|^2 / 2 <= f_0, |g|^2 <= 2 (mu + 1/4) f_0, and lambda <= |g| / sqrt(mu).
    """
    loss = jax.nn.softplus(jnp.asarray(radius, dtype=float)) + 0.5 * penalty * radius**2
    slope = jnp.sqrt(2.0 * (penalty + CURVATURE) * loss)
    return Ranges(jnp.sqrt(2.0 * loss / penalty), slope, damping(slope / jnp.sqrt(penalty), penalty))


class Counting(NamedTuple):
    """Who divides by n. average: what sums over examples are multiplied by; share: the slot whose first coordinate takes
    <b, p> to lambda^2; largest: the most that |a| is, for products.
    """

    average: float
    share: str
    largest: float


def damped_newton_block(
    at: Layout, penalty: ScalarLike, inner_steps: int, cells: Cells, radius: ScalarLike, counting: Counting
) -> list[LayerSpec]:
    """The 6 + k layers of the table in `logistic.damped_newton`, in its order; the slots end as they began, but for w."""
    d = at.slice("a").stop
    identity, first = jnp.eye(d), jnp.eye(d)[:, :1]
    limits = ranges(penalty, radius)
    itself, everyone = at.matrix(e__e=identity), at.matrix(one__e=first.T)
    share = {"e": first, "share": 1.0}[counting.share]

    scores = Head(at.matrix(a__w=identity), at.matrix(e__s=first))
    hessian = Head(at.matrix(e__a=identity), at.matrix(p__b=counting.average * identity))
    begin = Head(itself, at.matrix(e__b=penalty * identity, e__v=first_inverse(penalty) * identity))
    inverse = (Head(at.matrix(v__b=identity), at.matrix(v__v=-identity)), Head(itself, at.matrix(v__v=identity)))
    gradient = (
        Head(at.matrix(one__q=1.0), at.matrix(a__p=counting.average * identity)),
        Head(everyone, at.matrix(w__p=penalty * identity)),
    )
    direction = (
        Head(at.matrix(p__e=identity), at.matrix(v__b=identity)),
        Head(itself, at.matrix(b__b=-identity, v__v=-identity)),
    )
    decrement = Head(at.matrix(b__p=identity), at.matrix(**{f"{counting.share}__s": share}))
    move = (Head(at.matrix(s__e=first.T), at.matrix(b__w=-identity)), Head(everyone, at.matrix(b__b=-identity)))

    weight, example, into = reading(at, s=jnp.ones((1, d))), reading(at, a=identity), writing(at, p=identity)
    weighted = products(at, cells.square, weight, example, into, (CURVATURE, counting.largest))
    eta = bend(at, _step_size(cells.step, penalty, limits.least_step), reading(at, s=1.0), writing(at, s=1.0))
    return [
        LayerSpec((scores,), beside(_sigmoids(at, cells.sigmoid, limits.reach), cleared(at, "s"))),
        LayerSpec((), beside(weighted, cleared(at, "s"))),
        LayerSpec((hessian, begin), cleared(at, "p")),
        LayerSpec((*inverse, *gradient)),
        *[LayerSpec(inverse)] * (inner_steps - 1),
        LayerSpec(direction),
        LayerSpec((decrement,), beside(eta, cleared(at, "s", "p"))),
        LayerSpec(move, cleared(at, "s", "q")),
    ]


def _sigmoids(at: Layout, cells: int, reach: ScalarLike) -> Mlp:
    """sigma'(s) into s, and sigma(s) - (y + 1)/2 into q."""
    knots, s = reach * jnp.linspace(-1.0, 1.0, cells + 1), reading(at, s=1.0)
    sigma = jax.nn.sigmoid(knots)
    derivative = bend(at, interpolant(knots, sigma * (1.0 - sigma)), s, writing(at, s=1.0))
    residual = bend(at, interpolant(knots, sigma - 0.5), s, writing(at, q=1.0))
    return beside(sharing(derivative, residual), linear(reading(at, y=1.0), writing(at, q=-0.5)))


def _step_size(cells: int, penalty: ScalarLike, least: ScalarLike) -> Curve:
    """lambda^2 -> eta, with knots at equal steps of eta."""
    eta = 1.0 - (1.0 - least) * jnp.arange(cells + 1) / cells
    return interpolant(4.0 * penalty * (1.0 / eta - 1.0) ** 2, eta)
