"""A family theta -> Construction as a Learner: the theorem is trained in its own, constrained form."""

from collections.abc import Callable

from jaxtyping import Array

from jaxl2o.constructions.construction import Construction
from jaxl2o.models.learner import transformer_learner
from jaxl2o.types import Key, Learner, Params, Prompt


def constrained_learner(family: Callable[[Params], Construction], init: Callable[[Key, Prompt], Params]) -> Learner:
    """The Learner whose parameters are theta, the theorem's own, and whose answers are those of the Transformer at theta.

    Gradients flow through the construction, so training moves along the theorem's surface in weight space and never
    leaves it: the trained network is still exactly the solver, with learned constants.
    """

    def learner_at(theta: Params) -> tuple[Learner, Params]:
        construction = family(theta)
        return transformer_learner(construction.config, construction.encoding), construction.params

    def predict(theta: Params, prompt: Prompt) -> Array:
        learner, params = learner_at(theta)
        return learner.predict(params, prompt)

    def prefixes(theta: Params, prompt: Prompt) -> Array:
        learner, params = learner_at(theta)
        return learner.prefixes(params, prompt)

    return Learner(init, predict, prefixes)
