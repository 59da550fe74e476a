"""A layer with four ReLU heads and an MLP is one step of LISTA-VM, on every prefix of the prompt at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxl2o import checks
from jaxl2o.constructions.construction import (
    Construction,
    Head,
    LayerSpec,
    Mlp,
    every_layer,
    fill,
    linear_answer,
)
from jaxl2o.models.encoding import scratch, scratch_with_constant
from jaxl2o.models.layout import Layout
from jaxl2o.solvers import varying
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.types import Key, Prompt, ScalarLike, design_matrix, prefixes, queries

REFERENCE = "Liu et al. 2025, Theorem 4.1 (arXiv:2410.13981)"


def lista_vm(layers: VaryingLayers, n: int = 20, bound: ScalarLike = 1e6, head_dim: int = 0) -> Construction:
    """Layer t of a causal ReLU decoder is step t of LISTA-VM, for every prefix; quadratic read-out <x, w>.

    Liu et al. 2025, Theorem 4.1 (arXiv:2410.13981). Slots of a token: x, y, the iterate w, and s, which is 1 on tokens that
    ask and 0 on those that tell. relu(u) - relu(-u) = u, so each pair of heads is linear:

      heads 1, 2   score +-<w_i, x_j> - B s_i s_j   write -+M x_j into w      -M x_j <x_j, w>, over telling tokens j
      heads 3, 4   score +-s_i y_j                  write +-M x_j into w      +M x_j y_j

    The mask constant B silences asking keys, and is exact as long as |<w_t, x_j>| <= B for all of them (`largest_score`).
    The MLP is the soft threshold of slot w: S(w) = w - relu(w) + relu(w - theta s) + relu(-w) - relu(-w - theta s).

    paper        code               shape
    M^(k)        layers.matrix      (T, d, d)
    theta^(k)    layers.threshold   (T,), >= 0
    B            bound              ()
    D            2d + 2             width of the stream; the MLP has 4d units, no biases

    `n` is only the length of sampled prompts: the parameters do not depend on it.
    """
    encoding = scratch(layers.matrix.shape[-1])
    specs = _layer_specs(encoding.layout, layers, bound)
    config, params = fill(encoding.layout.width, "relu", specs, head_dim=head_dim)
    return Construction(
        REFERENCE,
        config,
        encoding,
        params,
        varying.lista_vm(layers),
        every_layer(len(specs)),
        linear_answer,
        sparse_prompt(encoding.layout.slice("x").stop, n),
    )


def lista_vm_known_support(
    layers: VaryingLayers, support: Bool[Array, " d"], n: int = 20, bound: ScalarLike = 1e6
) -> Construction:
    """LISTA-VM that never leaves a known support: rows of M outside it are zero. Liu et al. 2025, after Theorem 5.1."""
    return lista_vm(varying.known_support(layers, support), n, bound)


def lista_vm_linear_read_out(layers: VaryingLayers, n: int, bound: ScalarLike = 1e6) -> Construction:
    """LISTA-VM with a linear read-out: one attention layer more, which multiplies the iterate with the query.

    <x, w> is bilinear in the stream, so a linear read-out cannot form it; attention can. In the last layer four heads with
    scores +-<w_i, x_j> write +-s_j (summed over asking tokens) and -+(1 - s_j) (over telling tokens) into slot `out`: examples
    cancel, since each has one token of both kinds, and what is left is the query's own <x, w> / (2n + 1).

    The read-out multiplies by 2n + 1, so it is exact at the full length n alone; a prefix of k examples reads
    (2n + 1) / (2k + 1) <x, w>. Liu et al. 2025 state linear read-outs; this form of the weights is our own.
    """
    encoding = scratch_with_constant(layers.matrix.shape[-1])
    at = encoding.layout
    asking, telling = at.matrix(s__out=1.0), at.matrix(one__out=1.0, s__out=-1.0)
    toward, away = at.matrix(w__x=jnp.eye(at.slice("x").stop)), at.matrix(w__x=-jnp.eye(at.slice("x").stop))
    product = LayerSpec(
        heads=(
            Head(toward, asking),
            Head(away, -asking),
            Head(toward, -telling),
            Head(away, telling),
        )
    )
    specs = [*_layer_specs(at, layers, bound), product]
    config, params = fill(at.width, "relu", specs, read_out=at.vector(out=2.0 * n + 1.0))
    solver = varying.lista_vm(layers)
    steps = len(specs) - 1
    sample = sparse_prompt(at.slice("x").stop, n)

    def answer(w: Float[Array, " d"], prompt: Prompt) -> Float[Array, " m"]:
        return (2 * n + 1) / (2 * prompt.used.sum() + 1) * linear_answer(w, prompt)

    return Construction(REFERENCE, config, encoding, params, solver, ((steps, steps + 1),), answer, sample)


def _layer_specs(at: Layout, layers: VaryingLayers, bound: ScalarLike) -> list[LayerSpec]:
    checks.positive("bound", bound)
    d = at.slice("x").stop
    identity = jnp.eye(d)
    units = Layout((("plus", d), ("plus_shrunk", d), ("minus", d), ("minus_shrunk", d)))

    def layer(matrix: Float[Array, "d d"], threshold: Float[Array, ""]) -> LayerSpec:
        shift = jnp.full((1, d), -threshold)
        pairs = [
            (
                Head(at.matrix(w__x=sign * identity, s__s=-bound), at.matrix(x__w=-sign * matrix.T)),
                Head(at.matrix(s__y=sign), at.matrix(x__w=sign * matrix.T)),
            )
            for sign in (1.0, -1.0)
        ]
        soft_threshold = Mlp(
            up=at.to(
                units,
                w__plus=identity,
                w__plus_shrunk=identity,
                s__plus_shrunk=shift,
                w__minus=-identity,
                w__minus_shrunk=-identity,
                s__minus_shrunk=shift,
            ),
            down=units.to(at, plus__w=-identity, plus_shrunk__w=identity, minus__w=identity, minus_shrunk__w=-identity),
        )
        return LayerSpec(heads=(pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]), mlp=soft_threshold)

    stacked = jax.vmap(layer)(layers.matrix, layers.threshold)
    return [jax.tree.map(lambda leaf, t=t: leaf[t], stacked) for t in range(layers.matrix.shape[0])]


def largest_score(layers: VaryingLayers, prompt: Prompt) -> Float[Array, ""]:
    """max |<w_t, x_j>| over all steps, prefixes and tokens that ask: the mask constant must be at least this on the prompt."""
    depth = layers.matrix.shape[0]
    iterates = jax.vmap(lambda prefix: unroll(varying.lista_vm(layers), prefix, depth))(prefixes(prompt))
    asking = jnp.concatenate([design_matrix(prompt), queries(prompt)])
    return jnp.max(jnp.abs(iterates @ asking.T))


def sparse_prompt(d: int, n: int, noise: float = 0.0) -> Callable[[Key], Prompt]:
    """Prompts of the domain: Gaussian X (n, d), three non-zero coefficients (fewer if d is), one query."""
    task = sparse_recovery(exactly(d, min(3, d)), fresh(n, d), gaussian_noise(noise))
    return lambda key: task.sample(key).prompt
