"""Encoders that lay matrices out for products: token i is a column of each of them, and sums are over all tokens.

With a head of score <q_i, k_j> and write v_j a layer adds V K'Q to the stream, for the matrices Q, K, V with these columns.
The encoding bears the number of examples, so that one set of parameters serves every n.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.encoding import Encoding, Stream, Tokens, linear_answers, probabilities
from jaxl2o.models.layout import Layout
from jaxl2o.models.tabulated import start_of, summing
from jaxl2o.types import Prompt, ScalarLike, design_matrix, queries


def inverse_by_columns(d: int, scale: ScalarLike) -> Encoding:
    """d tokens [v_i, a_i, e_i, 0], D = 4d: columns of V = scale X', of the square matrix X, and of I; slot s is scratch.

    The answer is w = w_0 + V (y - X w_0), for what slot v holds. (Giannou et al. 2024, arXiv:2403.03183, Lemma 4.1.)
    """
    return _inverse(Layout((("v", d), ("a", d), ("e", d), ("s", d))), scale, jnp.transpose)


def inverse_by_rows(d: int, scale: ScalarLike) -> Encoding:
    """The same with *row* i of X in slot a, as a prompt has it, and without scratch: D = 3d."""
    return _inverse(Layout((("v", d), ("a", d), ("e", d))), scale, lambda x: x)


def inverse_by_rows_with_scratch(d: int, scale: ScalarLike) -> Encoding:
    """The same with a slot s of zeros: D = 4d."""
    return _inverse(Layout((("v", d), ("a", d), ("e", d), ("s", d))), scale, lambda x: x)


def _inverse(layout: Layout, scale: ScalarLike, columns: Callable[[Float[Array, "d d"]], Float[Array, "d d"]]) -> Encoding:
    d = layout.slice("v").stop
    checks.positive("scale", scale)

    def tokens(prompt: Prompt) -> Tokens:
        x = design_matrix(prompt)
        checks.shape("x", x, (d, d))
        return summing(layout, d, v=scale * x, a=columns(x), e=jnp.eye(d))

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
        start = start_of(prompt, d)
        residual = prompt.y - design_matrix(prompt) @ start
        return linear_answers(start[None] + jnp.einsum("tji,j->ti", stream.residual[:, :, layout.slice("v")], residual), prompt)

    return Encoding(layout, tokens, read)


def regression_table(d: int) -> Encoding:
    """max(n, d) tokens [a_i, e_i, 0, 0, y_i, x_i, w_i], D = 4d + 3: a = x / sqrt(n), y of the residual y - X w_0 likewise.

    Slots v and r are for d x d matrices; slot x holds coordinate i of the one query, and slot w that of the start. The answer
    is slot w of the first token, after a layer that puts <x, w> there. (Giannou et al. 2024, arXiv:2403.03183, Theorem 4.2.)
    """
    layout = Layout((("a", d), ("e", d), ("v", d), ("r", d), ("y", 1), ("x", 1), ("w", 1)))

    def tokens(prompt: Prompt) -> Tokens:
        x, asked = design_matrix(prompt), queries(prompt)
        checks.shape("x", x, (None, d))
        checks.require(asked.shape[0] == 1, f"the table has room for one query, got {asked.shape[0]}; vmap over queries.")
        start, root = start_of(prompt, d), jnp.sqrt(prompt.n_used)
        residual = (prompt.y - x @ start) / root
        return summing(layout, max(x.shape[0], d), a=x / root, e=jnp.eye(d), y=residual[:, None], x=asked.T, w=start[:, None])

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps 1"]:
        return stream.residual[:, 0, layout.slice("w")]

    return Encoding(layout, tokens, read)


def classification_table(d: int, n: int) -> Encoding:
    """max(n, d) tokens [x_i, e_i, w, 0, 0, 0, y_i, 0, 0, 1] of exactly n examples, D = 6d + 4; each holds the whole iterate w.

    Slots p, b and v are for matrices, s and q for numbers. Answers are the probabilities 1 / (1 + exp(-<x, w>)).
    (Giannou et al. 2024, arXiv:2403.03183, Theorem 5.2, have 6d + 4 rows; their order is our own.)
    """
    return _classification(_classes(d), n, lambda prompt: jnp.ones(()), lambda prompt: {})


def classification_table_of_any_length(d: int) -> Encoding:
    """The same for every n, D = 6d + 5: [x_i / sqrt(n), e_i, sqrt(n) w, ...], and one slot more with e_1 / n."""

    def share(prompt: Prompt) -> dict[str, Float[Array, "1 1"]]:
        return {"share": 1.0 / prompt.n_used.reshape(1, 1)}

    return _classification(_classes(d, "share"), None, lambda prompt: jnp.sqrt(prompt.n_used), share)


def _classes(d: int, *more: str) -> Layout:
    return Layout((*((name, d) for name in "aewpbv"), *((name, 1) for name in ("y", "s", "q", "one", *more))))


def _classification(
    layout: Layout,
    n: int | None,
    root: Callable[[Prompt], Float[Array, ""]],
    more: Callable[[Prompt], dict[str, Float[Array, "1 1"]]],
) -> Encoding:
    """Tokens of n examples, or of any number: x over `root`, w times it, and the columns of `more`."""
    d = layout.slice("a").stop

    def tokens(prompt: Prompt) -> Tokens:
        x, own = design_matrix(prompt), root(prompt)
        checks.shape("x", x, (n, d))
        size = max(x.shape[0], d)
        start, one = jnp.broadcast_to(own * start_of(prompt, d), (size, d)), jnp.ones((size, 1))
        return summing(layout, size, a=x / own, e=jnp.eye(d), w=start, y=prompt.y[:, None], one=one, **more(prompt))

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
        return probabilities(stream.residual[:, 0, layout.slice("w")] / root(prompt), prompt)

    return Encoding(layout, tokens, read)
