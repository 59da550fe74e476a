"""The methods: how each begins, and what solver its parameters make. Thresholds are learned as logarithms, so stay positive."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.limits.least_squares import minimum_norm
from jaxl2o.solvers import lista
from jaxl2o.solvers.branching import branched, none_or_one
from jaxl2o.solvers.denoisers import bernoulli_gaussian
from jaxl2o.solvers.in_context import InContextLayers, from_logarithms, in_context_alista, in_context_start, to_logarithms
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.lista import StepLayers
from jaxl2o.solvers.orthogonal import TistaLayers, tista
from jaxl2o.solvers.pseudo_inverse import Weights, analytic_weights, pseudo_inverse, relative_ridge, ridge_inverse
from jaxl2o.solvers.varying import (
    AdaLayers,
    MomentumLayers,
    VaryingLayers,
    ada_lista,
    lista_vm,
    lista_vm_with_momentum,
)
from jaxl2o.solvers.wrappers import safeguarded
from jaxl2o.types import Learner, Params, Prompt, Solver

STEP = 0.36  # of LISTA-VM's first M = STEP * I, about (2n + 1) / |X|^2 at n = 10, d = 20
RIDGE = 0.01  # of the mean eigenvalue of X'X, where the number of measurements varies
THRESHOLD = 0.02  # of every first threshold


# prompt -> iterates after 0..T steps
Path = Callable[[Prompt], Float[Array, "steps d"]]
# penalty -> Solver
Penalised = Callable[[Any], Solver]


@dataclass(frozen=True)
class Method:
    """start: parameters before training.  solver: parameters -> Solver.  rate: Adam's, at first; cosine to zero."""

    start: Params
    solver: Callable[[Params], Solver]
    rate: float = 3e-2

    @cached_property
    def learner(self) -> Learner:
        """The method as a Learner, which answers with its iterates: always the same one, so that it is compiled once."""
        return learned(lambda key, prompt: self.start, self.solver)


def logarithms(depth: int) -> Float[Array, " steps"]:
    """First thresholds."""
    return jnp.full(depth, jnp.log(THRESHOLD))


def varying(d: int, depth: int) -> Method:
    """LISTA-VM, safeguarded in training and in use."""
    return Method(varying_start(d, depth), lambda params: safeguarded(bare_varying(params)))


def varying_start(d: int, depth: int) -> VaryingLayers:
    """About ISTA, with small thresholds."""
    return VaryingLayers(jnp.tile(STEP * jnp.eye(d), (depth, 1, 1)), logarithms(depth))


def bare_varying(params: VaryingLayers) -> Solver:
    """LISTA-VM with these parameters, as it stands in the theorem."""
    return lista_vm(varying_layers(params))


def varying_layers(params: VaryingLayers) -> VaryingLayers:
    """The layers from what is learned: thresholds are exponentials."""
    return params._replace(threshold=jnp.exp(params.threshold))


def varying_by_scalars(d: int, depth: int) -> Method:
    """LISTA-VM with M = c I, which is all that a law that treats coordinates alike asks for."""

    def layers(params: StepLayers) -> VaryingLayers:
        return VaryingLayers(params.step_size[:, None, None] * jnp.eye(d)[None], params.threshold)

    start = StepLayers(jnp.full(depth, STEP), logarithms(depth))
    return Method(start, lambda params: safeguarded(bare_varying(layers(params))))


def with_momentum(d: int, depth: int) -> Method:
    """LISTA-VM with momentum, safeguarded."""
    matrix, threshold = varying_start(d, depth)
    start = MomentumLayers(matrix, threshold, jnp.zeros(depth), jnp.full(depth, jnp.log(0.3)))
    return Method(start, lambda params: safeguarded(lista_vm_with_momentum(momentum_layers(params))))


def momentum_layers(params: MomentumLayers) -> MomentumLayers:
    """The layers from what is learned: both parts of the threshold are exponentials."""
    return params._replace(threshold=jnp.exp(params.threshold), following=jnp.exp(params.following))


