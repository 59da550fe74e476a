"""The methods of the comparison: what each knows of the training pictures, and how the learned ones are trained."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxl2o.certified.fista import Fista
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import prompt_problem
from jaxl2o.constructions.construction import Construction
from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.limits.least_squares import lmmse
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers import varying
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.lista import CouplingLayers, lista_cp
from jaxl2o.solvers.proximal import fista, ista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.tasks.covariates import rademacher
from jaxl2o.tasks.images import Camera, camera, compressed_sensing
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import devices_for
from jaxl2o.types import Key, Learner, Params, Prompt, Task, queries

Method = Callable[[Params, Prompt], Float[Array, "steps m"]]

SEED = 0
CLASSICAL_STEPS = 12
THRESHOLD_UNIT = 0.01  # grey values: learned thresholds are multiples of it
PENALTY_UNIT = 0.05  # grey values: errors below it are penalised as squares, larger ones by their logarithm
CLIP = 100.0  # far above every entry of a healthy stream; it stops a rare prompt from overflowing in training


class Prior(NamedTuple):
    """What training patches tell: the camera with their mean, the covariance C of the signal, its deviations s."""

    camera: Camera
    covariance: Float[Array, "d d"]
    scale: Float[Array, " d"]


def learn_prior(patches: Float[Array, "p d"], n: int) -> Prior:
    """Mean and covariance of the DCT coefficients of the training patches; X has rows of random signs."""
    shot = camera(patches, n, rademacher())
    covariance = jnp.cov((patches @ shot.basis).T)
    return Prior(shot, covariance, jnp.sqrt(jnp.diag(covariance)))


def preconditioner(prior: Prior) -> Float[Array, "d d"]:
    """Where learning starts: M proportional to the prior covariance, so that a step is preconditioned gradient descent.

    The constant coefficient bears most of the energy and would dictate the step size of all others, so it has its own: with
    random signs x_0'x_0 = n exactly, and (2n + 1) / n solves for it in one step. The others are scaled by the largest
    eigenvalue of X C X' / (2n + 1) without it, a mean over 64 matrices.
    """
    n = prior.camera.n
    rest = prior.covariance.at[0].set(0.0).at[:, 0].set(0.0)

    def largest(key: Key) -> Array:
        x = prior.camera.rows(key, n, rest.shape[0])
        return jnp.linalg.eigvalsh(x @ rest @ x.T)[-1] / (2 * n + 1)

    mean = jnp.mean(jax.vmap(largest)(jax.random.split(jax.random.key(SEED), 64)))
    return (rest / mean).at[0, 0].set((2 * n + 1) / n)


def learned_lista_vm(prior: Prior, depth: int) -> tuple[Learner, Callable[[VaryingLayers], VaryingLayers]]:
    """LISTA-VM, and how raw parameters A become its layers: M is learned in units of the deviations, M_ij = s_i A_ij s_j."""
    matrix = preconditioner(prior)
    unit = prior.scale[:, None] * prior.scale[None, :]
    unit = unit * jnp.max((matrix / unit)[1:, 1:])

    def layers(params: VaryingLayers) -> VaryingLayers:
        return VaryingLayers(params.matrix * unit[None], THRESHOLD_UNIT * jnp.maximum(params.threshold, 0.0))

    def init(key: Key, prompt: Prompt) -> VaryingLayers:
        return VaryingLayers(jnp.tile(matrix / unit, (depth, 1, 1)), jnp.full(depth, 0.1))

    return learned(init, lambda params: varying.lista_vm(layers(params))), layers


def learned_lista_cp(
    prior: Prior, depth: int, matrix: Float[Array, "n d"]
) -> tuple[Learner, Callable[[CouplingLayers], CouplingLayers]]:
    """LISTA-CP for one matrix, likewise, from the same start: W = M X' / (2n + 1), learned in units of the deviations."""
    n = matrix.shape[0]
    unit = prior.scale[:, None] / (2 * n + 1)
    weight = preconditioner(prior) @ matrix.T / (2 * n + 1)

    def layers(params: CouplingLayers) -> CouplingLayers:
        return CouplingLayers(params.weight * unit[None], THRESHOLD_UNIT * jnp.maximum(params.threshold, 0.0))

    def init(key: Key, prompt: Prompt) -> CouplingLayers:
        return CouplingLayers(jnp.tile(weight / unit, (depth, 1, 1)), jnp.full(depth, 0.1))

    return learned(init, lambda params: lista_cp(layers(params))), layers


