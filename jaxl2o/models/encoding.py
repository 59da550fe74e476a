"""How a prompt becomes tokens, and how answers are read from the residual stream.

Who may read whom, and what a sum is divided by, are data of the tokens: so encoders, causal decoders and every length run
through one module with the same parameters. A decoder's x-only tokens each stand for one prefix of the prompt.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxl2o import checks
from jaxl2o.models.layout import Layout
from jaxl2o.types import Prompt, design_matrix, queries


class Tokens(NamedTuple):
    """z: the vectors; mask_ij: token i may read token j; scale_i: what i's sums are multiplied by; position_i: i's place.

    Places count what came before and may be read, so they do not see unused examples, and all queries share one.
    gate_h: what all that head h writes is multiplied by; None: by one (`experts`). The tokens of many prompts are these arrays
    with a leading axis.
    """

    z: Float[Array, "*prompts N D"]
    mask: Bool[Array, "*prompts N N"]
    scale: Float[Array, "*prompts N"]
    position: Int[Array, "*prompts N"]
    gate: Float[Array, "*prompts H"] | None = None


class Stream(NamedTuple):
    """What a Transformer gives back, after 0..T layers: the residual stream, and the read-out of every token if it has one.

    A read-out is one number a token, or several on a last axis: (*prompts, T+1, N) or (*prompts, T+1, N, outputs).
    """

    residual: Float[Array, "*prompts steps N D"]
    answers: Float[Array, "..."] | None = None


class Encoding(NamedTuple):
    """layout: the slots of a token; tokens: prompt -> Tokens; read: (stream, prompt) -> (T+1, m).

    read_prefixes: (stream, prompt) -> (T+1, n+1) from one pass of a decoder, whose mask must let no token read a later one:
    a Transformer relies on that. None for encoders, which are run on each prefix.
    """

    layout: Layout
    tokens: Callable[[Prompt], Tokens]
    read: Callable[[Stream, Prompt], Array]
    read_prefixes: Callable[[Stream, Prompt], Array] | None = None


def linear_answers(iterates: Float[Array, "steps d"], prompt: Prompt) -> Float[Array, "steps m"]:
    """<x, w> for every iterate and query; the iterates themselves if there are no queries."""
    return iterates if prompt.x_query is None else iterates @ prompt.x_query.T


def probabilities(iterates: Float[Array, "steps d"], prompt: Prompt) -> Float[Array, "steps m"]:
    """1 / (1 + exp(-<x, w>)) for every iterate and query; the iterates themselves if there are no queries."""
    return iterates if prompt.x_query is None else jax.nn.sigmoid(linear_answers(iterates, prompt))


def stacked(d: int) -> Encoding:
    """An encoder: tokens [x_i, y_i] for the examples and [x, 0] for the queries; all tokens read the used examples, averaged.

    The label slot of every token carries a residual, y_i - <x_i, w>, and -<x, w> for a query: answers are minus that slot.
    (Ahn et al. 2023, arXiv:2306.00297, eq. 1.)
    """
    layout = Layout((("x", d), ("y", 1)))

    def tokens(prompt: Prompt) -> Tokens:
        asked = queries(prompt)
        residual = jnp.concatenate([prompt.y, jnp.zeros(asked.shape[0], dtype=prompt.y.dtype)])
        rows = jnp.concatenate([design_matrix(prompt), asked])
        if prompt.start is not None:
            residual = residual - rows @ prompt.start
        used = jnp.concatenate([prompt.used, jnp.zeros(asked.shape[0], dtype=bool)])
        size = rows.shape[0]
        z = jnp.concatenate([rows, residual[:, None]], axis=1)
        mask = jnp.broadcast_to(used, (size, size))
        return Tokens(z, mask, jnp.full(size, 1.0 / prompt.n_used), jnp.cumsum(used) - used)

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
        return -stream.residual[:, prompt.y.shape[0] :, d]

    return Encoding(layout, tokens, read)


def scratch(d: int) -> Encoding:
    """A causal decoder whose tokens carry an iterate: slots [x, y, w, s], D = 2d + 2, averaged over positions.

    Example i is two tokens: [x_i, 0, w, 1], which asks, and [x_i, y_i, 0, 0], which tells; then comes one query token, so
    N = 2n + 1. The slot s marks those that ask. The iterate does not depend on the query, so a quadratic read-out <x, w>
    serves all m queries from one query token. (Liu et al. 2025, arXiv:2410.13981, eq. 4.1.)
    """
    layout = Layout((("x", d), ("y", 1), ("w", d), ("s", 1)))
    w = layout.slice("w")

    def tokens(prompt: Prompt) -> Tokens:
        x = design_matrix(prompt)
        query = jnp.zeros((1, d), dtype=x.dtype) if prompt.x_query is None else prompt.x_query[:1]
        return _decoder(*_asking_and_telling(layout, prompt, query), prompt.used)

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
        return linear_answers(stream.residual[:, -1, w], prompt)

    def read_prefixes(stream: Stream, prompt: Prompt) -> Float[Array, "steps {prompt.y.shape[0]}+1"]:
        rows = jnp.concatenate([design_matrix(prompt), queries(prompt)])
        return jnp.einsum("tnd,nd->tn", stream.residual[:, ::2, w], rows)

    return Encoding(layout, tokens, read, read_prefixes)


def scratch_with_memory(d: int) -> Encoding:
    """`scratch` whose tokens that ask do not bear x, so that their slots x and y are free to remember: D = 2d + 2.

    An iterate is not asked at any x before the read-out, which takes the rows from the prompt itself.
    """
    own = scratch(d)

    def tokens(prompt: Prompt) -> Tokens:
        asking, telling, asked = _asking_and_telling(own.layout, prompt, jnp.zeros((1, d), dtype=prompt.y.dtype))
        return _decoder(asking.at[:, own.layout.slice("x")].set(0.0), telling, asked, prompt.used)

    return own._replace(tokens=tokens)


def scratch_with_constant(d: int) -> Encoding:
    """`scratch` with two slots more, a constant 1 and an empty `out`, for a linear read-out: D = 2d + 4.

    Every query has its own token, since a linear read-out can only ask the token itself; answers are the read-out's.
    """
    layout = Layout((("x", d), ("y", 1), ("w", d), ("s", 1), ("one", 1), ("out", 1)))

    def tokens(prompt: Prompt) -> Tokens:
        return _decoder(*_asking_and_telling(layout, prompt, queries(prompt), one=1.0), prompt.used)

    return Encoding(layout, tokens, _read_answers, _read_answer_prefixes)


def interleaved(d: int) -> Encoding:
    """A causal decoder for learned read-in and read-out: tokens [x_i, 0], [x_i, y_i], ..., [x, 0]; width d + 1.

    Answers are the read-out of the x-only tokens. (Liu et al. 2025, in their experiments.)
    """
    layout = Layout((("x", d), ("y", 1)))

    def tokens(prompt: Prompt) -> Tokens:
        x = design_matrix(prompt)
        return _decoder(
            jnp.pad(x, ((0, 0), (0, 1))),
            jnp.concatenate([x, prompt.y[:, None]], axis=1),
            jnp.pad(queries(prompt), ((0, 0), (0, 1))),
            prompt.used,
        )

    return Encoding(layout, tokens, _read_answers, _read_answer_prefixes)


def alternating(d: int) -> Encoding:
    """A causal decoder for learned read-in and read-out: tokens x_i, [y_i, 0...], ..., x; width d.

    Answers are the read-out of the x tokens. (Garg et al. 2022, arXiv:2208.01066.)
    """
    layout = Layout((("x", d),))

    def tokens(prompt: Prompt) -> Tokens:
        labels = jnp.pad(prompt.y[:, None], ((0, 0), (0, d - 1)))
        return _decoder(design_matrix(prompt), labels, queries(prompt), prompt.used)

    return Encoding(layout, tokens, _read_answers, _read_answer_prefixes)


def _asking_and_telling(
    layout: Layout, prompt: Prompt, asked: Float[Array, "m d"], **constants: float
) -> tuple[Float[Array, "n D"], Float[Array, "n D"], Float[Array, "m D"]]:
    x, y = design_matrix(prompt), prompt.y
    checks.shape("x", x, (None, layout.slice("x").stop))
    start = 0.0 if prompt.start is None else prompt.start

    def rows(x: Float[Array, "k d"], **slots: Float[Array, "..."] | float) -> Float[Array, "k D"]:
        z = jnp.zeros((x.shape[0], layout.width), dtype=x.dtype)
        for name, value in {"x": x, **slots, **constants}.items():
            z = z.at[:, layout.slice(name)].set(value)
        return z

    return rows(x, w=start, s=1.0), rows(x, y=y[:, None]), rows(asked, w=start, s=1.0)


def _decoder(
    asking: Float[Array, "n D"], telling: Float[Array, "n D"], asked: Float[Array, "m D"], used: Bool[Array, " n"]
) -> Tokens:
    """Interleave the examples' tokens, then the queries; each reads what came before it, and itself.

    Queries do not read each other. Tokens of unused examples are read by nobody but themselves, so that a sum is
    divided by 2k + 1 after k used examples, wherever they stand.
    """
    n, m = asking.shape[0], asked.shape[0]
    z = jnp.concatenate([jnp.stack([asking, telling], axis=1).reshape(2 * n, asking.shape[1]), asked])
    readable = jnp.concatenate([jnp.repeat(used, 2), jnp.zeros(m, dtype=bool)])
    size = 2 * n + m
    mask = (jnp.tril(jnp.ones((size, size), dtype=bool)) & readable[None, :]) | jnp.eye(size, dtype=bool)
    count = mask.sum(axis=1)
    return Tokens(z, mask, 1.0 / count, count - 1)


def read_out(stream: Stream) -> Float[Array, "steps N *outputs"]:
    """The read-out of every token; `ValueError` if the Transformer has none."""
    if stream.answers is None:
        raise checks.InputError("this encoding reads a read-out, but the Transformer has none; set read_out in its config.")
    return stream.answers


def _read_answers(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
    return read_out(stream)[:, 2 * prompt.y.shape[0] :]


def _read_answer_prefixes(stream: Stream, prompt: Prompt) -> Float[Array, "steps {prompt.y.shape[0]}+1"]:
    return read_out(stream)[:, : 2 * prompt.y.shape[0] + 1 : 2]
