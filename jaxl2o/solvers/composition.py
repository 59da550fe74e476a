"""What all learned ISTAs share: weights that move the iterate, a threshold that shrinks it, and a gain before both.

    w <- shrink_t(forward_t(w, w_prev))

A row of `lista` is a `forward` and its parameters; support selection and gates serve every row.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.solvers.proximal import soft_threshold
from jaxl2o.types import Prompt, PyTree, ScalarLike, Solver


class Iterates(NamedTuple):
    """w: the iterate; previous: the one before it, which rows with memory read. Both (d,)."""

    w: Float[Array, " d"]
    previous: Float[Array, " d"]


# (iterates, prompt, the layer's own parameters) -> what is shrunk, (d,)
Forward = Callable[[Iterates, Prompt, Any], Float[Array, " d"]]
# for every step, how many of the largest entries pass without being shrunk; (): none
Counts = tuple[int, ...]


class Layer(NamedTuple):
    """What the scan hands to a step: the row's own parameters, the threshold, and how many entries may pass unshrunk."""

    own: PyTree
    threshold: Float[Array, "*steps"]
    trusted: Array


def composed(forward: Forward, own: PyTree, threshold: Float[Array, " steps"], trusted: Counts = ()) -> Solver:
    """w <- shrink(forward(w, w_prev)): the step that all rows share.

    forward: (iterates, prompt, layer's own) -> (d,).  own: parameters with a leading step axis.  threshold: (T,), >= 0.
    trusted: for every step how many of the largest entries pass without being shrunk (`trusting_threshold`); (): none.

    Raises `ValueError` for negative thresholds and for numbers of steps that differ.
    """
    checks.nonnegative("threshold", threshold)
    depth = threshold.shape[0]
    checks.require(
        len(trusted) in (0, depth), f"trusted has {len(trusted)} counts for {depth} steps; give one a step, or none at all."
    )
    most = max(trusted, default=0)

    def step(state: Iterates, prompt: Prompt, layer: Layer) -> Iterates:
        u = forward(state, prompt, layer.own)
        return Iterates(trusting_threshold(u, layer.threshold, layer.trusted, most), state.w)

    layers = Layer(own, threshold, jnp.asarray(trusted or (0,) * depth))
    return Solver(start, step, lambda state: state.w, layers)


def start(prompt: Prompt) -> Iterates:
    """The caller's start, or zero, with nothing before it."""
    w = start_at_zero(prompt)
    return Iterates(w, w)


def trusting_threshold(u: Float[Array, " d"], threshold: ScalarLike, count: ScalarLike, most: int) -> Float[Array, " d"]:
    """Support selection: of the entries above the threshold, the `count` largest pass as they are; the rest are shrunk.

    Chen et al. 2018 (arXiv:1808.10038): entries that are surely in the support need not pay the threshold's
    bias. `most` >= count is static; which entries pass is not differentiated.
    """
    if most == 0:
        return soft_threshold(u, threshold)
    size = lax.stop_gradient(jnp.abs(u))
    largest, _ = lax.top_k(size, min(most, u.shape[0]))
    least = jnp.where(count > 0, largest[jnp.maximum(count, 1) - 1], jnp.inf)
    return jnp.where((size >= least) & (size > threshold), u, soft_threshold(u, threshold))


def growing(first: int, last: int, depth: int) -> Counts:
    """Numbers of trusted entries that grow linearly from `first` to `last` over the steps."""
    checks.require(0 <= first <= last, f"trusted entries grow from {first} to {last}; give 0 <= first <= last.")
    return tuple(int(count) for count in np.round(np.linspace(first, last, depth)))


def tied(parameter: Float[Array, "*shape"], depth: int) -> Float[Array, "steps *shape"]:
    """One parameter for all steps."""
    return jnp.broadcast_to(parameter, (depth, *parameter.shape))


class Gates(NamedTuple):
    """Scalars of `gated`, each (T,): how much is gained, how fast that fades with |w|, how far a step overshoots."""

    gain: Float[Array, " steps"]
    decay: Float[Array, " steps"]
    overshoot: Float[Array, " steps"]


class Gated(NamedTuple):
    """The layers of a gated solver: its gates, and its own."""

    gates: Gates
    inner: Layer


def gated(solver: Solver, gates: Gates) -> Solver:
    """The same row behind a gain and an overshoot, against the magnitude that thresholds take: AGLISTA is gated(alista).

    Wu et al. 2020 (ICLR, "Sparse coding with gated learned ISTA"), with the exponential gain:

        v = (1 + g_t exp(-c_t |w|)) w,  p = step(v),  w <- w + (1 + o_t theta_t / (|p - w| + 0.1)) (p - w)

    Theirs overshoots by the threshold of the step before, and only where support selection did not pass the entry unshrunk.
    """

    def step(state: Iterates, prompt: Prompt, layer: Gated) -> Iterates:
        gates = layer.gates
        gained = (1.0 + gates.gain * jnp.exp(-gates.decay * jnp.abs(state.w))) * state.w
        move = solver.step(state._replace(w=gained), prompt, layer.inner).w - state.w
        further = 1.0 + gates.overshoot * layer.inner.threshold / (jnp.abs(move) + 0.1)
        return Iterates(state.w + further * move, state.w)

    return solver._replace(step=step, layers=Gated(gates, solver.layers))
