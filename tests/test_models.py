"""The one Transformer: every value of every field, against loops written from the formulas; presets; layouts; gauge."""

import math
from dataclasses import fields, replace
from functools import cache, partial
from typing import get_args, get_type_hints

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.models import presets
from jaxl2o.models.attention import WEIGHTINGS
from jaxl2o.models.canonical import distance, merge
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Stream, Tokens
from jaxl2o.models.heads import spans
from jaxl2o.models.layer import Layer, State
from jaxl2o.models.layout import BlockMatrix, Layout
from jaxl2o.models.transformer import Transformer

SEEDS = st.integers(0, 2**31 - 1)
SIZE, WIDTH = 5, 6

# together they take every value of every field; a test below makes sure of it
CONFIGS = {
    "plain": TransformerConfig(depth=2, heads=2, width=WIDTH),
    "relu": TransformerConfig(depth=2, heads=2, width=WIDTH, mlp_dim=7, attention="relu", norm="post", bias="mlp", clip=1.0),
    "small": TransformerConfig(
        depth=2, heads=2, width=WIDTH, head_dim=3, mlp_dim=7, attention="relu", score="factored", norm="post", bias="mlp",
        read_in=3, read_out="linear",
    ),
    "gpt": TransformerConfig(
        depth=2, heads=2, width=WIDTH, head_dim=3, mlp_dim=7, attention="softmax", score="factored", write="factored",
        activation="gelu", norm="pre", bias="all", read_in=3, read_out="linear", outputs=2, positions=9, remat=True,
    ),
    "bilinear": TransformerConfig(
        depth=1, heads=3, width=WIDTH, head_dim=2, attention="linear", write="factored", norm="pre", bias="all", init_scale=0.5,
        read_out="bilinear", repeats=3,
    ),
    "wide": TransformerConfig(
        depth=3, heads=2, width=WIDTH, head_dim=WIDTH, attention="softmax", score="factored", write="factored", unroll=True
    ),
    "softmax-merged": TransformerConfig(depth=2, heads=1, width=WIDTH, mlp_dim=4, attention="softmax", repeats=2),
    "momentum": TransformerConfig(depth=3, heads=2, width=WIDTH, memory="momentum", mlp_dim=4, bias="mlp", norm="post"),
    "lfom": TransformerConfig(
        depth=2, heads=2, width=WIDTH, head_dim=2, score="factored", write="factored", memory="lfom", repeats=2
    ),
    "lfom-tied": TransformerConfig(depth=3, heads=2, width=WIDTH, memory="lfom_tied", norm="pre", remat=True),
    "hadamard": TransformerConfig(depth=3, heads=2, width=WIDTH, memory="hadamard", tokens=SIZE),
    "hadamard-past": TransformerConfig(depth=3, heads=2, width=WIDTH, memory="hadamard_past", tokens=SIZE, unroll=True),
    "conjugate": TransformerConfig(depth=4, heads=2, width=WIDTH, memory="conjugate"),
}  # fmt: skip
EVERY_CONFIG = pytest.mark.parametrize("name", CONFIGS)


def input_width(config: TransformerConfig) -> int:
    """The width of the tokens: the read-in's, or the stream's."""
    return config.read_in or config.width


def draw_tokens(config: TransformerConfig, rng) -> Tokens:
    """Tokens that read a random set of those before them, the first two nobody; scales and positions at random."""
    mask = np.tril(rng.random((SIZE, SIZE)) < 0.7)
    mask[:2] = False
    return Tokens(
        jnp.asarray(rng.normal(size=(SIZE, input_width(config)))),
        jnp.asarray(mask),
        jnp.asarray(rng.uniform(0.2, 1.0, SIZE)),
        jnp.asarray(rng.integers(0, max(config.positions, 1), SIZE)),
        None if config.memory == "none" else jnp.asarray(rng.normal(size=config.heads)),
    )


def causal(tokens: Tokens) -> Tokens:
    """The tokens, each of which reads all before it and itself."""
    return tokens._replace(mask=jnp.asarray(np.tril(np.ones((SIZE, SIZE), dtype=bool))))


@cache
def tree_of(config: TransformerConfig):
    """The shapes of the config's parameters."""
    tokens = draw_tokens(config, np.random.default_rng(0))
    return jax.eval_shape(Transformer(config).init, jax.random.key(0), tokens)["params"]


