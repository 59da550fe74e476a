"""A decoder as a textbook writes it in JAX: one prompt, one token a row, a product a head; the same parameters and function.

It is what the library's module is compared with: `vmap` of it is the step before any change.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, Stream, Tokens
from jaxl2o.types import Params, Prompt


def layer_norm(params: Params, z: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """(z - mean) / sqrt(variance + 1e-5), scaled and shifted, for every token."""
    centred = z - z.mean(axis=-1, keepdims=True)
    normed = centred * lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return normed * params["scale"][None] + params["bias"][None]


def attention(config: TransformerConfig, params: Params, z: Float[Array, "N D"], tokens: Tokens) -> Float[Array, "N D"]:
    """The sum over heads of weights value, by einsum; ReLU averages or softmax."""

    def head(name: str) -> Float[Array, "H N K"]:
        out = jnp.einsum("nd,dhk->hnk", z, params[name])
        return out + params[f"{name}_bias"][:, None] if config.bias == "all" else out

    scores = jnp.einsum("hnk,hmk->hnm", head("query"), head("key"))
    if config.attention == "softmax":
        scores = jnp.where(tokens.mask[None], scores / config.head_dim**0.5, jnp.finfo(scores.dtype).min)
        weights = jax.nn.softmax(scores, axis=-1)
    else:
        weights = jnp.where(tokens.mask[None], jnp.maximum(scores, 0.0), 0.0) * tokens.scale[None, :, None]
    if config.write == "merged":
        return jnp.einsum("hnm,md,hde->ne", weights, z, params["write"])
    out = jnp.einsum("hnm,hmk,hke->ne", weights, head("value"), params["output"])
    return out + params["output_bias"][None] if config.bias == "all" else out


def mlp(config: TransformerConfig, params: Params, z: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """activation(z up + b) down + c."""
    hidden = z @ params["up"] + params["up_bias"][None]
    hidden = jax.nn.relu(hidden) if config.activation == "relu" else jax.nn.gelu(hidden)
    return hidden @ params["down"] + params["down_bias"][None]


def layer(config: TransformerConfig, params: Params, z: Float[Array, "N D"], tokens: Tokens) -> Float[Array, "N D"]:
    """Attention and MLP, each added to the stream, normed before or after."""
    if config.norm == "pre":
        z = z + attention(config, params["attention"], layer_norm(params["attention_norm"], z), tokens)
        return z + mlp(config, params["mlp"], layer_norm(params["mlp_norm"], z))
    z = layer_norm(params["attention_norm"], z + attention(config, params["attention"], z, tokens))
    return layer_norm(params["mlp_norm"], z + mlp(config, params["mlp"], z))


def prefixes(config: TransformerConfig, encoding: Encoding, params: Params, prompt: Prompt) -> Float[Array, "steps k"]:
    """`Learner.prefixes` of the decoder, answers after 0..T layers."""
    tokens = encoding.tokens(prompt)
    z = tokens.z @ params["read_in"] + params["read_in_bias"][None]
    if config.positions:
        z = z + params["positions"][tokens.position]

    def step(z: Float[Array, "N D"], own: Params) -> tuple[Float[Array, "N D"], Float[Array, "N D"]]:
        z = layer(config, own, z, tokens)
        return z, z

    _, later = lax.scan(step, z, params["layers"])
    stream = jnp.concatenate([z[None], later])
    out = params["read_out"]
    normed = jax.vmap(layer_norm, in_axes=(None, 0))(out["norm"], stream) if config.norm == "pre" else stream
    assert encoding.read_prefixes is not None
    return encoding.read_prefixes(Stream(stream, normed @ out["vector"] + out["bias"]), prompt)
