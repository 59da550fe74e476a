"""What gradient flow makes of one layer of linear self-attention: where it starts, what it conserves, and where it ends.

The layer's matrix is a product, A = u U: u is the corner of its merged value and projection, U the block of its merged key and
query. The other blocks stay at zero, for the law of the components is even. Flow on any risk L(A) is

    u' = -<G, U>,   U' = -u G,   G = L'(A),   so that u^2 - |U|_F^2 stays as it was.

Zhang, Frei and Bartlett 2024 (arXiv:2306.09927) have the start and, for one component without noise, the end.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import ScalarLike


class Factors(NamedTuple):
    """value: (), u.  score: (d, d), U."""

    value: Float[Array, ""]
    score: Float[Array, "d d"]


def matrix_of(factors: Factors) -> Float[Array, "d d"]:
    """A = u U, of which `attention_risk` speaks."""
    return factors.value * factors.score


def conserved(factors: Factors) -> Float[Array, ""]:
    """u^2 - |U|_F^2, which gradient flow leaves as it is, whatever the risk."""
    return factors.value**2 - jnp.sum(factors.score**2)


def small_factors(root: Float[Array, "d d"], size: ScalarLike) -> Factors:
    """u = s, U = s T T' / |T T'|_F: the start, whose conserved quantity is zero.

    On the `attention_risk` of a mixture flow goes from here to the best matrix A* if the start's risk is below that of A = 0,
    as it is for small s, since <T T', Lam Sbar Lam> > 0 unless Sbar Lam T = 0. For then the risk, which never rises, keeps A
    from zero, |u| = |U|_F keeps u from zero with it, and a flow that rests where u is not zero rests where G is zero.

    symbol   code   shape
    T        root   (d, d), not zero
    s        size   (), > 0

    Raises `ValueError` for a size that is not positive, a root that is not square, and one that is zero.
    """
    checks.positive("size", size)
    checks.shape("root", root, root.shape[:1] * 2)
    score = root @ root.T
    norm = jnp.linalg.norm(score)
    checks.positive("the norm of root root'", norm)
    return Factors(jnp.asarray(size, score.dtype), size * score / norm)


def balanced_factors(matrix: Float[Array, "d d"]) -> Factors:
    """u = sqrt|A|_F, U = A / u: the end. Of all factors of A with u > 0, those whose conserved quantity is zero.

    For one component without noise A is Gamma^-1 of Zhang, Frei and Bartlett, and u = tr(Gamma^-2)^(1/4).

    Raises `ValueError` for A = 0, which has no such factors.
    """
    norm = jnp.linalg.norm(matrix)
    checks.positive("the norm of the matrix", norm)
    value = jnp.sqrt(norm)
    return Factors(value, matrix / value)
