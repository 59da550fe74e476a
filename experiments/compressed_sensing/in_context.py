"""In-context ALISTA on pictures: in units in which the prior covariance is the identity, so that its weights are LMMSE's."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments.compressed_sensing.methods import Prior
from jaxl2o.solvers.in_context import InContextLayers, from_logarithms, in_context_alista, in_context_start, to_logarithms
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.pseudo_inverse import ridge_inverse
from jaxl2o.solvers.wrappers import safeguarded
from jaxl2o.types import Learner, Prompt, Solver, design_matrix, predict_prefixes, queries

NOISE_VARIANCE = 1e-4  # of the weights, against rounding: far below the variance of any combination of measurements
RATE = 3e-2  # Adam's, at first


def whitening(prior: Prior) -> Float[Array, "d d"]:
    """S with S S' = C: a signal w = S u of covariance C has a white u, its coordinates on the principal axes of C."""
    values, vectors = jnp.linalg.eigh(prior.covariance)
    return vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None]


def in_units(prompt: Prompt, units: Float[Array, "d d"]) -> Prompt:
    """The prompt that asks the same of u, where w = S u: X S and X_query S, so that X_query S u = X_query w."""
    return prompt._replace(x=design_matrix(prompt) @ units, x_query=queries(prompt) @ units)


def solver(params: InContextLayers) -> Solver:
    """In-context ALISTA, safeguarded, from what is learned: the logarithms of both thresholds.

    The weights are X'(XX' + s^2 I)^-1: in white units and without thresholds the first full step is LMMSE.
    """
    return safeguarded(in_context_alista(from_logarithms(params), ridge_inverse(NOISE_VARIANCE)))


def learned_in_context_alista(prior: Prior, depth: int) -> Learner:
    """In-context ALISTA in white units, of which training changes 4 scalars a layer; its answers are pixels."""
    units = whitening(prior)
    start = to_logarithms(in_context_start(depth))
    white = learned(lambda key, prompt: start, solver)

    def predict(params: InContextLayers, prompt: Prompt) -> Float[Array, "steps m"]:
        return white.predict(params, in_units(prompt, units))

    return Learner(white.init, predict, predict_prefixes(predict))
