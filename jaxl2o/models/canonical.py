"""Merged and factored heads: the same function, but only merged matrices can be compared.

A factored head may change the basis of its inner space at will: query -> query R, key -> key R^-T leave every score as
it is. Merging takes this gauge freedom out.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.config import TransformerConfig
from jaxl2o.types import Params


def merge(config: TransformerConfig, params: Params) -> tuple[TransformerConfig, Params]:
    """The same Transformer with merged heads: score = query key' (over sqrt(K) for softmax), write = value output.

    Raises `ValueError` for attention with biases, which merged heads cannot hold.
    """
    checks.require(config.bias != "all", "attention biases have no merged form; merge takes bias 'none' or 'mlp'.")
    attention = dict(params["layers"]["attention"])
    if config.score == "factored":
        query, key = attention.pop("query"), attention.pop("key")
        scale = config.head_dim**-0.5 if config.attention == "softmax" else 1.0
        attention["score"] = scale * jnp.einsum("ldhk,lehk->ldhe", query, key)
    if config.write == "factored":
        value, output = attention.pop("value"), attention.pop("output")
        attention["write"] = jnp.einsum("ldhk,lhke->lhde", value, output)
    merged = {**params, "layers": {**params["layers"], "attention": attention}}
    return replace(config, score="merged", write="merged", head_dim=0), merged


def distance(config: TransformerConfig, a: Params, b: Params) -> Float[Array, ""]:
    """|merge(a) - merge(b)| / |merge(b)|, in the Euclidean norm over all parameters: zero for gauge-equal networks."""
    (_, a), (_, b) = merge(config, a), merge(config, b)
    difference = jax.tree.map(jnp.subtract, a, b)
    return _norm(difference) / _norm(b)


def _norm(tree: Params) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)))
