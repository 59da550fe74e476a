"""Sparse recovery: y = X beta + noise, with few non-zero coefficients in beta.

A task is put together from three laws: how beta is drawn, where X comes from, what noise is added to the labels.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.objectives import lasso_objective, linear_prediction
from jaxl2o.tasks.covariates import Covariates, isotropic
from jaxl2o.tasks.noise import Noise, noiseless
from jaxl2o.types import Instance, Key, Prompt, ScalarLike, Task

Signal = Callable[[Key], Float[Array, " d"]]


def exactly(d: int, sparsity: int, support: Bool[Array, " d"] | None = None) -> Signal:
    """beta has exactly `sparsity` entries from N(0, 1), at places uniform among `support` (by default all d).

    A support that is traced, as in a curriculum, may be smaller: then all of it is not zero.
    """
    inside = jnp.ones(d, dtype=bool) if support is None else support
    checks.shape("support", inside, (d,))
    allowed = int(jnp.sum(inside)) if checks.concrete(inside) else d
    checks.require(
        0 <= sparsity <= allowed,
        f"sparsity is {sparsity}, but {allowed} coordinates may be non-zero; ask for 0 to {allowed}.",
    )

    def sample(key: Key) -> Float[Array, " d"]:
        key_value, key_place = jax.random.split(key)
        lottery = jnp.where(inside, jax.random.uniform(key_place, (d,)), 2.0)
        drawn = inside & (jnp.argsort(jnp.argsort(lottery)) < sparsity)
        return jnp.where(drawn, jax.random.normal(key_value, (d,)), 0.0)

    return sample


def bernoulli(d: int, probability: float) -> Signal:
    """Every entry of beta is from N(0, 1) with this probability, and zero otherwise."""
    checks.require(0.0 <= probability <= 1.0, f"probability is {probability:g}; it must lie between 0 and 1.")

    def sample(key: Key) -> Float[Array, " d"]:
        key_value, key_place = jax.random.split(key)
        drawn = jax.random.bernoulli(key_place, probability, (d,))
        return jnp.where(drawn, jax.random.normal(key_value, (d,)), 0.0)

    return sample


def blocks(d: int, size: int, count: int, order: Int[Array, " d"] | None = None) -> Signal:
    """beta is `count` whole blocks of `size` entries from N(0, 1), out of the d / size blocks.

    order: a permutation of the coordinates, which hides the partition: coordinate i is in block order[i] // size. None: entries
    of a block are adjacent.
    """
    checks.require(size > 0 and d % size == 0, f"blocks of {size} do not tile {d} coordinates; choose a divisor of {d}.")
    which = exactly(d // size, count)
    place = jnp.arange(d) if order is None else order
    checks.shape("order", place, (d,))
    if checks.concrete(place):
        complete = np.array_equal(np.sort(place), np.arange(d))
        checks.require(complete, f"order is {np.asarray(place).tolist()}; it must have every number from 0 to {d - 1} once.")

    def sample(key: Key) -> Float[Array, " d"]:
        key_value, key_block = jax.random.split(key)
        drawn = (which(key_block) != 0.0)[place // size]
        return jnp.where(drawn, jax.random.normal(key_value, (d,)), 0.0)

    return sample


class Measurements(NamedTuple):
    """Where X and the queries come from. sample: (key, m) -> (x, x_query); shared: the one matrix of `fixed`, or None."""

    sample: Callable[[Key, int], tuple[Float[Array, "n d"], Float[Array, "m d"]]]
    shared: Float[Array, "n d"] | None = None


def fresh(n: int, d: int, covariates: Covariates | None = None) -> Measurements:
    """A new X (n, d) for every prompt; queries are further rows of the same draw. Isotropic rows by default."""
    law = isotropic() if covariates is None else covariates

    def sample(key: Key, m: int) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
        rows = law(key, n + m, d)
        return rows[:n], rows[n:]

    return Measurements(sample)


def pooled(matrices: Float[Array, "p n d"]) -> Measurements:
    """X is one of p given matrices, uniformly; queries are N(0, I)."""
    checks.shape("matrices", matrices, (None, None, None))
    checks.finite("matrices", matrices)

    def sample(key: Key, m: int) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
        key_matrix, key_query = jax.random.split(key)
        which = jax.random.randint(key_matrix, (), 0, matrices.shape[0])
        return matrices[which], jax.random.normal(key_query, (m, matrices.shape[-1]))

    return Measurements(sample)


def fixed(matrix: Float[Array, "n d"]) -> Measurements:
    """All prompts share one X, which they do not carry: solvers close over it by `with_matrix`. Queries are N(0, I)."""
    checks.shape("matrix", matrix, (None, None))
    checks.finite("matrix", matrix)
    return Measurements(lambda key, m: (matrix, jax.random.normal(key, (m, matrix.shape[1]))), shared=matrix)


def sparse_recovery(
    signal: Signal,
    measurements: Measurements,
    noise: Noise | None = None,
    penalty: ScalarLike = 0.1,
    n_queries: int = 1,
) -> Task:
    """Prompts y = X beta + noise; queries ask <x, beta>, without noise; the solution is beta.

    Without queries, n_queries = 0, beta itself is asked: `x_query` is None and the answer that is scored is the iterate.
    The objective is the Lasso, 1/(2n) |X w - y|^2 + penalty |w|_1. Noiseless unless a noise law is given.

    Raises `ValueError` if the signal and the matrix have different d, and for a negative penalty or number of queries.
    """
    checks.nonnegative("penalty", penalty)
    checks.nonnegative("n_queries", n_queries)
    law = noiseless() if noise is None else noise
    key = jax.random.key(0)
    d_signal = jax.eval_shape(signal, key).shape[0]
    d_matrix = jax.eval_shape(lambda k: measurements.sample(k, n_queries)[0], key).shape[1]
    checks.require(
        d_signal == d_matrix,
        f"the signal has {d_signal} coefficients, but the matrix has {d_matrix} columns; give both the same d.",
    )

    def sample(key: Key) -> Instance:
        key_matrix, key_signal, key_noise = jax.random.split(key, 3)
        x, x_query = measurements.sample(key_matrix, n_queries)
        beta = signal(key_signal)
        y = law(key_noise, x @ beta)
        own = x if measurements.shared is None else None
        asked, answer = (x_query, linear_prediction(beta, x_query)) if n_queries else (None, beta)
        return Instance(Prompt(own, y, asked, jnp.ones(y.shape, dtype=bool)), answer, beta)

    def objective(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, ""]:
        if measurements.shared is not None:
            prompt = prompt._replace(x=measurements.shared)
        return lasso_objective(w, prompt, penalty)

    return Task(sample, objective, linear_prediction)
