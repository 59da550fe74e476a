"""The models that a card can name: each is built by the library's own code from what the card says and from the parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, interleaved, scratch_with_memory
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers.branching import branched, none_or_one
from jaxl2o.solvers.in_context import InContextLayers, in_context_alista
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.pseudo_inverse import Weights, analytic_weights, relative_ridge
from jaxl2o.solvers.wrappers import safeguarded, safeguarded_answers
from jaxl2o.types import Learner, Params, Prompt, Solver

# asked for labels alone, a model answers this many queries a coefficient, of which the coefficients are the least-squares fit
QUERIES = 4


# (parameters, prompt without queries) -> the coefficients after all steps
Answer = Callable[[Params, Prompt], Float[Array, " d"]]


class Model(NamedTuple):
    """params: arrays by name -> the learner's parameters.  learner: as it was trained.  answer: coefficients, in its units."""

    params: Callable[[dict[str, Any]], Params]
    learner: Learner
    answer: Answer


WEIGHTS: dict[str, Callable[..., Weights]] = {"analytic": lambda: analytic_weights, "relative ridge": relative_ridge}
ENCODINGS: dict[str, Callable[[int], Encoding]] = {"interleaved": interleaved, "scratch with memory": scratch_with_memory}


def in_context(d: int, weights: str, in_branches: bool, share: float | None = None) -> Model:
    """In-context ALISTA, safeguarded, alone or in d + 1 branches; the parameters are its layers."""
    rows = WEIGHTS[weights](*(() if share is None else (share,)))

    def solver(layers: InContextLayers) -> Solver:
        def branch(free: Any) -> Solver:
            return safeguarded(in_context_alista(layers, rows, free))

        return branched(branch, none_or_one(d)) if in_branches else branch(None)

    def start(*_: Any) -> Params:
        raise checks.InputError("this learner has no random start; take its params, or `in_context_start` of the solvers.")

    learner = learned(start, solver)
    return Model(lambda arrays: InContextLayers(**arrays), learner, _last(learner))


def transformer(d: int, config: dict[str, Any], encoding: str, gives: str) -> Model:
    """A Transformer.  gives: "coefficients", which wear the safeguard; or "labels", of which the coefficients are decoded."""
    learner = transformer_learner(TransformerConfig(**config), ENCODINGS[encoding](d))
    if gives == "labels":
        return Model(nested, learner, _decoded(learner, d))
    predict = safeguarded_answers(learner.predict)
    return Model(nested, learner, _last(learner._replace(predict=predict)))


# what a card's model "is" -> how it is built for d coefficients from the rest of what the card says of it
MODELS: dict[str, Callable[..., Model]] = {"in-context ALISTA": in_context, "Transformer": transformer}


def in_units_of_law(answer: Answer, label_mean_square: float) -> Answer:
    """The same answer to labels that are first given the mean square of those in training: its thresholds have a unit.

    So what it gives is in the units of the labels, whatever these are; zero, where all labels are zero.
    """

    def scaled(params: Params, prompt: Prompt) -> Float[Array, " d"]:
        size = jnp.sqrt(jnp.sum(prompt.y**2) / prompt.n_used / label_mean_square)
        unit = jnp.where(size > 0.0, size, 1.0)
        return jnp.where(size > 0.0, answer(params, prompt._replace(y=prompt.y / unit)) * unit, 0.0)

    return scaled


def _last(learner: Learner) -> Answer:
    return lambda params, prompt: learner.predict(params, prompt)[-1]


def _decoded(learner: Learner, d: int) -> Answer:
    """The w whose labels <x, w> are nearest to what the last layer answers at fixed queries, which are as those in training."""
    queries = np.random.default_rng(0).normal(size=(QUERIES * d, d))
    inverse = np.linalg.pinv(queries)

    def answer(params: Params, prompt: Prompt) -> Float[Array, " d"]:
        asked = jnp.asarray(queries, dtype=prompt.y.dtype)
        return jnp.asarray(inverse, dtype=prompt.y.dtype) @ learner.predict(params, prompt._replace(x_query=asked))[-1]

    return answer


def nested(arrays: dict[str, Any]) -> Params:
    """{"a/b": x} -> {"a": {"b": x}}."""
    tree: Params = {}
    for name, leaf in arrays.items():
        *folders, last = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = leaf
    return tree


def flat(params: Params, above: str = "") -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a/b": x}, which `nested` undoes."""
    if not isinstance(params, dict):
        return {above: params}
    return {name: leaf for key, value in params.items() for name, leaf in flat(value, f"{above}/{key}".strip("/")).items()}
