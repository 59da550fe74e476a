"""Learned ISTA for one fixed matrix: every variant is a row of one composition, its weights its own.

The weights live in measurement space, so they belong to one matrix X and to its n: on another matrix they mean nothing. All
prompts of that matrix may share it (`wrappers.with_matrix`). Names: T steps, d coefficients, n measurements.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.composition import Counts, Iterates, composed, tied
from jaxl2o.types import Prompt, ScalarLike, Solver, design_matrix


class StepLayers(NamedTuple):
    """Scalars alone: step sizes (T,), thresholds (T,)."""

    step_size: Float[Array, " steps"]
    threshold: Float[Array, " steps"]


def step_lista(step_size: Float[Array, " steps"], penalty: ScalarLike) -> Solver:
    """w <- S_{s_t penalty}(w + s_t X'(y - X w) / n): ISTA whose step sizes are learned (Ablin et al. 2019, arXiv:1905.11071).

    It serves every matrix whose largest eigenvalue is that of training. step_size: (T,), >= 0; penalty as for `ista`.
    """
    checks.nonnegative("penalty", penalty)

    def forward(state: Iterates, prompt: Prompt, size: Float[Array, ""]) -> Float[Array, " d"]:
        x = design_matrix(prompt)
        return state.w + size * (x.T @ (prompt.y - x @ state.w)) / prompt.n_used

    return composed(forward, step_size, step_size * penalty)


class FreeLayers(NamedTuple):
    """LISTA's parameters: one B (d, n) for all steps, S (T, d, d), thresholds (T,). `tied` makes S one matrix."""

    measurement: Float[Array, "d n"]
    recurrent: Float[Array, "steps d d"]
    threshold: Float[Array, " steps"]


def lista(layers: FreeLayers, trusted: Counts = ()) -> Solver:
    """w <- S_{theta_t}(S_t w + B y): the first unrolled network (Gregor and LeCun 2010); with `trusted`, LISTA-SS.

    paper      code                 shape
    W_e        layers.measurement   (d, n)
    S          layers.recurrent     (T, d, d)
    theta      layers.threshold     (T,), >= 0
    """
    depth, d = layers.recurrent.shape[:2]
    checks.shape("recurrent", layers.recurrent, (depth, d, d))
    checks.shape("measurement", layers.measurement, (d, None))
    checks.shape("threshold", layers.threshold, (depth,))

    def forward(state: Iterates, prompt: Prompt, recurrent: Float[Array, "d d"]) -> Float[Array, " d"]:
        return recurrent @ state.w + layers.measurement @ prompt.y

    return composed(forward, layers.recurrent, layers.threshold, trusted)


class CouplingLayers(NamedTuple):
    """LISTA-CP's parameters: weights (T, d, n) and thresholds (T,), one of each for every step."""

    weight: Float[Array, "steps d n"]
    threshold: Float[Array, " steps"]


def lista_cp(layers: CouplingLayers, trusted: Counts = ()) -> Solver:
    """LISTA with coupled weights: w <- S_{theta_t}(w + W_t (y - X w)); with `trusted`, LISTA-CPSS.

    Chen et al. 2018 (arXiv:1808.10038), eq. 15. State: w and the iterate before; iterate: w, shape (d,).

    Raises `ValueError` for shapes that do not fit each other and for negative thresholds.
    """
    checks.shape("weight", layers.weight, (None, None, None))
    checks.shape("threshold", layers.threshold, layers.weight.shape[:1])
    checks.finite("weight", layers.weight)

    def forward(state: Iterates, prompt: Prompt, weight: Float[Array, "d n"]) -> Float[Array, " d"]:
        return state.w + weight @ (prompt.y - design_matrix(prompt) @ state.w)

    return composed(forward, layers.weight, layers.threshold, trusted)


def alista(weight: Float[Array, "d n"], layers: StepLayers, trusted: Counts = ()) -> Solver:
    """w <- S_{theta_t}(w + a_t W (y - X w)), with one W for all steps.

    ALISTA (Liu et al. 2019, ICLR) if W are the matrix's `analytic_weights`, so that 2T scalars are learned alone;
    TiLISTA if W is learned too.
    """
    checks.shape("step_size", layers.step_size, layers.threshold.shape)

    def forward(state: Iterates, prompt: Prompt, size: Float[Array, ""]) -> Float[Array, " d"]:
        return state.w + size * (weight @ (prompt.y - design_matrix(prompt) @ state.w))

    return composed(forward, layers.step_size, layers.threshold, trusted)


class MomentumLayers(NamedTuple):
    """LFISTA's parameters: W_e (T, d, n), W_g and W_m (T, d, d), thresholds (T,)."""

    measurement: Float[Array, "steps d n"]
    recurrent: Float[Array, "steps d d"]
    momentum: Float[Array, "steps d d"]
    threshold: Float[Array, " steps"]


def lfista(layers: MomentumLayers) -> Solver:
    """w <- S_{theta_t}(W_e y + W_g w + W_m w_prev): FISTA unrolled, and all of it learned.

    Moreau and Bruna 2017 (arXiv:1609.00285). Raises `ValueError` for negative thresholds.
    """

    def forward(state: Iterates, prompt: Prompt, own: MomentumLayers) -> Float[Array, " d"]:
        return own.measurement @ prompt.y + own.recurrent @ state.w + own.momentum @ state.previous

    return composed(forward, layers, layers.threshold)


def ista_as_lista(matrix: Float[Array, "n d"], depth: int, penalty: ScalarLike) -> FreeLayers:
    """The layers with which LISTA *is* ISTA on this matrix: B = X' / |X|^2, S = I - B X."""
    coupled = ista_as_lista_cp(matrix, depth, penalty)
    measurement = coupled.weight[0]
    return FreeLayers(measurement, tied(jnp.eye(matrix.shape[1]) - measurement @ matrix, depth), coupled.threshold)


def ista_as_lista_cp(matrix: Float[Array, "n d"], depth: int, penalty: ScalarLike) -> CouplingLayers:
    """The layers with which LISTA-CP *is* ISTA on this matrix, penalty in the scaling of `ista`."""
    lipschitz = jnp.linalg.norm(matrix, ord=2) ** 2
    return CouplingLayers(tied(matrix.T / lipschitz, depth), jnp.full((depth,), penalty * matrix.shape[0] / lipschitz))


def fista_as_lfista(matrix: Float[Array, "n d"], depth: int, penalty: ScalarLike) -> MomentumLayers:
    """The layers with which LFISTA *is* FISTA on this matrix: extrapolation is linear in the last two iterates."""
    base = ista_as_lista(matrix, depth, penalty)
    t = [1.0]
    for _ in range(depth):
        t.append(0.5 * (1.0 + (1.0 + 4.0 * t[-1] ** 2) ** 0.5))
    # step k extrapolates by (t_{k-1} - 1) / t_k; the first has nothing to extrapolate from
    ahead = jnp.asarray([0.0, *((t[k - 1] - 1.0) / t[k] for k in range(1, depth))])[:, None, None]
    return MomentumLayers(
        tied(base.measurement, depth), (1.0 + ahead) * base.recurrent, -ahead * base.recurrent, base.threshold
    )
