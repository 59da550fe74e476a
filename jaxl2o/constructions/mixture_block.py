"""The layers of one step of gradient EM: ReLU attention averages over examples, MLPs compute which component each is of."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.constructions.construction import Head, LayerSpec, Mlp
from jaxl2o.constructions.piecewise import exponential, hyperbolic_tangent, reciprocal
from jaxl2o.constructions.units import bend, beside, cleared, linear, products, reading, rectified, squares, writing
from jaxl2o.models.layout import BlockMatrix, Layout
from jaxl2o.types import ScalarLike


class Limits(NamedTuple):
    """What is taken for granted of a prompt: |x_i| <= x, queries among them, |y_i| <= y, and |b| <= iterate, in every step.

    For x ~ N(0, I), |b_k| = 1 and noise sigma, x = sqrt(d) + t and y = sqrt(1 + sigma^2) t with t = sqrt(2 log(3 n / f)) hold
    for all of n examples but for a probability f.
    """

    x: ScalarLike
    y: ScalarLike
    iterate: ScalarLike


def both_signs(score: BlockMatrix, write: BlockMatrix) -> tuple[Head, Head]:
    """Two ReLU heads that are one linear head: relu(u) - relu(-u) = u."""
    return Head(score, write), Head(-score, -write)


def symmetric_block(
    at: Layout, weight: ScalarLike, noise: ScalarLike, step_size: ScalarLike, inner_steps: int, cells: int, limits: Limits
) -> list[LayerSpec]:
    """The 3 + L layers of `symmetric_expectation_maximisation`, in the order of its table; slot u ends as it began."""
    identity = jnp.eye(at.slice("b").stop - at.slice("b").start)
    number, label, into, clear = reading(at, u=1.0), reading(at, y=1.0), writing(at, u=1.0), cleared(at, "u")
    odds = 0.5 * (jnp.log(weight) - jnp.log1p(-weight))
    argument = reading(at, u=noise**-2.0, one=odds)

    def times_label(limit: ScalarLike) -> LayerSpec:
        return LayerSpec((), beside(products(at, cells, number, label, into, (limit, limits.y)), clear))

    score = both_signs(at.matrix(x__b=identity), at.matrix(one__u=1.0))
    descent = both_signs(at.matrix(b__x=identity, one__u=-1.0), at.matrix(x__b=-step_size * identity))
    return [
        times_label(limits.x * limits.iterate)._replace(heads=score),
        LayerSpec((), beside(bend(at, hyperbolic_tangent(cells), argument, into), clear)),
        times_label(1.0),
        *[LayerSpec(descent)] * (inner_steps - 1),
        LayerSpec(descent, clear),
    ]


def mixture_block(
    at: Layout,
    weights: Float[Array, " K"],
    noise: ScalarLike,
    step_size: ScalarLike,
    inner_steps: int,
    cells: int,
    limits: Limits,
    at_once: int,
) -> list[LayerSpec]:
    """The layers of `expectation_maximisation`, in the order of its table; slots s, p, m and r end as they began."""
    count, d = weights.shape[0], at.slice("x").stop
    identity, components = jnp.eye(d), jnp.eye(count)
    groups = [components[first : first + at_once] for first in range(0, count, at_once)]

    def score(group: Float[Array, "k K"]) -> tuple[Head, ...]:
        pairs = [(at.matrix(x__b=jnp.kron(one[None], identity)), at.matrix(one__s=one[None])) for one in group]
        return tuple(head for pair in pairs for head in both_signs(*pair))

    def descent(group: Float[Array, "k K"]) -> tuple[Head, ...]:
        residuals = [at.matrix(b__x=jnp.kron(one[:, None], identity), one__y=-1.0) for one in group]
        writes = [at.matrix(p__b=-step_size * jnp.kron(jnp.diag(one), identity)) for one in group]
        return tuple(head for pair in zip(residuals, writes, strict=True) for head in both_signs(*pair))

    def log_density(group: Float[Array, "k K"]) -> Mlp:
        residual = reading(at, y=jnp.ones((1, group.shape[0])), s=-group.T)
        square = writing(at, s=-0.5 * noise**-2.0 * group)
        return beside(
            squares(at, cells, residual, square, limits.y + limits.x * limits.iterate),
            rectified(reading(at, one=1.0), writing(at, s=jnp.log(weights)[None] * group.sum(axis=0, keepdims=True))),
            linear(reading(at, s=group.T), writing(at, s=-group)),
        )

    own, into, largest = reading(at, s=components), writing(at, s=components), writing(at, m=1.0)
    density = bend(at, exponential(cells), reading(at, s=components, m=-jnp.ones((1, count))), into)
    share = bend(at, reciprocal(cells, float(count)), reading(at, s=jnp.ones((count, 1))), writing(at, r=1.0))
    posterior = products(at, cells, own, reading(at, r=jnp.ones((1, count))), into, (1.0, 1.0))
    # a posterior is at most 1 but for the error of its product
    weighted = products(
        at,
        cells,
        reading(at, s=jnp.kron(components, jnp.ones((1, d)))),
        reading(at, x=jnp.kron(jnp.ones((1, count)), identity)),
        writing(at, p=jnp.eye(count * d)),
        (1.0 + 0.25 / cells**2, limits.x),
    )
    descents = [LayerSpec(descent(group)) for group in groups for _ in range(inner_steps)]
    return [
        *[LayerSpec(score(group), log_density(group)) for group in groups],
        LayerSpec((), linear(reading(at, s=components[:, :1]), largest)),
        *[LayerSpec((), rectified(reading(at, s=one[:, None], m=-1.0), largest)) for one in components[1:]],
        LayerSpec((), beside(density, cleared(at, "s", "m"))),
        LayerSpec((), share),
        LayerSpec((), beside(posterior, cleared(at, "s", "r"))),
        LayerSpec((), beside(weighted, cleared(at, "s"))),
        *descents[:-1],
        descents[-1]._replace(mlp=cleared(at, "p")),
    ]
