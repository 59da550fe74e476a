"""ALISTA whose step sizes and thresholds are computed from the residual: by a small network, or by three numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.composition import Counts, Iterates, start, trusting_threshold
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Key, Prompt, Solver, design_matrix


class Lstm(NamedTuple):
    """NA-ALISTA's network: an LSTM cell of width h on two inputs, a hidden layer, and two outputs.

    gates: (2 + h + 1, 4h), input, forget, cell and output gates, the last row being biases.  hidden: (h + 1, h).
    output: (h + 1, 2).  first_hidden, first_cell: (h,), the learned state before the first step.
    """

    gates: Float[Array, "inputs gates"]
    hidden: Float[Array, "inputs h"]
    output: Float[Array, "inputs 2"]
    first_hidden: Float[Array, " h"]
    first_cell: Float[Array, " h"]


def lstm_init(key: Key, width: int = 128, step_size: float = 1.0, threshold: float = 0.1) -> Lstm:
    """Random weights of deviation 1 / sqrt(fan in), and output biases that begin at this step size and threshold."""
    checks.require(width >= 1, f"the LSTM's width is {width}; it must be at least 1.")
    keys = jax.random.split(key, 5)

    def dense(key: Key, inputs: int, outputs: int) -> Float[Array, "inputs outputs"]:
        return jax.random.normal(key, (inputs, outputs)).at[-1].set(0.0) / jnp.sqrt(float(inputs))

    begin = jnp.log(jnp.expm1(jnp.asarray([step_size, threshold])))  # softplus of it is what is wanted
    return Lstm(
        gates=dense(keys[0], width + 3, 4 * width),
        hidden=dense(keys[1], width + 1, width),
        output=dense(keys[2], width + 1, 2).at[-1].set(begin),
        first_hidden=0.1 * jax.random.normal(keys[3], (width,)),
        first_cell=0.1 * jax.random.normal(keys[4], (width,)),
    )


class Standard(NamedTuple):
    """Mean and deviation of the network's two inputs, |y - X w|_1 and |W (y - X w)|_1, by which they are standardised."""

    mean: Float[Array, "2"]
    deviation: Float[Array, "2"]


class LstmState(NamedTuple):
    """The iterate (d,), and the hidden and cell state (h,) of the network."""

    w: Float[Array, " d"]
    hidden: Float[Array, " h"]
    cell: Float[Array, " h"]


def na_alista(weight: Float[Array, "d n"], network: Lstm, trusted: Counts, standard: Standard) -> Solver:
    """NA-ALISTA: w <- S_{theta}(w + a W r), r = y - X w, with (a, theta) from an LSTM that reads |r|_1 and |W r|_1.

    Behrens, Sauder and Jung 2021 (arXiv:2010.13053). One network serves all steps, so it adapts to every signal.
    weight: ALISTA's, (d, n).  trusted: for every step how many entries pass without being shrunk.
    """
    most = max(trusted, default=0)

    def init(prompt: Prompt) -> LstmState:
        return LstmState(start_at_zero(prompt), network.first_hidden, network.first_cell)

    def step(state: LstmState, prompt: Prompt, count: Array) -> LstmState:
        residual = prompt.y - design_matrix(prompt) @ state.w
        direction = weight @ residual
        norms = jnp.stack([jnp.sum(jnp.abs(residual)), jnp.sum(jnp.abs(direction))])
        inputs = (norms - standard.mean) / standard.deviation
        hidden, cell = _lstm_cell(network.gates, inputs, state.hidden, state.cell)
        size, threshold = jax.nn.softplus(_dense(network.output, jax.nn.relu(_dense(network.hidden, cell))))
        return LstmState(trusting_threshold(state.w + size * direction, threshold, count, most), hidden, cell)

    return Solver(init, step, lambda state: state.w, jnp.asarray(trusted))


def standard_of(weight: Float[Array, "d n"], residuals: Float[Array, "k n"]) -> Standard:
    """Mean and deviation of the two norms over k residuals, for instance the labels of k prompts."""
    norms = jnp.stack([jnp.abs(residuals).sum(axis=1), jnp.abs(residuals @ weight.T).sum(axis=1)], axis=1)
    return Standard(norms.mean(axis=0), norms.std(axis=0))


def _dense(weights: Float[Array, "inputs outputs"], values: Float[Array, " values"]) -> Float[Array, " outputs"]:
    return values @ weights[:-1] + weights[-1]


def _lstm_cell(
    weights: Float[Array, "inputs gates"], inputs: Float[Array, "2"], hidden: Float[Array, " h"], cell: Float[Array, " h"]
) -> tuple[Float[Array, " h"], Float[Array, " h"]]:
    enter, keep, value, leave = jnp.split(_dense(weights, jnp.concatenate([inputs, hidden])), 4)
    cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(enter) * jnp.tanh(value)
    return jax.nn.sigmoid(leave) * jnp.tanh(cell), cell


class HyperLayers(NamedTuple):
    """HyperLISTA's three numbers c_1, c_2, c_3, given for every step: (T,) each; `tied` makes them the same."""

    threshold: Float[Array, " steps"]
    momentum: Float[Array, " steps"]
    support: Float[Array, " steps"]


def hyperlista(weight: Float[Array, "d n"], inverse: Float[Array, "d n"], layers: HyperLayers) -> Solver:
    """HyperLISTA: ALISTA with momentum, whose threshold, momentum and support selection follow from the iterate.

    Chen et al. 2021 (arXiv:2110.15900), the coherence taken into the constants:

        z = w + W r + c_2 |w|_0 (w - w_prev),  r = y - X w
        w <- S_theta(z),  theta = c_1 |X^+ r|_1,  the c_3 log(|X^+ y|_1 / |X^+ r|_1) d largest entries unshrunk

    weight: W, (d, n), of gain 1 on every column, such as `analytic_weights`.  inverse: X^+, (d, n).
    """
    checks.nonnegative("threshold", layers.threshold)

    def step(state: Iterates, prompt: Prompt, layer: HyperLayers) -> Iterates:
        residual = prompt.y - design_matrix(prompt) @ state.w
        d = state.w.shape[0]
        now, at_first = jnp.sum(jnp.abs(inverse @ residual)), jnp.sum(jnp.abs(inverse @ prompt.y))
        tiny = jnp.finfo(now.dtype).tiny
        share = jnp.clip(layer.support * jnp.log(jnp.maximum(at_first, tiny) / jnp.maximum(now, tiny)), 0.0, 1.0)
        momentum = layer.momentum * jnp.sum(state.w != 0.0) * (state.w - state.previous)
        z = state.w + weight @ residual + momentum
        return Iterates(trusting_threshold(z, layer.threshold * now, jnp.floor(share * d).astype(int), d), state.w)

    return Solver(start, step, lambda state: state.w, layers)
