"""An encoder whose tokens all carry the components of a mixture of regressions, as solvers of such mixtures move them."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.encoding import Encoding, Stream, Tokens
from jaxl2o.models.layout import Layout
from jaxl2o.types import Prompt, design_matrix


def carrying(d: int, shares: Float[Array, " K"], **scratch: int) -> Encoding:
    """Tokens [x_i, y_i, b, 0, 1] for the examples and a last one [0, 0, b, 0, 1]; all read the used examples, averaged.

    b is the prompt's start: K components of d numbers, one after another. `scratch` names slots of zeros, and how many they
    hold; slot `one` is the constant. The mask, not a slot, tells what is an example, so that what is written into b does not
    depend on n, nor on unused examples, and stays the same in all tokens.

    The answers are <x, sum_k share_k b_k>, by slot b of the last token, for any number of queries, which are no tokens; the
    components themselves, (K d,), if there are none. (Tokens after Jin, Balasubramanian and Lai 2024, arXiv:2410.14183.)
    """
    count = shares.shape[0]
    layout = Layout((("x", d), ("y", 1), ("b", count * d), *scratch.items(), ("one", 1)))

    def tokens(prompt: Prompt) -> Tokens:
        x = design_matrix(prompt)
        checks.shape("x", x, (None, d))
        if prompt.start is None:
            raise checks.InputError(
                "this prompt has no start; a mixture has none of its own, so give the components to begin with."
            )
        start = jnp.ravel(prompt.start)
        checks.shape("the start, as one row,", start, (count * d,))
        examples = {"x": x, "y": prompt.y[:, None]}
        z = jnp.zeros((x.shape[0] + 1, layout.width)) + layout.vector(b=start, one=1.0)[None]
        for name, column in examples.items():
            z = z.at[:-1, layout.slice(name)].set(column)
        used = jnp.append(prompt.used, False)
        size = used.shape[0]
        return Tokens(z, jnp.broadcast_to(used, (size, size)), jnp.full(size, 1.0 / prompt.n_used), jnp.cumsum(used) - used)

    def read(stream: Stream, prompt: Prompt) -> Float[Array, "steps m"]:
        components = stream.residual[:, -1, layout.slice("b")]
        if prompt.x_query is None:
            return components
        return jnp.einsum("tkd,k,md->tm", components.reshape(-1, count, d), shares, prompt.x_query)

    return Encoding(layout, tokens, read)
