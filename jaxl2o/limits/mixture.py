"""Mixtures of regressions: the best estimates that are linear in the labels, and the posterior mean for known components.

All estimate the oracle bbar = sum_k pi_k b_k, whose prediction <x, bbar> no other can better without the query's component.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import mixture_scores
from jaxl2o.types import Prompt, ScalarLike, design_matrix


class Moments(NamedTuple):
    """Second moments of random components (b_1, .., b_K) whose joint law is that of (-b_1, .., -b_K).

    each: (d, d), E sum_k pi_k b_k b_k'; mean: (d, d), E bbar bbar' for bbar = sum_k pi_k b_k.
    """

    each: Float[Array, "d d"]
    mean: Float[Array, "d d"]


def independent_moments(weights: Float[Array, " K"], covariance: Float[Array, "d d"]) -> Moments:
    """Components that are independent, of mean zero and one covariance C: (C, sum_k pi_k^2 C). Unit norm has C = I / d."""
    checks.probabilities("weights", weights)
    return Moments(covariance, jnp.sum(weights**2) * covariance)


def symmetric_moments(weight: ScalarLike, covariance: Float[Array, "d d"]) -> Moments:
    """Components b and -b of probabilities pi and 1 - pi, with E b b' = C: (C, (2 pi - 1)^2 C)."""
    return Moments(covariance, (2.0 * weight - 1.0) ** 2 * covariance)


def linear_estimate(prompt: Prompt, moments: Moments, noise: ScalarLike) -> Float[Array, " d"]:
    """Of all estimates linear in y, whatever they do with X, the one with the least E |b_hat - bbar|^2, given any X:

        Sbar X' (X Sbar X' + D)^-1 y,   D_ii = sigma^2 + x_i' (S - Sbar) x_i,

    as E y_i y_j = x_i' Sbar x_j for two examples, whose components are drawn apart, and E y_i^2 = x_i' S x_i + sigma^2.

    symbol     code            shape
    S, Sbar    moments         (d, d) each
    sigma      noise           (), > 0
    """
    x = design_matrix(prompt)
    spread = jnp.sum((x @ (moments.each - moments.mean)) * x, axis=1)
    return _weighted(prompt, moments.mean, jnp.square(noise) + spread)


def ridge_estimate(
    prompt: Prompt, moments: Moments, noise: ScalarLike, covariance: Float[Array, "d d"] | None = None
) -> Float[Array, " d"]:
    """The same with D_ii replaced by its mean, sigma^2 + tr((S - Sbar) Lam); inputs have covariance Lam, the identity if None.

    For K independent components of unit norm and equal probabilities it is ridge, (X'X + l I)^-1 X'y, with the penalty
    l = d K (sigma^2 + 1 - 1/K).
    """
    spread = moments.each - moments.mean
    level = jnp.square(noise) + jnp.trace(spread if covariance is None else spread @ covariance)
    return _weighted(prompt, moments.mean, level * jnp.ones_like(prompt.y))


def posterior_mean(
    prompt: Prompt, components: Float[Array, "K d"], weights: Float[Array, " K"], noise: ScalarLike
) -> Float[Array, " d"]:
    """E[b_z | X, y] for one z in the whole prompt and components that are known: the sum of p_k b_k, where

        p_k is proportional to pi_k exp(-|y - X b_k|^2 / (2 sigma^2)).

    No estimate of b_z has a smaller mean squared error. No examples give the prior's mean, bbar.
    """
    checks.probabilities("weights", weights)
    checks.positive("noise", noise)
    scores = mixture_scores(components, prompt, jnp.ones_like(weights), noise)
    evidence = jnp.log(weights) + jnp.sum(jnp.where(prompt.used[:, None], scores, 0.0), axis=0)
    return jax.nn.softmax(evidence) @ components


def _weighted(prompt: Prompt, prior: Float[Array, "d d"], variances: Float[Array, " n"]) -> Float[Array, " d"]:
    """C X' (X C X' + D)^-1 y = (I + C X' D^-1 X)^-1 C X' D^-1 y for the prior C, which may be singular, and diagonal D > 0."""
    x = design_matrix(prompt)
    cross = prior @ (x.T / variances[None])
    return jnp.linalg.solve(jnp.eye(x.shape[1], dtype=x.dtype) + cross @ x, cross @ prompt.y)
