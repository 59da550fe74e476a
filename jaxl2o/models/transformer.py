"""The one Transformer: tokens to the residual stream after 0..T layers. It knows no task, no theorem, no optimiser.

What a layer may be is the config; every paper is a point in it (`presets`). Parameters of the layers have a leading layer axis,
because the layers are scanned; a theorem is such a pytree (`constructions`).
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.attention import WEIGHTINGS, Attention
from jaxl2o.models.encoding import Stream, Tokens


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a Transformer: L = depth layers, applied `repeats` times over, so T = depth * repeats.

    depth, heads, width (D), mlp_dim (F; 0: no MLP): sizes.
    head_dim (K): of factored heads; merged ones have none.
    attention: how scores become weights.
    score: merged (one D x D matrix a head) or factored (query and key, D x K each, with softmax's 1/sqrt(K)).
    write: merged (one D x D matrix a head, no output projection) or factored (value D x K and output K x D).
    activation: of the MLP.  norm: none, post (after each residual sum) or pre (before each branch, and before the read-out).
    bias: none, mlp, or all (attention too).  init_scale: deviation of random weights, in units of 1/sqrt(fan in).
    clip: the stream stays within [-clip, clip] after every layer; None: it is free.
    read_in: tokens are mapped to the stream by a learned affine map of this input width; 0: they are the stream.
    read_out: none; linear, <v, h> + b; or bilinear, <h, V h> + <v, h>.
    positions: length of a table of learned position vectors; 0: none.
    remat: recompute a layer in the backward pass.  dtype: of the computation ("bfloat16"); None: that of the parameters.
    """

    depth: int
    heads: int
    width: int
    head_dim: int = 0
    mlp_dim: int = 0
    attention: Attention = "linear"
    score: Literal["factored", "merged"] = "merged"
    write: Literal["factored", "merged"] = "merged"
    activation: Literal["relu", "gelu"] = "relu"
    norm: Literal["none", "pre", "post"] = "none"
    bias: Literal["none", "mlp", "all"] = "none"
    init_scale: float = 1.0
    clip: float | None = None
    read_in: int = 0
    read_out: Literal["none", "linear", "bilinear"] = "none"
    positions: int = 0
    repeats: int = 1
    remat: bool = False
    dtype: str | None = None

    def __post_init__(self) -> None:
        for name in ("depth", "heads", "width", "repeats"):
            checks.require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("head_dim", "mlp_dim", "read_in", "positions"):
            checks.require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must be zero or greater.")
        for field in fields(self):
            if get_origin(field.type) is Literal:
                value, known = getattr(self, field.name), get_args(field.type)
                checks.require(value in known, f"{field.name} is {value!r}; it must be one of {', '.join(known)}.")
        factored = "factored" in (self.score, self.write)
        checks.require(
            factored == (self.head_dim > 0),
            f"head_dim is {self.head_dim} with score {self.score!r} and write {self.write!r}; "
            "factored heads need a head_dim of at least 1, merged heads need 0.",
        )
        checks.require(self.clip is None or self.clip > 0, f"clip is {self.clip}; give a positive bound, or None for none.")


def default_float() -> jnp.dtype:
    """The dtype of parameters: float64 where JAX is set to 64 bits, else float32."""
    return jax.dtypes.canonicalize_dtype(float)


# Flax annotates in_axes as int, but documents nn.broadcast for inputs that all layers share. Its check of constancy traces the
# layer on shapes alone, which forget that shard_map has them vary by device; it is needed only where a scan makes parameters
_SHARED: Any = nn.broadcast


class _Part(nn.Module):
    """A part of a layer: it knows the config and makes its weights by it."""

    config: TransformerConfig

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> Array:
        init = nn.initializers.normal(self.config.init_scale / fan_in**0.5, dtype=default_float())
        return self.cast(self.param(name, init, shape, default_float()))

    def vector(self, name: str, shape: tuple[int, ...]) -> Array:
        return self.cast(self.param(name, nn.initializers.zeros, shape, default_float()))

    def cast(self, value: Array) -> Array:
        return value if self.config.dtype is None else value.astype(self.config.dtype)


