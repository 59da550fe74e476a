"""Theorems as methods: for the d of a prompt each fills a Transformer, whose parameters no prompt changes."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.constructions.construction import Construction, repeated
from jaxl2o.constructions.first_order import (
    conjugate_gradient,
    gradient_descent_plus_plus,
    gradient_descent_with_momentum,
    nesterov,
)
from jaxl2o.constructions.gradient_descent import gradient_descent
from jaxl2o.constructions.in_context import in_context_alista
from jaxl2o.constructions.newton import newton_least_squares
from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.methods.method import LEAST, RIDGE, SHARE, Method, in_unit_steps
from jaxl2o.models.learner import transformer_learner
from jaxl2o.pretrained import load_card, load_pretrained
from jaxl2o.pretrained.model import in_units_of_law
from jaxl2o.solvers.momentum import chebyshev_steps
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.types import Prompt, design_matrix

# trained with inverses of a ridge of 0.01 mean eigenvalues, which is about where 20 steps of Newton and Schulz end
SCALARS = "in-context-alista-any-n-d20"

# (predict, prompt without queries) -> the coefficients after 0..T layers
Ask = Callable[[Callable[[Prompt], Array], Prompt], Float[Array, "steps d"]]


class Most(NamedTuple):
    """The most coefficients and measurements; beyond, a Transformer of a token an example is no way to solve a problem."""

    d: int = 100
    n: int = 1000


class Theorem(NamedTuple):
    """construction: d -> the Transformer and the solver that it equals.  says: one line.  ask: how coefficients are read.

    units: how a prompt is scaled for the theorem's constants.  most: what it takes in seconds, not in minutes.
    """

    construction: Callable[[int], Construction]
    says: str
    ask: Ask
    units: Callable[[Method], Method] = in_unit_steps
    most: Most = Most()


def together(predict: Callable[[Prompt], Array], prompt: Prompt) -> Float[Array, "steps d"]:
    """The labels of the unit vectors, which are the coefficients, asked in one prompt."""
    return predict(prompt._replace(x_query=jnp.eye(design_matrix(prompt).shape[1])))


def apart(predict: Callable[[Prompt], Array], prompt: Prompt) -> Float[Array, "steps d"]:
    """The same, each in a prompt of its own, for tokens that have room for one query.

    One after another: the streams of all layers, d times, would take gigabytes.
    """
    units = jnp.eye(design_matrix(prompt).shape[1])
    return jax.lax.map(lambda unit: predict(prompt._replace(x_query=unit[None]))[:, 0], units).T


def by_theorem(theorem: Theorem) -> Method:
    """What the Transformer that the theorem fills answers after its last layer, in the units of the prompt."""

    def answer(prompt: Prompt) -> Float[Array, " d"]:
        with jax.ensure_compile_time_eval():  # it depends on no prompt, and is no part of the program
            filled = theorem.construction(design_matrix(prompt).shape[1])
        learner = transformer_learner(filled.config, filled.encoding)
        _, layer = filled.at[-1]
        return theorem.ask(lambda asked: learner.predict(filled.params, asked), prompt)[layer]

    return theorem.units(answer)


def outside(name: str, most: Most, n: int, d: int) -> str | None:
    """One sentence that says why a problem is too large for the Transformer of a theorem; None if it is not."""
    if d <= most.d and n <= most.n:
        return None
    return f"{name} is for at most {most.d} coefficients from at most {most.n} measurements, but x has shape ({n}, {d})"


def nesterovs_momenta(depth: int) -> Float[Array, " T"]:
    """t / (t + 3) for t = 0..T-2, where no least eigenvalue is known, and a last zero, so that the answer is w_T."""
    t = jnp.arange(depth)
    return jnp.where(t < depth - 1, t / (t + 3.0), 0.0)


APART = Most(d=50, n=200)  # d prompts of width 4 d + 3: n d^3 a layer


def tripling(depth: int) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """Step sizes 1 / M_l and shrinkages 1 / (2 M_l), M_l = (8/27)^l, which bound the eigenvalues before layer l of GD++.

    It takes an eigenvalue z to z (1 - b z)^2, at most 4 / (27 b); small ones stay: the condition falls by 27/8 a layer.
    """
    bound = (8.0 / 27.0) ** jnp.arange(depth)
    return 1.0 / bound, 0.5 / bound


def in_units_of_card(answer: Method) -> Method:
    """The method, asked with labels of the mean square that those of the scalars' training had."""
    mean_square = load_card(SCALARS).label_mean_square
    return lambda prompt: in_units_of_law(lambda _, unit: answer(unit), mean_square)(None, prompt)


# In units where the largest eigenvalue of X'X / n is 1, and |X'y|_inf = n: see `in_unit_steps`.
THEOREMS: dict[str, Theorem] = {
    "gradient_descent": Theorem(
        lambda d: repeated(gradient_descent(d, 1, 1.0), 200), "one layer, 200 times over: a step of gradient descent", together
    ),
    "momentum": Theorem(
        lambda d: gradient_descent_with_momentum(chebyshev_steps(LEAST, 1.0, 60), jnp.eye(d)),
        "60 layers with a register: Chebyshev's semi-iteration, for conditions up to 100",
        together,
    ),
    "nesterov": Theorem(
        lambda d: nesterov(1.0, nesterovs_momenta(60), d), "60 layers that remember all gradients: Nesterov's method", together
    ),
    "gradient_descent_plus_plus": Theorem(
        lambda d: gradient_descent_plus_plus(*tripling(16), d), "16 layers whose inputs move too: GD++", together
    ),
    "conjugate_gradient": Theorem(
        lambda d: repeated(conjugate_gradient(jnp.eye(d), depth=1), 2 * d),
        "one layer with gates, 2 d times over: a step of conjugate gradients",
        together,
    ),
    "newton": Theorem(
        lambda d: newton_least_squares(d, 30, 1.0),
        "33 layers of products alone: least squares by 30 steps of Newton and Schulz",
        apart,
        most=APART,
    ),
    "ridge": Theorem(
        lambda d: newton_least_squares(d, 16, 1.0 / (1.0 + RIDGE) ** 2, RIDGE),
        f"19 layers of products alone: ridge of penalty {RIDGE:g}",
        apart,
        most=APART,
    ),
    # a decoder runs on every prefix too, where such a step diverges: in 40 layers by less than numbers can hold
    "lista_vm": Theorem(
        lambda d: lista_vm(VaryingLayers(jnp.broadcast_to(2.0 * jnp.eye(d), (40, d, d)), jnp.full(40, SHARE))),
        f"40 layers of ReLU heads: LISTA-VM whose matrices are ISTA's, towards the Lasso of penalty {SHARE:g}",
        together,
    ),
    "in_context_alista": Theorem(
        lambda d: in_context_alista(load_pretrained(SCALARS).params, d, 20),
        f"54 layers: 20 steps of Newton and Schulz, then in-context ALISTA with the scalars of {SCALARS}",
        together,
        in_units_of_card,
    ),
}
