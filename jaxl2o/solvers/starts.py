"""Starts that are computed from the prompt: spectral ones for mixtures of regressions, and the best of several tries."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Key, Prompt, PyTree, ScalarLike, Solver, design_matrix

# (key, prompt) -> a start for it
Draw = Callable[[Key, Prompt], PyTree]


def symmetric_spectral_start(prompt: Prompt, weight: ScalarLike) -> Prompt:
    """The prompt with the start b = s sqrt((l_1 - l) / 2) v for components b and -b of probabilities pi and 1 - pi.

    l_1 and v are the largest eigenvalue and its vector of the label-weighted covariance M, and l is the mean of its others;
    s = +-1 is the sign of (2 pi - 1) <v, X'y>, as E y x = (2 pi - 1) b, and +1 where that is zero:

        M = 1/n sum_i y_i^2 x_i x_i',   E M = (sigma^2 + |b|^2) I + 2 b b'   for x ~ N(0, I).

    Yi, Caramanis and Sanghavi 2014 (arXiv:1310.3745). The start has no error but that of M. No examples give zero.

    Raises `ValueError` for fewer than two features, for which no other eigenvalue tells the noise.
    """
    vectors, norm = _signal(prompt, 1)
    v = vectors[:, 0]
    against = (2.0 * weight - 1.0) * (v @ (design_matrix(prompt).T @ prompt.y)) < 0.0
    return prompt._replace(start=jnp.where(against, -norm, norm) * v)


def in_spectral_subspace(count: int) -> Draw:
    """Draws K = `count` independent vectors, uniform on the sphere of radius r in the span of the K first eigenvectors of M.

        M = 1/n sum_i y_i^2 x_i x_i',   E M = (sigma^2 + sum_k pi_k |b_k|^2) I + 2 sum_k pi_k b_k b_k'   for x ~ N(0, I)

    So the span tends to that of the components (Chaganty and Liang 2013, arXiv:1306.3729), and r^2, half of what the K
    eigenvalues exceed the mean of the others by, to the mean square norm. Which vectors of the span they are is left to
    trying: `best_start` of many draws. Needs more features than components.
    """
    checks.positive("count", count)

    def draw(key: Key, prompt: Prompt) -> Float[Array, "K d"]:
        vectors, norm = _signal(prompt, count)
        normal = jax.random.normal(key, (count, count))
        return norm * (normal / jnp.linalg.norm(normal, axis=1, keepdims=True)) @ vectors.T

    return draw


def best_start(
    solver: Solver, objective: Callable[[Any, Prompt], Array], draw: Draw, n_starts: int, n_steps: int
) -> Callable[[Key, Prompt], Prompt]:
    """The prompt with that of `n_starts` drawn starts from which `n_steps` steps of the solver lead to the least objective.

    It is the start that comes back, not where it led to, so that a run from it has all its steps. Where an objective is not a
    number the start is not taken.
    """
    checks.require(n_starts >= 1, f"n_starts is {n_starts}; the best is one of at least one.")

    def choose(key: Key, prompt: Prompt) -> Prompt:
        starts = jax.vmap(draw, in_axes=(0, None))(jax.random.split(key, n_starts), prompt)

        def cost(start: PyTree) -> Array:
            own = prompt._replace(start=start)
            return objective(unroll(solver, own, n_steps, keep="last"), own)

        costs = jax.vmap(cost)(starts)
        best = jnp.argmin(jnp.where(jnp.isnan(costs), jnp.inf, costs))
        return prompt._replace(start=jax.tree.map(lambda leaf: leaf[best], starts))

    return choose


def _signal(prompt: Prompt, count: int) -> tuple[Float[Array, "d {count}"], Float[Array, ""]]:
    """The first eigenvectors of M, and the root of half the sum by which their eigenvalues exceed the mean of the others."""
    x = design_matrix(prompt)
    d = x.shape[1]
    checks.require(count < d, f"there are {d} features for {count} spectral directions; at least one feature more is needed.")
    values, vectors = jnp.linalg.eigh((x.T * (prompt.y**2)[None]) @ x / prompt.n_used)
    excess = jnp.sum(values[d - count :] - jnp.mean(values[: d - count]))
    return vectors[:, d - count :], jnp.sqrt(0.5 * jnp.maximum(excess, 0.0))
