"""A theorem is parameters and the solver they equal; `gap` measures whether they do."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models import heads, memory
from jaxl2o.models.attention import Attention
from jaxl2o.models.config import TransformerConfig, default_float
from jaxl2o.models.encoding import Encoding
from jaxl2o.models.layout import BlockMatrix
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Key, Params, Prompt, ScalarLike, Solver, prefixes


class Construction(NamedTuple):
    """A Transformer's parameters and the solver that they equal.

    reference: authors, arXiv id, theorem.  config, encoding, params: the Transformer.  solver: the algorithm.
    at: (step, layer) pairs at which the claim is made.
    answer: (iterate, prompt) -> what `encoding.read` of that layer must equal.
    sample: key -> a prompt of the theorem's domain.  tolerance: the theorem's own error bound; 0: exact up to rounding.
    """

    reference: str
    config: TransformerConfig
    encoding: Encoding
    params: Params
    solver: Solver
    at: tuple[tuple[int, int], ...]
    answer: Callable[[Any, Prompt], Array]
    sample: Callable[[Key], Prompt]
    tolerance: ScalarLike = 0.0


class Head(NamedTuple):
    """One attention head, merged: `score` says what attends to what, `write` what is written where."""

    score: BlockMatrix
    write: BlockMatrix


class Mlp(NamedTuple):
    """One MLP: `up` (D, F) and `up_bias` (F,) before the ReLU, `down` (F, D) after it; a bias of None is none."""

    up: BlockMatrix
    down: BlockMatrix
    up_bias: Float[Array, " F"] | None = None


class LayerSpec(NamedTuple):
    """The heads and the MLP of one layer; layers of one Transformer may differ in both."""

    heads: tuple[Head, ...] = ()
    mlp: Mlp | None = None


def fill(
    width: int,
    attention: Attention,
    layers: Sequence[LayerSpec],
    repeats: int = 1,
    head_dim: int = 0,
    read_out: Float[Array, " D"] | None = None,
) -> tuple[TransformerConfig, Params]:
    """The config and the parameters that hold these layers, of the same tree as `Transformer.init`.

    Layers with fewer heads or hidden units are padded with zeros, which do exactly nothing. `head_dim` 0 fills merged
    heads; a positive one fills factored heads, where score and write are split by their slots, without an SVD.
    `read_out` is the vector of a linear read-out; None is none.

    Raises `ValueError` if there are no layers, or a head's rank is above `head_dim`.
    """
    checks.require(len(layers) > 0, "a construction of no layers was asked; it needs at least one.")
    heads = max(1, max(len(layer.heads) for layer in layers))
    mlps = [layer.mlp for layer in layers if layer.mlp is not None]
    hidden = max((mlp.up.dense.shape[1] for mlp in mlps), default=0)
    kind = "factored" if head_dim else "merged"
    config = TransformerConfig(
        depth=len(layers),
        heads=heads,
        width=width,
        head_dim=head_dim,
        mlp_dim=hidden,
        attention=attention,
        score=kind,
        write=kind,
        bias="none" if all(mlp.up_bias is None for mlp in mlps) else "mlp",
        read_out="none" if read_out is None else "linear",
        repeats=repeats,
    )
    filled = [_fill_layer(config, layer) for layer in layers]
    params = {"layers": jax.tree.map(lambda *leaves: jnp.stack(leaves).astype(default_float()), *filled)}
    if read_out is not None:
        params["read_out"] = {"vector": read_out.astype(default_float()), "bias": jnp.zeros((), default_float())}
    return config, params


def _fill_layer(config: TransformerConfig, layer: LayerSpec) -> Params:
    width, inner = config.width, config.head_dim
    idle = BlockMatrix(jnp.zeros((width, width)), (), ())
    heads = [*layer.heads, *[Head(idle, idle)] * (config.heads - len(layer.heads))]
    if inner:
        # softmax divides scores by sqrt(K); the construction's scores are meant as they stand
        unscale = inner**0.5 if config.attention == "softmax" else 1.0
        score = [head.score.factors(inner) for head in heads]
        write = [head.write.factors(inner) for head in heads]
        attention = {
            "query": jnp.stack([unscale * left for left, _ in score], axis=1),
            "key": jnp.stack([right.T for _, right in score], axis=1),
            "value": jnp.stack([left for left, _ in write], axis=1),
            "output": jnp.stack([right for _, right in write]),
        }
    else:
        attention = {
            "score": jnp.stack([head.score.dense for head in heads], axis=1),
            "write": jnp.stack([head.write.dense for head in heads]),
        }
    if not config.mlp_dim:
        return {"attention": attention}
    up, down, bias = jnp.zeros((width, config.mlp_dim)), jnp.zeros((config.mlp_dim, width)), jnp.zeros(config.mlp_dim)
    if layer.mlp is not None:
        spare = config.mlp_dim - layer.mlp.up.dense.shape[1]
        up, down = jnp.pad(layer.mlp.up.dense, ((0, 0), (0, spare))), jnp.pad(layer.mlp.down.dense, ((0, spare), (0, 0)))
        bias = bias if layer.mlp.up_bias is None else jnp.pad(layer.mlp.up_bias, (0, spare))
    biases = {"up_bias": bias, "down_bias": jnp.zeros(width)} if config.bias == "mlp" else {}
    return {"attention": attention, "mlp": {"up": up, "down": down, **biases}}


def merge(config: TransformerConfig, trees: Sequence[Params]) -> tuple[TransformerConfig, Params]:
    """The heads of several Transformers of one config, side by side in one: the sum of what each of them would write.

    The memory of every head is its own, and `models.experts` gives each of the groups a gate; so a mixture of experts is the
    one Transformer.

    Raises `ValueError` if there is no tree, or if the config has more than heads: an MLP, norms, a read-in or a read-out.
    """
    checks.require(len(trees) > 0, "there are no experts to merge; give at least one.")
    more = config.mlp_dim or config.read_in or config.positions or config.norm != "none" or config.read_out != "none"
    checks.require(
        not more and config.bias == "none",
        "only heads can stand side by side; this config has an MLP, norms, biases, positions, a read-in or a read-out.",
    )

    axes = heads.AXES | memory.AXES

    def beside(path: Any, *leaves: Array) -> Array:
        return jnp.concatenate(leaves, axis=axes[path[-1].key])

    return replace(config, heads=len(trees) * config.heads), jax.tree_util.tree_map_with_path(beside, *trees)


def gap_by_layer(construction: Construction, prompt: Prompt) -> Float[Array, " pairs"]:
    """For each (step, layer) of `at`: max |read - answer| / (1 + max |answer|), over queries and, for decoders, prefixes."""
    learner = transformer_learner(construction.config, construction.encoding)
    steps, layers = (jnp.asarray(side) for side in zip(*construction.at, strict=True))
    n_steps = max(step for step, _ in construction.at)

    def solver_answers(prompt: Prompt) -> Array:
        iterates = unroll(construction.solver, prompt, n_steps)
        return jax.vmap(construction.answer, in_axes=(0, None))(iterates, prompt)

    def relative(read: Float[Array, "T k"], answer: Float[Array, "S k"]) -> Float[Array, " pairs"]:
        read, answer = read[layers], answer[steps]
        return jnp.max(jnp.abs(read - answer), axis=1) / (1.0 + jnp.max(jnp.abs(answer), axis=1))

    gaps = relative(learner.predict(construction.params, prompt), solver_answers(prompt))
    if construction.encoding.read_prefixes is None or prompt.x_query is None or prompt.x_query.shape[0] != 1:
        return gaps
    answers = jax.vmap(solver_answers)(prefixes(prompt))[..., 0].T
    return jnp.maximum(gaps, relative(learner.prefixes(construction.params, prompt), answers))


def at_claimed_layers(construction: Construction) -> Callable[[Params, Prompt], Float[Array, "T k"]]:
    """(params, prompt) -> what the Transformer answers at every layer of `at`: without queries, iterates of the solver.

    Parameters are an argument, since a program that holds them as constants takes long to compile, and so that they may be
    trained.
    """
    learner = transformer_learner(construction.config, construction.encoding)
    layers = jnp.array([layer for _, layer in construction.at])
    return lambda params, prompt: learner.predict(params, prompt)[layers]


def gap(construction: Construction, prompt: Prompt) -> Float[Array, ""]:
    """The largest relative difference between the Transformer and its solver: zero up to rounding if the theorem holds."""
    return jnp.max(gap_by_layer(construction, prompt))


def linear_answer(iterate: Float[Array, " d"], prompt: Prompt) -> Float[Array, " m"]:
    """<x, w> for every query; the iterate itself if there are none."""
    return iterate if prompt.x_query is None else prompt.x_query @ iterate


def repeated(construction: Construction, times: int) -> Construction:
    """The same layers `times` over, for a solver of one layer to a step whose steps are all alike."""
    config = replace(construction.config, repeats=times)
    return construction._replace(config=config, at=every_layer(config.depth * times))


def every_layer(depth: int) -> tuple[tuple[int, int], ...]:
    """Step t is layer t, for t = 0..depth."""
    return tuple((t, t) for t in range(depth + 1))