def draw_params(config: TransformerConfig, rng):
    """Parameters of the config's tree, every leaf random: norms near one, all else of deviation 0.4."""

    def draw(path, leaf):
        return jnp.asarray(0.4 * rng.normal(size=leaf.shape) + (path[-1].key == "scale"), dtype=leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, tree_of(config))


@cache
def forward(config: TransformerConfig):
    """(params, tokens) -> Stream, compiled."""
    return jax.jit(lambda params, tokens: Transformer(config).apply({"params": params}, tokens))


# --- the Transformer as loops ---------------------------------------------------------------------------------------------


def layer_norm(params, z):
    """(z - mean) / sqrt(variance + 1e-5), scaled and shifted, for every token by itself."""
    centred = z - z.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * params["scale"] + params["bias"]


def activation(kind: str, u):
    """max(u, 0), or GPT-2's GELU, u/2 (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3)))."""
    return np.maximum(u, 0.0) if kind == "relu" else 0.5 * u * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (u + 0.044715 * u**3)))


def attend(config: TransformerConfig, params, z, tokens: Tokens):
    """For every head h and token i the sum over readable tokens j of weight_h(i, j) write_h(z_j): (H, N, D)."""

    def project(name: str, token, h: int):
        bias = params[f"{name}_bias"][h] if config.bias == "all" else 0.0
        return token @ params[name][:, h] + bias

    def score(i: int, j: int, h: int):
        if config.score == "merged":
            return z[i] @ params["score"][:, h] @ z[j]
        product = project("query", z[i], h) @ project("key", z[j], h)
        return product / math.sqrt(config.head_dim) if config.attention == "softmax" else product

    def write(j: int, h: int):
        return z[j] @ params["write"][h] if config.write == "merged" else project("value", z[j], h) @ params["output"][h]

    out = np.zeros((config.heads, *z.shape))
    for i in range(len(z)):
        readable = [j for j in range(len(z)) if tokens.mask[i, j]]
        for h in range(config.heads):
            scores = np.array([score(i, j, h) for j in readable])
            if config.attention == "softmax":
                weights = np.exp(scores - scores.max(initial=-np.inf))
                weights = weights / weights.sum()
            else:
                weights = tokens.scale[i] * (np.maximum(scores, 0.0) if config.attention == "relu" else scores)
            for weight, j in zip(weights, readable, strict=True):
                out[h, i] += weight * write(j, h)
    return out


def remember(config: TransformerConfig, params, seen, stream, mask):
    """What all heads write in layer l = len(seen) - 1: a sum over the layers j <= l of what attention saw in them."""
    last = len(seen) - 1
    if config.memory == "conjugate":
        return conjugate(seen, stream, mask)

    def weight(j: int):
        match config.memory:
            case "momentum":
                return params[last]["step_size"] * np.prod([params[i]["decay"] for i in range(j + 1, last + 1)], axis=0)
            case "lfom":
                return params[last]["coefficients"][last - j]
            case "lfom_tied":
                return params[j]["coefficient"]
            case "hadamard":
                return params[j]["weights"].swapaxes(1, 2)
            case "hadamard_past":
                return params[j]["weights"].swapaxes(1, 2) if j < last else np.ones(config.heads)
            case _:
                return np.full(config.heads, float(j == last))

    return sum(weight(j).reshape(len(seen[j]), *weight(j).shape[1:] or (1, 1)) * seen[j] for j in range(last + 1))


def conjugate(seen, stream, mask):
    """alpha_l R_l, with R_l = A_l + rho_l / rho_{l-1} R_{l-1} and alpha_l = rho_l / <R_l, R_l>, or zero where rho_l <= 0."""
    register, before = np.zeros_like(seen[0]), None  # rounding plays no part: random tokens are no answers
    for saw, z in zip(seen, stream, strict=True):
        rho = -np.sum(saw * z, axis=2) @ mask.T
        if before is not None:
            register = register * divide(rho, np.where(rho > 0.0, before, 0.0))[:, :, None]
        register, before = saw + register, rho
    alpha = divide(rho, np.where(rho > 0.0, np.sum(register**2, axis=2) @ mask.T, 0.0))
    return alpha[:, :, None] * register


def divide(over, under):
    """over / under, or zero where `under` is."""
    return np.divide(over, under, out=np.zeros_like(over), where=under != 0.0)


