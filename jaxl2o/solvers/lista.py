"""Learned ISTA for one fixed matrix: each layer has its own weights in measurement space."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.proximal import soft_threshold
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


class CouplingLayers(NamedTuple):
    """LISTA-CP's parameters: weights (T, d, n) and thresholds (T,), one of each for every step."""

    weight: Float[Array, "steps d n"]
    threshold: Float[Array, " steps"]


def lista_cp(layers: CouplingLayers) -> Solver:
    """LISTA with coupled weights: w <- S_{theta_t}(w + W_t (y - X w)).

    Chen et al. 2018 (arXiv:1808.10038), eq. 15. The weights belong to one matrix X and to its n: on another matrix
    they mean nothing. State and iterate: w, shape (d,).

    Raises `ValueError` for shapes that do not fit each other and for negative thresholds.
    """
    checks.shape("weight", layers.weight, (None, None, None))
    checks.shape("threshold", layers.threshold, layers.weight.shape[:1])
    checks.finite("weight", layers.weight)
    checks.nonnegative("threshold", layers.threshold)

    def step(w: Float[Array, " d"], prompt: Prompt, layer: CouplingLayers) -> Float[Array, " d"]:
        return soft_threshold(w + layer.weight @ (prompt.y - design_matrix(prompt) @ w), layer.threshold)

    return Solver(start_at_zero, step, lambda w: w, layers)


def ista_as_lista_cp(matrix: Float[Array, "n d"], depth: int, penalty: ScalarLike) -> CouplingLayers:
    """The layers with which LISTA-CP *is* ISTA on this matrix, penalty in the scaling of `ista`: where training starts."""
    lipschitz = jnp.linalg.norm(matrix, ord=2) ** 2
    weight = jnp.broadcast_to(matrix.T / lipschitz, (depth, *matrix.T.shape))
    threshold = jnp.full((depth,), penalty * matrix.shape[0] / lipschitz)
    return CouplingLayers(weight, threshold)
