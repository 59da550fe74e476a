"""The benchmark's methods: how each begins, what solver its parameters make, and how long and fast it is trained.

All know X. Thresholds are learned as logarithms, so they stay positive. AMP, OAMP and TISTA know the law of the signals too,
and all but AMP the mean variance of the noise: they show what that is worth.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.l2o_benchmark.problems import SEEDS, Problem
from jaxl2o.solvers import adaptive, composition, lista
from jaxl2o.solvers.denoisers import bernoulli_gaussian
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.message_passing import amp
from jaxl2o.solvers.orthogonal import TistaLayers, oamp, tista
from jaxl2o.solvers.proximal import fista, ista
from jaxl2o.solvers.wrappers import with_matrix
from jaxl2o.types import Learner, Params, Prompt, Solver

PENALTY = 0.4  # of ISTA and FISTA, in 1/2 |y - X w|^2 + penalty |w|_1, as published
TRUSTED = (0.06, 1.2)  # entries that support selection lets pass, over the mean number of non-zero ones: first and last step
WEIGHT_UNIT = 0.05  # learned matrices move in this unit, about the size of their entries, and at the scalars' rate


class Method(NamedTuple):
    """init: (problem, depth) -> parameters.  solver: (problem, depth, parameters) -> Solver that closes over the matrix.

    steps: which of the config's numbers of training steps it takes; empty: none.  rate: Adam's, at first; cosine to zero.
    """

    init: Callable[[Problem, int], Params]
    solver: Callable[[Problem, int, Params], Solver]
    steps: str = ""
    rate: float = 2e-2


def learner_of(method: Method, problem: Problem, depth: int) -> Learner:
    """The method as a Learner that answers with its iterates."""
    return learned(
        lambda key, prompt: method.init(problem, depth),
        lambda params: with_matrix(method.solver(problem, depth, params), problem.matrix),
        n_steps=depth,
    )


def trusted(problem: Problem, depth: int) -> composition.Counts:
    """ALISTA's support selection, as published: 3 to 60 entries where 50 are non-zero on average."""
    nonzeros = problem.setting.probability * problem.setting.d
    return composition.growing(round(TRUSTED[0] * nonzeros), round(TRUSTED[1] * nonzeros), depth)


def nothing(problem: Problem, depth: int) -> None:
    """A method without parameters."""


def scalars(problem: Problem, depth: int) -> lista.StepLayers:
    """Steps of size 1 with analytic weights, and thresholds of 0.1 as logarithms."""
    return lista.StepLayers(jnp.ones(depth), jnp.full(depth, jnp.log(0.1)))


def alista_of(problem: Problem, depth: int, params: lista.StepLayers) -> Solver:
    """ALISTA with support selection: 2T scalars."""
    return lista.alista(problem.weight, params._replace(threshold=jnp.exp(params.threshold)), trusted(problem, depth))


def aglista_start(problem: Problem, depth: int) -> tuple[lista.StepLayers, composition.Gates]:
    """ALISTA's start behind gates that are nearly closed."""
    return scalars(problem, depth), composition.Gates(jnp.full(depth, 0.1), jnp.ones(depth), jnp.full(depth, 0.1))


def aglista_of(problem: Problem, depth: int, params: tuple[lista.StepLayers, composition.Gates]) -> Solver:
    """ALISTA behind gates: 5T scalars."""
    return composition.gated(alista_of(problem, depth, params[0]), params[1])


def na_start(problem: Problem, depth: int) -> adaptive.Lstm:
    """A random LSTM of width 128."""
    return adaptive.lstm_init(jax.random.key(SEEDS[1]), 128)


def na_alista_of(problem: Problem, depth: int, params: adaptive.Lstm) -> Solver:
    """NA-ALISTA, its inputs standardised by the labels of a thousand signals."""
    return adaptive.na_alista(problem.weight, params, trusted(problem, depth), problem.standard)


def coupled_start(problem: Problem, depth: int) -> lista.CouplingLayers:
    """No change of the analytic weights, and thresholds of 0.1 as logarithms."""
    zero = jnp.zeros((depth, *problem.weight.shape))
    return lista.CouplingLayers(zero, jnp.full(depth, jnp.log(0.1)))


def coupled(problem: Problem, params: lista.CouplingLayers) -> lista.CouplingLayers:
    """The layers: analytic weights and what was learned beside them."""
    return lista.CouplingLayers(problem.weight[None] + WEIGHT_UNIT * params.weight, jnp.exp(params.threshold))


def tista_start(problem: Problem, depth: int) -> TistaLayers:
    """Steps of size d / n, with which W X has mean diagonal 1."""
    return TistaLayers(jnp.full(depth, problem.setting.d / problem.setting.n))


def tista_of(problem: Problem, depth: int, params: TistaLayers) -> Solver:
    """TISTA: T scalars, for the known law of the signals."""
    inverse = jnp.asarray(np.linalg.pinv(np.asarray(problem.matrix, np.float64)), problem.matrix.dtype)

    def shared(prompt: Prompt) -> Any:
        return inverse

    return tista(params, known_prior(problem), problem.noise_variance, shared)


def known_prior(problem: Problem) -> Any:
    """The posterior mean under the law of the signals."""
    return bernoulli_gaussian(problem.setting.probability)


METHODS = {
    "ISTA": Method(nothing, lambda problem, depth, _: ista(PENALTY / problem.setting.n)),
    "FISTA": Method(nothing, lambda problem, depth, _: fista(PENALTY / problem.setting.n)),
    "AMP, prior known": Method(nothing, lambda problem, depth, _: amp(known_prior(problem))),
    "OAMP, prior known": Method(nothing, lambda problem, depth, _: oamp(known_prior(problem), problem.noise_variance)),
    "ALISTA, 485 steps": Method(scalars, alista_of, "short"),
    "ALISTA": Method(scalars, alista_of, "long"),
    "AGLISTA": Method(aglista_start, aglista_of, "long"),
    "NA-ALISTA": Method(na_start, na_alista_of, "adaptive", 1e-3),
    "TISTA, prior known": Method(tista_start, tista_of, "short"),
    "LISTA-CP": Method(coupled_start, lambda problem, _, params: lista.lista_cp(coupled(problem, params)), "matrices", 1e-2),
    "LISTA-CPSS": Method(
        coupled_start,
        lambda problem, depth, params: lista.lista_cp(coupled(problem, params), trusted(problem, depth)),
        "matrices",
        1e-2,
    ),
}
CLASSICAL = ("ISTA", "FISTA", "AMP, prior known", "OAMP, prior known")
PLAN = {
    "40 dB": (*CLASSICAL, "ALISTA, 485 steps", "ALISTA", "AGLISTA", "NA-ALISTA", "TISTA, prior known"),
    "20 dB": (*CLASSICAL, "ALISTA, 485 steps", "TISTA, prior known"),
    "noiseless": (*CLASSICAL, "ALISTA, 485 steps"),
    "1000 at 40 dB": (*CLASSICAL, "ALISTA, 485 steps"),
    "Open-L2O": (*CLASSICAL, "ALISTA, 485 steps", "LISTA-CP", "LISTA-CPSS"),
    "small": ("ISTA", "AMP, prior known", "ALISTA", "LISTA-CPSS"),
}