def textbook(config: TransformerConfig, params, tokens: Tokens):
    """The residual stream after 0..T layers, and its read-out or None."""
    params, tokens = jax.tree.map(np.asarray, (params, tokens))
    z = tokens.z
    if config.read_in:
        z = z @ params["read_in"] + params["read_in_bias"]
    if config.positions:
        z = z + params["positions"][tokens.position]
    stream, seen, memories = [z], [], []
    for layer in list(range(config.depth)) * config.repeats:
        own = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["layers"])

        def branch(z, name, f, own=own):
            if config.norm == "pre":
                return z + f(layer_norm(own[f"{name}_norm"], z))
            return layer_norm(own[f"{name}_norm"], z + f(z)) if config.norm == "post" else z + f(z)

        def mlp(z, own=own):
            biases = (own["mlp"]["up_bias"], own["mlp"]["down_bias"]) if config.bias != "none" else (0.0, 0.0)
            return activation(config.activation, z @ own["mlp"]["up"] + biases[0]) @ own["mlp"]["down"] + biases[1]

        def attention(z, own=own):
            seen.append(attend(config, own["attention"], z, tokens))
            memories.append(own.get("memory"))
            written = remember(config, memories, seen, stream, tokens.mask)
            bias = own["attention"]["output_bias"] if config.bias == "all" else 0.0
            return np.einsum("h,hnd->nd", np.ones(config.heads) if tokens.gate is None else tokens.gate, written) + bias

        z = branch(z, "attention", attention)
        z = branch(z, "mlp", mlp) if config.mlp_dim else z
        z = z if config.clip is None else np.minimum(np.maximum(z, -config.clip), config.clip)
        stream.append(z)
    stream = np.stack(stream)
    if config.read_out == "none":
        return Stream(stream)
    read_out = params["read_out"]
    h = layer_norm(read_out["norm"], stream) if config.norm == "pre" else stream
    square = read_out["bias"] if config.read_out == "linear" else ((h @ read_out["matrix"]) * h).sum(axis=-1)
    return Stream(stream, h @ read_out["vector"] + square)


# --- every config ---------------------------------------------------------------------------------------------------------


def test_the_table_takes_every_value_of_every_field():
    """Every literal of every field, both booleans, zero and not zero, none and not none stand in the table."""
    hints = get_type_hints(TransformerConfig)
    for field in fields(TransformerConfig):
        taken = {getattr(config, field.name) for config in CONFIGS.values()}
        if field.name == "dtype":
            continue  # tested by itself below, at its own precision
        if hints[field.name] is bool:
            assert taken == {True, False}
        elif hints[field.name] is int:
            least = 1 if field.name in ("depth", "heads", "width", "repeats", "outputs") else 0
            assert field.name == "width" or ({least} <= taken and len(taken) > 1), field.name
        elif field.name == "clip":
            assert None in taken
            assert len(taken) > 1
        elif field.name not in ("init_scale", "ends_scale"):
            assert taken == set(get_args(hints[field.name])), field.name


def assert_same_layers(found, expected):
    """Every layer to 1e-12 of its largest number, or of one: streams grow to 1e9, and where they cancel digits are lost."""
    found, expected = np.asarray(found), np.asarray(expected)
    axes = tuple(range(1, expected.ndim))
    assert np.all(np.abs(found - expected) <= 1e-12 * np.maximum(1.0, np.abs(expected).max(axis=axes, keepdims=True)))


@EVERY_CONFIG
@given(seed=SEEDS)
def test_the_module_is_the_textbook(name, seed):
    """The stream and its read-out are those of loops over heads and pairs of tokens."""
    config, rng = CONFIGS[name], np.random.default_rng(seed)
    params, tokens = draw_params(config, rng), draw_tokens(config, rng)
    stream, expected = forward(config)(params, tokens), textbook(config, params, tokens)
    assert_same_layers(stream.residual, expected.residual)
    if config.read_out == "none":
        assert stream.answers is None
    else:
        assert_same_layers(stream.answers, expected.answers)


@EVERY_CONFIG
@given(seed=SEEDS)
def test_many_prompts_together_are_each_by_itself(name, seed):
    """A leading axis of prompts gives the streams and read-outs of each prompt alone."""
    config, rng = CONFIGS[name], np.random.default_rng(seed)
    params = draw_params(config, rng)
    prompts = [draw_tokens(config, rng) for _ in range(3)]
    together = forward(config)(params, jax.tree.map(lambda *leaves: jnp.stack(leaves), *prompts))
    for index, alone in enumerate(prompts):
        stream = forward(config)(params, alone)
        assert_same_layers(together.residual[index], stream.residual)
        if config.read_out != "none":
            assert_same_layers(together.answers[index], stream.answers)


