"""What a head does with its scores: linear, ReLU and softmax weightings of who reads whom.

Each is a pure function (scores, mask, scale, read) -> weights, elementwise in all axes but `read`, the axis of the tokens that
are read. `mask` says who may read whom, and `scale` is what a reader's sums are multiplied by; both broadcast with the scores.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Scores = Float[Array, "..."]
Weighting = Callable[[Scores, Bool[Array, "..."], Float[Array, "..."], int], Scores]
Attention = Literal["linear", "relu", "softmax"]


def linear(scores: Scores, mask: Bool[Array, "..."], scale: Float[Array, "..."], read: int) -> Scores:
    """scale * scores: a sum, or an average, over the tokens that may be read (Ahn et al. 2023)."""
    return scores * jnp.where(mask, scale, 0.0)


def relu(scores: Scores, mask: Bool[Array, "..."], scale: Float[Array, "..."], read: int) -> Scores:
    """scale * max(scores, 0) (Bai et al. 2023; Liu et al. 2025)."""
    return jnp.maximum(scores, 0.0) * jnp.where(mask, scale, 0.0)


def softmax(scores: Scores, mask: Bool[Array, "..."], scale: Float[Array, "..."], read: int) -> Scores:
    """exp(scores) / sum exp(scores) over what is read; who may read nobody has zeros. It is normalised already: no scale."""
    weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(scores.dtype).min), axis=read)
    return jnp.where(mask, weights, 0.0)


WEIGHTINGS: dict[Attention, Weighting] = {"linear": linear, "relu": relu, "softmax": softmax}
