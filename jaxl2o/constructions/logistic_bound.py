"""How far a block that is nearly a step of damped Newton can end from it: what a step errs, and what later steps make of it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxl2o.constructions.logistic_block import Cells, ranges
from jaxl2o.solvers.logistic import CURVATURE, first_inverse
from jaxl2o.types import ScalarLike

GAPS, DECREMENTS = 200, 400  # intervals of the gap and of the decrement, over which worst cases are taken
OPTIMUM = 0.27847  # at least max_m m sigma(-m) >= mu |w*|^2


def error_bound(
    d: int, penalty: ScalarLike, steps: int, inner_steps: int, cells: Cells, radius: float = 0.0, growth: float = 1.0
) -> ScalarLike:
    """What |w_t of the Transformer - w_t of exact damped Newton| is at most, at every step t <= T, for |x_i| <= 1.

    F = f / (4 mu) is standard self-concordant; |u|_w^2 = u' F''(w) u, so |u| <= 2 |u|_w; v = |H^-1 g|_w is the decrement. With
    S_w = w - H^-1 g / (1 + v) the exact step, x = v / (1 + v), and F* the minimum:

      gap         F(w_0) - F* <= (f_0 - max_p (h(p) - p^2 / (2 mu))) / (4 mu), h the entropy of a coin, as log(1 + exp(-m)) >=
                  h(p) - p m and margins are at most |w|
      decrement   v - log(1 + v) <= F(w) - F* <= -v - log(1 - v)
      fall        F(S_w) <= F(w) - v + log(1 + v)
      stretch     |S' u|_{S_w} <= `stretch`(v) |u|_w

    The Transformer's path is one of steps that err by `step_error`. Their difference is a telescoping sum: the error of step k,
    a segment, carried on by exact steps T - k - 1 times. Each path is a sequence of gaps and decrements with these four
    relations, so the bound is the largest sum over all such sequences, by dynamic programming from the last step on. It falls
    as the steps' error does, fourfold when widths double. Its factor grows exponentially with the gap, that is, with 1 / mu;
    from mu = 0.1 on with starts at zero it does not depend on T, and for much smaller mu the bound is the trivial one, that
    both iterates stay in the `ranges`. That they do is a part of the proof: an iterate has no higher loss than its start, or a
    gap of at most r, the largest that an error can leave, and then |w - w*| <= sqrt(8 r), where mu |w*|^2 <= max m sigma(-m).
    Where errors are too large for that, there is no bound: infinity. growth: sqrt(n / least), n the longest prompt's; or 1.
    """
    reach, _, least_step = ranges(penalty, radius)
    gap, largest = first_gap(penalty, radius), 1.0 / least_step - 1.0
    gaps, decrements = gap * jnp.linspace(0.0, 1.0, GAPS + 1), largest * jnp.linspace(0.0, 1.0, DECREMENTS + 1)
    below, above = decrements[:-1], decrements[1:]
    error, holds = step_error(below, above, d, penalty, inner_steps, cells, radius, growth)
    rise = largest * error + _at_most(error)  # by how much an error lifts F at most: |F'| is at most the largest decrement
    fall, factor = below - jnp.log1p(below), stretch(above)

    def after(low: ScalarLike, high: ScalarLike) -> tuple[Array, Array]:
        """Which decrements a gap in this interval allows, and the gaps after an exact step with each."""
        return (_at_most(above) >= low) & (fall <= high), jnp.minimum(high, _at_most(above)) - fall

    possible, exactly = jax.vmap(after)(gaps[:-1], gaps[1:])
    nearly = jax.vmap(jnp.add, (0, None))(exactly, rise)
    rises = jax.vmap(jnp.greater)(nearly, gaps[:-1])
    lifted = jnp.max(jnp.where(possible & rises, nearly, 0.0))
    stays = (jnp.sqrt(8.0 * lifted) + jnp.sqrt(OPTIMUM / penalty) <= reach) & jnp.all(~possible | (nearly <= gap))
    stays &= jnp.all(~possible | jnp.broadcast_to(error < 1.0, possible.shape))

    def earlier(later: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        """From gaps before t steps to those before t + 1: the largest stretch, and the largest sum of stretched errors."""
        stretched, total = (jax.lax.cummax(values) for values in later)

        def worst(possible: Array, exactly: Array, nearly: Array) -> tuple[Array, Array]:
            stretches = factor * stretched[_interval(exactly, gaps)]
            totals = error * jnp.exp(error) * stretched[_interval(nearly, gaps)] + total[_interval(nearly, gaps)]
            return jnp.max(jnp.where(possible, stretches, 0.0)), jnp.max(jnp.where(possible, totals, 0.0))

        found = jax.vmap(worst)(possible, exactly, nearly)
        return found, jnp.max(found[1])

    _, totals = jax.lax.scan(earlier, (jnp.ones(GAPS), jnp.zeros(GAPS)), length=steps)
    return jnp.where(holds & stays, jnp.minimum(2.0 * jnp.max(totals, initial=0.0), 2.0 * reach), jnp.inf)


def first_gap(penalty: ScalarLike, radius: ScalarLike) -> ScalarLike:
    """(f(w_0) - min f) / (4 mu) at most, of starts with |w_0| <= radius."""
    p = jnp.linspace(0.0, 0.5, GAPS + 1)[1:]
    least = jnp.max(-p * jnp.log(p) - (1.0 - p) * jnp.log1p(-p) - p**2 / (2.0 * penalty))
    loss = 0.5 * penalty * ranges(penalty, radius).reach ** 2
    return (loss - least) / (4.0 * penalty)


def stretch(decrement: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """x (4 - x) e^x, x = v / (1 + v): a step of damped Newton makes a difference so many times longer at most.

    Its length is |u|_w before and |S' u|_{S_w} after. S' = (v I + A + x P - x/2 P A) / (1 + v) in the norm at w, with P a
    projection, and A = H^-1/2 H'[H^-1 g] H^-1/2, |A| <= 2v, as |sigma''| <= sigma' and |H^-1 g| <= 2v. For the same reason H
    changes by a factor of at most e^(2x), as the step is at most 2x long.
    """
    x = decrement / (1.0 + decrement)
    return x * (4.0 - x) * jnp.exp(x)


def step_error(
    below: Float[Array, "*any"],
    above: Float[Array, "*any"],
    d: int,
    penalty: ScalarLike,
    inner_steps: int,
    cells: Cells,
    radius: float,
    growth: float,
) -> tuple[Float[Array, "*any"], ScalarLike]:
    """|the block's step - S_w| in the norm at S_w at most, for decrements between these two; and whether it holds.

    Errors of the parts: of sigma, D^2 / (48 sqrt 3) = e_g, which is the gradient's, with cells D wide; of sigma', D^2 / 64; of
    a product, 1 / (16 M^2), with M = cells.square. So |B - H| <= e_H = D^2 / 64 + growth sqrt(d) / (16 M^2), which is
    s = e_H / mu of H, and H^1/2 V H^1/2 is within (s + r) / (1 - s) = e of I, r = (1 / (8 mu + 1) + alpha (mu + 1/4) s)^(2^k).
    Then the direction and its length are off by a = e v + (1 + e) e_g / (2 mu), and a step of damped Newton by

        a (1 + 2v) / ((1 + v) (1 + v - a)) + (1 + e) / sqrt(1 - e) c^2 / 4 (1 + v + a) (1 + 2 (v + a)),

    where the last is of eta, interpolated in lambda^2 between knots c apart: times v it errs by at most c^2/4 (1 + v) (1 + 2v),
    and beyond the last knot, where it stays as it is, by v times how much farther v is.
    """
    cell, of_gradient = _of_sigmoid(penalty, cells, radius)
    share = (cell**2 / 64.0 + growth * d**0.5 / (16.0 * cells.square**2)) / penalty
    most = penalty + CURVATURE
    unsolved = (1.0 / (8.0 * penalty + 1.0) + first_inverse(penalty) * most * share) ** (2**inner_steps)
    off = (share + unsolved) / (1.0 - share)
    apart = off * above + (1.0 + off) * of_gradient / (2.0 * penalty)
    least_step = ranges(penalty, radius).least_step
    fall, taken = (1.0 - least_step) / cells.step, above + apart
    beyond = jnp.maximum(taken - (1.0 / least_step - 1.0), 0.0) * least_step**2
    # the first factor falls with v, all others rise
    of_direction = apart * (1.0 + 2.0 * below) / ((1.0 + below) * (1.0 + below - apart))
    of_size = (1.0 + off) / jnp.sqrt(1.0 - off) * (fall**2 / 4.0 * (1.0 + taken) * (1.0 + 2.0 * taken) + beyond * taken)
    holds = (share < 1.0) & (off < 1.0) & jnp.all(apart < 1.0)
    return jnp.exp(above / (1.0 + above)) * (of_direction + of_size), holds


def floor_bound(penalty: ScalarLike, cells: Cells, radius: float = 0.0) -> ScalarLike:
    """How far from the minimiser w* of the loss the block can come to rest: |w - w*| <= e_g / mu, e_g = D^2 / (48 sqrt 3).

    A step moves w by -eta V g~, with eta > 0, V invertible, and g~ the gradient with sigma interpolated. So it rests where
    g~(w) = 0. The interpolant increases as sigma does, so g~ is the gradient of a function that is strongly convex with mu, and
    |w - w*| <= |g~(w*)| / mu; but g(w*) = 0, and |g~ - g| <= e_g where |x_i| <= 1. The other curves do not count.
    """
    _, of_gradient = _of_sigmoid(penalty, cells, radius)
    return of_gradient / penalty


def _interval(gap: Float[Array, "*any"], gaps: Float[Array, " g"]) -> Int[Array, "*any"]:
    """The number of the interval of gaps that this one is in; the last one beyond them."""
    return jnp.clip(jnp.ceil(gap / gaps[1]).astype(int) - 1, 0, len(gaps) - 2)


def _at_most(v: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """-v - log(1 - v): what a standard self-concordant function is above its minimum at most, at a decrement v."""
    return jnp.where(v < 1.0, -v - jnp.log1p(-jnp.minimum(v, 1.0)), jnp.inf)


def _of_sigmoid(penalty: ScalarLike, cells: Cells, radius: float) -> tuple[ScalarLike, ScalarLike]:
    """D, how wide a cell of the sigmoid is, and D^2 / (48 sqrt 3), by how much its interpolant is off at most."""
    cell = 2.0 * ranges(penalty, radius).reach / cells.sigmoid
    return cell, cell**2 / (48.0 * 3.0**0.5)
