"""ReLU units by what they add to the stream: linear maps, curves, squares and products. An MLP is the sum of such parts.

A part reads k numbers of a token, each a weighted sum of its slots, and writes into slots; slot `one` holds the constant 1.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.constructions.construction import Mlp
from jaxl2o.constructions.piecewise import Curve, square
from jaxl2o.models.layout import BlockMatrix, Layout
from jaxl2o.types import ScalarLike


def reading(at: Layout, **slots: Float[Array, "_ k"] | ScalarLike) -> Float[Array, "D k"]:
    """k numbers, z @ reading: the sum over slots of what each holds times its block; a number is a 1 x 1 block."""
    blocks = {slot: jnp.atleast_2d(jnp.asarray(block)) for slot, block in slots.items()}
    numbers = Layout((("numbers", max(block.shape[1] for block in blocks.values())),))
    return at.to(numbers, **{f"{slot}__numbers": block for slot, block in blocks.items()}).dense


def writing(at: Layout, **slots: Float[Array, "k _"] | ScalarLike) -> Float[Array, "k D"]:
    """What each of k numbers adds to the slots."""
    return reading(at, **{slot: jnp.atleast_2d(jnp.asarray(block)).T for slot, block in slots.items()}).T


def rectified(read: Float[Array, "D k"], write: Float[Array, "k D"]) -> Mlp:
    """relu(z read) write, by k units: every part is of this form."""
    width, units = (tuple(range(size)) for size in read.shape)
    return Mlp(BlockMatrix(read, width, units), BlockMatrix(write, units, width))


def beside(*parts: Mlp) -> Mlp:
    """The units of all parts, which add what each of them adds."""
    up = jnp.concatenate([part.up.dense for part in parts], axis=1)
    return rectified(up, jnp.concatenate([part.down.dense for part in parts]))


def sharing(first: Mlp, second: Mlp) -> Mlp:
    """What both add whose units read the same, as curves with the same knots of one number: the units of one write for both."""
    return rectified(first.up.dense, first.down.dense + second.down.dense)


def linear(read: Float[Array, "D k"], write: Float[Array, "k D"]) -> Mlp:
    """z read write, by 2k units: u = relu(u) - relu(-u)."""
    return rectified(jnp.concatenate([read, -read], axis=1), jnp.concatenate([write, -write]))


def cleared(at: Layout, *slots: str) -> Mlp:
    """Minus what these slots hold."""
    sizes = {slot: jnp.eye(at.slice(slot).stop - at.slice(slot).start) for slot in slots}
    return beside(*(linear(reading(at, **{slot: eye}), writing(at, **{slot: -eye})) for slot, eye in sizes.items()))


def bend(at: Layout, curve: Curve, read: Float[Array, "D k"], write: Float[Array, "k D"]) -> Mlp:
    """curve(z read) write, by as many units for each number as the curve has knots, and one unit for the level."""
    level = rectified(reading(at, one=1.0), curve.level * write.sum(axis=0, keepdims=True))
    return beside(_kinks(at, curve, read, write), level)


def squares(at: Layout, cells: int, read: Float[Array, "D k"], write: Float[Array, "k D"], limit: ScalarLike) -> Mlp:
    """(z read)^2 write for numbers within +-limit, by 2 cells units each: squares within limit^2 / (4 cells^2), never below."""
    # z^2 is even: units for z and for -z
    both, twice = jnp.concatenate([read, -read], axis=1), jnp.concatenate([write, write])
    return _kinks(at, square(cells, 1.0), both / limit, limit**2 * twice)


def products(
    at: Layout,
    cells: int,
    first: Float[Array, "D k"],
    second: Float[Array, "D k"],
    write: Float[Array, "k D"],
    limits: tuple[ScalarLike, ScalarLike],
) -> Mlp:
    """a b for the k pairs of numbers with |a| <= A and |b| <= B, the `limits`: within A B / (4 cells^2), and 0 for a = b = 0.

    a b = A B ((a / A + b / B)^2 - (a / A - b / B)^2) / 4, by 4 cells units each, for squares of numbers within +-2.
    """
    a, b = first / limits[0], second / limits[1]
    write = 0.25 * limits[0] * limits[1] * write
    return beside(squares(at, cells, a + b, write, 2.0), squares(at, cells, a - b, -write, 2.0))


def _kinks(at: Layout, curve: Curve, read: Float[Array, "D k"], write: Float[Array, "k D"]) -> Mlp:
    """The curve less its level."""
    knots, count = curve.knots.shape[0], read.shape[1]
    up = jnp.repeat(read, knots, axis=1) - reading(at, one=jnp.tile(curve.knots, count)[None])
    return rectified(up, jnp.repeat(write, knots, axis=0) * jnp.tile(curve.kinks, count)[:, None])
