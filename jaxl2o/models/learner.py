"""A Transformer and an encoding make a Learner; what it computes on the way is read by the same means."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, Stream, Tokens
from jaxl2o.models.transformer import Transformer
from jaxl2o.types import Key, Learner, Params, Predict, Prompt, PyTree, predict_prefixes


def transformer_learner(config: TransformerConfig, encoding: Encoding) -> Learner:
    """The Learner whose t-th answer is what the encoding reads after t layers.

    A decoder answers all prefixes in one pass; an encoder is run on each. Parameters are the config's pytree, whether
    from `init`, from training or from a construction. Many prompts go through the module together.
    """
    module = _module(config, encoding)

    def init(key: Key, prompt: Prompt) -> Params:
        return module.init(key, encoding.tokens(prompt))["params"]

    predict = _reading(module, encoding, encoding.read)
    if encoding.read_prefixes is None:
        return Learner(init, predict, predict_prefixes(predict))
    return Learner(init, predict, _reading(module, encoding, encoding.read_prefixes))


def residual_stream(config: TransformerConfig, encoding: Encoding) -> Predict:
    """(params, prompt) -> the residual stream of all tokens after 0..T layers, (T+1, N, D).

    In every encoding the last token is a query's, the last one's if each has its own, and it reads all used examples.
    """

    def read(stream: Stream, _: Prompt) -> Float[Array, "steps N D"]:
        return stream.residual

    return _reading(_module(config, encoding), encoding, read)


def _module(config: TransformerConfig, encoding: Encoding) -> Transformer:
    # what answers all prefixes in one pass lets no token read a later one
    return Transformer(config, causal=encoding.read_prefixes is not None)


def _reading(module: Transformer, encoding: Encoding, read: Callable[[Stream, Prompt], Array]) -> Predict:
    """What `read` finds in the module's stream: of one prompt, and of many that go through the module together."""

    def run(params: PyTree, tokens: Tokens) -> Stream:
        stream: Any = module.apply({"params": params}, tokens)
        return stream

    def one(params: PyTree, prompt: Prompt) -> Array:
        return read(run(params, encoding.tokens(prompt)), prompt)

    def many(params: PyTree, prompts: Prompt) -> Array:
        return jax.vmap(read)(run(params, jax.vmap(encoding.tokens)(prompts)), prompts)

    return Predict(one, many)
