"""What a head does with its scores: linear, ReLU and softmax weightings of who reads whom.

Each is a pure function (scores (N, N), mask (N, N), scale (N,)) -> weights (N, N); query i reads key j only where mask_ij.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Weighting = Callable[[Float[Array, "N N"], Bool[Array, "N N"], Float[Array, " N"]], Float[Array, "N N"]]
Attention = Literal["linear", "relu", "softmax"]


def linear(scores: Float[Array, "N N"], mask: Bool[Array, "N N"], scale: Float[Array, " N"]) -> Float[Array, "N N"]:
    """scale_i * scores_ij: a sum, or an average, over the tokens that i may read (Ahn et al. 2023)."""
    return jnp.where(mask, scores, 0.0) * scale[:, None]


def relu(scores: Float[Array, "N N"], mask: Bool[Array, "N N"], scale: Float[Array, " N"]) -> Float[Array, "N N"]:
    """scale_i * max(scores_ij, 0) (Bai et al. 2023; Liu et al. 2025)."""
    return jnp.where(mask, jnp.maximum(scores, 0.0), 0.0) * scale[:, None]


def softmax(scores: Float[Array, "N N"], mask: Bool[Array, "N N"], scale: Float[Array, " N"]) -> Float[Array, "N N"]:
    """exp(scores_ij) / sum_j exp(scores_ij); rows that may read nobody are zero. It is normalised already: no scale."""
    weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(scores.dtype).min), axis=-1)
    return jnp.where(mask, weights, 0.0)


WEIGHTINGS: dict[Attention, Weighting] = {"linear": linear, "relu": relu, "softmax": softmax}
