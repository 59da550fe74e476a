"""A Transformer and an encoding make a Learner."""

from typing import Any

from jaxtyping import Array, PyTree

from jaxl2o.models.encoding import Encoding, Stream
from jaxl2o.models.transformer import Transformer, TransformerConfig
from jaxl2o.types import Key, Learner, Params, Prompt, predict_prefixes


def transformer_learner(config: TransformerConfig, encoding: Encoding) -> Learner:
    """The Learner whose t-th answer is what the encoding reads after t layers.

    A decoder answers all prefixes in one pass; an encoder is run on each. Parameters are the config's pytree, whether
    from `init`, from training or from a construction.
    """
    module = Transformer(config)

    def init(key: Key, prompt: Prompt) -> Params:
        return module.init(key, encoding.tokens(prompt))["params"]

    def run(params: PyTree, prompt: Prompt) -> Stream:
        stream: Any = module.apply({"params": params}, encoding.tokens(prompt))
        return stream

    def predict(params: PyTree, prompt: Prompt) -> Array:
        return encoding.read(run(params, prompt), prompt)

    read_prefixes = encoding.read_prefixes
    if read_prefixes is None:
        return Learner(init, predict, predict_prefixes(predict))
    return Learner(init, predict, lambda params, prompt: read_prefixes(run(params, prompt), prompt))