def ada(n: int, depth: int) -> Method:
    """Ada-LISTA, safeguarded."""
    start = AdaLayers(jnp.eye(n), jnp.eye(n), jnp.full(depth, STEP / (2 * n + 1)), logarithms(depth))
    return Method(start, lambda params: safeguarded(ada_lista(params._replace(threshold=jnp.exp(params.threshold)))))


def in_context(depth: int, weights: Weights = analytic_weights) -> Method:
    """In-context ALISTA, safeguarded: a matrix that is nearly singular in float32 has an X^+ that is no use."""
    start = to_logarithms(in_context_start(depth))
    return Method(start, lambda params: safeguarded(in_context_alista(from_logarithms(params), weights)))


def in_context_with_noise(depth: int, deviation: float) -> Method:
    """In-context ALISTA with the LMMSE weights X'(XX' + s^2 I)^-1 of a signal of unit variance."""
    return in_context(depth, ridge_inverse(deviation**2))


def without_leverages(depth: int) -> Method:
    """In-context ALISTA with W = X^+."""
    return in_context(depth, pseudo_inverse)


def of_any_length(depth: int) -> Method:
    """In-context ALISTA with W of one form below, at and above d measurements.

    It is without D, whose inverse is large where measurements are few: a step that is right for ten is not for two.
    """
    return in_context(depth, relative_ridge(RIDGE))


def tista_known(d: int, n: int, sparsity: int, depth: int, deviation: float) -> Method:
    """TISTA, which knows the law of the signals; steps of size d / n at first."""
    start = TistaLayers(jnp.full(depth, d / n))
    return Method(start, lambda params: tista(params, bernoulli_gaussian(sparsity / d), deviation**2))


def branches(params: InContextLayers, d: int, weights: Weights = analytic_weights) -> Solver:
    """In-context ALISTA with these parameters in d + 1 branches, each but one told of a coordinate that it need not shrink."""
    layers = from_logarithms(params)
    return branched(lambda free: safeguarded(in_context_alista(layers, weights, free)), none_or_one(d))


# (the matrix, depth) -> a method for that matrix; on other prompts it answers by weights that are not theirs
ForOne = Callable[[Float[Array, "n d"], int], Method]


def coupled(matrix: Float[Array, "n d"], depth: int) -> Method:
    """LISTA-CP, from ISTA's weights on the matrix."""
    start = lista.ista_as_lista_cp(matrix, depth, 0.01)
    logs = start._replace(threshold=jnp.log(start.threshold))
    return Method(logs, lambda params: lista.lista_cp(params._replace(threshold=jnp.exp(params.threshold))), 1e-2)


def free(matrix: Float[Array, "n d"], depth: int) -> Method:
    """LISTA, from ISTA's weights on the matrix."""
    start = lista.ista_as_lista(matrix, depth, 0.01)
    logs = start._replace(threshold=jnp.log(start.threshold))
    return Method(logs, lambda params: lista.lista(params._replace(threshold=jnp.exp(params.threshold))), 1e-2)


def analytic(matrix: Float[Array, "n d"], depth: int) -> Method:
    """ALISTA: the matrix's own analytic weights, and scalars; short steps at first, for so few measurements."""
    weights = analytic_weights(Prompt.of(matrix, jnp.zeros(matrix.shape[0])))
    start = StepLayers(jnp.full(depth, 0.3), logarithms(depth))
    return Method(start, lambda params: lista.alista(weights, params._replace(threshold=jnp.exp(params.threshold))), 1e-2)


FOR_ONE: dict[str, ForOne] = {"LISTA-CP": coupled, "LISTA": free, "ALISTA": analytic}


def shortest(prompt: Prompt) -> Float[Array, "1 d"]:
    """The minimum-norm answer, as a path of one."""
    return minimum_norm(prompt)[None]
