"""Stage-wise training of unrolled solvers: a layer at a time, then all layers so far, ever more gently.

For t = 1..T: layer t alone, then the layers up to t at a smaller rate, then again at a smaller one, each scored at layer t.
Whatever layer t has learned moves less afterwards. Chen et al. 2018 (arXiv:1808.10038), supplement.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxl2o import checks
from jaxl2o.training.losses import Loss
from jaxl2o.types import Instance, PyTree


class Stages(NamedTuple):
    """depth: T.  lengths: optimiser steps of a layer's phases: it alone, all so far, all so far again.

    rates: what the learning rate is multiplied by in each phase.  ageing: by what a layer's rate is multiplied for every
    layer that was trained after it.
    """

    depth: int
    lengths: tuple[int, int, int]
    rates: tuple[float, float, float] = (1.0, 0.2, 0.02)
    ageing: float = 0.3

    @property
    def n_steps(self) -> int:
        """The optimiser steps of the whole training."""
        return self.depth * sum(self.lengths)

    def at(self, step: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """The layer that is being trained, 0..T-1, and its phase, 0..2. Steps beyond the last stay in the last phase."""
        layer = jnp.minimum(step // sum(self.lengths), self.depth - 1)
        within = step - layer * sum(self.lengths)
        ends = jnp.cumsum(jnp.asarray(self.lengths[:2]))
        return layer, jnp.sum(within >= ends)

    def multipliers(self, step: Int[Array, ""]) -> Float[Array, " steps"]:
        """(T,): what the rate of each layer is multiplied by at an optimiser step."""
        layer, phase = self.at(step)
        number = jnp.arange(self.depth)
        aged = jnp.where(number <= layer, self.ageing ** jnp.maximum(layer - number, 0).astype(float), 0.0)
        return jnp.asarray(self.rates)[phase] * jnp.where(phase == 0, (number == layer).astype(float), aged)


def by_layer(stages: Stages, layered: PyTree[bool] | None = None) -> optax.GradientTransformation:
    """An optax transformation: the t-th slice of every leaf is moved by the t-th multiplier. Put it last in a chain.

    It scales updates, not gradients, whose scale Adam would undo.
    layered: for every leaf whether it has a leading axis of T layers; one that has none is shared by all of them, and moves at
    the phase's own rate. None: all leaves have it.

    Raises `ValueError` for a leaf that is to have T layers and has another number.
    """

    def scale(multipliers: Float[Array, " steps"], update: Array, has_layers: bool) -> Array:
        if has_layers:
            return update * multipliers.reshape(-1, *(1,) * (update.ndim - 1)).astype(update.dtype)
        return update * jnp.max(multipliers).astype(update.dtype)

    def marks(params: optax.Params) -> PyTree[bool]:
        return jax.tree.map(lambda leaf: True, params) if layered is None else layered

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        for leaf, has_layers in zip(jax.tree.leaves(params), jax.tree.leaves(marks(params)), strict=True):
            if has_layers:
                checks.shape("a leaf of the layers", leaf, (stages.depth, *(None,) * (jnp.ndim(leaf) - 1)))
        return optax.ScaleByScheduleState(count=jnp.zeros((), dtype=int))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        assert isinstance(state, optax.ScaleByScheduleState)
        multipliers = stages.multipliers(jnp.asarray(state.count))
        scaled = jax.tree.map(lambda leaf, mark: scale(multipliers, leaf, mark), updates, marks(updates))
        return scaled, optax.ScaleByScheduleState(count=jnp.asarray(state.count) + 1)

    return optax.GradientTransformation(init, update)


def at_stage(stages: Stages, loss: Loss) -> Loss:
    """A loss, such as `last_step()` or `log_relative()`, of the start and the layer that is being trained alone."""

    def staged(trajectory: Float[Array, "steps m"], instance: Instance, step: Array) -> Float[Array, ""]:
        layer, _ = stages.at(step)
        return loss(jnp.stack([trajectory[0], trajectory[layer + 1]]), instance, step)

    return staged
