"""Learned solvers that ship: the weights of their steps come in closed form from the prompt's own X, so any X may be asked."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.pretrained.model import Model, last, nested, no_start
from jaxl2o.solvers import adaptive, lista
from jaxl2o.solvers.branching import branched, none_or_one
from jaxl2o.solvers.in_context import InContextLayers, in_context_alista
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.pseudo_inverse import Weights, analytic_weights, relative_ridge
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.wrappers import safeguarded
from jaxl2o.types import Learner, Params, Prompt, Solver, design_matrix, predict_prefixes

WEIGHTS: dict[str, Callable[..., Weights]] = {"analytic": lambda: analytic_weights, "relative ridge": relative_ridge}


def in_context(d: int, weights: str, in_branches: bool, share: float | None = None) -> Model:
    """In-context ALISTA, safeguarded, alone or in d + 1 branches; the parameters are its layers."""
    rows = WEIGHTS[weights](*(() if share is None else (share,)))

    def solver(layers: InContextLayers) -> Solver:
        def branch(free: Any) -> Solver:
            return safeguarded(in_context_alista(layers, rows, free))

        return branched(branch, none_or_one(d)) if in_branches else branch(None)

    learner = learned(no_start, solver)
    return Model(lambda arrays: InContextLayers(**arrays), learner, last(learner))


def alista(d: int, trusted: Sequence[int]) -> Model:
    """ALISTA with support selection, which trusts so many entries at every step; the parameters are its 2T scalars."""

    def solver(weight: Float[Array, "d n"], layers: lista.StepLayers) -> Solver:
        return lista.alista(weight, layers, tuple(trusted))

    return _on_unit_columns(lambda arrays: lista.StepLayers(**arrays), solver, len(trusted))


def na_alista(d: int, trusted: Sequence[int]) -> Model:
    """NA-ALISTA; the parameters are its network, and by what the two numbers that the network reads are standardised."""

    def params(arrays: dict[str, Any]) -> tuple[adaptive.Lstm, adaptive.Standard]:
        tree = nested(arrays)
        return adaptive.Lstm(**tree["network"]), adaptive.Standard(**tree["standard"])

    def solver(weight: Float[Array, "d n"], own: tuple[adaptive.Lstm, adaptive.Standard]) -> Solver:
        network, standard = own
        return adaptive.na_alista(weight, network, tuple(trusted), standard)

    return _on_unit_columns(params, solver, len(trusted))


def unit_columns(prompt: Prompt) -> Prompt:
    """X and y over sqrt(n): columns of mean square 1 get norm 1, and the coefficients stay what they are."""
    root = jnp.sqrt(prompt.n_used)
    return prompt._replace(x=design_matrix(prompt) / root, y=prompt.y / root)


def _on_unit_columns(
    params: Callable[[dict[str, Any]], Params], solver: Callable[[Float[Array, "d n"], Params], Solver], n_steps: int
) -> Model:
    """A solver that is safeguarded and built for the analytic weights of every prompt. Where many share X, it stays one."""

    def predict(params: Params, prompt: Prompt) -> Array:
        unit = unit_columns(prompt)
        iterates = unroll(safeguarded(solver(analytic_weights(unit), params)), unit, n_steps)
        return iterates if prompt.x_query is None else iterates @ prompt.x_query.T

    learner = Learner(no_start, predict, predict_prefixes(predict))
    return Model(params, learner, last(learner))
