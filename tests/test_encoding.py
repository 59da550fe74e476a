"""Encodings: tokens by hand, prefixes in one pass, and what an answer may and may not depend on."""

from dataclasses import replace
from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.models import presets
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, Stream, alternating, interleaved, scratch, scratch_with_constant, stacked
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.transformer import Transformer
from jaxl2o.types import Prompt

SEEDS = st.integers(0, 2**31 - 1)
ENCODINGS = {
    "stacked": stacked,
    "scratch": scratch,
    "scratch_with_constant": scratch_with_constant,
    "interleaved": interleaved,
    "alternating": alternating,
}
DECODERS = [name for name in ENCODINGS if name != "stacked"]
EVERY_ENCODING = pytest.mark.parametrize("name", ENCODINGS)
EVERY_DECODER = pytest.mark.parametrize("name", DECODERS)

# --- by hand: x_1 = (1, 2), y_1 = 5, x_2 = (3, 4), y_2 = 6, a query (7, 8), and a start w = (10, 20) -----------------------

TINY = Prompt.of([[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0], [[7.0, 8.0]])
Z = {
    "stacked": [[1, 2, 5], [3, 4, 6], [7, 8, 0]],
    "scratch": [
        [1, 2, 0, 0, 0, 1],
        [1, 2, 5, 0, 0, 0],
        [3, 4, 0, 0, 0, 1],
        [3, 4, 6, 0, 0, 0],
        [7, 8, 0, 0, 0, 1],
    ],
    "scratch_with_constant": [
        [1, 2, 0, 0, 0, 1, 1, 0],
        [1, 2, 5, 0, 0, 0, 1, 0],
        [3, 4, 0, 0, 0, 1, 1, 0],
        [3, 4, 6, 0, 0, 0, 1, 0],
        [7, 8, 0, 0, 0, 1, 1, 0],
    ],
    "interleaved": [[1, 2, 0], [1, 2, 5], [3, 4, 0], [3, 4, 6], [7, 8, 0]],
    "alternating": [[1, 2], [5, 0], [3, 4], [6, 0], [7, 8]],
}
# with a start: residuals y - <x, w>, and -<x, w> for the query; or w in the tokens that ask
Z_FROM_START = {
    "stacked": [[1, 2, 5 - 50], [3, 4, 6 - 110], [7, 8, -230]],
    "scratch": [
        [1, 2, 0, 10, 20, 1],
        [1, 2, 5, 0, 0, 0],
        [3, 4, 0, 10, 20, 1],
        [3, 4, 6, 0, 0, 0],
        [7, 8, 0, 10, 20, 1],
    ],
}


@EVERY_ENCODING
def test_tokens_by_hand(name):
    """The rows of z are those of the paper's table, and as wide as the layout."""
    encoding = ENCODINGS[name](2)
    tokens = encoding.tokens(TINY)
    np.testing.assert_array_equal(tokens.z, Z[name])
    assert tokens.z.shape[1] == encoding.layout.width


@pytest.mark.parametrize("name", Z_FROM_START)
def test_a_start_by_hand(name):
    """The caller's iterate stands where the layers will change it."""
    tokens = ENCODINGS[name](2).tokens(TINY._replace(start=jnp.array([10.0, 20.0])))
    np.testing.assert_array_equal(tokens.z, Z_FROM_START[name])


@EVERY_ENCODING
@pytest.mark.parametrize("first_used", [True, False])
def test_masks_by_hand(name, first_used):
    """Encoders: all read the used examples, averaged. Decoders: what came before, and oneself, over how many these are."""
    prompt = Prompt.of(TINY.x, TINY.y, [[7.0, 8.0], [9.0, 1.0]], used=[first_used, True])
    tokens = ENCODINGS[name](2).tokens(prompt)
    if name == "stacked":
        mask = [[first_used, True, False, False]] * 4
        scale, position = [1.0 / (1 + first_used)] * 4, [0, first_used, 1 + first_used, 1 + first_used]
    else:
        f, queries = first_used, 1 if name == "scratch" else 2
        mask = [
            [1, 0, 0, 0, 0, 0],
            [f, 1, 0, 0, 0, 0],
            [f, f, 1, 0, 0, 0],
            [f, f, 1, 1, 0, 0],
            [f, f, 1, 1, 1, 0],
            [f, f, 1, 1, 0, 1],
        ]
        mask = np.array(mask)[: 4 + queries, : 4 + queries]
        position = [0, f, 2 * f, 2 * f + 1, 2 * f + 2, 2 * f + 2][: 4 + queries]
        scale = 1.0 / (np.array(position) + 1)
    np.testing.assert_array_equal(tokens.mask, mask)
    np.testing.assert_array_equal(tokens.scale, scale)
    np.testing.assert_array_equal(tokens.position, position)


def test_a_scratch_without_queries_asks_zero():
    """The iterate needs no query: the last token then has x = 0."""
    tokens = scratch(2).tokens(TINY._replace(x_query=None))
    np.testing.assert_array_equal(tokens.z[-1], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(tokens.z[:-1], Z["scratch"][:-1])


def test_answers_by_hand():
    """Encoders answer minus the label slot of the queries; scratch <x, w>; the others the read-out of tokens that ask."""
    wide = jnp.arange(2.0 * 5.0 * 6.0).reshape(2, 5, 6)
    stream = Stream(wide, jnp.arange(10.0).reshape(2, 5))
    np.testing.assert_array_equal(stacked(2).read(Stream(wide[:, :3, :3]), TINY), [[-14.0], [-44.0]])
    np.testing.assert_array_equal(scratch(2).read(stream, TINY), [[7 * 27 + 8 * 28.0], [7 * 57 + 8 * 58.0]])
    np.testing.assert_array_equal(scratch(2).read(stream, TINY._replace(x_query=None)), [[27.0, 28.0], [57.0, 58.0]])
    by_prefix = [[3 + 2 * 4, 3 * 15 + 4 * 16, 7 * 27 + 8 * 28], [33 + 2 * 34, 3 * 45 + 4 * 46, 7 * 57 + 8 * 58]]
    np.testing.assert_array_equal(scratch(2).read_prefixes(stream, TINY), by_prefix)
    for name in ("scratch_with_constant", "interleaved", "alternating"):
        np.testing.assert_array_equal(ENCODINGS[name](2).read(stream, TINY), [[4.0], [9.0]])
        np.testing.assert_array_equal(ENCODINGS[name](2).read_prefixes(stream, TINY), [[0.0, 2.0, 4.0], [5.0, 7.0, 9.0]])
    assert stacked(2).read_prefixes is None


# --- what is refused --------------------------------------------------------------------------------------------------------


@EVERY_ENCODING
def test_a_prompt_without_its_own_x_is_refused(name):
    """Tokens hold x, so the prompt must."""
    with pytest.raises(ValueError, match="no x of its own"):
        ENCODINGS[name](2).tokens(TINY._replace(x=None))


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "scratch"])
def test_a_prompt_without_queries_is_refused(name):
    """Only an iterate can be read without a query."""
    with pytest.raises(ValueError, match="asks for no labels"):
        ENCODINGS[name](2).tokens(TINY._replace(x_query=None))


