"""What a Transformer is made of: parts that know the config, and a stream that holds the tokens of one prompt or of many.

A stream is feature-major here, with all tokens of all B prompts side by side, (D, M), M = B N: a weight multiplies them in one
product, whose long last axis suits vector units better than the few features do. Only attention looks at prompts one by one.
"""

from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jaxl2o.models.config import TransformerConfig, default_float


class Part(nn.Module):
    """A part of a layer: it knows the config and makes its weights by it."""

    config: TransformerConfig

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int, scale: float | None = None) -> Array:
        """A matrix whose entries start at random, of deviation scale / sqrt(fan_in); without a scale it is init_scale."""
        scale = self.config.init_scale if scale is None else scale
        init = nn.initializers.normal(scale / fan_in**0.5, dtype=default_float())
        return self.cast(self.param(name, init, shape, default_float()))

    def vector(self, name: str, shape: tuple[int, ...]) -> Array:
        """A vector that starts at zero."""
        return self.cast(self.param(name, nn.initializers.zeros, shape, default_float()))

    def cast(self, value: Array) -> Array:
        """The value in the dtype of the computation."""
        return value if self.config.dtype is None else value.astype(self.config.dtype)


def project(weight: Float[Array, "D F"], z: Float[Array, "D M"]) -> Float[Array, "F M"]:
    """weight' z: every token is multiplied from the left, in one product and without a transpose."""
    return lax.dot_general(weight, z, (((0,), (0,)), ((), ())))


def by_prompt(z: Float[Array, "D M"], prompts: int) -> Float[Array, "B D N"]:
    """The tokens of every prompt by themselves."""
    return z.reshape(z.shape[0], prompts, -1).transpose(1, 0, 2)


def side_by_side(z: Float[Array, "B D N"]) -> Float[Array, "D M"]:
    """The tokens of all prompts in one row: the inverse of `by_prompt`."""
    return z.transpose(1, 0, 2).reshape(z.shape[1], -1)
