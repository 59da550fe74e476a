"""ALISTA for any matrix: the weights come from the prompt's own X in closed form, and a few scalars are learned."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxl2o import checks
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.proximal import soft_threshold
from jaxl2o.solvers.pseudo_inverse import Weights, analytic_weights
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


class InContextLayers(NamedTuple):
    """In-context ALISTA's parameters, (T,) each: a step size, a momentum, a threshold, and how the threshold follows |r|."""

    step_size: Float[Array, " steps"]
    momentum: Float[Array, " steps"]
    threshold: Float[Array, " steps"]
    residual_threshold: Float[Array, " steps"]


class InContextState(NamedTuple):
    """w: the iterate, previous: the one before it, (d,) each; weights: W of this prompt, (d, n), computed once."""

    w: Float[Array, " d"]
    previous: Float[Array, " d"]
    weights: Float[Array, "d n"]


def in_context_alista(
    layers: InContextLayers, weights: Weights = analytic_weights, free: Bool[Array, " d"] | None = None
) -> Solver:
    """ALISTA whose weights are built for each X, so that 4T scalars, whatever n and d, are all that is learned:

        z = w_k + m_k (w_k - w_{k-1}),  r = W (y - X z),  w_{k+1} = S(z + a_k r) with threshold t_k + rho_k mean|r|

    ALISTA is Liu and Chen et al. 2019 (ICLR); the momentum and the part of the threshold that follows the residual are after
    HyperLISTA (Chen et al. 2021, arXiv:2110.15900), which measures it by |X^+ (X z - y)|_1; weights from every X are our own.
    With W = X^+ or D^-1 X^+ and n <= d, nothing changes when X and y are multiplied by an invertible matrix: iterates depend on
    the row space of X and on what solves X w = y, not on how the measurements are combined.

    weights: `analytic_weights`, D^-1 X^+; `pseudo_inverse`, without D; `newton_schulz(J)`, by products alone, as a Transformer
    does it; `ridge_inverse(s^2)`, for noise.
    free: (d,), coordinates that are in the support, so that they are not shrunk; None: none is known to be.

    symbol   code                        shape
    a        layers.step_size            (T,)
    m        layers.momentum             (T,)
    t        layers.threshold            (T,), >= 0
    rho      layers.residual_threshold   (T,), >= 0
    W        state.weights               (d, n)

    Raises `ValueError` for thresholds below zero and for numbers of steps that differ.
    """
    for name, values in layers._asdict().items():
        checks.shape(name, values, (layers.step_size.shape[0],))
    checks.nonnegative("threshold", layers.threshold)
    checks.nonnegative("residual_threshold", layers.residual_threshold)

    def init(prompt: Prompt) -> InContextState:
        w = start_at_zero(prompt)
        return InContextState(w, w, weights(prompt))

    def step(state: InContextState, prompt: Prompt, layer: InContextLayers) -> InContextState:
        point = state.w + layer.momentum * (state.w - state.previous)
        residual = state.weights @ (prompt.y - design_matrix(prompt) @ point)
        threshold = layer.threshold + layer.residual_threshold * jnp.mean(jnp.abs(residual))
        moved = point + layer.step_size * residual
        shrunk = soft_threshold(moved, threshold)
        return state._replace(w=shrunk if free is None else jnp.where(free, moved, shrunk), previous=state.w)

    return Solver(init, step, lambda state: state.w, layers)


def in_context_start(depth: int, first: ScalarLike = 2.0, last: ScalarLike = 1.0) -> InContextLayers:
    """The layers before any training: full steps, no momentum, and thresholds from `first` to `last` times mean|r|.

    Full steps are for weights of gain 1, such as `analytic_weights`. The defaults were tried on sparse signals and Gaussian X
    of half as many rows as columns, without noise: in 16 steps the mean error falls by 10 dB at d = 20, by 25 dB at d = 500.
    """
    ones, zeros = jnp.ones(depth), jnp.zeros(depth)
    return InContextLayers(ones, zeros, zeros, jnp.linspace(first, last, depth))


def from_logarithms(layers: InContextLayers) -> InContextLayers:
    """The layers whose two thresholds are the exponentials of these: what is trained is free, and they stay positive."""
    return layers._replace(threshold=jnp.exp(layers.threshold), residual_threshold=jnp.exp(layers.residual_threshold))


def to_logarithms(layers: InContextLayers, least: float = -5.0) -> InContextLayers:
    """What `from_logarithms` makes these layers of, and where a training may begin; no logarithm is below `least`."""

    def log(values: Float[Array, " steps"]) -> Float[Array, " steps"]:
        return jnp.maximum(jnp.log(values), least)

    return layers._replace(threshold=log(layers.threshold), residual_threshold=log(layers.residual_threshold))