@pytest.mark.parametrize("name", ["scratch_with_constant", "interleaved", "alternating"])
def test_a_stream_without_a_read_out_is_refused(name):
    """These encodings read a read-out."""
    for read in (ENCODINGS[name](2).read, ENCODINGS[name](2).read_prefixes):
        with pytest.raises(ValueError, match="has none; set read_out"):
            read(Stream(jnp.zeros((2, 5, 3))), TINY)


# --- Transformers of random parameters ------------------------------------------------------------------------------------

SIZE, N, M, PAD = 3, 5, 3, 3


def config_of(name: str) -> TransformerConfig:
    """A Transformer of two layers that fits the encoding; the decoders' share no kind of attention."""
    return {
        "stacked": presets.linear_attention(SIZE, depth=2, heads=2),
        "scratch": TransformerConfig(depth=2, heads=2, width=2 * SIZE + 2, mlp_dim=5, attention="relu"),
        "scratch_with_constant": TransformerConfig(depth=2, heads=2, width=2 * SIZE + 4, read_out="linear"),
        "interleaved": presets.small_tf(SIZE, depth=2),
        "alternating": presets.gpt2(SIZE, depth=2, heads=2, width=8, positions=2 * (N + PAD) + 1),
    }[name]


@cache
def network(name: str):
    """A learner with random parameters, and its compiled predict and prefixes."""
    encoding: Encoding = ENCODINGS[name](SIZE)
    learner, rng = transformer_learner(config_of(name), encoding), np.random.default_rng(1)
    tree = jax.eval_shape(learner.init, jax.random.key(0), draw_prompt(rng))
    params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), tree)
    return params, jax.jit(learner.predict), jax.jit(learner.prefixes)


