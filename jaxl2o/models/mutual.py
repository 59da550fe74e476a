"""Encoders for learned read-ins and read-outs, in which all tokens read each other, the one that is asked among them."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxl2o import checks
from jaxl2o.models.encoding import Encoding, Stream, Tokens, linear_answers, probabilities, read_out
from jaxl2o.models.layout import Layout
from jaxl2o.types import Prompt, ScalarLike, design_matrix, queries


def mutual(d: int, scale: ScalarLike = 1.0) -> Encoding:
    """Tokens [x_i, y_i], and the query as [x, 0]; the answer is the read-out of the query's token. Width d + 1.

    All read the used examples and the query, so there is one query a prompt. Sums are multiplied by `scale`, not by 1/n.
    (Giannou et al. 2024, arXiv:2403.03183, in their experiments on linear regression.)
    """

    def tokens(prompt: Prompt) -> Tokens:
        asked = queries(prompt)
        checks.require(
            asked.shape[0] == 1, f"examples read the query, so there is one, got {asked.shape[0]}; vmap over queries."
        )
        return _mutual(prompt, asked, scale)

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps 1"]:
        return read_out(stream)[:, -1:]

    return Encoding(_layout(d), tokens, read)


def summary(d: int) -> Encoding:
    """Tokens [x_i, y_i], and a last one of zeros, whose d outputs are the iterate w. Width d + 1.

    Answers are the probabilities 1 / (1 + exp(-<x, w>)), and w itself if there are no queries, which are not read. (Giannou et
    al. 2024, arXiv:2403.03183, in their experiments on logistic regression, read w from the token of the query.)
    """

    def tokens(prompt: Prompt) -> Tokens:
        return _mutual(prompt, jnp.zeros((1, d), dtype=prompt.y.dtype), 1.0)

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
        return probabilities(read_out(stream)[:, -1], prompt)

    return Encoding(_layout(d), tokens, read)


def marked_summary(d: int) -> Encoding:
    """Tokens [x_i, y_i, 1], and a last one of zeros, whose d outputs are the iterate w. Width d + 2.

    All read the used examples and the last token, averaged over these n + 1. Answers are <x, w>, and w itself if there are no
    queries, which are not read. (As recalled, Jin, Balasubramanian and Lai 2024, arXiv:2410.14183, mark examples likewise, and
    read the label of a last token that has the query.)
    """

    def tokens(prompt: Prompt) -> Tokens:
        plain = _mutual(prompt, jnp.zeros((1, d), dtype=prompt.y.dtype), 1.0 / (prompt.used.sum() + 1))
        marks = jnp.pad(prompt.used, (0, 1))[:, None].astype(plain.z.dtype)
        return plain._replace(z=jnp.concatenate([plain.z, marks], axis=1))

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps k"]:
        return linear_answers(read_out(stream)[:, -1], prompt)

    return Encoding(Layout((("x", d), ("y", 1), ("used", 1))), tokens, read)


def _layout(d: int) -> Layout:
    return Layout((("x", d), ("y", 1)))


def _mutual(prompt: Prompt, last: Float[Array, "1 d"], scale: ScalarLike) -> Tokens:
    rows = jnp.concatenate([design_matrix(prompt), last])
    z = jnp.concatenate([rows, jnp.pad(prompt.y, (0, 1))[:, None]], axis=1)
    used: Bool[Array, " N"] = jnp.concatenate([prompt.used, jnp.ones(1, dtype=bool)])
    size = used.shape[0]
    return Tokens(z, jnp.broadcast_to(used, (size, size)), jnp.full(size, scale), jnp.cumsum(used) - used)
