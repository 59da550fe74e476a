"""One layer: attention and MLP, on the tokens of one prompt or of many.

A stream is feature-major here, with all tokens of all B prompts side by side, (D, M), M = B N: a weight multiplies them in one
product, whose long last axis suits vector units better than the few features do. Only attention looks at prompts one by one.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jaxl2o.models.attention import WEIGHTINGS
from jaxl2o.models.config import TransformerConfig, default_float
from jaxl2o.models.encoding import Tokens

# batched products of lax.dot_general: over prompts, or over prompts and heads
_PROMPTS = ((0,), (0,))
_HEADS = ((0, 1), (0, 1))


def project(weight: Float[Array, "D F"], z: Float[Array, "D M"]) -> Float[Array, "F M"]:
    """weight' z: every token is multiplied from the left, in one product and without a transpose."""
    return lax.dot_general(weight, z, (((0,), (0,)), ((), ())))


def by_prompt(z: Float[Array, "D M"], prompts: int) -> Float[Array, "B D N"]:
    """The tokens of every prompt by themselves."""
    return z.reshape(z.shape[0], prompts, -1).transpose(1, 0, 2)


def side_by_side(z: Float[Array, "B D N"]) -> Float[Array, "D M"]:
    """The tokens of all prompts in one row: the inverse of `by_prompt`."""
    return z.transpose(1, 0, 2).reshape(z.shape[1], -1)


class Part(nn.Module):
    """A part of a layer: it knows the config and makes its weights by it."""

    config: TransformerConfig

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> Array:
        """A matrix whose entries start at random, of deviation init_scale / sqrt(fan_in)."""
        init = nn.initializers.normal(self.config.init_scale / fan_in**0.5, dtype=default_float())
        return self.cast(self.param(name, init, shape, default_float()))

    def vector(self, name: str, shape: tuple[int, ...]) -> Array:
        """A vector that starts at zero."""
        return self.cast(self.param(name, nn.initializers.zeros, shape, default_float()))

    def cast(self, value: Array) -> Array:
        """The value in the dtype of the computation."""
        return value if self.config.dtype is None else value.astype(self.config.dtype)


class MultiHeadAttention(Part):
    """z -> sum over heads of weights_h z write_h, with weights_h = weighting(z score_h z').

    A merged head is the matrices `score` and `write`, (D, D) each. A factored one has score = query key' and
    write = value output. Where the products are fewer that way, factored heads are merged as they are used: then keys and
    values are the tokens themselves, and all heads share one product a prompt. Scores stand as (B, read, H, reader).
    """

    @nn.compact
    def __call__(self, z: Float[Array, "D M"], tokens: Tokens) -> Float[Array, "D M"]:
        config, width, (prompts, size) = self.config, z.shape[0], tokens.scale.shape
        heads, inner, biased = config.heads, config.head_dim, config.bias == "all"
        # per token, D (D + N) products of numbers for a merged head, K (2D + N) for a factored one; a bias cannot be merged
        merging = not biased and width * (width + size) <= inner * (2 * width + size)
        own = by_prompt(z, prompts)

        def factor(name: str) -> Float[Array, "D H K"]:
            return self.weight(name, (width, heads, inner), width)

        def of_heads(name: str) -> Float[Array, "B H K N"]:
            out = project(factor(name).reshape(width, -1), z)
            out = out + self.vector(f"{name}_bias", (heads, inner)).reshape(-1, 1) if biased else out
            return by_prompt(out, prompts).reshape(prompts, heads, inner, size)

        if config.score == "factored" and not merging:
            scores = lax.dot_general(of_heads("key"), of_heads("query"), (((2,), (2,)), _HEADS)).transpose(0, 2, 1, 3)
        else:
            if config.score == "merged":
                score = self.weight("score", (width, heads, width), width)
            else:
                score = jnp.einsum("dhk,ehk->dhe", factor("query"), factor("key"))
            queries = project(score.transpose(0, 2, 1).reshape(width, -1), z)
            queries = by_prompt(queries, prompts).reshape(prompts, width, heads * size)
            scores = lax.dot_general(own, queries, (((1,), (1,)), _PROMPTS)).reshape(prompts, size, heads, size)
        if config.score == "factored" and config.attention == "softmax":
            scores = scores / inner**0.5

        mask, scale = tokens.mask.transpose(0, 2, 1)[:, :, None], tokens.scale.astype(z.dtype)[:, None, None]
        weights = WEIGHTINGS[config.attention](scores, mask, scale, 1)

        if config.write == "factored" and not merging:
            mixed = lax.dot_general(of_heads("value"), weights.transpose(0, 2, 1, 3), (((3,), (2,)), _HEADS))
            write = self.weight("output", (heads, inner, width), heads * inner).reshape(-1, width)
        else:
            mixed = lax.dot_general(own, weights.reshape(prompts, size, -1), (((2,), (1,)), _PROMPTS))
            if config.write == "merged":
                write = self.weight("write", (heads, width, width), width)
            else:
                output = self.weight("output", (heads, inner, width), heads * inner)
                write = jnp.einsum("dhk,hke->hde", factor("value"), output)
            write = write.transpose(1, 0, 2).reshape(-1, width)
        out = project(write, side_by_side(mixed.reshape(prompts, -1, size)))
        return out + self.vector("output_bias", (width,))[:, None] if biased else out


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


class Layer(Part):
    """One layer: z + attention(z), then z + mlp(z); norms before each branch, or after each sum, or nowhere; then the clip."""

    @nn.compact
    def __call__(self, z: Float[Array, "D M"], tokens: Tokens) -> tuple[Float[Array, "D M"], Float[Array, "D M"]]:
        config = self.config

        def before(name: str, z: Float[Array, "D M"]) -> Float[Array, "D M"]:
            return layer_norm(config, name)(z) if config.norm == "pre" else z

        def after(name: str, z: Float[Array, "D M"]) -> Float[Array, "D M"]:
            return layer_norm(config, name)(z) if config.norm == "post" else z

        z = z + MultiHeadAttention(config, name="attention")(before("attention_norm", z), tokens)
        z = after("attention_norm", z)
        if config.mlp_dim:
            z = z + Mlp(config, name="mlp")(before("mlp_norm", z))
            z = after("mlp_norm", z)
        if config.clip is not None:
            z = jnp.clip(z, -config.clip, config.clip)
        return z, z


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
