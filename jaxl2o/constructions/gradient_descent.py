"""One linear-attention layer is one step of gradient descent."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.constructions.construction import Construction, Head, LayerSpec, every_layer, fill, linear_answer
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
    return _linear(d, depth, step_size * jnp.eye(d), first_order.gradient_descent(step_size))


def preconditioned_gradient_descent(depth: int, preconditioner: Float[Array, "d d"]) -> Construction:
    """The same with A any matrix: one layer is one step of preconditioned gradient descent, w - A grad R(w).

    Ahn et al. 2023, Lemma 1 (arXiv:2306.00297), with A transposed: score_ij = -<A' x_i, x_j> = -<x_i, A x_j>.
    """
    solver = first_order.preconditioned_gradient_descent(preconditioner)
    return _linear(preconditioner.shape[0], depth, preconditioner, solver)


def _linear(d: int, depth: int, preconditioner: Float[Array, "d d"], solver: Solver) -> Construction:
    encoding = stacked(d)
    at = encoding.layout
    layer = LayerSpec(heads=(Head(score=at.matrix(x__x=-preconditioner), write=at.matrix(y__y=1.0)),))
    config, params = fill(at.width, "linear", [layer] * depth)
    return Construction(REFERENCE, config, encoding, params, solver, every_layer(depth), linear_answer, gaussian_prompt(d))


def gaussian_prompt(d: int, n: int = 20, m: int = 3) -> Callable[[Key], Prompt]:
    """Prompts of the domain: any x and y; here n examples and m queries, all from N(0, 1)."""

    def sample(key: Key) -> Prompt:
        key_x, key_y, key_query = jax.random.split(key, 3)
        return Prompt.of(jax.random.normal(key_x, (n, d)), jax.random.normal(key_y, (n,)), jax.random.normal(key_query, (m, d)))

    return sample
