"""An encoder that lays a prompt out as a table: token i carries example i, and coordinate i of all that is computed."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.encoding import Encoding, Stream, Tokens, linear_answers
from jaxl2o.models.layout import Layout
from jaxl2o.types import Prompt, design_matrix


def summing(layout: Layout, size: int, **columns: Float[Array, "_ _"]) -> Tokens:
    """Tokens that all read each other, in sums and not averages; columns fill their slots of the first tokens, above zeros."""
    z = jnp.zeros((size, layout.width))
    for name, column in columns.items():
        z = z.at[: column.shape[0], layout.slice(name)].set(column)
    place = jnp.arange(size)
    return Tokens(z, jnp.ones((size, size), dtype=bool), jnp.ones(size), place)


def start_of(prompt: Prompt, d: int) -> Float[Array, " d"]:
    """The caller's start, or zeros."""
    return jnp.zeros(d) if prompt.start is None else prompt.start


def tabulated(d: int) -> Encoding:
    """An encoder of max(n, d) tokens [x_i / s, y_i / s, e_i, 0, w_i, w_i, 0, 0], D = 3d + 5; sums over tokens, not averages.

    Slots x and y hold example i, and zero where there is none. Slot e holds the i-th unit vector for i <= d, and zero beyond;
    so scores can pick a coordinate, and sum_k e_ik = 1 serves as a constant. Slot v (d numbers) is scratch, w and previous hold
    coordinate i of the start, r and size are scratch. Tokens beyond d are read, but read nobody and never change.

    s = |X'X|_F^(1/2), or 1 if X is zero, is the one division: an input scaling, which makes |X'X|_F = 1. It divides X and y
    alike, so that no least-squares answer changes. Queries are no tokens: the iterate is the slot w of the first d tokens, and
    the answers are <x, w>.
    """
    layout = Layout((("x", d), ("y", 1), ("e", d), ("v", d), ("w", 1), ("previous", 1), ("r", 1), ("size", 1)))
    w = layout.slice("w").start

    def tokens(prompt: Prompt) -> Tokens:
        x = design_matrix(prompt)
        checks.shape("x", x, (None, d))
        square = jnp.sum((x.T @ x) ** 2)
        scale = jnp.where(square > 0.0, square, 1.0) ** 0.25
        start = start_of(prompt, d)[:, None]
        table = summing(
            layout, max(x.shape[0], d), x=x / scale, y=prompt.y[:, None] / scale, e=jnp.eye(d), w=start, previous=start
        )
        return table._replace(mask=table.mask & (table.position < d)[:, None])

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
        return linear_answers(stream.residual[:, :d, w], prompt)

    return Encoding(layout, tokens, read)
