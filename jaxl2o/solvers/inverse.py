"""Inverses by products alone: Newton-Schulz, and the iterations of every order, for any matrix and its pseudo-inverse."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import ScalarLike

# matrix -> V_0, the inverse to begin with
Start = Callable[[Float[Array, "n d"]], Float[Array, "d n"]]


def inverse_step(inverse: Float[Array, "d n"], matrix: Float[Array, "n d"], order: int = 2) -> Float[Array, "d n"]:
    """V <- V (I + E + ... + E^(p-1)) with E = I - A V, after which I - A V is E^p: convergence of order p.

    So I - A V_t = (I - A V_0)^(p^t), and from V_0 = c A' with 0 < c < 2 / |A|^2 the steps tend to A^-1, or to the
    pseudo-inverse. p = 2 is Newton-Schulz, V <- 2V - V A V, and p = 3 is Chebyshev's, V <- V (3I - 3 A V + (A V)^2); all are
    V sum_{m<p} (-1)^m C(p, m+1) (A V)^m (Li and Li 2010; Giannou et al. 2024, arXiv:2403.03183, equation 3.4). A step of
    order p costs 2 (p - 1) products, and no division.

    paper   code      shape
    A       matrix    (n, d)
    X       inverse   (d, n)
    p       order     (), >= 2
    """
    better = inverse
    for _ in range(order - 1):
        better = inverse + better - better @ matrix @ inverse
    return better


def inverse_by_steps(matrix: Float[Array, "n d"], start: Start, n_steps: int, order: int = 2) -> Float[Array, "d n"]:
    """V after `n_steps` of `inverse_step`, from `start(matrix)`."""

    def step(inverse: Float[Array, "d n"], _: None) -> tuple[Float[Array, "d n"], None]:
        return inverse_step(inverse, matrix, order), None

    return lax.scan(step, start(matrix), length=n_steps)[0]


def transposed(scale: ScalarLike) -> Start:
    """V_0 = scale A', with one number for all matrices, as a Transformer needs it; 0 < scale < 2 / |A|^2 converges."""
    checks.positive("scale", scale)
    return lambda matrix: scale * matrix.T


def diagonal(scale: ScalarLike) -> Start:
    """V_0 = scale I, for symmetric positive definite A; 0 < scale < 2 / |A| converges."""
    checks.positive("scale", scale)
    return lambda matrix: scale * jnp.eye(matrix.shape[0], dtype=matrix.dtype)


def over_norm(matrix: Float[Array, "n d"]) -> Float[Array, "d n"]:
    """V_0 = A' / |A|_F^2, which converges for every matrix; zero for zero."""
    return _over(matrix, jnp.sum(matrix**2))


def over_spectrum(matrix: Float[Array, "n d"]) -> Float[Array, "d n"]:
    """V_0 = A' / (s_max^2 + s_min^2): half of the scale by which |I - A V_0| is least, as the authors' code has it."""
    values = jnp.linalg.svd(matrix, compute_uv=False)
    return _over(matrix, values[0] ** 2 + values[-1] ** 2)


def _over(matrix: Float[Array, "n d"], size: Float[Array, ""]) -> Float[Array, "d n"]:
    return matrix.T / jnp.where(size > 0.0, size, 1.0)
