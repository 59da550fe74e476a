"""Learned ISTA for any matrix: LISTA-VM, whose weights live in signal space and so serve every X and n; and Ada-LISTA."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxl2o import checks
from jaxl2o.solvers.composition import Iterates, composed
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.proximal import soft_threshold
from jaxl2o.types import Prompt, Solver, design_matrix


class VaryingLayers(NamedTuple):
    """LISTA-VM's parameters: matrices M (T, d, d) and thresholds theta (T,), one of each for every step."""

    matrix: Float[Array, "steps d d"]
    threshold: Float[Array, " steps"]


def lista_vm(layers: VaryingLayers) -> Solver:
    """LISTA for varying matrices: w <- S_{theta_t}(w - M_t X'(X w - y) / (2n + 1)).

    Liu et al. 2025 (arXiv:2410.13981), section 4: LISTA-CP whose weights D = X M' / (2n + 1) are built from the prompt's
    own X. The divisor is the position of the query among the 2n + 1 tokens of the Transformer that runs this solver.

    paper        code               shape
    beta         w, the state       (d,)
    M^(k)        layers.matrix      (T, d, d)
    theta^(k)    layers.threshold   (T,), >= 0

    Raises `ValueError` for shapes that do not fit each other, negative thresholds and non-finite matrices.
    """
    depth, d = layers.matrix.shape[0], layers.matrix.shape[-1]
    checks.shape("matrix", layers.matrix, (depth, d, d))
    checks.shape("threshold", layers.threshold, (depth,))
    checks.finite("matrix", layers.matrix)
    checks.nonnegative("threshold", layers.threshold)

    def step(w: Float[Array, " d"], prompt: Prompt, layer: VaryingLayers) -> Float[Array, " d"]:
        x = design_matrix(prompt)
        correlation = x.T @ (x @ w - prompt.y) / (2 * prompt.used.sum() + 1)
        return soft_threshold(w - layer.matrix @ correlation, layer.threshold)

    return Solver(start_at_zero, step, lambda w: w, layers)


def known_support(layers: VaryingLayers, support: Bool[Array, " d"]) -> VaryingLayers:
    """The layers that never leave a known support: rows of M outside it are zero, and those coordinates stay zero.

    Liu et al. 2025, after Theorem 5.1. support: (d,), True inside.
    """
    checks.shape("support", support, (layers.matrix.shape[-1],))
    return layers._replace(matrix=jnp.where(support[None, :, None], layers.matrix, 0.0))


class MomentumLayers(NamedTuple):
    """LISTA-VM's layers, and besides, (T,) each: a momentum, and how the threshold follows the size of the last move."""

    matrix: Float[Array, "steps d d"]
    threshold: Float[Array, " steps"]
    momentum: Float[Array, " steps"]
    following: Float[Array, " steps"]


class MomentumState(NamedTuple):
    """w: the iterate, velocity: where it tends, (d,) each; size: the mean |velocity| of the step before, ()."""

    w: Float[Array, " d"]
    velocity: Float[Array, " d"]
    size: Float[Array, ""]


def lista_vm_with_momentum(layers: MomentumLayers) -> Solver:
    """LISTA-VM that remembers where it went, by heavy ball, and how far, in its thresholds:

        u = v_k - M_k X'(X w_k - y) / (2n + 1),  w_{k+1} = S(w_k + u) with threshold theta_k + rho_k s_k,
        v_{k+1} = m_k (w_{k+1} - w_k),  s_{k+1} = mean|u|;  v_0 = 0, s_0 = 0

    m = rho = 0 is LISTA-VM (Liu et al. 2025, arXiv:2410.13981); heavy ball with a soft threshold is iPiano (Ochs et al. 2014,
    arXiv:1404.4805). It is what the idle slots of their Transformer have room for (`constructions.momentum`).

    symbol   code               shape
    w        state.w            (d,)
    v        state.velocity     (d,)
    s        state.size         ()
    M        layers.matrix      (T, d, d)
    theta    layers.threshold   (T,), >= 0
    m        layers.momentum    (T,)
    rho      layers.following   (T,), >= 0

    Raises `ValueError` for shapes that do not fit each other, negative thresholds and non-finite matrices.
    """
    depth, d = layers.matrix.shape[0], layers.matrix.shape[-1]
    checks.shape("matrix", layers.matrix, (depth, d, d))
    for name in ("threshold", "momentum", "following"):
        checks.shape(name, getattr(layers, name), (depth,))
    checks.finite("matrix", layers.matrix)
    checks.nonnegative("threshold", layers.threshold)
    checks.nonnegative("following", layers.following)

    def init(prompt: Prompt) -> MomentumState:
        w = start_at_zero(prompt)
        return MomentumState(w, jnp.zeros_like(w), jnp.zeros((), w.dtype))

    def step(state: MomentumState, prompt: Prompt, layer: MomentumLayers) -> MomentumState:
        x = design_matrix(prompt)
        correlation = x.T @ (x @ state.w - prompt.y) / (2 * prompt.used.sum() + 1)
        move = state.velocity - layer.matrix @ correlation
        w = soft_threshold(state.w + move, layer.threshold + layer.following * state.size)
        return MomentumState(w, layer.momentum * (w - state.w), jnp.mean(jnp.abs(move)))

    return Solver(init, step, lambda state: state.w, layers)


class AdaLayers(NamedTuple):
    """Ada-LISTA's parameters: W_1 and W_2 (n, n) for all steps, step sizes and thresholds (T,)."""

    label: Float[Array, "n n"]
    product: Float[Array, "n n"]
    step_size: Float[Array, " steps"]
    threshold: Float[Array, " steps"]


def ada_lista(layers: AdaLayers) -> Solver:
    """w <- S_{theta_t}(w + g_t X'(W_1' y - W_2' W_2 X w)): weights in measurement space, so any X of the trained n.

    Aberdam, Golts and Elad 2020 (arXiv:2001.08456). W_1 = W_2 = I is ISTA with step sizes g_t.

    paper          code                shape
    W_1, W_2       label, product      (n, n)
    gamma, theta   step_size, threshold   (T,)

    Raises `ValueError` for shapes that do not fit each other and for negative thresholds.
    """
    n = layers.label.shape[0]
    checks.shape("label", layers.label, (n, n))
    checks.shape("product", layers.product, (n, n))
    checks.nonnegative("threshold", layers.threshold)

    def forward(state: Iterates, prompt: Prompt, size: Float[Array, ""]) -> Float[Array, " d"]:
        x = design_matrix(prompt)
        error = layers.label.T @ prompt.y - layers.product.T @ (layers.product @ (x @ state.w))
        return state.w + size * (x.T @ error)

    return composed(forward, layers.step_size, layers.threshold)