def draw_prompt(rng, used=None, m: int = M) -> Prompt:
    """As many examples as `used` has entries, from N(0, 1); those unused are zero."""
    used = np.ones(N, dtype=bool) if used is None else np.asarray(used)
    x, y, x_query = rng.normal(size=(used.size, SIZE)), rng.normal(size=used.size), rng.normal(size=(m, SIZE))
    return jax.tree.map(jnp.asarray, Prompt(x * used[:, None], y * used, x_query, used))


def close(a, b):
    """Equal up to rounding."""
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@EVERY_ENCODING
@given(seed=SEEDS, used=st.lists(st.booleans(), min_size=N, max_size=N))
def test_prefixes_are_predictions_on_prefixes(name, seed, used):
    """prefixes(prompt)[:, k] = predict(the examples before k, asked x_k), for every k <= n and any used rows."""
    params, predict, prefixes = network(name)
    prompt = draw_prompt(np.random.default_rng(seed), used, m=1)
    x, y, used = np.asarray(prompt.x), np.asarray(prompt.y), np.asarray(used)
    rows, together = np.concatenate([x, prompt.x_query]), np.asarray(prefixes(params, prompt))
    assert together.shape == (3, N + 1)
    for k in range(N + 1):
        before = np.arange(N) < k
        prefix = Prompt(x * before[:, None], y * before, rows[k : k + 1], before & used)
        close(together[:, k : k + 1], predict(params, jax.tree.map(jnp.asarray, prefix)))


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "scratch"])
@given(seed=SEEDS)
def test_queries_do_not_read_one_another(name, seed):
    """m queries asked at once get the answers that each gets by itself."""
    params, predict, _ = network(name)
    prompt = draw_prompt(np.random.default_rng(seed))
    rows = np.asarray(prompt.x_query)
    alone = [predict(params, prompt._replace(x_query=jnp.asarray(rows[[index]]))) for index in range(M)]
    close(predict(params, prompt), np.concatenate(alone, axis=1))


@EVERY_ENCODING
@given(seed=SEEDS, order=st.permutations([True] * N + [False] * PAD))
def test_unused_rows_do_not_matter(name, seed, order):
    """A prompt with three unused rows anywhere has the answers of the prompt without them."""
    params, predict, _ = network(name)
    padded = draw_prompt(np.random.default_rng(seed), order)
    x, y, x_query, used = (np.asarray(value) for value in padded[:4])
    compact = jax.tree.map(jnp.asarray, Prompt(x[used], y[used], x_query, used[used]))
    close(predict(params, padded), predict(params, compact))


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "stacked"])
def test_no_token_of_a_decoder_reads_a_later_one(name):
    """Every encoding that reads prefixes from one pass has a mask that is lower triangular, whatever rows are used."""
    for used in ([True] * N, [False, True, True, False, True][:N]):
        mask = np.asarray(ENCODINGS[name](SIZE).tokens(draw_prompt(np.random.default_rng(0), used)).mask)
        np.testing.assert_array_equal(mask, np.tril(mask))


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "stacked"])
def test_long_prompts_in_spans_are_answered_as_their_prefixes(name):
    """With 61 tokens, so with two spans of readers, and for many prompts together: each prefix as if it stood alone."""
    params, _, _ = network(name)
    learner = transformer_learner(replace(config_of(name), positions=61 if name == "alternating" else 0), ENCODINGS[name](SIZE))
    if name == "alternating":
        params = {**params, "positions": jnp.asarray(np.random.default_rng(2).normal(size=(61, 8)))}
    prompts = [draw_prompt(np.random.default_rng(seed), [True] * 30, m=1) for seed in range(2)]
    together = jax.jit(learner.prefixes.many)(params, jax.tree.map(lambda *leaves: jnp.stack(leaves), *prompts))
    predict = jax.jit(learner.predict)
    for prompt, found in zip(prompts, together, strict=True):
        for k in (0, 7, 29):
            before = np.arange(30) < k
            rows = jnp.concatenate([prompt.x, prompt.x_query])
            own = Prompt(prompt.x * before[:, None], prompt.y * before, rows[k : k + 1], jnp.asarray(before))
            close(found[:, k : k + 1], predict(params, own))


