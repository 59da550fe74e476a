"""Expectation maximisation for mixtures of linear regressions: y = <x, b_z> + noise, with a hidden component z per example."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import mixture_scores
from jaxl2o.types import Prompt, PyTree, ScalarLike, Solver, design_matrix

# (b, shares of the examples, labels, prompt) -> a better b for 1/(2n) sum_i share_i (<x_i, b> - label_i)^2
Maximise = Callable[[Float[Array, " d"], Float[Array, " n"], Float[Array, " n"], Prompt], Float[Array, " d"]]


class Mixture(NamedTuple):
    """A mixture of regressions: components (K, d); weights (K,), their probabilities; noise (), the deviation of labels."""

    components: Float[Array, "K d"]
    weights: Float[Array, " K"]
    noise: Float[Array, ""]


class Annealed(NamedTuple):
    """The state of `annealed_em`. components: (K, d); noise: (), of the next responsibilities."""

    components: Float[Array, "K d"]
    noise: Float[Array, ""]


def responsibilities(
    components: Float[Array, "K d"], prompt: Prompt, weights: Float[Array, " K"], noise: ScalarLike
) -> Float[Array, "n K"]:
    """gamma_ik = P(z_i = k | x_i, y_i), proportional to pi_k exp(-(y_i - <x_i, b_k>)^2 / 2 sigma^2), or zero if unused."""
    shares = jax.nn.softmax(mixture_scores(components, prompt, weights, noise), axis=1)
    return jnp.where(prompt.used[:, None], shares, 0.0)


def expected_signs(b: Float[Array, " d"], prompt: Prompt, weight: ScalarLike, noise: ScalarLike) -> Float[Array, " n"]:
    """E[s_i | x_i, y_i] = tanh(y_i <x_i, b> / sigma^2 + log(pi / (1 - pi)) / 2) for y = s <x, b> + noise, P(s = 1) = pi.

    It is the responsibility of b minus that of -b. Unused examples: zero.
    """
    odds = 0.5 * (jnp.log(weight) - jnp.log1p(-weight))
    signs = jnp.tanh(prompt.y * (design_matrix(prompt) @ b) / noise**2 + odds)
    return jnp.where(prompt.used, signs, 0.0)


def expectation_maximisation(weights: Float[Array, " K"], noise: ScalarLike) -> Solver:
    """b_k <- argmin_b sum_i gamma_ik (y_i - <x_i, b>)^2, with gamma the `responsibilities` at b: EM, weights and noise known.

    No step raises `mixture_loss` (Dempster, Laird and Rubin 1977). Of several minimisers the step takes the one nearest to
    b_k, which is also the limit of `gradient_em`: b_k stays in the directions that its examples do not span, and without
    examples. Starts from `prompt.start`: the likelihood has many maxima, so there is no start that serves all prompts.

    symbol   code          shape
    pi       weights       (K,), their sum is 1
    sigma    noise         (), > 0
    b        state         (K, d), which is the iterate too

    Raises `ValueError` for weights that are no probabilities, a noise that is not positive, and a prompt without a start.
    """
    return _of_components(weights, noise, _least_squares)


def gradient_em(weights: Float[Array, " K"], noise: ScalarLike, step_size: ScalarLike, inner_steps: int) -> Solver:
    """EM whose minimisation is L steps of gradient descent, b_k <- b_k - a/n sum_i gamma_ik (<x_i, b_k> - y_i) x_i, gamma held.

    One step: Balakrishnan, Wainwright and Yu 2017 (arXiv:1408.2156). No step raises `mixture_loss` for a < 2 / |X'X / n|.

    symbol   code          shape
    a        step_size     (), > 0
    L        inner_steps   (), >= 1
    """
    return _of_components(weights, noise, _descent(step_size, inner_steps))


def annealed_em(weights: Float[Array, " K"], noise: ScalarLike, first_noise: ScalarLike, cooling_steps: int) -> Solver:
    """EM whose responsibilities are those of a noise that falls from s to sigma by equal factors, in N steps, and then stays.

        b_k <- argmin_b sum_i gamma_ik (y_i - <x_i, b>)^2, gamma at the noise s_t;   s_t = s (sigma / s)^(t / N), at least sigma

    Deterministic annealing (Ueda and Nakano 1998, Neural Networks 11): under a high noise components share the examples, and
    the likelihood has fewer maxima; so it needs a good start less than EM does. From s = sigma it is EM.

    symbol   code            shape
    s        first_noise     (), >= noise
    N        cooling_steps   (), >= 1
    """
    em = expectation_maximisation(weights, noise)
    checks.positive("first_noise", first_noise)
    checks.require(cooling_steps >= 1, f"cooling_steps is {cooling_steps}; the noise needs at least 1 step to fall.")

    def init(prompt: Prompt) -> Annealed:
        components = em.init(prompt)
        return Annealed(components, jnp.asarray(first_noise, dtype=components.dtype))

    def step(state: Annealed, prompt: Prompt, _: None) -> Annealed:
        shares = responsibilities(state.components, prompt, weights, state.noise)
        colder = state.noise * (noise / first_noise) ** (1.0 / cooling_steps)
        return Annealed(_each(_least_squares, state.components, shares, prompt), jnp.maximum(colder, noise))

    return Solver(init, step, lambda state: state.components, residual=em.residual)


def symmetric_em(weight: ScalarLike, noise: ScalarLike) -> Solver:
    """b <- argmin_b sum_i (<x_i, b> - s_i y_i)^2, with s the `expected_signs`: EM for the components b and -b.

    They have the probabilities pi and 1 - pi. b = 0 is a fixed point for pi = 1/2, so a start must be given. What is said of
    `expectation_maximisation` holds here too (Kwon, Ho and Caramanis 2021, arXiv:2006.02601, prove rates for pi = 1/2).

    symbol   code      shape
    pi       weight    (), between 0 and 1
    sigma    noise     (), > 0
    b        state     (d,), which is the iterate too
    """
    return _of_signs(weight, noise, _least_squares)


def symmetric_gradient_em(weight: ScalarLike, noise: ScalarLike, step_size: ScalarLike, inner_steps: int) -> Solver:
    """The same with L steps of gradient descent, b <- b - a/n sum_i (<x_i, b> - s_i y_i) x_i, s held; a, L as `gradient_em`."""
    return _of_signs(weight, noise, _descent(step_size, inner_steps))


def estimating_em(least_noise: ScalarLike) -> Solver:
    """EM that estimates weights and noise too: with gamma the responsibilities at the present `Mixture`, and b as in EM,

        pi_k <- 1/n sum_i gamma_ik,   sigma^2 <- max(least_noise^2, 1/n sum_ik gamma_ik (y_i - <x_i, b_k>)^2).

    State, iterate and `prompt.start` are a `Mixture`. The likelihood has no bound as sigma tends to 0; among all
    sigma >= least_noise > 0 it has one, and no step lowers it. Without examples the start stays.
    """
    checks.positive("least_noise", least_noise)

    def init(prompt: Prompt) -> Mixture:
        start = prompt.start
        checks.require(
            start is None or isinstance(start, Mixture),
            f"the start is a {type(start).__name__}; EM that estimates weights and noise needs a Mixture of all three.",
        )
        start = _given(start)
        checks.shape("the start's components", start.components, (None, design_matrix(prompt).shape[1]))
        checks.shape("the start's weights", start.weights, start.components.shape[:1])
        return start

    def estimated(components: Float[Array, "K d"], shares: Float[Array, "n K"], prompt: Prompt) -> Mixture:
        errors = prompt.y[:, None] - design_matrix(prompt) @ components.T
        variance = jnp.sum(shares * errors**2) / prompt.n_used
        noise = jnp.sqrt(jnp.maximum(variance, jnp.square(least_noise)))
        return Mixture(components, jnp.sum(shares, axis=0) / prompt.n_used, noise)

    def step(mixture: Mixture, prompt: Prompt, _: None) -> Mixture:
        shares = responsibilities(mixture.components, prompt, mixture.weights, mixture.noise)
        better = estimated(_each(_least_squares, mixture.components, shares, prompt), shares, prompt)
        return jax.tree.map(lambda new, old: jnp.where(prompt.used.any(), new, old), better, mixture)

    def residual(mixture: Mixture, prompt: Prompt) -> Mixture:
        shares = responsibilities(mixture.components, prompt, mixture.weights, mixture.noise)
        off = jax.tree.map(jnp.subtract, mixture, estimated(mixture.components, shares, prompt))
        return off._replace(components=_each(_slope, mixture.components, shares, prompt))

    return Solver(init, step, lambda mixture: mixture, residual=residual)


def _of_components(weights: Float[Array, " K"], noise: ScalarLike, maximise: Maximise) -> Solver:
    checks.probabilities("weights", weights)
    checks.positive("noise", noise)

    def init(prompt: Prompt) -> Float[Array, "K d"]:
        start = _given(prompt.start)
        checks.shape("the start", start, (weights.shape[0], design_matrix(prompt).shape[1]))
        return start

    def step(components: Float[Array, "K d"], prompt: Prompt, _: None) -> Float[Array, "K d"]:
        return _each(maximise, components, responsibilities(components, prompt, weights, noise), prompt)

    def residual(components: Float[Array, "K d"], prompt: Prompt) -> Float[Array, "K d"]:
        shares = responsibilities(components, prompt, weights, noise)
        return jax.vmap(_slope, in_axes=(0, 1, None, None))(components, shares, prompt.y, prompt)

    return Solver(init, step, lambda components: components, residual=residual)


def _of_signs(weight: ScalarLike, noise: ScalarLike, maximise: Maximise) -> Solver:
    if checks.concrete(weight):
        inside = 0.0 <= float(weight) <= 1.0
        checks.require(inside, f"weight is {weight:g}; it is a probability, so it must lie between 0 and 1.")
    checks.positive("noise", noise)

    def init(prompt: Prompt) -> Float[Array, " d"]:
        start = _given(prompt.start)
        checks.shape("the start", start, (design_matrix(prompt).shape[1],))
        return start

    def over(method: Maximise) -> Callable[[Float[Array, " d"], Prompt], Float[Array, " d"]]:
        def apply(b: Float[Array, " d"], prompt: Prompt) -> Float[Array, " d"]:
            labels = expected_signs(b, prompt, weight, noise) * prompt.y
            return method(b, prompt.used.astype(prompt.y.dtype), labels, prompt)

        return apply

    better = over(maximise)
    return Solver(init, lambda b, prompt, _: better(b, prompt), lambda b: b, residual=over(_slope))


def _given(start: PyTree) -> PyTree:
    if start is None:
        raise checks.InputError("this prompt has no start, and EM has none of its own; give one, Prompt.of(x, y, start=...).")
    return jax.tree.map(jnp.asarray, start)


def _each(maximise: Maximise, components: Float[Array, "K d"], shares: Float[Array, "n K"], prompt: Prompt) -> Array:
    return jax.vmap(maximise, in_axes=(0, 1, None, None))(components, shares, prompt.y, prompt)


def _slope(b: Float[Array, " d"], shares: Float[Array, " n"], labels: Float[Array, " n"], prompt: Prompt) -> Float[Array, " d"]:
    x = design_matrix(prompt)
    return x.T @ (shares * (x @ b - labels)) / prompt.n_used


def _least_squares(
    b: Float[Array, " d"], shares: Float[Array, " n"], labels: Float[Array, " n"], prompt: Prompt
) -> Float[Array, " d"]:
    """Of the minimisers the nearest to b; directions whose share of X' diag(shares) X is rounding count as not spanned."""
    x = design_matrix(prompt)
    gram = (x.T * shares[None]) @ x / prompt.n_used
    return b - jnp.linalg.pinv(gram, hermitian=True) @ _slope(b, shares, labels, prompt)


def _descent(step_size: ScalarLike, inner_steps: int) -> Maximise:
    checks.positive("step_size", step_size)
    checks.require(inner_steps >= 1, f"inner_steps is {inner_steps}; every step of EM needs at least one.")

    def maximise(
        b: Float[Array, " d"], shares: Float[Array, " n"], labels: Float[Array, " n"], prompt: Prompt
    ) -> Float[Array, " d"]:
        def descend(b: Float[Array, " d"], _: None) -> tuple[Float[Array, " d"], None]:
            return b - step_size * _slope(b, shares, labels, prompt), None

        return lax.scan(descend, b, length=inner_steps)[0]

    return maximise
