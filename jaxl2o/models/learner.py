"""A Transformer and an encoding make a Learner."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, PyTree

from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, Stream, Tokens
from jaxl2o.models.transformer import Transformer
from jaxl2o.types import Key, Learner, Params, Predict, Prompt, predict_prefixes


def transformer_learner(config: TransformerConfig, encoding: Encoding) -> Learner:
    """The Learner whose t-th answer is what the encoding reads after t layers.

    A decoder answers all prefixes in one pass; an encoder is run on each. Parameters are the config's pytree, whether
    from `init`, from training or from a construction. Many prompts go through the module together.
    """
    # what answers all prefixes in one pass lets no token read a later one
    module = Transformer(config, causal=encoding.read_prefixes is not None)

    def init(key: Key, prompt: Prompt) -> Params:
        return module.init(key, encoding.tokens(prompt))["params"]

    def run(params: PyTree, tokens: Tokens) -> Stream:
        stream: Any = module.apply({"params": params}, tokens)
        return stream

    def reading(read: Callable[[Stream, Prompt], Array]) -> Predict:
        def one(params: PyTree, prompt: Prompt) -> Array:
            return read(run(params, encoding.tokens(prompt)), prompt)

        def many(params: PyTree, prompts: Prompt) -> Array:
            return jax.vmap(read)(run(params, jax.vmap(encoding.tokens)(prompts)), prompts)

        return Predict(one, many)

    predict = reading(encoding.read)
    if encoding.read_prefixes is None:
        return Learner(init, predict, predict_prefixes(predict))
    return Learner(init, predict, reading(encoding.read_prefixes))