def reorder(prompt: Prompt, order) -> Prompt:
    """The same examples in another order."""
    return prompt._replace(x=prompt.x[np.array(order)], y=prompt.y[np.array(order)])


@given(seed=SEEDS, order=st.permutations(range(N)))
def test_an_encoder_does_not_see_the_order_of_examples(seed, order):
    """Its answers are those of any order of the examples."""
    params, predict, _ = network("stacked")
    prompt = draw_prompt(np.random.default_rng(seed))
    close(predict(params, prompt), predict(params, reorder(prompt, order)))


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "stacked"])
def test_a_decoder_sees_the_order_of_examples(name):
    """Of random parameters, most of twenty prompts read backwards have other answers: not all, for ReLU heads may be silent."""
    params, predict, _ = network(name)
    prompts = [draw_prompt(np.random.default_rng(seed)) for seed in range(20)]
    moves = [predict(params, prompt)[-1] - predict(params, reorder(prompt, range(N)[::-1]))[-1] for prompt in prompts]
    assert np.median([np.abs(move).max() for move in moves]) > 1e-3


@pytest.mark.parametrize("name", ["stacked", "scratch", "alternating"])
def test_no_examples_give_finite_answers(name):
    """n = 0: the query stands alone, and the answer is a number."""
    params, predict, _ = network(name)
    answers = predict(params, draw_prompt(np.random.default_rng(0), used=np.zeros(0, dtype=bool)))
    assert answers.shape == (3, M)
    assert np.isfinite(answers).all()


@EVERY_DECODER
@given(seed=SEEDS)
def test_a_decoder_sees_no_later_example(name, seed):
    """Answers to the prefixes before k do not change by a bit when the examples from k on do."""
    params, _, prefixes = network(name)
    first, second = (draw_prompt(np.random.default_rng(seed + s), m=1) for s in (0, 1))
    k = 1 + seed % (N - 1)
    x, y = (
        jnp.asarray(np.concatenate([np.asarray(a)[:k], np.asarray(b)[k:]])) for a, b in zip(first[:2], second[:2], strict=True)
    )
    ours, theirs = (np.asarray(prefixes(params, prompt)) for prompt in (first, second._replace(x=x, y=y)))
    np.testing.assert_array_equal(ours[:, :k], theirs[:, :k])
    assert np.abs(ours[:, k:] - theirs[:, k:]).max() > 1e-6


@EVERY_ENCODING
def test_learners_begin_with_the_modules_parameters(name):
    """Learner.init is the module's, on the encoding's tokens."""
    encoding, config, prompt = ENCODINGS[name](SIZE), config_of(name), draw_prompt(np.random.default_rng(0))

    def module_init(key, prompt):
        return Transformer(config).init(key, encoding.tokens(prompt))["params"]

    inits = (transformer_learner(config, encoding).init, module_init)
    chex.assert_trees_all_equal_shapes_and_dtypes(*[jax.eval_shape(init, jax.random.key(3), prompt) for init in inits])
