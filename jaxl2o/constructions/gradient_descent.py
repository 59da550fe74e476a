"""One linear-attention layer is one step of gradient descent."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.constructions.construction import Construction, Head, LayerSpec, every_layer, fill, linear_answer
from jaxl2o.models.config import Memory, default_float
from jaxl2o.models.encoding import stacked
from jaxl2o.solvers import first_order
from jaxl2o.types import Key, Prompt, ScalarLike, Solver

REFERENCE = "Ahn et al. 2023, Lemma 1 (arXiv:2306.00297); von Oswald et al. 2023, Proposition 1 (arXiv:2212.07677)"


def gradient_descent(d: int, depth: int, step_size: ScalarLike) -> Construction:
    """One linear-attention layer is one step of gradient descent on the in-context least squares.

    Ahn et al. 2023, Lemma 1 (arXiv:2306.00297); von Oswald et al. 2023, Proposition 1 (arXiv:2212.07677).
    The label slot of every token carries the residual y_i - <w_t, x_i>; for a query that is -<w_t, x>.

    paper    code                shape
    A        step_size * I       (d, d)
    Q        score, -A on x__x   (D, D), D = d + 1
    P        write, 1 on y__y    (D, D)
    """
    return descent(REFERENCE, first_order.gradient_descent(step_size), in_every_layer(step_size * jnp.eye(d), depth))


def preconditioned_gradient_descent(depth: int, preconditioner: Float[Array, "d d"]) -> Construction:
    """The same with A any matrix: one layer is one step of preconditioned gradient descent, w - A grad R(w).

    Ahn et al. 2023, Lemma 1 (arXiv:2306.00297), with A transposed: score_ij = -<A' x_i, x_j> = -<x_i, A x_j>.
    """
    solver = first_order.preconditioned_gradient_descent(preconditioner)
    return descent(REFERENCE, solver, in_every_layer(preconditioner, depth))


def descent(
    reference: str,
    solver: Solver,
    preconditioners: Float[Array, "T H d d"],
    memory: Memory = "none",
    **leaves: Float[Array, "T ..."],
) -> Construction:
    """Layers whose heads write <x_i, P grad R> into the label slots, one head for every P, and the parameters of their memory.

    That is where the residual y_i - <x_i, w> stands, so that what they write moves w by -P grad R.
    """
    depth, _, d, _ = preconditioners.shape
    encoding = stacked(d)
    at = encoding.layout
    heads = [[Head(score=at.matrix(x__x=-own), write=at.matrix(y__y=1.0)) for own in layer] for layer in preconditioners]
    config, params = fill(at.width, "linear", [LayerSpec(tuple(layer)) for layer in heads])
    if leaves:
        params["layers"]["memory"] = {name: leaf.astype(default_float()) for name, leaf in leaves.items()}
    config = replace(config, memory=memory)
    return Construction(reference, config, encoding, params, solver, every_layer(depth), linear_answer, gaussian_prompt(d))


def in_every_layer(preconditioner: Float[Array, "d d"], depth: int) -> Float[Array, "T 1 d d"]:
    """One head with the same preconditioner in all layers."""
    return jnp.broadcast_to(preconditioner, (depth, 1, *preconditioner.shape))


def gaussian_prompt(d: int, n: int = 20, m: int = 3) -> Callable[[Key], Prompt]:
    """Prompts of the domain: any x and y; here n examples and m queries, all from N(0, 1)."""

    def sample(key: Key) -> Prompt:
        key_x, key_y, key_query = jax.random.split(key, 3)
        return Prompt.of(jax.random.normal(key_x, (n, d)), jax.random.normal(key_y, (n,)), jax.random.normal(key_query, (m, d)))

    return sample
