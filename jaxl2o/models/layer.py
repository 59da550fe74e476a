"""One layer: attention, through what is remembered, and MLP, each added to the stream, with their norms."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.config import TransformerConfig, default_float
from jaxl2o.models.encoding import Tokens
from jaxl2o.models.heads import MultiHeadAttention
from jaxl2o.models.memory import Memory
from jaxl2o.models.part import Part, project


class Mlp(Part):
    """z -> activation(z up + b) down + c, on every token by itself; biases unless the config has none."""

    @nn.compact
    def __call__(self, z: Float[Array, "D M"]) -> Float[Array, "D M"]:
        config = self.config
        hidden = project(self.weight("up", (config.width, config.mlp_dim), config.width), z)
        if config.bias != "none":
            hidden = hidden + self.vector("up_bias", (config.mlp_dim,))[:, None]
        hidden = nn.relu(hidden) if config.activation == "relu" else nn.gelu(hidden)
        out = project(self.weight("down", (config.mlp_dim, config.width), config.mlp_dim), hidden)
        return out + self.vector("down_bias", (config.width,))[:, None] if config.bias != "none" else out


class State(NamedTuple):
    """What goes from layer to layer: the stream, and what is remembered."""

    z: Float[Array, "D M"]
    memory: Any


class Layer(Part):
    """One layer: z + attention(z), then z + mlp(z); norms before each branch, or after each sum, or nowhere; then the clip.

    Heads that have a memory or a gate write by themselves, and are summed then.

    causal: a promise about the mask, as in `MultiHeadAttention`.
    """

    causal: bool = False

    @nn.compact
    def __call__(self, state: State, tokens: Tokens) -> tuple[State, Float[Array, "D M"]]:
        config, (z, memory) = self.config, state
        separate = config.memory != "none" or tokens.gate is not None
        if tokens.gate is not None:
            checks.require(config.bias != "all", "gates are of heads, so attention has no biases; take bias 'none' or 'mlp'.")
            checks.shape("gate", tokens.gate, (None, config.heads))

        def before(name: str, z: Float[Array, "D M"]) -> Float[Array, "D M"]:
            return layer_norm(config, name)(z) if config.norm == "pre" else z

        def after(name: str, z: Float[Array, "D M"]) -> Float[Array, "D M"]:
            return layer_norm(config, name)(z) if config.norm == "post" else z

        attention = MultiHeadAttention(config, self.causal, separate, name="attention")
        written = attention(before("attention_norm", z), tokens)
        if separate:
            memory, written = Memory(config, name="memory")(memory, written, z, tokens)
            written = gated(written, tokens)
        z = after("attention_norm", z + written)
        if config.mlp_dim:
            z = z + Mlp(config, name="mlp")(before("mlp_norm", z))
            z = after("mlp_norm", z)
        if config.clip is not None:
            z = jnp.clip(z, -config.clip, config.clip)
        return State(z, memory), z


def gated(written: Float[Array, "H D M"], tokens: Tokens) -> Float[Array, "D M"]:
    """The sum of what the heads write, each times its gate."""
    if tokens.gate is None:
        return written.sum(axis=0)
    by_prompt = written.reshape(*written.shape[:2], *tokens.scale.shape)
    return jnp.einsum("bh,hdbn->dbn", tokens.gate.astype(written.dtype), by_prompt).reshape(written.shape[1:])


def layer_norm(config: TransformerConfig, name: str) -> nn.LayerNorm:
    """Layer norm over the axis of features, with scale and shift, epsilon 1e-5 as in PyTorch."""
    return nn.LayerNorm(
        epsilon=1e-5,
        dtype=config.dtype,
        param_dtype=default_float(),
        reduction_axes=0,
        feature_axes=0,
        name=name,
    )
