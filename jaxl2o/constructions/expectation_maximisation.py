"""A block of ReLU attention and MLPs is one step of gradient EM for a mixture of linear regressions, up to its MLPs' widths."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.constructions.construction import Construction, LayerSpec, fill
from jaxl2o.constructions.mixture_block import Limits, mixture_block, symmetric_block
from jaxl2o.models.components import carrying
from jaxl2o.models.encoding import Encoding
from jaxl2o.solvers.expectation_maximisation import gradient_em, symmetric_gradient_em
from jaxl2o.tasks.covariates import isotropic, within_unit_ball
from jaxl2o.types import Key, Prompt, ScalarLike, Solver

JIN = "Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183), Theorem 3.1"


def symmetric_expectation_maximisation(
    d: int,
    weight: ScalarLike,
    noise: ScalarLike,
    step_size: ScalarLike,
    steps: int,
    inner_steps: int,
    cells: int,
    limits: Limits,
    n: int = 20,
) -> Construction:
    """3 + L layers, 2 heads, width 2d + 3: one step of `symmetric_gradient_em`, components b and -b, for prompts of any length.

    Jin, Balasubramanian and Lai 2024, Theorem 3.1 (arXiv:2410.14183), emulate gradient EM by ReLU attention and MLPs; the
    weights are our own. A token is x_i, y_i, the iterate b, u and 1, as in `carrying`; L = inner_steps. Attention averages
    over examples j, and two ReLU heads are one linear one:

      layer        score              writes              so that
      1            <x_i, b_j>         1 into u            u: <x_i, b>;   MLP: u <- y u
      2            MLP                                    u <- tanh(u / sigma^2 + log(pi / (1 - pi)) / 2)
      3            MLP                                    u <- y u, the expected label
      4 .. 3 + L   <b_i, x_j> - u_j   -alpha x_j into b   b <- b - alpha/n sum_j x_j (<x_j, b> - u_j)

    The last layer's MLP clears u. Curves are linear between knots (`piecewise`). `tolerance` is `symmetric_error_bound`, which
    is of order 1 / cells^2, where the `limits` hold and step_size <= 1 / |X'X / n|; `limits.extremes.largest_eigenvalue` gives
    one that serves every length from n on. The iterate grows by no more than sqrt(alpha L) max|y_i| in a step.

    symbol   code          shape
    pi       weight        (), strictly between 0 and 1: that of b
    sigma    noise         (), > 0
    alpha    step_size     (), > 0
    M        cells         (); the MLPs have 4 M + 2 and M + 4 units of use

    `n` is only the length of sampled prompts, whose labels are any within the limits.

    Raises `ValueError` for a weight, noise or step size out of range, limits that are not positive, and counts below one.
    """
    solver = symmetric_gradient_em(weight, noise, step_size, inner_steps)
    if checks.concrete(weight):
        checks.require(0.0 < float(weight) < 1.0, f"weight is {weight:g}; it must lie strictly between 0 and 1.")
    _check(steps, cells, limits)
    encoding = carrying(d, jnp.reshape(2.0 * jnp.asarray(weight) - 1.0, (1,)), u=1)
    block = symmetric_block(encoding.layout, weight, noise, step_size, inner_steps, cells, limits)
    bound = symmetric_error_bound(noise, step_size, steps, inner_steps, cells, limits)

    def answer(b: Float[Array, " d"], prompt: Prompt) -> Float[Array, " m"]:
        return b if prompt.x_query is None else (2.0 * weight - 1.0) * (prompt.x_query @ b)

    return _construction(encoding, block, steps, solver, answer, _prompt_within(limits, n, (d,)), bound)


def expectation_maximisation(
    d: int,
    weights: Float[Array, " K"],
    noise: ScalarLike,
    step_size: ScalarLike,
    steps: int,
    inner_steps: int,
    cells: int,
    limits: Limits,
    at_once: int | None = None,
    n: int = 20,
) -> Construction:
    """K + 5 + L layers, 2K heads, width 2Kd + d + K + 4: one step of `gradient_em` for K components and prompts of any length.

    Jin, Balasubramanian and Lai 2024, Theorem 3.1 (arXiv:2410.14183), with at most 4 heads; the weights are our own. A token is
    x_i, y_i, all b_k, a number s_k and a vector p_k for each k, m, r and 1, as in `carrying`; L = inner_steps. In pairs of
    heads as in the symmetric case,

      layer             score               writes                 so that
      1                 <x_i, b_kj>         1 into s_k             s_k <- log pi_k - (y - <x, b_k>)^2 / (2 sigma^2), by the MLP
      2 .. K + 1        MLP                                        m: max_k s_k, by m <- m + relu(s_k - m)
      K + 2             MLP                                        s_k <- exp(s_k - m), and m is cleared
      K + 3             MLP                                        r: 1 / sum_k s_k
      K + 4             MLP                                        s_k <- s_k r, the posterior gamma_k, and r is cleared
      K + 5             MLP                                        p_k: gamma_k x, and s is cleared
      the L last ones   <b_ki, x_j> - y_j   -alpha p_kj into b_k   b_k <- b_k - alpha/n sum_j p_kj (<x_j, b_k> - y_j)

    The last layer's MLP clears p. With fewer components `at_once` layer 1 and the L last ones come once for each group of them:
    2 at_once heads, and G (1 + L) + K + 4 layers for G = ceil(K / at_once) groups.

    `tolerance` is `error_bound`, of order 1 / cells^2, where the `limits` hold, between the L descents of a step too, and
    step_size <= 1 / |X'X / n|.

    symbol   code          shape
    pi       weights       (K,), positive, their sum is 1; K >= 2
    sigma    noise         (), > 0
    alpha    step_size     (), > 0
    M        cells         (); the widest MLP, of layer K + 5, has 4 d K M + 2 K units

    `n` is only the length of sampled prompts, whose labels are any within the limits.

    Raises `ValueError` for weights, a noise or a step size out of range, limits that are not positive, and counts below one.
    """
    solver = gradient_em(weights, noise, step_size, inner_steps)
    checks.positive("weights", weights)
    count = weights.shape[0]
    checks.require(count >= 2, f"there are {count} weights; a mixture has at least two components.")
    at_once = count if at_once is None else at_once
    checks.require(at_once >= 1, f"at_once is {at_once}; at least one component must move at a time.")
    _check(steps, cells, limits)
    encoding = carrying(d, weights, s=count, p=count * d, m=1, r=1)
    block = mixture_block(encoding.layout, weights, noise, step_size, inner_steps, cells, limits, at_once)
    bound = error_bound(d, count, noise, step_size, steps, inner_steps, cells, limits)

    def answer(components: Float[Array, "K d"], prompt: Prompt) -> Float[Array, " m"]:
        return components.reshape(-1) if prompt.x_query is None else prompt.x_query @ (weights @ components)

    return _construction(encoding, block, steps, solver, answer, _prompt_within(limits, n, (count, d)), bound)


def symmetric_error_bound(
    noise: ScalarLike, step_size: ScalarLike, steps: int, inner_steps: int, cells: int, limits: Limits
) -> ScalarLike:
    """What any answer after T steps errs by, at most: |x| times one step's error e, times 1 + l + ... + l^(T-1).

    With M cells, X, Y, R the limits, y <x, b> errs by X Y R / (4 M^2), tanh by 2.6 / M^2, and its product with y by
    Y / (4 M^2); so expected labels err by e_u = X Y^2 R / (4 M^2 sigma^2) + Y (2.6 + 1/4) / M^2. As

        |alpha sum_(k<L) (I - alpha H)^k X'v / n| <= sqrt(alpha L) max|v_i|,   H = X'X / n <= I / alpha,

    e = sqrt(alpha L) e_u. Expected labels move by Y^2 / sigma^2 |<x, db>|, so l = 1 + sqrt(L) Y^2 / sigma^2 is the most that a
    step stretches. Iterates within R differ by no more than 2R, however many steps there are.
    """
    of_score = limits.x * limits.y * limits.iterate / (4.0 * cells**2)
    of_label = limits.y * (of_score / noise**2 + 2.6 / cells**2 + 0.25 / cells**2)
    stretch = 1.0 + inner_steps**0.5 * (limits.y / noise) ** 2
    return _after(steps, jnp.sqrt(step_size * inner_steps) * of_label, stretch, limits)


def error_bound(
    d: int, count: int, noise: ScalarLike, step_size: ScalarLike, steps: int, inner_steps: int, cells: int, limits: Limits
) -> ScalarLike:
    """The same for K = `count` components, whose errors are taken together, as the root of the sum of |b_k|^2.

    Residuals are at most Z = Y + X R, and log-densities err by e_s = Z^2 / (8 sigma^2 M^2). So posteriors err by e_s / 4; by
    K - 1 exponentials, 0.52 (K - 1) / M^2; by the reciprocal, (1 - 1 / sqrt(K))^2 / M^2; and by the product, 1 / (4 M^2). Let
    e_g be the sum. Then |p_k - gamma_k x| <= X (e_g + (1 + 1 / (4 M^2)) sqrt(d) / (4 M^2)) = e_p, and as
    0 <= 1/n sum_j gamma_kj x_j x_j' <= I / alpha, L descents err by e = sqrt(K) alpha L Z e_p.

    In norm posteriors move by half of what log-densities do, which is Z / sigma^2 |<x, db_k>|, so l = 1 + L Z^2 / (2 sigma^2).
    """
    residual, cell = limits.y + limits.x * limits.iterate, 1.0 / cells**2
    of_density = residual**2 / (8.0 * noise**2) * cell
    of_posterior = 0.25 * of_density + (0.52 * (count - 1) + (1.0 - count**-0.5) ** 2 + 0.25) * cell
    of_weighted = limits.x * (of_posterior + (1.0 + 0.25 * cell) * 0.25 * d**0.5 * cell)
    stretch = 1.0 + 0.5 * inner_steps * (residual / noise) ** 2
    return _after(steps, count**0.5 * step_size * inner_steps * residual * of_weighted, stretch, limits)


def _after(steps: int, once: ScalarLike, stretch: ScalarLike, limits: Limits) -> ScalarLike:
    error = jnp.minimum(once * sum(stretch**t for t in range(steps)), 2.0 * limits.iterate)
    return error * jnp.maximum(limits.x, 1.0)


def _check(steps: int, cells: int, limits: Limits) -> None:
    for name, number in {"steps": steps, "cells": cells}.items():
        checks.require(number >= 1, f"{name} is {number}; it must be at least 1.")
    for name, limit in limits._asdict().items():
        checks.positive(f"the limit of {name}", limit)


def _construction(
    encoding: Encoding,
    block: list[LayerSpec],
    steps: int,
    solver: Solver,
    answer: Callable[[Array, Prompt], Array],
    sample: Callable[[Key], Prompt],
    bound: ScalarLike,
) -> Construction:
    config, params = fill(encoding.layout.width, "relu", block, repeats=steps)
    claimed = tuple((t, len(block) * t) for t in range(steps + 1))
    return Construction(JIN, config, encoding, params, solver, claimed, answer, sample, bound)


def _prompt_within(limits: Limits, n: int, shape: tuple[int, ...], m: int = 2) -> Callable[[Key], Prompt]:
    """n examples and m queries with |x| <= limits.x, labels uniform in +-limits.y, starts half as long as iterates may be."""
    checks.positive("n", n)

    def sample(key: Key) -> Prompt:
        key_x, key_y, key_start = jax.random.split(key, 3)
        rows = limits.x * within_unit_ball(isotropic())(key_x, n + m, shape[-1])
        labels = limits.y * jax.random.uniform(key_y, (n,), minval=-1.0)
        start = jax.random.normal(key_start, shape)
        start = 0.5 * limits.iterate * start / jnp.linalg.norm(start, axis=-1, keepdims=True)
        return Prompt(rows[:n], labels, rows[n:], jnp.ones(n, dtype=bool), start)

    return sample
