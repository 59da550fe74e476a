"""Weights that ship, each with its model card: a method that answers at once, and a learner that may be trained on."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.pretrained.card import Card, card_of
from jaxl2o.pretrained.model import in_units_of_law
from jaxl2o.pretrained.models import built
from jaxl2o.types import Learner, Params, Prompt, design_matrix

_FOLDER = files(__name__)

# the names of all models that ship
NAMES = tuple(sorted(file.name.removesuffix(".json") for file in _FOLDER.iterdir() if file.name.endswith(".json")))


class Pretrained(NamedTuple):
    """card: what it is and where it may be asked.  params: float32.  learner: what was trained; `predict` has every step.

    method: a prompt of the card's d and n -> the coefficients (d,), in the units and the dtype of the prompt. The columns of X
    should have mean square 1, as `recover` makes them; the labels may have any scale.
    """

    card: Card
    params: Params
    learner: Learner
    method: Callable[[Prompt], Float[Array, " d"]]


@cache
def load_pretrained(name: str) -> Pretrained:
    """The model of this name in `NAMES`.

    Raises `ValueError` for other names. Its method raises `ValueError` for a prompt outside the card's d and range of n.
    """
    card = load_card(name)
    with (_FOLDER / f"{name}.npz").open("rb") as file, np.load(file, allow_pickle=False) as found:
        arrays = dict(found)
    for array in arrays.values():
        array.setflags(write=False)  # every caller has the same ones
    return assembled(card, arrays)


def assembled(card: Card, arrays: dict[str, np.ndarray]) -> Pretrained:
    """What a card and the arrays of its parameters, by name, make together."""
    model = built(card.d, card.model)
    params, answer = model.params(arrays), in_units_of_law(model.answer, card.label_mean_square)

    def method(prompt: Prompt) -> Float[Array, " d"]:
        outside = card.outside(*design_matrix(prompt).shape)
        checks.require(outside is None, f"{outside}; take the method 'lasso', which is for any.")
        return answer(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=prompt.y.dtype), params), prompt)

    return Pretrained(card, params, model.learner, method)


@cache
def load_card(name: str) -> Card:
    """The card alone of a model in `NAMES`; `ValueError` for other names."""
    checks.require(name in NAMES, f"there is no pretrained model {name!r}; choose one of {', '.join(NAMES)}.")
    return card_of((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
