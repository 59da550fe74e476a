"""The benchmark's methods: how each begins, what solver its parameters make, and how long and fast it is trained.

All know X. Thresholds are learned as logarithms, so they stay positive. AMP, OAMP and TISTA know the law of the signals too,
and all but AMP the mean variance of the noise: they show what that is worth.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments.l2o_benchmark.problems import SEEDS, Problem
from jaxl2o.solvers import adaptive, composition, lista
from jaxl2o.solvers.adaptive import HyperLayers
from jaxl2o.solvers.composition import tied
from jaxl2o.solvers.denoisers import bernoulli_gaussian
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.message_passing import LampLayers, amp, lamp
from jaxl2o.solvers.orthogonal import TistaLayers, oamp, tista
from jaxl2o.solvers.proximal import fista, ista
from jaxl2o.solvers.wrappers import safeguarded, with_matrix
from jaxl2o.training import losses
from jaxl2o.training.losses import Loss
from jaxl2o.types import Instance, Learner, Params, Solver

PENALTY = 0.4  # of ISTA and FISTA, in 1/2 |y - X w|^2 + penalty |w|_1, as published
TRUSTED = (0.06, 1.2)  # entries that support selection lets pass, over the mean number of non-zero ones: first and last step
SELECTED = 0.026  # HyperLISTA's: 12 % of the entries once the residual has fallen a hundredfold
ALPHA = 1.4  # of LAMP's first thresholds
WEIGHT_UNIT = 0.05  # learned matrices move in this unit, about the size of their entries, and at the scalars' rate


class Method(NamedTuple):
    """init: (problem, depth) -> parameters.  solver: (problem, depth, parameters) -> Solver, which sees the matrix.

    steps: which of the config's numbers of training steps it takes; empty: none.  rate: Adam's, at first; cosine to zero.
    ending: the share of the training, its last part, in which the last iterate alone is scored; before, every iterate is.
    """

    init: Callable[[Problem, int], Params]
    solver: Callable[[Problem, int, Params], Solver]
    steps: str = ""
    rate: float = 2e-2
    ending: float = 0.0


def learner_of(method: Method, problem: Problem, depth: int) -> Learner:
    """The method as a Learner that answers with its iterates; what is trained is safeguarded, in training and in use."""

    def solver(params: Params) -> Solver:
        own = method.solver(problem, depth, params)
        return with_matrix(safeguarded(own) if method.steps else own, problem.matrix)

    return learned(lambda key, prompt: method.init(problem, depth), solver, n_steps=depth)


def loss_of(method: Method, n_steps: int) -> Loss:
    """The mean over the scored iterates of the logarithm of the batch's NMSE."""
    relative = losses.log_mean_relative()

    def loss(trajectory: Float[Array, "steps d"], instance: Instance, step: Array) -> Float[Array, ""]:
        last = relative(trajectory[jnp.array([0, -1])], instance, step)
        return jnp.where(step < (1.0 - method.ending) * n_steps, relative(trajectory, instance, step), last)

    return loss if method.ending else relative


def trusted(problem: Problem, depth: int) -> composition.Counts:
    """ALISTA's support selection, as published: 3 to 60 entries where 50 are non-zero on average."""
    nonzeros = problem.setting.probability * problem.setting.d
    return composition.growing(round(TRUSTED[0] * nonzeros), round(TRUSTED[1] * nonzeros), depth)


def nothing(problem: Problem, depth: int) -> None:
    """A method without parameters."""


def scalars(problem: Problem, depth: int) -> lista.StepLayers:
    """Steps of size 1 with analytic weights, and logarithms of thresholds that fall from 0.1 (d / 2n)^3 to 0.1.

    With 0.1 at every step the safeguard would refuse all of them where d = 4n, and nothing would be learned.
    """
    ratio = max(1.0, problem.setting.d / (2.0 * problem.setting.n))
    return lista.StepLayers(jnp.ones(depth), jnp.log(0.1) + 3.0 * jnp.log(ratio) * jnp.linspace(1.0, 0.0, depth))


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
    return tista(params, known_prior(problem), problem.noise_variance, lambda prompt: problem.inverse)


def hyper_start(problem: Problem, depth: int) -> Float[Array, "2"]:
    """Of HyperLISTA's three numbers the two that have gradients, as logarithms: the threshold's and the momentum's."""
    return jnp.log(jnp.asarray([4.0, 1.5]) / problem.setting.d)


def hyper_of(problem: Problem, depth: int, params: Float[Array, "2"]) -> Solver:
    """HyperLISTA: the same numbers at every step. The third is not learned, since what it selects has no gradient."""
    threshold, momentum = jnp.exp(params)
    layers = HyperLayers(threshold, momentum, jnp.asarray(SELECTED))
    return adaptive.hyperlista(problem.weight, problem.inverse, jax.tree.map(lambda leaf: tied(leaf, depth), layers))


def lamp_start(problem: Problem, depth: int) -> LampLayers:
    """No change of AMP's weights X', and the logarithm of its threshold in units of the noise."""
    return LampLayers(jnp.zeros((depth, *problem.weight.shape)), jnp.full(depth, jnp.log(ALPHA)))


def lamp_of(problem: Problem, depth: int, params: LampLayers) -> Solver:
    """LAMP: AMP with learned weights and thresholds."""
    return lamp(LampLayers(problem.matrix.T[None] + WEIGHT_UNIT * params.weight, jnp.exp(params.threshold)))


def known_prior(problem: Problem) -> Any:
    """The posterior mean under the law of the signals."""
    return bernoulli_gaussian(problem.setting.probability)


METHODS = {
    "ISTA": Method(nothing, lambda problem, depth, _: ista(PENALTY / problem.setting.n)),
    "FISTA": Method(nothing, lambda problem, depth, _: fista(PENALTY / problem.setting.n)),
    "AMP, prior known": Method(nothing, lambda problem, depth, _: amp(known_prior(problem))),
    "OAMP, prior known": Method(nothing, lambda problem, depth, _: oamp(known_prior(problem), problem.noise_variance)),
    "ALISTA, 485 steps": Method(scalars, alista_of, "short"),
    "ALISTA": Method(scalars, alista_of, "long", ending=0.5),
    "AGLISTA": Method(aglista_start, aglista_of, "long", ending=0.5),
    "HyperLISTA": Method(hyper_start, hyper_of, "short"),
    "NA-ALISTA": Method(na_start, na_alista_of, "adaptive", 2e-3, 0.5),
    "NA-ALISTA, 2,000 steps": Method(na_start, na_alista_of, "long", 2e-3, 0.5),
    "LAMP": Method(lamp_start, lamp_of, "long", 1e-2, 0.5),
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
    "40 dB": (*CLASSICAL, "ALISTA, 485 steps", "ALISTA", "AGLISTA", "HyperLISTA", "NA-ALISTA", "LAMP", "TISTA, prior known"),
    "20 dB": (*CLASSICAL, "ALISTA, 485 steps", "NA-ALISTA, 2,000 steps", "TISTA, prior known"),
    "noiseless": (*CLASSICAL, "ALISTA, 485 steps"),
    "1000 at 40 dB": (*CLASSICAL, "ALISTA, 485 steps", "ALISTA"),
    "Open-L2O": (*CLASSICAL, "ALISTA, 485 steps", "LISTA-CP", "LISTA-CPSS"),
    "small": ("ISTA", "AMP, prior known", "ALISTA", "LISTA-CPSS"),
}
