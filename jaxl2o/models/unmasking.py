"""Heads that join a training one after another."""

import jax.numpy as jnp
from jaxtyping import Array

from jaxl2o.models.heads import AXES
from jaxl2o.types import Params, ScalarLike


def first_heads(params: Params, count: ScalarLike) -> Params:
    """The parameters of a Transformer of whose heads the first `count` alone read and write, in every layer.

    The others are multiplied by zero, in all that they have, so nothing moves them. `count` may be traced, so this is a
    `params_at` of a recipe: Liu et al. 2025 (arXiv:2410.13981) let one of four heads more join every 10,000 steps.
    """

    def masked(name: str, leaf: Array) -> Array:
        if name not in AXES:
            return leaf
        shape = [1] * leaf.ndim
        shape[AXES[name]] = -1
        return jnp.where((jnp.arange(leaf.shape[AXES[name]]) < count).reshape(shape), leaf, 0.0)

    layers = params["layers"]
    attention = {name: masked(name, leaf) for name, leaf in layers["attention"].items()}
    return {**params, "layers": {**layers, "attention": attention}}