@cache
def differentiated(config: TransformerConfig, causal: bool = False):
    """The stream of 82 tokens under a causal mask, three spans of them not of one length, and a gradient through it."""
    rng = np.random.default_rng(5)
    params, draws = draw_params(config, rng), [draw_tokens(config, rng) for _ in range(17)]
    z, scale, position = (jnp.concatenate([getattr(d, part) for d in draws])[:82] for part in ("z", "scale", "position"))
    tokens = Tokens(z, jnp.tril(jnp.asarray(rng.random((82, 82)) < 0.8)), scale, position)

    def value(params):
        stream = Transformer(config, causal=causal).apply({"params": params}, tokens)
        return jnp.sum(jnp.sin(stream.residual)), stream.residual

    return jax.jit(jax.grad(value, has_aux=True))(params)


# what a causal mask leaves out anyway is not computed; layers without a loop; activations computed once more, not kept
WAYS = {
    "in spans": lambda config: differentiated(config, causal=True),
    "one by one": lambda config: differentiated(replace(config, unroll=True)),
    "again": lambda config: differentiated(replace(config, remat=not config.remat)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["small", "gpt", "wide", "softmax-merged"])
def test_ways_to_compute_the_same(way, name):
    """Whatever saves time or memory leaves the stream and its gradient as they are."""
    config = replace(CONFIGS[name], unroll=False)
    chex.assert_trees_all_close(WAYS[way](config), differentiated(config), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1, 26, 27, 81, 82, 201])
def test_spans_cover_the_readers(size):
    """Every reader is in one span, which reads all up to its own end; there are at most four, of at least 27 unless alone."""
    ends = [0]
    for read, readers in spans(size):
        assert (readers.start, read.stop) == (ends[-1], readers.stop)
        assert readers.stop - readers.start >= min(27, size)
        ends.append(readers.stop)
    assert ends[-1] == size
    assert len(ends) <= 5


# conjugate gradients need all digits, and refuse less
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in CONFIGS for dtype in (None, "bfloat16") if (name, dtype) != ("conjugate", "bfloat16")],
)
def test_shapes_and_dtypes(name, dtype):
    """residual (depth repeats + 1, N, D), answers (depth repeats + 1, N) or (..., N, outputs); parameters in float64."""
    config = replace(CONFIGS[name], dtype=dtype)
    tokens = draw_tokens(config, np.random.default_rng(0))
    stream, variables = jax.eval_shape(Transformer(config).init_with_output, jax.random.key(0), tokens)
    steps, computed = config.depth * config.repeats + 1, jnp.dtype(dtype or "float64")
    assert (stream.residual.shape, stream.residual.dtype) == ((steps, SIZE, WIDTH), computed)
    if config.read_out != "none":
        several = (config.outputs,) if config.outputs > 1 else ()
        assert (stream.answers.shape, stream.answers.dtype) == ((steps, SIZE, *several), computed)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float64")}
    assert {leaf.shape[0] for leaf in jax.tree.leaves(variables["params"]["layers"])} == {config.depth}


@pytest.mark.parametrize(("dtype", "rounding"), [("bfloat16", 0.1), ("float32", 1e-5)])
def test_the_dtype_of_the_computation(dtype, rounding):
    """A computation in fewer bits is the textbook's to the rounding of these bits, and not exact."""
    config, rng = replace(CONFIGS["gpt"], dtype=dtype), np.random.default_rng(4)
    params, tokens = draw_params(config, rng), draw_tokens(config, rng)
    computed = np.asarray(forward(config)(params, tokens).residual, dtype=float)
    assert 0.0 < np.abs(computed - textbook(config, params, tokens).residual).max() <= rounding


@EVERY_CONFIG
@given(seed=SEEDS)
def test_a_token_depends_on_what_it_may_read_alone(name, seed):
    """With a causal mask the stream and the read-out of tokens <= i do not change by a bit with those after i."""
    config, rng = CONFIGS[name], np.random.default_rng(seed)
    params, tokens, i = draw_params(config, rng), causal(draw_tokens(config, rng)), seed % (SIZE - 1)
    later = np.concatenate([tokens.z[: i + 1], rng.normal(size=(SIZE - 1 - i, tokens.z.shape[1]))])
    ours, theirs = (forward(config)(params, tokens._replace(z=z)) for z in (tokens.z, jnp.asarray(later)))
    np.testing.assert_array_equal(ours.residual[:, : i + 1], theirs.residual[:, : i + 1])
    assert np.abs(np.asarray(ours.residual) - theirs.residual)[:, i + 1 :].max() > 1e-3
    if config.read_out != "none":
        np.testing.assert_array_equal(ours.answers[:, : i + 1], theirs.answers[:, : i + 1])


