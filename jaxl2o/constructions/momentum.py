"""The idle slots of the Transformer that runs LISTA-VM are a memory: the same shape runs LISTA-VM with momentum."""

import jax
import jax.numpy as jnp

from jaxl2o import checks
from jaxl2o.constructions.construction import Construction, Head, LayerSpec, Mlp, every_layer, fill, linear_answer
from jaxl2o.constructions.sparse_recovery import sparse_prompt
from jaxl2o.models.encoding import scratch_with_memory
from jaxl2o.models.layout import Layout
from jaxl2o.solvers import varying
from jaxl2o.solvers.varying import MomentumLayers
from jaxl2o.types import ScalarLike

REFERENCE = "a proposition of this library"


def lista_vm_with_momentum(
    layers: MomentumLayers, n: int = 20, bound: ScalarLike = 1e6, gate: ScalarLike = 64.0
) -> Construction:
    """Layer t of a causal ReLU decoder is step t of LISTA-VM with momentum, for every prefix; quadratic read-out <x, w>.

    Proposition (this library's). Four ReLU heads of width 2d + 2 and an MLP of 6d + 1 units a layer suffice, as for LISTA-VM
    (Liu et al. 2025, Theorem 4.1), within the sizes of their Small TF. A token that tells holds [x, y, 0, 0]. One that asks
    need not hold its own x, for the read-out brings it; so it holds [v, s, w, 1]: the velocity in slot x and its size in y.

    Proof. The heads add -M X'(X w - y) / (2n + 1) to the slot x of tokens that ask; in other tokens w = 0, s = 0 and all scores
    vanish:

      heads 1, 2   score +-<w_i, x_j> - B s_i s_j   write -+M x_j into x      -M x_j <x_j, w>, over telling tokens j
      heads 3, 4   score +-s_i y_j - B s_i s_j      write +-M x_j into x      +M x_j y_j

    Now slot x holds u. The MLP writes w_{k+1} - w, v_{k+1} - u and s_{k+1} - s_k by the units

      plus, minus     relu(+-(w + u) - theta - rho s_k)     S(w + u) = plus - minus
      up, down        relu(+-w)                             w = up - down
      ahead, back     relu(+-u)                             u = ahead - back and |u| = ahead + back
      size            relu(s_k)

    All but up and down are silent in tokens that tell, by a bias of -C and a weight of +C on slot s.

    Exact as long as B is at least every |<w, v>| of two tokens that ask and every s_k, and C every |x_ij| + rho |y_j|. C is
    added and taken away again in the same unit, which costs its rounding: it should not be larger than it need be.

    symbol      code               shape
    M           layers.matrix      (T, d, d)
    theta       layers.threshold   (T,), >= 0
    m           layers.momentum    (T,)
    rho         layers.following   (T,), >= 0
    B           bound              ()
    C           gate               ()
    D           2d + 2             width of the stream; the MLP has 6d + 1 units

    `n` is only the length of sampled prompts: the parameters do not depend on it.

    Raises `ValueError` for constants that are not positive, and for layers that do not fit each other.
    """
    checks.positive("bound", bound)
    checks.positive("gate", gate)
    solver = varying.lista_vm_with_momentum(layers)
    encoding = scratch_with_memory(layers.matrix.shape[-1])
    at = encoding.layout
    depth, d = layers.matrix.shape[:2]
    identity, row = jnp.eye(d), jnp.ones((1, d))
    units = Layout((("plus", d), ("minus", d), ("ahead", d), ("back", d), ("size", 1), ("up", d), ("down", d)))
    silent = units.vector(plus=-gate, minus=-gate, ahead=-gate, back=-gate, size=-gate)

    def spec(layer: MomentumLayers) -> LayerSpec:
        pairs = [
            (
                Head(at.matrix(w__x=sign * identity, s__s=-bound), at.matrix(x__x=-sign * layer.matrix.T)),
                Head(at.matrix(s__y=sign, s__s=-bound), at.matrix(x__x=sign * layer.matrix.T)),
            )
            for sign in (1.0, -1.0)
        ]
        level, follow, momentum = (gate - layer.threshold) * row, -layer.following * row, layer.momentum * identity
        up = at.to(
            units,
            **{f"{slot}__plus": identity for slot in "wx"},
            **{f"{slot}__minus": -identity for slot in "wx"},
            **{f"y__{side}": follow for side in ("plus", "minus")},
            **{f"s__{side}": level for side in ("plus", "minus")},
            x__ahead=identity,
            x__back=-identity,
            y__size=1.0,
            **{f"s__{side}": gate * row for side in ("ahead", "back")},
            s__size=gate,
            w__up=identity,
            w__down=-identity,
        )
        down = units.to(
            at,
            plus__w=identity,
            minus__w=-identity,
            up__w=-identity,
            down__w=identity,
            plus__x=momentum,
            minus__x=-momentum,
            up__x=-momentum,
            down__x=momentum,
            ahead__x=-identity,
            back__x=identity,
            ahead__y=row.T / d,
            back__y=row.T / d,
            size__y=-1.0,
        )
        return LayerSpec((pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]), Mlp(up, down, silent))

    stacked = jax.vmap(spec)(layers)
    specs = [jax.tree.map(lambda leaf, t=t: leaf[t], stacked) for t in range(depth)]
    config, params = fill(at.width, "relu", specs)
    return Construction(REFERENCE, config, encoding, params, solver, every_layer(depth), linear_answer, sparse_prompt(d, n))
