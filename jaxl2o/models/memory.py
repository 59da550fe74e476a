"""What a layer remembers of earlier layers: registers for every head, and the coefficients with which they are written.

With A_l = attention of layer l, (D, N) for every head h, and z_{l+1} = z_l + sum_h g_h W_l:

    none              W_l = A_l
    momentum          R_l = A_l + gamma_l R_{l-1},                          W_l = alpha_l R_l
    lfom              W_l = sum_{k <= l} c_{l,k} A_{l-k}                    any weights of all that was seen
    lfom_tied         W_l = sum_{j <= l} c_j A_j                            the weight of layer j serves all later layers
    hadamard          W_l = sum_{j <= l} G_j * A_j                          tied, a weight for every feature and token
    hadamard_past     W_l = A_l + sum_{j < l} G_j * A_j
    conjugate         as momentum, with alpha_l and gamma_l that the prompt itself determines

(Dutta and Sra 2024, arXiv:2410.07263, equations 17 to 20; `lfom` and `conjugate` are this library's. In the tied forms an
older A_j is never forgotten: with one weight for all, momentum is undamped.)

`conjugate` makes conjugate gradients exact. What the parameters of the other forms can do to the labels is linear, but
conjugate gradients are not; with inner products over the readable tokens,

    rho_l = -<z_l, A_l>,    gamma_l = rho_l / rho_{l-1},    R_l = A_l + gamma_l R_{l-1},    alpha_l = rho_l / <R_l, R_l>.

They run over all slots, so this file does not know where the label stands: attention that writes labels alone is zero
elsewhere; they are conjugate gradients for one such head without a gate, in an encoder, all of whose tokens read the same. A
step whose rho is negative or zero up to rounding changes nothing, and then none after it does. Rounding of A_l is that
of a sum as large as A_0, so rho_l is known to within eps |z_l| |A_0|: full digits where labels can be fitted exactly, and half
of them where |z_l|, the residual, does not vanish.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.config import TransformerConfig, default_float
from jaxl2o.models.encoding import Tokens
from jaxl2o.models.part import Part

# the axis of heads of every leaf, layers first
AXES = {"step_size": 1, "decay": 1, "coefficients": 2, "coefficient": 1, "weights": 1}
# below so many units of rounding a number counts as zero
ROUNDING = 64.0


class Conjugate(NamedTuple):
    """register: (H, D, M).  rho, first: (H, M), the last rho, and <A_0, A_0>; zero before there is one."""

    register: Float[Array, "H D M"]
    rho: Float[Array, "H M"]
    first: Float[Array, "H M"]


def empty(config: TransformerConfig, z: Float[Array, "D M"]) -> Any:
    """What is remembered before the first layer."""
    zeros = jnp.zeros_like(z, shape=(config.heads, *z.shape))
    if config.memory == "lfom":
        return jnp.zeros_like(z, shape=(config.depth * config.repeats, *zeros.shape))
    if config.memory == "conjugate":
        return Conjugate(zeros, zeros[:, 0], zeros[:, 0])
    return None if config.memory == "none" else zeros


class Memory(Part):
    """(memory, what the heads see, z, tokens) -> (memory, what they write)."""

    @nn.compact
    def __call__(
        self, memory: Any, seen: Float[Array, "H D M"], z: Float[Array, "D M"], tokens: Tokens
    ) -> tuple[Any, Float[Array, "H D M"]]:
        config = self.config
        match config.memory:
            case "momentum":
                memory = seen + self.of_heads("decay", 0.0) * memory
                return memory, self.of_heads("step_size", 1.0) * memory
            case "lfom":
                memory = jnp.concatenate([seen[None], memory[:-1]])
                return memory, jnp.einsum("kh,khdm->hdm", self.by_age(len(memory)), memory)
            case "lfom_tied":
                memory = memory + self.of_heads("coefficient", 0.0) * seen
                return memory, memory
            case "hadamard":
                memory = memory + self.by_token(seen, tokens)
                return memory, memory
            case "hadamard_past":
                return memory + self.by_token(seen, tokens), seen + memory
            case "conjugate":
                return conjugate(memory, seen, z, tokens)
            case _:
                return memory, seen

    def of_heads(self, name: str, value: float) -> Float[Array, "H 1 1"]:
        """A number a head."""
        init = nn.initializers.constant(value)
        return self.cast(self.param(name, init, (self.config.heads,), default_float()))[:, None, None]

    def by_age(self, depth: int) -> Float[Array, "T H"]:
        """The weights of what was seen 0, 1, ... layers ago: at first the newest alone counts."""

        def init(_: Any, shape: tuple[int, int], dtype: Any) -> Float[Array, "T H"]:
            return jnp.zeros(shape, dtype).at[0].set(1.0)

        return self.cast(self.param("coefficients", init, (depth, self.config.heads), default_float()))

    def by_token(self, seen: Float[Array, "H D M"], tokens: Tokens) -> Float[Array, "H D M"]:
        """What is seen, times a number for every feature and token of every prompt."""
        config = self.config
        checks.shape("scale", tokens.scale, (None, config.tokens))
        shape = (config.heads, config.width, config.tokens)
        weights = self.cast(self.param("weights", nn.initializers.zeros, shape, default_float()))
        return (seen.reshape(*shape[:2], -1, config.tokens) * weights[:, :, None]).reshape(seen.shape)


def conjugate(
    memory: Conjugate, seen: Float[Array, "H D M"], z: Float[Array, "D M"], tokens: Tokens
) -> tuple[Conjugate, Float[Array, "H D M"]]:
    """One step whose weights are the prompt's own."""

    def over_readable(values: Float[Array, "H M"]) -> Float[Array, "H M"]:
        """For every token the sum over the tokens that it reads."""
        by_prompt = values.reshape(-1, *tokens.scale.shape)
        return jnp.einsum("bij,hbj->hbi", tokens.mask.astype(values.dtype), by_prompt).reshape(values.shape)

    rho = -over_readable(jnp.einsum("dm,hdm->hm", z, seen))
    first = jnp.where(memory.first == 0.0, over_readable(jnp.sum(seen**2, axis=1)), memory.first)
    residual = over_readable(jnp.sum(jnp.where(seen == 0.0, 0.0, z[None]) ** 2, axis=1))
    going = rho > ROUNDING * jnp.finfo(rho.dtype).eps * jnp.sqrt(residual * first)
    register = seen + ratio(rho, memory.rho, going)[:, None] * memory.register
    size = over_readable(jnp.sum(register**2, axis=1))
    return Conjugate(register, rho, first), ratio(rho, size, going & (size > 0.0))[:, None] * register


def ratio(over: Float[Array, "H M"], under: Float[Array, "H M"], where: Any) -> Float[Array, "H M"]:
    """over / under there, and zero elsewhere or where `under` is zero; its derivatives are finite."""
    where = where & (under != 0.0)
    return jnp.where(where, over / jnp.where(where, under, 1.0), 0.0)