def test_the_derivative_by_a_later_token_is_zero():
    """With a causal mask d h_i / d z_j = 0 for j > i, exactly; and it is not zero for j = i."""
    config, rng = CONFIGS["gpt"], np.random.default_rng(6)
    params, tokens = draw_params(config, rng), causal(draw_tokens(config, rng))

    def last(z):
        stream = Transformer(config).apply({"params": params}, tokens._replace(z=z))
        return stream.residual[-1] @ jnp.cos(jnp.arange(WIDTH, dtype=float))

    gradient = np.abs(jax.jit(jax.jacrev(last))(tokens.z)).max(axis=-1)
    assert (gradient[np.triu_indices(SIZE, 1)] == 0.0).all()
    assert (np.diag(gradient) > 1e-3).all()


@pytest.mark.parametrize("name", ["bilinear", "softmax-merged"])
def test_repeats_run_the_layers_again(name):
    """depth L repeated R times is depth L R with the stacked layers written out R times."""
    config, rng = CONFIGS[name], np.random.default_rng(8)
    params, tokens = draw_params(config, rng), draw_tokens(config, rng)
    written_out = {**params, "layers": jax.tree.map(lambda leaf: jnp.concatenate([leaf] * config.repeats), params["layers"])}
    deep = replace(config, depth=config.depth * config.repeats, repeats=1)
    chex.assert_trees_all_close(forward(config)(params, tokens), forward(deep)(written_out, tokens), rtol=1e-12, atol=1e-13)


def test_the_clip_bounds_the_stream():
    """After every layer |h| <= clip, and the bound is met; the tokens themselves are not clipped."""
    config, rng = CONFIGS["relu"], np.random.default_rng(9)
    tokens = draw_tokens(config, rng)
    stream = np.abs(forward(config)(draw_params(config, rng), tokens._replace(z=3.0 * tokens.z)).residual)
    assert stream[1:].max() == config.clip
    assert stream[0].max() > config.clip


def test_the_first_weights():
    """Weights start with mean 0 and deviation init_scale / sqrt(fan in), ends with ends_scale; biases at 0, norms at 1."""
    config = replace(presets.gpt2(d=8, depth=3, heads=4, width=64, positions=50), init_scale=0.5, ends_scale=0.25)
    tokens = Tokens(jnp.zeros((3, 8)), jnp.ones((3, 3), dtype=bool), jnp.ones(3), jnp.arange(3))
    params = jax.jit(Transformer(config).init)(jax.random.key(1, impl="rbg"), tokens)["params"]
    fan_in = {
        "read_in": 8,
        "positions": 64,
        "query": 64,
        "key": 64,
        "value": 64,
        "output": 64,
        "up": 64,
        "down": 256,
        "vector": 64,
    }
    seen = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.tree.map(np.asarray, params)):
        name = path[-1].key
        if name in fan_in:
            seen.add(name)
            deviation, entries = (0.25 if name in ("read_in", "vector") else 0.5) / math.sqrt(fan_in[name]), leaf.size
            assert abs(leaf.mean()) <= 5.0 * deviation / math.sqrt(entries), path
            assert abs(leaf.std() / deviation - 1.0) <= 5.0 / math.sqrt(2.0 * entries), path
        else:
            assert (leaf == (1.0 if name == "scale" else 0.0)).all(), path
    assert seen == set(fan_in)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"heads": 0}, "heads is 0"),
        ({"width": 0}, "width is 0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"outputs": 0}, "outputs is 0"),
        ({"outputs": 2}, "only a linear read-out"),
        ({"mlp_dim": -1}, "mlp_dim is -1"),
        ({"head_dim": 3}, "merged heads need 0"),
        ({"score": "factored"}, "at least 1"),
        ({"clip": 0.0}, "clip is 0.0"),
    ],
)
def test_a_config_that_cannot_be_is_refused(wrong, sentence):
    """Sizes are positive, factored heads have a dimension and merged ones have none, a clip is a positive bound."""
    with pytest.raises(ValueError, match=sentence):
        replace(CONFIGS["plain"], **wrong)


def test_tokens_of_another_width_are_refused():
    """Tokens have the read-in's width, or the stream's."""
    config = CONFIGS["plain"]
    tokens = draw_tokens(config, np.random.default_rng(0))
    with pytest.raises(ValueError, match="z has shape"):
        jax.eval_shape(Transformer(config).init, jax.random.key(0), tokens._replace(z=jnp.zeros((SIZE, WIDTH + 1))))


