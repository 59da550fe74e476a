"""The models that a card can name: each is built by the library's own code from what the card says and from the parameters."""

from collections.abc import Callable
from typing import Any

from jaxl2o.pretrained.model import Model
from jaxl2o.pretrained.solvers import alista, in_context, na_alista
from jaxl2o.pretrained.transformers import transformer

# what a card's model "is" -> how it is built for d coefficients from the rest of what the card says of it
MODELS: dict[str, Callable[..., Model]] = {
    "in-context ALISTA": in_context,
    "ALISTA": alista,
    "NA-ALISTA": na_alista,
    "Transformer": transformer,
}


def built(d: int, model: dict[str, Any]) -> Model:
    """The model that a card's `model` names and describes, for d coefficients."""
    return MODELS[model["is"]](d, **{key: value for key, value in model.items() if key != "is"})
