"""What a Transformer may be: one frozen config, of which every paper is a point (`presets`)."""

from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin

import jax
import jax.numpy as jnp

from jaxl2o import checks
from jaxl2o.models.attention import Attention

Memory = Literal["none", "momentum", "lfom", "lfom_tied", "hadamard", "hadamard_past", "conjugate"]


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a Transformer: L = depth layers, applied `repeats` times over, so T = depth * repeats.

    depth, heads, width (D), mlp_dim (F; 0: no MLP): sizes.
    head_dim (K): of factored heads; merged ones have none.
    attention: how scores become weights.
    score: merged (one D x D matrix a head) or factored (query and key, D x K each, with softmax's 1/sqrt(K)).
    write: merged (one D x D matrix a head, no output projection) or factored (value D x K and output K x D).
    activation: of the MLP.  norm: none, post (after each residual sum) or pre (before each branch, and before the read-out).
    bias: none, mlp, or all (attention too).
    init_scale: deviation of random weights, in units of 1/sqrt(fan in).  ends_scale: that of read-in and read-out; None: same.
    clip: the stream stays within [-clip, clip] after every layer; None: it is free.
    read_in: tokens are mapped to the stream by a learned affine map of this input width; 0: they are the stream.
    read_out: none; linear, <v, h> + b; or bilinear, <h, V h> + <v, h>.  outputs: numbers that a linear read-out gives, each
    with a v and b of its own.
    positions: length of a table of learned position vectors; 0: none.
    memory: what a layer remembers of earlier layers, as in `memory`.  tokens: N, which a Hadamard memory must know; 0: any.
    unroll: the layers are compiled one after another instead of looped over, which is faster to run and slower to compile.
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
    ends_scale: float | None = None
    clip: float | None = None
    read_in: int = 0
    read_out: Literal["none", "linear", "bilinear"] = "none"
    outputs: int = 1
    positions: int = 0
    memory: Memory = "none"
    tokens: int = 0
    repeats: int = 1
    unroll: bool = False
    remat: bool = False
    dtype: str | None = None

    def __post_init__(self) -> None:
        for name in ("depth", "heads", "width", "repeats", "outputs"):
            checks.require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("head_dim", "mlp_dim", "read_in", "positions", "tokens"):
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
        checks.require(
            self.outputs == 1 or self.read_out == "linear",
            f"outputs is {self.outputs} with read_out {self.read_out!r}; only a linear read-out gives several numbers.",
        )
        hadamard = self.memory.startswith("hadamard")
        checks.require(
            hadamard == (self.tokens > 0),
            f"tokens is {self.tokens} with memory {self.memory!r}; a Hadamard memory needs their number, others 0.",
        )
        checks.require(
            self.memory == "none" or self.bias != "all",
            f"memory is {self.memory!r} with bias 'all'; memory is of heads, so take bias 'none' or 'mlp'.",
        )
        checks.require(
            self.memory != "conjugate" or self.dtype is None,
            f"dtype is {self.dtype!r} with memory 'conjugate', whose inner products need all digits; leave dtype None.",
        )
        checks.require(self.clip is None or self.clip > 0, f"clip is {self.clip}; give a positive bound, or None for none.")


def default_float() -> jnp.dtype:
    """The dtype of parameters: float64 where JAX is set to 64 bits, else float32."""
    return jax.dtypes.canonicalize_dtype(float)
