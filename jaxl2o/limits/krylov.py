"""What no method can beat that knows the examples through gradients alone: the best point of every Krylov space."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.types import Prompt, design_matrix


def krylov_oracle(
    prompt: Prompt,
    solution: Float[Array, " d"],
    covariance: Float[Array, "d d"],
    depth: int,
    preconditioner: Float[Array, "d d"] | None = None,
) -> Float[Array, "{depth}+1 d"]:
    """argmin (w - w*)'C (w - w*) over w in w_0 + span{P g, PH P g, ..., (PH)^{k-1} P g}, for k = 0..depth.

    g = grad R(w_0) and H = X'X / n. After k steps every first-order method, with coefficients that may depend on the prompt
    in any way, is in this space, be it gradient descent, momentum or conjugate gradients; so none predicts better on queries
    of covariance C. It is an oracle, for it needs the solution.

    The basis is that of Arnoldi 1951 in the inner product of C, orthogonalised twice; a vector that depends on those before,
    up to rounding, is left out, and the space then no longer grows.

    symbol   code             shape
    w*       solution         (d,)
    C        covariance       (d, d) symmetric positive semi-definite
    P        preconditioner   (d, d), the identity unless given

    Raises `ValueError` for matrices of another shape.
    """
    d = solution.shape[0]
    checks.shape("covariance", covariance, (d, d))
    if preconditioner is None:
        preconditioner = jnp.eye(d, dtype=solution.dtype)
    checks.shape("preconditioner", preconditioner, (d, d))
    x = design_matrix(prompt)
    start = jnp.zeros_like(solution) if prompt.start is None else prompt.start
    error = covariance @ (solution - start)
    basis = jnp.zeros_like(solution, shape=(0, d))
    following = preconditioner @ least_squares_gradient(start, prompt)
    path = [start]
    for _ in range(depth):
        new = following
        for _ in range(2):
            new = new - basis.T @ (basis @ (covariance @ new))
        size, left = following @ covariance @ following, new @ covariance @ new
        grows = left > (1e3 * float(jnp.finfo(new.dtype).eps)) ** 2 * size
        new = jnp.where(grows, new / jnp.sqrt(jnp.where(grows, left, 1.0)), 0.0)
        basis = jnp.concatenate([basis, new[None]])
        path.append(path[-1] + (new @ error) * new)
        following = preconditioner @ (x.T @ (x @ new)) / prompt.n_used
    return jnp.stack(path)
