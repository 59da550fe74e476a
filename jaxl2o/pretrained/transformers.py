"""Transformers that ship: how their tokens are made, and how coefficients are had of what they answer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, interleaved, scratch_with_memory, stacked
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.mutual import marked_summary
from jaxl2o.pretrained.model import Answer, Model, last, nested
from jaxl2o.solvers.wrappers import safeguarded_answers
from jaxl2o.types import Learner, Params, Prompt

# asked for labels alone, a model answers this many queries a coefficient, of which the coefficients are the least-squares fit
QUERIES = 4

ENCODINGS: dict[str, Callable[[int], Encoding]] = {
    "interleaved": interleaved,
    "scratch with memory": scratch_with_memory,
    "stacked": stacked,
    "marked summary": marked_summary,
}


def transformer(d: int, config: dict[str, Any], encoding: str, gives: str) -> Model:
    """A Transformer.  gives: what it answers, of `GIVES`."""
    learner = transformer_learner(TransformerConfig(**config), ENCODINGS[encoding](d))
    return Model(nested, learner, GIVES[gives](learner, d))


def safeguarded_last(learner: Learner, d: int) -> Answer:
    """The last iterate that fits."""
    return last(learner._replace(predict=safeguarded_answers(learner.predict)))


def decoded(learner: Learner, d: int) -> Answer:
    """The w whose labels <x, w> are nearest to what the last layer answers at fixed queries, which are as those in training."""
    queries = np.random.default_rng(0).normal(size=(QUERIES * d, d))
    inverse = np.linalg.pinv(queries)

    def answer(params: Params, prompt: Prompt) -> Float[Array, " d"]:
        asked = jnp.asarray(queries, dtype=prompt.y.dtype)
        return jnp.asarray(inverse, dtype=prompt.y.dtype) @ learner.predict(params, prompt._replace(x_query=asked))[-1]

    return answer


def at_unit_vectors(learner: Learner, d: int) -> Answer:
    """The last w that fits, where answers are <x, w>, exactly: w is the answers at the unit vectors.

    Each is asked in a prompt of its own, since a Hadamard memory knows the number of tokens.
    """

    def path(params: Params, prompt: Prompt) -> Float[Array, "steps d"]:
        def entry(query: Float[Array, " d"]) -> Float[Array, " steps"]:
            return learner.predict(params, prompt._replace(x_query=query[None]))[:, 0]

        return jax.vmap(entry, out_axes=1)(jnp.eye(d, dtype=prompt.y.dtype))

    safe = safeguarded_answers(path)
    return lambda params, prompt: safe(params, prompt)[-1]


GIVES: dict[str, Callable[[Learner, int], Answer]] = {
    "coefficients": safeguarded_last,
    "labels": decoded,
    "labels, linear in the query": at_unit_vectors,
    "the mean of all components": lambda learner, d: last(learner),
}