class MultiHeadAttention(_Part):
    """z -> sum over heads of weights_h z write_h, with weights_h = weighting(z score_h z').

    A merged head is the matrices `score` and `write`, (D, D) each. A factored one has score = query key' and
    write = value output. Merged products run as q = (z S), q z', (weights z) V: no transposes, few large products.
    """

    @nn.compact
    def __call__(self, z: Float[Array, "N D"], tokens: Tokens) -> Float[Array, "N D"]:
        config = self.config
        size, heads, width, inner = z.shape[0], config.heads, config.width, config.head_dim
        biased = config.bias == "all"

        def projection(name: str) -> Float[Array, "N H K"]:
            out = jnp.einsum("nd,dhk->nhk", z, self.weight(name, (width, heads, inner), width))
            return out + self.vector(f"{name}_bias", (heads, inner))[None] if biased else out

        if config.score == "merged":
            score = self.weight("score", (width, heads, width), width)
            queries = (z @ score.reshape(width, heads * width)).reshape(size * heads, width)
            scores = (queries @ z.T).reshape(size, heads, size).transpose(1, 0, 2)
        else:
            scores = jnp.einsum("nhk,mhk->hnm", projection("query"), projection("key"))
            scores = scores / inner**0.5 if config.attention == "softmax" else scores

        weighting = WEIGHTINGS[config.attention]
        weights = jax.vmap(weighting, in_axes=(0, None, None))(scores, tokens.mask, tokens.scale.astype(z.dtype))

        if config.write == "merged":
            mixed = jnp.einsum("hnm,md->nhd", weights, z).reshape(size, heads * width)
            out = mixed @ self.weight("write", (heads, width, width), width).reshape(heads * width, width)
        else:
            mixed = jnp.einsum("hnm,mhk->nhk", weights, projection("value")).reshape(size, heads * inner)
            out = mixed @ self.weight("output", (heads, inner, width), heads * inner).reshape(heads * inner, width)
        return out + self.vector("output_bias", (width,))[None] if biased else out


class Mlp(_Part):
    """z -> activation(z up + b) down + c, on every token by itself; biases unless the config has none."""

    @nn.compact
    def __call__(self, z: Float[Array, "N D"]) -> Float[Array, "N D"]:
        config = self.config
        hidden = z @ self.weight("up", (config.width, config.mlp_dim), config.width)
        if config.bias != "none":
            hidden = hidden + self.vector("up_bias", (config.mlp_dim,))[None]
        hidden = nn.relu(hidden) if config.activation == "relu" else nn.gelu(hidden)
        out = hidden @ self.weight("down", (config.mlp_dim, config.width), config.mlp_dim)
        return out + self.vector("down_bias", (config.width,))[None] if config.bias != "none" else out


class Layer(_Part):
    """One layer: z + attention(z), then z + mlp(z); norms before each branch, or after each sum, or nowhere; then the clip."""

    @nn.compact
    def __call__(self, z: Float[Array, "N D"], tokens: Tokens) -> tuple[Float[Array, "N D"], Float[Array, "N D"]]:
        config = self.config

        def before(name: str, z: Float[Array, "N D"]) -> Float[Array, "N D"]:
            return layer_norm(config, name)(z) if config.norm == "pre" else z

        def after(name: str, z: Float[Array, "N D"]) -> Float[Array, "N D"]:
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
    """Layer norm with scale and shift, epsilon 1e-5 as in PyTorch."""
    return nn.LayerNorm(epsilon=1e-5, dtype=config.dtype, param_dtype=default_float(), name=name)


class ReadOut(_Part):
    """One number from every token: <v, h> + b, or <h, V h> + <v, h>; of the normed stream under pre-norm."""

    @nn.compact
    def __call__(self, z: Float[Array, "steps N D"]) -> Float[Array, "steps N"]:
        config = self.config
        if config.norm == "pre":
            z = layer_norm(config, "norm")(z)
        linear = z @ self.weight("vector", (config.width,), config.width)
        if config.read_out == "linear":
            return linear + self.vector("bias", ())
        return linear + jnp.einsum("tnd,de,tne->tn", z, self.weight("matrix", (config.width,) * 2, config.width), z)


class Transformer(_Part):
    """Tokens -> Stream: the residual stream after 0..T layers, (T+1, N, D), and its read-out, (T+1, N), if there is one."""

    def setup(self) -> None:
        layer = nn.remat(Layer, prevent_cse=False) if self.config.remat else Layer
        scanned = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=_SHARED,
            length=self.config.depth,
            check_constancy_invariants=False,
        )
        self.layers = scanned(self.config)
        if self.config.read_out != "none":
            self.read_out = ReadOut(self.config)

    @nn.compact
    def __call__(self, tokens: Tokens) -> Stream:
        config, first = self.config, self.cast(tokens.z)
        checks.shape("z", first, (None, config.read_in or config.width))
        if config.read_in:
            first = first @ self.weight("read_in", (config.read_in, config.width), config.read_in)
            first = first + self.vector("read_in_bias", (config.width,))[None]
        if config.positions:
            table = self.weight("positions", (config.positions, config.width), config.width)
            # a prompt that is too long gives NaN: silently clamped places would give wrong answers
            first = first + table.at[tokens.position].get(mode="fill", fill_value=jnp.nan)
        repeat = nn.scan(
            lambda module, z, tokens: module.layers(z, tokens),
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=_SHARED,
            length=config.repeats,
            check_constancy_invariants=self.is_initializing(),
        )
        _, later = repeat(self, first, tokens)
        residual = jnp.concatenate([first[None], later.reshape(-1, *first.shape)])
        return Stream(residual, None if config.read_out == "none" else self.read_out(residual))
