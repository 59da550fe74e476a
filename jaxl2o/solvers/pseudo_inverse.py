"""Weights in measurement space that are built from a matrix itself: its pseudo-inverse, ALISTA's weights, Newton-Schulz."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.solvers.inverse import inverse_by_steps, over_norm
from jaxl2o.types import Prompt, ScalarLike, design_matrix

# prompt -> W, shape (d, n): a solver steps by W (y - X w)
Weights = Callable[[Prompt], Float[Array, "d n"]]


def pseudo_inverse(prompt: Prompt) -> Float[Array, "d n"]:
    """X^+, for X of full rank: X'(XX')^-1 while there are at most d used examples, (X'X)^-1 X' beyond.

    An unused row is zero in X and becomes a zero column of X^+: its diagonal entry of XX' is set to 1, so that the matrix
    is never singular. No examples give zeros. Differentiable in X.
    """
    return ridge_inverse(0.0)(prompt)


def ridge_inverse(noise_variance: ScalarLike) -> Weights:
    """X'(XX' + s^2 I)^-1, the LMMSE weights of a signal of unit variance in noise of variance s^2 >= 0; s = 0 is X^+."""
    checks.nonnegative("noise_variance", noise_variance)

    def weights(prompt: Prompt) -> Float[Array, "d n"]:
        x = design_matrix(prompt)
        n, d = x.shape
        if n == 0:
            return x.T
        outer = x @ x.T + jnp.diag(jnp.where(prompt.used, noise_variance, 1.0))
        if n <= d:
            return _solve(outer, x).T
        # of the two Gram matrices the one that may be singular is replaced by I, and its answer not taken
        few = prompt.used.sum() <= d
        short = _solve(jnp.where(few, outer, jnp.eye(n)), x).T
        inner = x.T @ x + noise_variance * jnp.eye(d)
        return jnp.where(few, short, _solve(jnp.where(few, jnp.eye(d), inner), x.T))

    return weights


def relative_ridge(share: ScalarLike) -> Weights:
    """(X'X + s I)^-1 X' with s = share tr(X'X) / d > 0: one form for every n, never singular, by one solve of size d.

    The ridge is a share of the mean eigenvalue, so W scales as X^+ does when X is scaled; W tends to X^+ as the share
    tends to 0. No examples give zeros. Where n <= d is known, `ridge_inverse` solves the smaller system.
    """
    checks.positive("share", share)

    def weights(prompt: Prompt) -> Float[Array, "d n"]:
        x = design_matrix(prompt)
        gram, identity = x.T @ x, jnp.eye(x.shape[1])
        size = jnp.trace(gram) / x.shape[1]
        return _solve(gram + jnp.where(size > 0.0, share * size, 1.0) * identity, x.T)

    return weights


def _solve(positive: Float[Array, "k k"], right: Float[Array, "k l"]) -> Float[Array, "k l"]:
    return cho_solve(cho_factor(positive, lower=True), right)


def analytic_weights(prompt: Prompt) -> Float[Array, "d n"]:
    """ALISTA's weights in closed form: w_i = G^-1 a_i / (a_i' G^-1 a_i) with G = XX' and a_i the i-th column of X.

    They minimise |W X|_F^2 over all W with (W X)_ii = 1 (Liu et al. 2019, ICLR); the published code iterates towards
    them. W = D^-1 X^+ with D = diag(X^+ X), whose entries are the leverages of the columns. With n >= d they are X^+.
    """
    return normalised(pseudo_inverse)(prompt)


def normalised(weights: Weights) -> Weights:
    """D^-1 W with D = diag(W X), so that every coefficient passes with gain 1; a row of gain zero becomes zero."""

    def scaled(prompt: Prompt) -> Float[Array, "d n"]:
        rows = weights(prompt)
        gain = jnp.sum(rows * design_matrix(prompt).T, axis=1)
        there = gain > 0.0
        return jnp.where(there, 1.0 / jnp.where(there, gain, 1.0), 0.0)[:, None] * rows

    return scaled


def newton_schulz(n_steps: int) -> Weights:
    """X^+ by steps that only multiply: V X' with V the inverse of G = X'X by `n_steps` of Newton-Schulz from G / |G|_F^2.

    Ben-Israel and Cohen 1966; in Transformers, Giannou et al. 2024 (arXiv:2403.03183). On an eigenvector of G with
    eigenvalue g > 0 the error 1 - g v_k is (1 - g^2 / |G|_F^2)^(2^k): quadratic, after about 2 log2(cond G) steps in which
    the smallest eigenvalues come up. The null space of X is never touched. No examples give zeros.
    """
    checks.require(n_steps >= 0, f"n_steps is {n_steps}; it must be zero or greater.")

    def weights(prompt: Prompt) -> Float[Array, "d n"]:
        x = design_matrix(prompt)
        return inverse_by_steps(x.T @ x, over_norm, n_steps) @ x.T

    return weights
