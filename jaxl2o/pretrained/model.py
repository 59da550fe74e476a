"""What every model that ships is made of: how its parameters are read, the learner that was trained, and what it answers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Learner, Params, Prompt

# (parameters, prompt without queries) -> the coefficients after all steps
Answer = Callable[[Params, Prompt], Float[Array, " d"]]


class Model(NamedTuple):
    """params: arrays by name -> the learner's parameters.  learner: as it was trained.  answer: coefficients, in its units."""

    params: Callable[[dict[str, Any]], Params]
    learner: Learner
    answer: Answer


def last(learner: Learner) -> Answer:
    """The learner's last iterate."""
    return lambda params, prompt: learner.predict(params, prompt)[-1]


def no_start(*_: Any) -> Params:
    """In place of a learner's `init`, where there is no random start: `InputError`."""
    raise checks.InputError("this learner has no random start; take its params, or the start that its solver has.")


def in_units_of_law(answer: Answer, label_mean_square: float) -> Answer:
    """The same answer to labels that are first given the mean square of those in training: its thresholds have a unit.

    So what it gives is in the units of the labels, whatever these are; zero, where all labels are zero.
    """

    def scaled(params: Params, prompt: Prompt) -> Float[Array, " d"]:
        size = jnp.sqrt(jnp.sum(prompt.y**2) / prompt.n_used / label_mean_square)
        unit = jnp.where(size > 0.0, size, 1.0)
        return jnp.where(size > 0.0, answer(params, prompt._replace(y=prompt.y / unit)) * unit, 0.0)

    return scaled


def nested(arrays: dict[str, Any]) -> Params:
    """{"a/b": x} -> {"a": {"b": x}}."""
    tree: Params = {}
    for name, leaf in arrays.items():
        *folders, key = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[key] = leaf
    return tree


def flat(params: Params, above: str = "") -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a/b": x}, which `nested` undoes."""
    if not isinstance(params, dict):
        return {above: params}
    return {name: leaf for key, value in params.items() for name, leaf in flat(value, f"{above}/{key}".strip("/")).items()}