# --- weightings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WEIGHTINGS)
@given(seed=SEEDS, size=st.floats(0.1, 300.0))
def test_weights_stay_within_the_mask(kind, seed, size):
    """Weights are zero outside the mask, rows that read nobody are zero, softmax rows sum to one; no derivative is NaN."""
    rng = np.random.default_rng(seed)
    scores, mask = jnp.asarray(size * rng.normal(size=(SIZE, SIZE))), rng.random((SIZE, SIZE)) < 0.5
    mask[0], scale = False, jnp.asarray(rng.uniform(0.2, 1.0, SIZE))
    weights, gradient = weigh(kind)(scores, jnp.asarray(mask), scale)
    assert (np.asarray(weights)[~mask] == 0.0).all()
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[~mask] == 0.0).all()
    if kind == "softmax":
        np.testing.assert_allclose(weights.sum(axis=1), mask.any(axis=1), rtol=1e-14)


@cache
def weigh(kind: str):
    """(scores, mask, scale) -> the weights, and the gradient in the scores of a sum of them."""

    def weights(scores, mask, scale):
        return WEIGHTINGS[kind](scores, mask, scale[:, None], 1)

    mixed = jnp.sin(jnp.arange(SIZE * SIZE, dtype=float)).reshape(SIZE, SIZE)
    gradient = jax.grad(lambda scores, mask, scale: jnp.sum(mixed * weights(scores, mask, scale)))
    return jax.jit(lambda *args: (weights(*args), gradient(*args)))


# --- presets --------------------------------------------------------------------------------------------------------------


def count(config: TransformerConfig, part: str | None = None) -> int:
    """The number of parameters, of all or of one part."""
    tokens = Tokens(jnp.zeros((3, input_width(config))), jnp.ones((3, 3), dtype=bool), jnp.ones(3), jnp.arange(3))
    params = jax.eval_shape(Transformer(config).init, jax.random.key(0), tokens)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params if part is None else params[part]))


@pytest.mark.parametrize("depth", [1, 12])
def test_small_tf_has_35658_parameters_a_layer(depth):
    """4 heads of 3 D^2, an MLP of 8 D^2 + 5 D, two norms of 2 D, D = 42; read-in 21 D + D, read-out D + 1."""
    config = presets.small_tf(d=20, depth=depth)
    assert 35_658 == 4 * 3 * 42**2 + 8 * 42**2 + 5 * 42 + 4 * 42
    assert count(config, "layers") == depth * 35_658
    assert count(config) == depth * 35_658 + 21 * 42 + 42 + 42 + 1


def test_gpt2_has_9534977_parameters():
    """Layers of 12 D^2 + 13 D, the last norm 2 D, 202 positions, read-in 21 D, read-out D + 1; D = 256."""
    assert 9_534_977 == 12 * (12 * 256**2 + 13 * 256) + 2 * 256 + 202 * 256 + 21 * 256 + 257
    assert count(presets.gpt2()) == 9_534_977


@pytest.mark.parametrize(("d", "depth", "heads"), [(5, 1, 1), (20, 3, 2)])
def test_linear_attention_has_two_square_matrices_a_head(d, depth, heads):
    """2 (d + 1)^2 parameters a head a layer, and no others."""
    assert count(presets.linear_attention(d, depth, heads)) == depth * heads * 2 * (d + 1) ** 2


@pytest.mark.parametrize("depth", [1, 6])
def test_linear_self_attention_has_16640_parameters_a_layer(depth):
    """Layers of 4 D^2 + 4 D, D = 64, read-in 11 D + D and read-out D + 1 at d = 10; 2 D more a norm, and one norm more."""
    assert 16_640 == 4 * 64**2 + 4 * 64
    assert count(presets.linear_self_attention(10, depth)) == depth * 16_640 + 12 * 64 + 65
    assert count(presets.linear_self_attention_with_norm(10, depth)) == depth * (16_640 + 128) + 12 * 64 + 65 + 128


def test_the_newton_softmax_gives_d_numbers():
    """Layers of 12 D^2 + 13 D, D = 32, the last norm 2 D, 27 positions, read-in 6 D + D, read-out D d + d at d = 5."""
    assert count(presets.newton_softmax(5, depth=3)) == 3 * (12 * 32**2 + 13 * 32) + 64 + 27 * 32 + 7 * 32 + 33 * 5


