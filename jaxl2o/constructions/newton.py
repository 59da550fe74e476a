"""Linear attention inverts matrices, and so runs Newton's method for least squares: layers of products alone."""

import jax.numpy as jnp

from jaxl2o import checks
from jaxl2o.constructions.construction import Construction, Head, LayerSpec, fill, linear_answer
from jaxl2o.constructions.gradient_descent import gaussian_prompt
from jaxl2o.models.encoding import Encoding
from jaxl2o.models.layout import Layout
from jaxl2o.models.matrices import (
    inverse_by_columns,
    inverse_by_rows,
    inverse_by_rows_with_scratch,
    regression_table,
)
from jaxl2o.solvers import newton
from jaxl2o.solvers.inverse import transposed
from jaxl2o.types import ScalarLike

GIANNOU = "Giannou et al. 2024 (arXiv:2403.03183)"
OWN = "a proposition of this library"


def newton_schulz(d: int, steps: int, scale: ScalarLike) -> Construction:
    """Two layers of linear attention, 2 heads, width 4d: one step V <- 2V - V A V of Newton-Schulz, for any square A.

    Giannou et al. 2024, Lemma 4.1 (arXiv:2403.03183). Tokens are columns, as in `inverse_by_columns`; a head of score
    <q_i, k_j> that writes v_j adds V K'Q:

      layer   score            writes                        so that
      1       <v_i, e_j>       a_j into s                    S = A V
      2       <s_i, e_j>       -v_j into v                   V <- V - V A V
              <e_i, e_j>       v_j into v, -s_j into s       V <- 2V - V A V, S <- 0

    V_0 = scale A' stands in the tokens. It converges for scale < 2 / |A|^2; for d rows of N(0, I) that is scale =
    1 / (d `largest_eigenvalue`(d, d, f)), but for a probability f.

    paper   code                    shape
    A       prompt.x                (d, d)
    X_t     slot v, by columns      (d, d)
    alpha   scale                   ()
    """
    encoding = inverse_by_columns(d, scale)
    at, identity = encoding.layout, jnp.eye(d)
    product = LayerSpec((Head(at.matrix(v__e=identity), at.matrix(a__s=identity)),))
    step = LayerSpec(
        (
            Head(at.matrix(s__e=identity), at.matrix(v__v=-identity)),
            Head(at.matrix(e__e=identity), at.matrix(v__v=identity, s__s=-identity)),
        )
    )
    return _inverse(GIANNOU + ", Lemma 4.1", encoding, (product, step), steps, scale, order=2)


def newton_schulz_in_one_layer(d: int, steps: int, scale: ScalarLike) -> Construction:
    """One layer of linear attention, 2 heads, width 3d, is one step of Newton-Schulz.

    Giannou et al. 2024, Lemma 4.1 (arXiv:2403.03183), for symmetric A. The head of score <v_i, a_j> that writes -v_j adds
    -V a' V, with the columns a_j of a; so tokens that hold the *rows* of A, as those of a prompt do, serve every square A.
    """
    encoding = inverse_by_rows(d, scale)
    layer = LayerSpec(_newton_heads(encoding.layout, "a"))
    return _inverse(GIANNOU + ", Lemma 4.1", encoding, (layer,), steps, scale, order=2)


def third_order_inverse(d: int, steps: int, scale: ScalarLike) -> Construction:
    """Two layers of linear attention, 2 heads, width 4d: one step V <- V (3I - 3 A V + (A V)^2), of order three.

    Giannou et al. 2024, Section 4 (arXiv:2403.03183); the weights are our own, for every square A, whose *rows* tokens hold:

      layer   score            writes                          so that
      1       <v_i, a_j>       v_j into s                      S = V A V
      2       <s_i, a_j>       v_j into v                      V <- V + V A S
              <e_i, e_j>       2 v_j - 3 s_j into v, -s_j      V <- 3V - 3 V A V + V A V A V, S <- 0

    Weights that form (A V)'(A V) instead, which is the same in exact arithmetic, double every error of symmetry of A V in each
    step: with a condition of 1000 nothing is left of double precision.
    """
    encoding = inverse_by_rows_with_scratch(d, scale)
    at, identity = encoding.layout, jnp.eye(d)
    product = LayerSpec((Head(at.matrix(v__a=identity), at.matrix(v__s=identity)),))
    step = LayerSpec(
        (
            Head(at.matrix(s__a=identity), at.matrix(v__v=identity)),
            Head(at.matrix(e__e=identity), at.matrix(v__v=2.0 * identity, s__v=-3.0 * identity, s__s=-identity)),
        )
    )
    return _inverse(GIANNOU + ", Section 4", encoding, (product, step), steps, scale, order=3)


