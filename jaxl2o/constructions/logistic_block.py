"""The layers of one step of damped Newton for logistic regression: linear attention multiplies, ReLU MLPs bend."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.constructions.construction import Head, LayerSpec, Mlp
from jaxl2o.constructions.piecewise import interpolant, square
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
    <b, p> to lambda^2; gain: what makes examples as large as numbers up to one, in products.
    """

    average: float
    share: str
    gain: float


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
    return [
        LayerSpec((scores,), _sigmoids(at, cells.sigmoid, limits.reach)),
        LayerSpec((), _products(at, cells.square, counting.gain)),
        LayerSpec((hessian, begin), _cleared(at, "p")),
        LayerSpec((*inverse, *gradient)),
        *[LayerSpec(inverse)] * (inner_steps - 1),
        LayerSpec(direction),
        LayerSpec((decrement,), _step_size(at, cells.step, penalty, limits.least_step)),
        LayerSpec(move, _cleared(at, "s", "q")),
    ]


def _sigmoids(at: Layout, cells: int, reach: ScalarLike) -> Mlp:
    """sigma'(s) into s, and sigma(s) - (y + 1)/2 into q."""
    knots = reach * jnp.linspace(-1.0, 1.0, cells + 1)
    sigma = jax.nn.sigmoid(knots)
    derivative, share = interpolant(knots, sigma * (1.0 - sigma)), interpolant(knots, sigma)
    units = Layout((("curve", cells + 1), ("one", 1), ("s", 1), ("minus_s", 1), ("y", 1), ("minus_y", 1)))
    up = at.to(units, **_curve_of_s(knots), y__y=1.0, y__minus_y=-1.0)
    down = units.to(
        at,
        curve__s=derivative.kinks[:, None],
        one__s=derivative.level,
        s__s=-1.0,
        minus_s__s=1.0,
        curve__q=share.kinks[:, None],
        one__q=share.level - 0.5,
        y__q=-0.5,
        minus_y__q=0.5,
    )
    return Mlp(up, down)


def _curve_of_s(knots: Float[Array, " K"]) -> dict[str, Float[Array, "_ _"] | float]:
    """What units read that bend at these knots of s, that are one, and that are s and -s, to clear it."""
    return {
        "s__curve": jnp.ones((1, knots.shape[0])),
        "one__curve": -knots[None],
        "one__one": 1.0,
        "s__s": 1.0,
        "s__minus_s": -1.0,
    }


def _products(at: Layout, cells: int, gain: float) -> Mlp:
    """s a into p, and s is cleared: s a = ((s + gain a)^2 - (s - gain a)^2) / (4 gain), for |s| <= 1/4 and |gain a| <= 1."""
    d = at.slice("a").stop
    curve, every = square(cells, CURVATURE + 1.0), jnp.ones((1, d * cells))
    each, read = jnp.kron(jnp.eye(d), jnp.ones((1, cells))), jnp.kron(jnp.eye(d), curve.kinks[:, None]) / (4.0 * gain)
    # z^2 is even: units for z and for -z
    sides = {"sum": (1.0, 1.0), "minus_sum": (-1.0, -1.0), "difference": (1.0, -1.0), "minus_difference": (-1.0, 1.0)}
    units = Layout((*((name, d * cells) for name in sides), ("s", 1), ("minus_s", 1)))
    up = at.to(
        units,
        **{f"s__{name}": of_s * every for name, (of_s, _) in sides.items()},
        **{f"a__{name}": of_a * gain * each for name, (_, of_a) in sides.items()},
        **{f"one__{name}": -jnp.tile(curve.knots, d)[None] for name in sides},
        s__s=1.0,
        s__minus_s=-1.0,
    )
    down = units.to(at, **{f"{name}__p": a * b * read for name, (a, b) in sides.items()}, s__s=-1.0, minus_s__s=1.0)
    return Mlp(up, down)


def _step_size(at: Layout, cells: int, penalty: ScalarLike, least: ScalarLike) -> Mlp:
    """eta(s) into s, for s = lambda^2, with knots at equal steps of eta; p is cleared."""
    eta = 1.0 - (1.0 - least) * jnp.arange(cells + 1) / cells
    curve = interpolant(4.0 * penalty * (1.0 / eta - 1.0) ** 2, eta)
    d = at.slice("p").stop - at.slice("p").start
    units = Layout((("curve", cells + 1), ("one", 1), ("s", 1), ("minus_s", 1), ("p", d), ("minus_p", d)))
    up = at.to(units, **_curve_of_s(curve.knots), p__p=jnp.eye(d), p__minus_p=-jnp.eye(d))
    down = units.to(
        at,
        curve__s=curve.kinks[:, None],
        one__s=curve.level,
        s__s=-1.0,
        minus_s__s=1.0,
        p__p=-jnp.eye(d),
        minus_p__p=jnp.eye(d),
    )
    return Mlp(up, down)


def _cleared(at: Layout, *slots: str) -> Mlp:
    """Minus what these slots hold: x - relu(x) + relu(-x) = 0."""
    sizes = {name: at.slice(name).stop - at.slice(name).start for name in slots}
    units = Layout(tuple((sign + name, size) for name, size in sizes.items() for sign in ("", "minus_")))
    up = {
        f"{name}__{sign}{name}": unit * jnp.eye(sizes[name]) for name in slots for sign, unit in (("", 1.0), ("minus_", -1.0))
    }
    down = {
        f"{sign}{name}__{name}": -unit * jnp.eye(sizes[name]) for name in slots for sign, unit in (("", 1.0), ("minus_", -1.0))
    }
    return Mlp(at.to(units, **up), units.to(at, **down))