def test_the_stabilisers_are_values():
    """Weights of LSA's layers start at 2e-4, with norm at 0.02; ends at PyTorch's 1 / sqrt(3 fan in); LSA alone is clipped."""
    tokens = Tokens(jnp.zeros((3, 11)), jnp.ones((3, 3), dtype=bool), jnp.ones(3), jnp.arange(3))
    for make, deviation, clip in (
        (presets.linear_self_attention, 2e-4, 10.0),
        (presets.linear_self_attention_with_norm, 0.02, None),
    ):
        config = make(depth=2)
        params = jax.jit(Transformer(config).init)(jax.random.key(0, impl="rbg"), tokens)["params"]
        for name in ("query", "key", "value", "output"):
            assert np.asarray(params["layers"]["attention"][name]).std() == pytest.approx(deviation, rel=0.03)
        assert np.asarray(params["read_in"]).std() == pytest.approx(1.0 / math.sqrt(33.0), rel=0.1)
        assert config.clip == clip


# --- gauge ----------------------------------------------------------------------------------------------------------------

GAUGED = {
    "softmax": TransformerConfig(
        depth=2, heads=2, width=WIDTH, head_dim=3, attention="softmax", score="factored", write="factored", mlp_dim=4
    ),
    "relu": TransformerConfig(depth=2, heads=2, width=WIDTH, head_dim=3, attention="relu", score="factored"),
    "linear": TransformerConfig(depth=2, heads=2, width=WIDTH, head_dim=3, write="factored", read_out="linear"),
    "merged": TransformerConfig(depth=2, heads=2, width=WIDTH),
}
EVERY_GAUGE = pytest.mark.parametrize("name", GAUGED)


def change_basis(config: TransformerConfig, params, rng):
    """query R, key R^-T, value R, output R^-1, with another R for every layer and head."""
    attention = {name: np.asarray(leaf) for name, leaf in params["layers"]["attention"].items()}
    for layer in range(config.depth):
        for h in range(config.heads):
            r = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2.0, 3)
            for name, basis in (("query", r), ("key", np.linalg.inv(r).T), ("value", r)):
                if name in attention:
                    attention[name] = attention[name].copy()
                    attention[name][layer, :, h] = attention[name][layer, :, h] @ basis
            if "output" in attention:
                attention["output"] = attention["output"].copy()
                attention["output"][layer, h] = np.linalg.inv(r) @ attention["output"][layer, h]
    return {**params, "layers": {**params["layers"], "attention": jax.tree.map(jnp.asarray, attention)}}


@EVERY_GAUGE
@given(seed=SEEDS)
def test_merging_keeps_the_function(name, seed):
    """The merged Transformer has the same stream, to 1e-12."""
    config, rng = GAUGED[name], np.random.default_rng(seed)
    params, tokens = draw_params(config, rng), draw_tokens(config, rng)
    merged_config, merged = merge(config, params)
    assert (merged_config.score, merged_config.write, merged_config.head_dim) == ("merged", "merged", 0)
    chex.assert_trees_all_close(forward(config)(params, tokens), forward(merged_config)(merged, tokens), rtol=1e-12, atol=1e-12)


@cache
def apart(config: TransformerConfig):
    """The distance of two parameter trees, compiled."""
    return jax.jit(partial(distance, config))


@EVERY_GAUGE
@given(seed=SEEDS)
def test_the_distance_does_not_see_the_gauge(name, seed):
    """A change of basis inside the heads moves weights by a third at least, but the distance by rounding; noise it sees."""
    config, rng = GAUGED[name], np.random.default_rng(seed)
    params = draw_params(config, rng)
    turned = change_basis(config, params, rng)
    if config.head_dim:
        before, after = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(p["layers"])]) for p in (params, turned))
        assert np.linalg.norm(before - after) > 0.33 * np.linalg.norm(before)
    assert apart(config)(turned, params) <= 1e-14
    moved = jax.tree.map(lambda leaf: 1.01 * leaf, params)
    assert 0.009 < apart(config)(moved, params) < 0.021


def test_attention_biases_cannot_be_merged():
    """A biased score is not bilinear."""
    config, rng = CONFIGS["gpt"], np.random.default_rng(0)
    with pytest.raises(ValueError, match="no merged form"):
        merge(config, draw_params(config, rng))


# --- layouts --------------------------------------------------------------------------------------------------------------

LAYOUT = Layout((("x", 2), ("y", 1), ("w", 3)))
OTHER = Layout((("u", 2), ("v", 2)))