def newton_least_squares(d: int, steps: int, scale: ScalarLike, penalty: ScalarLike = 0.0, n: int = 20) -> Construction:
    """3 + T layers of linear attention, 2 heads, width 4d + 3, predict <x, w_T>, w_T = V_T A'y: least squares, or ridge.

    Giannou et al. 2024, Theorem 4.2 (arXiv:2403.03183). Tokens as in `regression_table`, so that A'A = X'X / n; mu = penalty.

      layer       score         writes                                so that
      1           <e_i, a_j>    a_j into r, scale a_j into v          R = A'A + mu I, V = scale R
                  <e_i, e_j>    mu e_j into r, scale mu e_j into v
      2 .. T+1    <v_i, r_j>    -v_j into v                           V <- 2V - V R V
                  <e_i, e_j>    v_j into v
      T+2         <v_i, a_j>    y_j into w                            w: w_0 + V (A'y - mu w_0)
                  <v_i, e_j>    -mu w_j into w
      T+3         <e_i, 1> x_j  w_j into w, for i = 1                 w of the first token: <x, w>
                  <e_i, e_j>    -w_j into w

    V_0 = scale R converges for scale < 2 / (L + mu)^2, with L the largest eigenvalue of X'X / n. For n rows of N(0, Sigma) L is
    at most |Sigma| `largest_eigenvalue`(n, d, f), but for a probability f; the bound falls in n, so that one scale and one set
    of parameters serve every length from n on.

    paper      code          shape
    X_T        slot v        (d, d), in the first d tokens
    epsilon    scale         ()
    mu         penalty       (), >= 0

    `n` is only the length of sampled prompts. A penalty of exactly zero needs no heads for it.

    Raises `ValueError` for a negative penalty.
    """
    checks.nonnegative("penalty", penalty)
    encoding = regression_table(d)
    at, identity, first = encoding.layout, jnp.eye(d), jnp.eye(d)[:, :1]
    ridge = not (checks.concrete(penalty) and float(penalty) == 0.0)
    itself = at.matrix(e__e=identity)
    gram = [Head(at.matrix(e__a=identity), at.matrix(a__r=identity, a__v=scale * identity))]
    answer = [Head(at.matrix(v__a=identity), at.matrix(y__w=1.0))]
    if ridge:
        gram.append(Head(itself, at.matrix(e__r=penalty * identity, e__v=scale * penalty * identity)))
        answer.append(Head(at.matrix(v__e=identity), at.matrix(w__w=-penalty)))
    newton_step = LayerSpec(_newton_heads(at, "r"))
    query = LayerSpec((Head(at.matrix(e__x=first), at.matrix(w__w=1.0)), Head(itself, at.matrix(w__w=-1.0))))
    layers = [LayerSpec(tuple(gram)), *[newton_step] * steps, LayerSpec(tuple(answer)), query]
    config, params = fill(at.width, "linear", layers)
    solver = newton.newton(transposed(scale), penalty=penalty)
    sample, claimed = gaussian_prompt(d, n, m=1), ((steps, steps + 3),)
    return Construction(GIANNOU + ", Theorem 4.2", config, encoding, params, solver, claimed, linear_answer, sample)


def _newton_heads(at: Layout, matrix: str) -> tuple[Head, Head]:
    """V <- 2V - V M' V in one layer, M the columns that the slot holds."""
    identity = jnp.eye(at.slice("v").stop - at.slice("v").start)
    return (
        Head(at.matrix(**{f"v__{matrix}": identity}), at.matrix(v__v=-identity)),
        Head(at.matrix(e__e=identity), at.matrix(v__v=identity)),
    )


def _inverse(
    reference: str, encoding: Encoding, block: tuple[LayerSpec, ...], steps: int, scale: ScalarLike, order: int
) -> Construction:
    """One block of layers a step, the same for all steps; the solver takes <x, V_t y>."""
    checks.require(steps >= 1, f"steps is {steps}; it must be at least 1.")
    d = encoding.layout.slice("v").stop
    config, params = fill(encoding.layout.width, "linear", block, repeats=steps)
    claimed = tuple((t, len(block) * t) for t in range(steps + 1))
    solver = newton.linear_system(transposed(scale), order)
    return Construction(reference, config, encoding, params, solver, claimed, linear_answer, gaussian_prompt(d, n=d))
