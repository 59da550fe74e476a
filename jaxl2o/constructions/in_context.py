"""A Transformer of linear attention inverts the prompt's own matrix, and then runs ALISTA with it."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxl2o.constructions.construction import Construction, Head, LayerSpec, Mlp, fill, linear_answer
from jaxl2o.constructions.sparse_recovery import sparse_prompt
from jaxl2o.models.layout import Layout
from jaxl2o.models.tabulated import tabulated
from jaxl2o.solvers import in_context
from jaxl2o.solvers.in_context import InContextLayers
from jaxl2o.solvers.pseudo_inverse import newton_schulz

REFERENCE = "a proposition of this library"


def in_context_alista(layers: InContextLayers, d: int, newton_schulz_steps: int, n: int = 20) -> Construction:
    """J + 2 + 2T layers of linear attention are J steps of Newton-Schulz, and then T steps of in-context ALISTA.

    Proposition (this library's). Linear attention of J + 2 + 2T layers, 2 heads a layer, width 3d + 5 and 2 ReLU units, without
    softmax, norms or biases, serves every n and every prompt: after J + 2 + 2t layers its slot w holds the iterate w_t of
    `in_context_alista(layers, newton_schulz(J))`.

    Proof. There are max(n, d) tokens, as in `tabulated`; token i <= d sums over all tokens j. By a head of score <e_i, e_j> it
    reads itself: a linear map of its own slots, by which slots are emptied.

      layer     score                    writes                               so that the stream holds
      1         <e_i, x_j>               x_j into x and v, y_j into y         x: G = X'X, y: b = X'y, v: V = G
                <e_i, e_j>               -x_j into x, -y_j into y
      2 .. J+1  <e_i, e_j> - <v_i, x_j>  v_j into v                           v: V <- 2V - V G V
      J+2       <v_i - e_i, e_j>         x_j into x, y_j into y               x: P = V G = W X, y: q = V b = W y

    Now token i holds row i of W X and entry i of W y. A step takes two layers; in it z = w + m (w - previous):

      first     <x_i, e_j>               -z_j into r                          r: q - P z = W (y - X z)
                <e_i, e_j>               y_j - r_j into r, -size_j into size
                MLP                      relu(r) + relu(-r) into size         size: |r|
      second    <e_i, 1> <1, e_j> = 1    (rho size_j + t) / d into size       size: t + rho mean|r|
                <e_i, e_j>               z_j + (a - 1) r_j into r,            r: u = z + a r
                                         -size_j into size, and w moves       previous: w, w: 0
                MLP                      relu(u - size) - relu(-u - size)     w: S(u), for size >= 0

    P is formed after Newton-Schulz, not iterated itself: P <- 2P - P^2 would double its rounding errors in the null space of X
    at every step. The encoding bears the one division, of X and y by |X'X|_F^(1/2), since products alone cannot divide: then
    Newton-Schulz, which starts from G / |G|_F^2, starts from G.

    symbol          code                              shape
    a, m, t, rho    layers                            (T,) each; t, rho >= 0
    J               newton_schulz_steps               ()
    G, then P       slot x of the first d tokens      (d, d)
    b, then q       slot y of the first d tokens      (d,)
    V               slot v of the first d tokens      (d, d)
    D               3d + 5                            width of the stream

    `n` is only the length of sampled prompts: the parameters do not depend on it.

    Raises `ValueError` for thresholds or numbers of steps below zero, and for layers that do not fit each other.
    """
    solver = in_context.in_context_alista(layers, newton_schulz(newton_schulz_steps))
    encoding = tabulated(d)
    at = encoding.layout
    depth, before = layers.step_size.shape[0], newton_schulz_steps + 2
    steps = jax.vmap(partial(_step, at))(layers)
    halves = [jax.tree.map(lambda leaf, t=t: leaf[t], half) for t in range(depth) for half in steps]
    config, params = fill(at.width, "linear", [*_inverse(at, newton_schulz_steps), *halves])
    claimed = tuple((t, before + 2 * t) for t in range(depth + 1))
    return Construction(REFERENCE, config, encoding, params, solver, claimed, linear_answer, sparse_prompt(d, n))


def _inverse(at: Layout, n_steps: int) -> list[LayerSpec]:
    """[X, y] becomes [G, b], and then [V G, V b], with V after the steps of Newton-Schulz."""
    identity = jnp.eye(at.slice("x").stop)
    gram = Head(at.matrix(e__x=identity), at.matrix(x__x=identity, x__v=identity, y__y=1.0))
    empty = Head(at.matrix(e__e=identity), at.matrix(x__x=-identity, y__y=-1.0))
    newton = Head(at.matrix(e__e=identity, v__x=-identity), at.matrix(v__v=identity))
    product = Head(at.matrix(v__e=identity, e__e=-identity), at.matrix(x__x=identity, y__y=1.0))
    return [LayerSpec((gram, empty)), *[LayerSpec((newton,))] * n_steps, LayerSpec((product,))]


def _step(at: Layout, layer: InContextLayers) -> tuple[LayerSpec, LayerSpec]:
    """The two layers of one step of the solver."""
    d, momentum = at.slice("x").stop, layer.momentum
    identity, units = jnp.eye(d), Layout((("plus", 1), ("minus", 1)))
    itself, everyone = at.matrix(e__e=identity), at.matrix(e__e=jnp.ones((d, d)))
    residual = LayerSpec(
        heads=(
            Head(at.matrix(x__e=identity), at.matrix(w__r=-1.0 - momentum, previous__r=momentum)),
            Head(itself, at.matrix(y__r=1.0, r__r=-1.0, size__size=-1.0)),
        ),
        mlp=Mlp(up=at.to(units, r__plus=1.0, r__minus=-1.0), down=units.to(at, plus__size=1.0, minus__size=1.0)),
    )
    threshold = at.matrix(size__size=layer.residual_threshold / d, e__size=jnp.full((d, 1), layer.threshold / d))
    forward = at.matrix(
        w__r=1.0 + momentum,
        previous__r=-momentum,
        r__r=layer.step_size - 1.0,
        size__size=-1.0,
        w__w=-1.0,
        w__previous=1.0,
        previous__previous=-1.0,
    )
    shrinkage = LayerSpec(
        heads=(Head(everyone, threshold), Head(itself, forward)),
        mlp=Mlp(
            up=at.to(units, r__plus=1.0, size__plus=-1.0, r__minus=-1.0, size__minus=-1.0),
            down=units.to(at, plus__w=1.0, minus__w=-1.0),
        ),
    )
    return residual, shrinkage
