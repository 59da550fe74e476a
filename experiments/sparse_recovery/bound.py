"""The derived bound: LISTA-VM with M = 2 I converges linearly once there are enough examples, and faster on a known support.

Let A = 2 X'X / (2n + 1), rho = max |1 - A_ii|, mu = max_{i != j} |A_ij|, r = rho + (2S - 1) mu. With thresholds mu s_k, where
s_1 = b >= |beta|_1 and s_{k+1} = r s_k, no coordinate outside the support of beta ever moves, and |w_k - beta|_1 <= b r^k.
With a known support of q coordinates, rho and mu are taken over it alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers, known_support, lista_vm
from jaxl2o.tasks.covariates import rademacher
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.types import Instance, Key, design_matrix


class Check(NamedTuple):
    """Of one instance: r; whether the bound was broken; whether a coordinate outside the support moved; |w_k - beta|_1 / b."""

    rate: Float[Array, ""]
    broken: Bool[Array, ""]
    false_positive: Bool[Array, ""]
    errors: Float[Array, " steps"]


def check(instance: Instance, sparsity: int, depth: int, known: Bool[Array, " d"]) -> Check:
    """One instance with its own r and schedule; broken by more than rounding, 1e-9 of b, counts."""
    x, beta = design_matrix(instance.prompt), instance.solution
    n, d = x.shape
    gram = jnp.where(known[:, None] & known[None], 2.0 * x.T @ x / (2 * n + 1), jnp.eye(d))
    rho = jnp.max(jnp.abs(1.0 - jnp.diag(gram)))
    mu = jnp.max(jnp.abs(gram - jnp.diag(jnp.diag(gram))))
    rate, size = rho + (2 * sparsity - 1) * mu, jnp.sum(jnp.abs(beta))
    allowed = size * rate ** jnp.arange(depth + 1)
    layers = VaryingLayers(jnp.tile(2.0 * jnp.eye(d), (depth, 1, 1)), mu * allowed[:-1])
    path = unroll(lista_vm(known_support(layers, known)), instance.prompt, depth)
    errors = jnp.sum(jnp.abs(path - beta[None]), axis=1)
    # where a threshold is met with equality, rounding may let a coordinate through by as much
    wrong = jnp.any(jnp.abs(jnp.where(beta[None] == 0.0, path, 0.0)) > 1e-9 * size)
    return Check(rate, jnp.any(errors > allowed + 1e-9 * size), wrong, errors / size)


def checks(key: Key, count: int, n: int, d: int, sparsity: int, depth: int, q: int) -> Check:
    """`check` for many instances with random signs, whose support is known to be among the first q coordinates."""
    known = jnp.arange(d) < q
    task = sparse_recovery(exactly(d, sparsity, known), fresh(n, d, rademacher()), n_queries=0)

    def one(key: Key) -> Check:
        return check(task.sample(key), sparsity, depth, known)

    return jax.lax.map(one, jax.random.split(key, count), batch_size=min(count, 50))
