"""Experts are groups of heads, and a gate multiplies what each of them writes. Here are gates: functions of the prompt alone.

An encoding that is `gated` gives every head its gate; nothing else of the Transformer changes. Experts that were trained apart
stand beside each other after `constructions.construction.merge`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, Tokens
from jaxl2o.models.learner import transformer_learner
from jaxl2o.types import Key, Learner, Params, Prompt, ScalarLike, design_matrix, predict_prefixes

# prompt -> one number for every expert
Gate = Callable[[Prompt], Float[Array, " E"]]


def gated(encoding: Encoding, gate: Gate, heads: int = 1) -> Encoding:
    """The same encoding, in which every expert, of so many heads, has its gate.

    A gate sees the whole prompt, so prefixes are answered one by one.
    """

    def tokens(prompt: Prompt) -> Tokens:
        return encoding.tokens(prompt)._replace(gate=jnp.repeat(gate(prompt), heads))

    return encoding._replace(tokens=tokens, read_prefixes=None)


def fitted(values: Float[Array, " E"]) -> Gate:
    """One gate for all prompts: numbers that are fitted to a task, as `gates_learner` does. (Dutta and Sra 2024, v3.)"""
    return lambda prompt: values


def inverse_variance(trace: ScalarLike) -> Gate:
    """1 / sigma^2, which needs no labels: sigma^2 = 1/n sum_i |x_i|^2 / trace. One where there are no examples.

    An expert that is trained on x ~ N(0, Sigma) with tr Sigma = trace then serves every prompt with x and w times sigma: the
    labels are sigma^2 times as large, what a layer of linear attention adds grows by sigma^4, and the gate takes sigma^2 off.
    So predictions on (c x, c w) are c^2 times those on (x, w), exactly, for every memory but `conjugate`, which needs no gate.

    Raises `ValueError` unless the trace is positive.
    """
    checks.positive("trace", trace)

    def gate(prompt: Prompt) -> Float[Array, "1"]:
        size = jnp.sum(design_matrix(prompt) ** 2) / prompt.n_used
        return jnp.where(size > 0.0, trace / jnp.where(size > 0.0, size, 1.0), 1.0)[None]

    return gate


def routing(means: Float[Array, " E"], variances: Float[Array, " E"], weights: Float[Array, " E"]) -> Gate:
    """The probability of every component of a mixture, given the inputs of the prompt's examples; labels are not read.

        g_c = P(c | X),    entries of X from N(mean_c, variance_c) in component c, which has probability weight_c.

    Expert c is the one that was trained on component c. Without examples the gates are the weights.

    Raises `ValueError` for variances and weights that are not positive.
    """
    checks.positive("variances", variances)
    checks.positive("weights", weights)

    def gate(prompt: Prompt) -> Float[Array, " E"]:
        x = design_matrix(prompt)[:, :, None]
        logs = -0.5 * ((x - means[None, None]) ** 2 / variances[None, None] + jnp.log(variances)[None, None])
        return jax.nn.softmax(jnp.log(weights) + jnp.sum(jnp.where(prompt.used[:, None, None], logs, 0.0), axis=(0, 1)))

    return gate


def gates_learner(config: TransformerConfig, encoding: Encoding, params: Params, experts: int) -> Learner:
    """The Learner whose parameters are the gates alone, zero at first, of experts that stay as they are.

    params: the experts' own, side by side.  experts: how many; each has config.heads / experts heads.
    """
    checks.require(
        experts >= 1 and config.heads % experts == 0,
        f"there are {config.heads} heads for {experts} experts; each expert needs the same number of heads.",
    )

    def init(key: Key, prompt: Prompt) -> Params:
        return jnp.zeros(experts)

    def predict(gates: Params, prompt: Prompt) -> Float[Array, "steps m"]:
        own = gated(encoding, fitted(gates), config.heads // experts)
        return transformer_learner(config, own).predict(params, prompt)

    return Learner(init, predict, predict_prefixes(predict))
