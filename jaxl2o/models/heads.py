"""The heads of a layer: who reads whom, and what they write. The only place where tokens meet."""

from itertools import pairwise

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jaxl2o.models.attention import WEIGHTINGS
from jaxl2o.models.encoding import Tokens
from jaxl2o.models.part import Part, by_prompt, project, side_by_side

# the axis of heads of every leaf that has one, layers first
AXES = {"query": 2, "key": 2, "value": 2, "score": 2, "output": 1, "write": 1, "query_bias": 1, "key_bias": 1, "value_bias": 1}
# readers of a span, about, and the most spans: narrow ones leave out more, but make small products
SPAN, SPANS = 27, 4


class MultiHeadAttention(Part):
    """z -> weights_h z write_h, with weights_h = weighting(z score_h z'), summed over heads; or of every head, if `separate`.

    A merged head is the matrices `score` and `write`, (D, D) each. A factored one has score = query key' and
    write = value output. Where the products are fewer that way, factored heads are merged as they are used: then all heads
    read the tokens themselves, and share one product a prompt.

    Heads stand in G groups of h = H / G, for keys and values each: there are H groups where every head has its own (K or E
    numbers a token), and one where all heads read the tokens themselves (then K or E is D).

    causal: a promise that the mask lets no token read a later one. Readers are then taken in spans, without what comes after.
    """

    causal: bool = False
    separate: bool = False

    @nn.compact
    def __call__(self, z: Float[Array, "D M"], tokens: Tokens) -> Float[Array, "D M"] | Float[Array, "H D M"]:
        config, width, (prompts, size) = self.config, z.shape[0], tokens.scale.shape
        heads, inner, biased = config.heads, config.head_dim, config.bias == "all"
        # per token, D (D + N) products of numbers for a merged head, K (2D + N) for a factored one; a bias cannot be merged
        merging = not biased and width * (width + size) <= inner * (2 * width + size)
        kinds = {"query": config.score, "key": config.score, "value": config.write}
        factors = {name: self.weight(name, (width, heads, inner), width) for name in kinds if kinds[name] == "factored"}
        own = {} if merging else self.through(factors, z, prompts)
        shared = by_prompt(z, prompts)[:, None]

        keys, values = own.get("key", shared), own.get("value", shared)
        if "query" in own:
            queries = own["query"][:, :, :, None]
        else:
            if config.score == "merged":
                score = self.weight("score", (width, heads, width), width)
            else:
                score = jnp.einsum("dhk,ehk->dhe", factors["query"], factors["key"])
            queries = by_prompt(project(score.transpose(0, 2, 1).reshape(width, -1), z), prompts)
            queries = queries.reshape(prompts, 1, width, heads, size)

        mixed = self.mix(keys, queries, values, tokens)

        if config.write == "merged":
            write = self.weight("write", (heads, width, width), width)
        else:
            write = self.weight("output", (heads, inner, width), heads * inner)
            write = jnp.einsum("dhk,hke->hde", factors["value"], write) if merging else write
        mixed = side_by_side(mixed)
        if self.separate:
            seen = (
                mixed.reshape(heads, -1, z.shape[1]) if "value" in own else mixed.reshape(-1, heads, z.shape[1]).swapaxes(0, 1)
            )
            return jnp.einsum("hke,hkm->hem", write, seen)
        write = write if "value" in own else write.transpose(1, 0, 2)
        out = project(write.reshape(-1, width), mixed)
        return out + self.vector("output_bias", (width,))[:, None] if biased else out

    def through(self, factors: dict[str, Float[Array, "D H K"]], z: Float[Array, "D M"], prompts: int) -> dict[str, Array]:
        """What every head sees of the tokens through these factors, (B, H, K, N) each, by one product."""
        if not factors:
            return {}
        width, heads, inner = z.shape[0], self.config.heads, self.config.head_dim
        seen = project(jnp.concatenate([factor.reshape(width, -1) for factor in factors.values()], axis=1), z)
        if self.config.bias == "all":
            seen = seen + jnp.concatenate([self.vector(f"{name}_bias", (heads, inner)) for name in factors]).reshape(-1, 1)
        rows = jnp.split(seen, len(factors))
        return {
            name: by_prompt(row, prompts).reshape(prompts, heads, inner, -1) for name, row in zip(factors, rows, strict=True)
        }

    def mix(
        self,
        keys: Float[Array, "B G K N"],
        queries: Float[Array, "B G K h N"],
        values: Float[Array, "B G_ E N"],
        tokens: Tokens,
    ) -> Float[Array, "B GEh N"]:
        """sum_j weights_hij v_j for every head and reader i; scores stand as (B, G, read, h, reader).

        G_, the groups of the values, are not those of the keys where only one of the two is shared.
        """
        config, (prompts, size) = self.config, tokens.scale.shape
        mask = tokens.mask.transpose(0, 2, 1)[:, None, :, None]
        scale = tokens.scale.astype(queries.dtype)[:, None, None, None]
        mixed = []
        for read, readers in spans(size) if self.causal else [(slice(size), slice(size))]:
            asking = queries[..., readers]
            scores = _product(keys[..., read], asking.reshape(*asking.shape[:3], -1), 2, 2)
            scores = scores.reshape(*scores.shape[:3], *asking.shape[3:])
            if config.score == "factored" and config.attention == "softmax":
                scores = scores / config.head_dim**0.5
            weights = WEIGHTINGS[config.attention](scores, mask[..., read, :, readers], scale[..., readers], 2)
            if keys.shape[1] != values.shape[1]:  # (1, H) becomes (H, 1), or the reverse
                weights = weights.swapaxes(1, 3)
            taken = _product(values[..., read], weights.reshape(*weights.shape[:3], -1), 3, 2)
            mixed.append(taken.reshape(prompts, -1, asking.shape[-1]))
        return jnp.concatenate(mixed, axis=-1)


def spans(size: int) -> list[tuple[slice, slice]]:
    """What is read and who reads it: the readers in equal spans, each reading what is before its end."""
    count = min(SPANS, max(1, size // SPAN))
    ends = [size * i // count for i in range(count + 1)]
    return [(slice(end), slice(begin, end)) for begin, end in pairwise(ends)]


def _product(left: Float[Array, "B G ..."], right: Float[Array, "B G ..."], a: int, b: int) -> Float[Array, "B G ..."]:
    """The products of the matrices of every prompt and group, summed over axis a of the left and b of the right."""
    # one axis for prompts and groups: XLA treats a group axis of length 1 worse than none
    left_flat, right_flat = (x.reshape(-1, *x.shape[2:]) for x in (left, right))
    out = lax.dot_general(left_flat, right_flat, (((a - 1,), (b - 1,)), ((0,), (0,))))
    return out.reshape(*left.shape[:2], *out.shape[1:])