def with_one_matrix(prior: Prior, matrix: Float[Array, "n d"]) -> Prior:
    """The same camera, which measures every patch by this one matrix."""
    return prior._replace(camera=replace(prior.camera, rows=lambda key, n, d: matrix))


def filled(layers: VaryingLayers, n: int) -> tuple[Construction, Learner]:
    """The Transformer that the theorem fills with these layers, with a clip that a healthy stream never meets."""
    construction = lista_vm(layers, n, bound=1e3)
    config = replace(construction.config, clip=CLIP)
    return construction._replace(config=config), transformer_learner(config, construction.encoding)


def solver_recipe(prior: Prior, patches: Float[Array, "p d"], learner: Learner, rate: optax.Schedule, batch: int) -> Recipe:
    """Adam on all layers' answers, with the bounded penalty."""
    return _recipe(training_task(prior, patches), learner, optax.adam(rate), batch)


def transformer_recipe(
    prior: Prior, patches: Float[Array, "p d"], learner: Learner, unit: VaryingLayers, rate: optax.Schedule, batch: int
) -> Recipe:
    """Adam on the entries that M and theta fill, each on its own: the four heads' M and every coordinate's threshold.

    They move in the units in which LISTA-VM's are learned. The entries that the theorem fixes (identities, the mask
    constant, zeros) stay: they make pairs of ReLU heads cancel.
    """
    once, twice = (lista_vm(jax.tree.map(lambda leaf, k=k: k * leaf, unit), prior.camera.n).params for k in (1.0, 2.0))
    step = jax.tree.map(lambda a, b: jnp.abs(b - a), once, twice)
    within = optax.stateless(lambda updates, params: jax.tree.map(jnp.multiply, updates, step))
    return _recipe(training_task(prior, patches), learner, optax.chain(optax.adam(rate), within), batch)


def training_task(prior: Prior, patches: Float[Array, "p d"]) -> Task:
    """A training patch, measured."""
    return compressed_sensing(prior.camera, patches)


def _recipe(task: Task, learner: Learner, optimizer: optax.GradientTransformation, batch: int) -> Recipe:
    loss = losses.all_steps(losses.bounded(PENALTY_UNIT))
    return Recipe(learner.predict, lambda step: task, loss, guarded(optimizer), batch, devices=devices_for(batch))


def lasso(penalty: float, prompt: Prompt) -> Float[Array, "1 m"]:
    """The Lasso's answer, to a relative duality gap of 1e-6 or 4,000 steps."""
    return iterates_to_pixels(certified(prompt_problem(prompt, penalty), Fista(), None, 1e-6, 4000).solution[None], prompt)


def ista_12(penalty: float, prompt: Prompt) -> Float[Array, "steps m"]:
    """ISTA after 0..12 steps."""
    return iterates_to_pixels(unroll(ista(penalty), prompt, CLASSICAL_STEPS), prompt)


def fista_12(penalty: float, prompt: Prompt) -> Float[Array, "steps m"]:
    """FISTA after 0..12 steps."""
    return iterates_to_pixels(unroll(fista(penalty), prompt, CLASSICAL_STEPS), prompt)


# methods with one penalty, which is tuned on training pictures
PENALISED: dict[str, Method] = {"ISTA": ista_12, "FISTA": fista_12, "Lasso": lasso}


def linear_limit(covariance: Float[Array, "d d"], prompt: Prompt) -> Float[Array, "1 m"]:
    """LMMSE, with the training covariance; the patches are measured without noise."""
    return iterates_to_pixels(lmmse(prompt, covariance, 0.0)[None], prompt)


def mean_patch(params: None, prompt: Prompt) -> Float[Array, "1 m"]:
    """No measurement is read: the training mean."""
    return jnp.zeros((1, queries(prompt).shape[0]), prompt.y.dtype)


def unrolled_lista_vm(layers: VaryingLayers, prompt: Prompt) -> Float[Array, "steps m"]:
    """LISTA-VM with these layers after 0..T steps."""
    return iterates_to_pixels(unroll(varying.lista_vm(layers), prompt, layers.matrix.shape[0]), prompt)


def unrolled_lista_cp(layers: CouplingLayers, prompt: Prompt) -> Float[Array, "steps m"]:
    """LISTA-CP with these layers after 0..T steps, on the prompt's own matrix."""
    return iterates_to_pixels(unroll(lista_cp(layers), prompt, layers.weight.shape[0]), prompt)


def iterates_to_pixels(iterates: Float[Array, "steps d"], prompt: Prompt) -> Float[Array, "steps m"]:
    """Coefficients to pixels: the queries are the rows of the synthesis basis."""
    return iterates @ queries(prompt).T