def test_a_layout_names_slices():
    """Slots stand one after the other, and fill the width."""
    assert LAYOUT.width == 6
    assert [LAYOUT.slice(name) for name in "xyw"] == [slice(0, 2), slice(2, 3), slice(3, 6)]
    np.testing.assert_array_equal(LAYOUT.vector(y=2.0, w=jnp.array([3.0, 4.0, 5.0])), [0, 0, 2, 3, 4, 5])
    np.testing.assert_array_equal(LAYOUT.vector(), np.zeros(6))


def test_blocks_stand_where_their_names_say():
    """a__b=block has its rows in slot a and its columns in slot b; a number is a 1 x 1 block."""
    block = jnp.arange(1.0, 7.0).reshape(2, 3)
    matrix = LAYOUT.matrix(x__w=block, y__y=-1.0)
    np.testing.assert_array_equal(
        matrix.dense,
        [[0, 0, 0, 1, 2, 3], [0, 0, 0, 4, 5, 6], [0, 0, -1, 0, 0, 0], *[[0] * 6] * 3],
    )
    assert (matrix.rows, matrix.columns) == ((0, 1, 2), (2, 3, 4, 5))
    across = LAYOUT.to(OTHER, w__v=block.T)
    np.testing.assert_array_equal(across.dense, [*[[0] * 4] * 3, [0, 0, 1, 4], [0, 0, 2, 5], [0, 0, 3, 6]])
    assert (across.rows, across.columns) == ((3, 4, 5), (2, 3))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: LAYOUT.slice("z"), "no slot 'z'; its slots are x, y, w"),
        (lambda: LAYOUT.vector(z=1.0), "no slot 'z'"),
        (lambda: LAYOUT.matrix(x__z=1.0), "no slot 'z'"),
        (lambda: LAYOUT.matrix(x=1.0), "no slot ''"),
        (lambda: LAYOUT.matrix(x__w=jnp.ones((3, 2))), "block x__w has shape"),
        (lambda: LAYOUT.matrix(x__w=1.0), "block x__w has shape"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(build, sentence):
    """Names must be slots, and blocks must have their sizes."""
    with pytest.raises(ValueError, match=sentence):
        build()


MATRICES = {
    "tall": LAYOUT.matrix(w__y=jnp.array([[1.0], [2.0], [3.0]])),
    "wide": LAYOUT.matrix(y__x=jnp.array([[4.0, 5.0]])),
    "square": LAYOUT.matrix(x__x=jnp.array([[1.0, 2.0], [3.0, 4.0]])),
    "two blocks": LAYOUT.matrix(x__w=jnp.arange(6.0).reshape(2, 3), y__y=7.0),
    "across": LAYOUT.to(OTHER, w__v=jnp.arange(6.0).reshape(3, 2)),
    "idle": BlockMatrix(jnp.zeros((6, 6)), (), ()),
}


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("name", MATRICES)
def test_factors_multiply_back(name, spare):
    """A B = dense exactly, with `rank` columns in A, at least the matrix's own rank, and as many spare ones as asked for."""
    matrix = MATRICES[name]
    assert matrix.rank >= np.linalg.matrix_rank(np.asarray(matrix.dense))
    left, right = matrix.factors(matrix.rank + spare)
    assert (left.shape[1], right.shape[0]) == (matrix.rank + spare,) * 2
    np.testing.assert_array_equal(left @ right, matrix.dense)


@pytest.mark.parametrize("name", sorted(set(MATRICES) - {"idle"}))
def test_too_few_factors_are_refused(name):
    """No factors below the rank."""
    with pytest.raises(ValueError, match="cannot hold rank"):
        MATRICES[name].factors(MATRICES[name].rank - 1)


def test_a_layer_by_itself_is_the_first_step_of_the_stream():
    """Layer is a module: with the t-th slice of the stacked parameters it takes stream t to stream t + 1."""
    config, rng = CONFIGS["gpt"], np.random.default_rng(12)
    params, tokens = draw_params(config, rng), draw_tokens(config, rng)
    stream = forward(config)(params, tokens).residual
    one = jax.tree.map(lambda leaf: leaf[None], tokens)
    layer = jax.jit(lambda own, z: Layer(config).apply({"params": own}, State(z.T, None), one)[1].T)
    for t in range(config.depth):
        own = jax.tree.map(lambda leaf, t=t: leaf[t], params["layers"])
        np.testing.assert_allclose(layer(own, stream[t]), stream[t + 1], rtol=1e-12, atol=1e-13)
