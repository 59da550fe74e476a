"""The one Transformer: tokens to the residual stream after 0..T layers. It knows no task, no theorem, no optimiser.

Parameters of the layers have a leading layer axis, for the layers may be scanned; a theorem is such a pytree (`constructions`).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.encoding import Stream, Tokens
from jaxl2o.models.layer import Layer, State, layer_norm
from jaxl2o.models.memory import empty
from jaxl2o.models.part import Part, project

# Flax annotates in_axes as int, but documents nn.broadcast for inputs that all layers share. Its check of constancy traces the
# layer on shapes alone, which forget that shard_map has them vary by device; it is needed only where a scan makes parameters
_SHARED: Any = nn.broadcast


class ReadOut(Part):
    """Numbers from every token: <v, h> + b, or <h, V h> + <v, h>; of the normed stream under pre-norm.

    One number of every token is an axis of tokens; several, as a last axis, are the columns of `vector`.
    """

    @nn.compact
    def __call__(self, z: Float[Array, "D M"]) -> Float[Array, "M *outputs"]:
        config = self.config
        outputs = (config.outputs,) if config.outputs > 1 else ()
        if config.norm == "pre":
            z = layer_norm(config, "norm")(z)
        vector = self.weight("vector", (config.width, *outputs), config.width, config.ends_scale)
        numbers = project(vector.reshape(config.width, -1), z)
        if config.read_out == "linear":
            numbers = numbers + self.vector("bias", outputs).reshape(-1, 1)
        else:
            matrix = self.weight("matrix", (config.width, config.width), config.width, config.ends_scale)
            numbers = numbers + (project(matrix, z) * z).sum(axis=0, keepdims=True)
        return numbers.T.reshape(-1, *outputs)


class Transformer(Part):
    """Tokens -> Stream: the residual stream after 0..T layers, (T+1, N, D), and its read-out, (T+1, N), if there is one.

    Several outputs are a last axis of the read-out.

    Tokens of many prompts, with a leading axis, give streams with that axis: as `vmap` does, by fewer and larger products.
    causal: a promise that no token reads a later one, by which there is less to compute; the mask stays what decides.
    """

    causal: bool = False

    def setup(self) -> None:
        scanned = nn.scan(
            nn.remat(Layer, prevent_cse=False) if self.config.remat else Layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=_SHARED,
            length=self.config.depth,
            check_constancy_invariants=False,
        )
        self.layers = scanned(self.config, self.causal)
        if self.config.read_out != "none":
            self.read_out = ReadOut(self.config)

    @nn.compact
    def __call__(self, tokens: Tokens) -> Stream:
        alone = tokens.z.ndim == 2
        if alone:
            tokens = jax.tree.map(lambda leaf: leaf[None], tokens)
        config, (prompts, size) = self.config, tokens.scale.shape
        checks.shape("z", tokens.z, (None, None, config.read_in or config.width))
        first = self.cast(tokens.z).reshape(prompts * size, -1).T
        if config.read_in:
            first = project(self.weight("read_in", (config.read_in, config.width), config.read_in, config.ends_scale), first)
            first = first + self.vector("read_in_bias", (config.width,))[:, None]
        if config.positions:
            table = self.weight("positions", (config.positions, config.width), config.width)
            # a prompt that is too long gives NaN: silently clamped places would give wrong answers
            first = first + table.at[tokens.position.reshape(-1)].get(mode="fill", fill_value=jnp.nan).T
        run = self.one_by_one if config.unroll and not self.is_initializing() else self.looped
        steps = run(first, tokens)
        # one by one, so that what a loss does not read is not computed
        answers = None
        if config.read_out != "none":
            read = [self.read_out(z) for z in steps]
            answers = jnp.stack([numbers.reshape(prompts, size, *numbers.shape[1:]) for numbers in read], axis=1)
        stream = Stream(jnp.stack([z.T.reshape(prompts, size, -1) for z in steps], axis=1), answers)
        return jax.tree.map(lambda leaf: leaf[0], stream) if alone else stream

    def looped(self, first: Float[Array, "D M"], tokens: Tokens) -> list[Float[Array, "D M"]]:
        """The stream after 0..T layers, by a scan over the layers inside a scan over the repeats."""
        repeat = nn.scan(
            lambda module, state, tokens: module.layers(state, tokens),
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=_SHARED,
            length=self.config.repeats,
            check_constancy_invariants=self.is_initializing(),
        )
        _, later = repeat(self, State(first, empty(self.config, first)), tokens)
        return [first, *later.reshape(-1, *first.shape)]

    def one_by_one(self, first: Float[Array, "D M"], tokens: Tokens) -> list[Float[Array, "D M"]]:
        """The same without a loop in what is compiled: nothing is copied into stacks for the backward pass."""
        leaves, tree = jax.tree.flatten(self.variables["params"]["layers"])
        # split, not indexed: its gradient is one concatenation, where every index would have a sum over all layers
        parts = (lax.split(leaf, [1] * self.config.depth) for leaf in leaves)
        layers = [tree.unflatten(leaf[0] for leaf in own) for own in zip(*parts, strict=True)]
        # outside of a scan the compiler would find that a layer is computed twice, and keep the first
        layer = (nn.remat(Layer) if self.config.remat else Layer)(self.config, self.causal, parent=None)
        state, steps = State(first, empty(self.config, first)), [first]
        for own in layers * self.config.repeats:
            state, z = layer.apply({"params": own}, state, tokens)
            steps.append(jnp.asarray(z))
        return steps
