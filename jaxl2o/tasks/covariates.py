"""Input laws: how the rows of X are drawn. Each is a function (key, n, d) -> (n, d) with uncorrelated examples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Key

Covariates = Callable[[Key, int, int], Float[Array, "n d"]]


def isotropic() -> Covariates:
    """x ~ N(0, I)."""
    return _isotropic


def _isotropic(key: Key, n: int, d: int) -> Float[Array, "n d"]:
    return jax.random.normal(key, (n, d))


def spectrum(eigenvalues: Float[Array, " d"]) -> Covariates:
    """x ~ N(0, diag(eigenvalues)); eigenvalues (d,), all >= 0."""
    checks.nonnegative("eigenvalues", eigenvalues)
    return lambda key, n, d: _deviations(eigenvalues, d) * jax.random.normal(key, (n, d))


def rotated(eigenvalues: Float[Array, " d"]) -> Covariates:
    """x ~ N(0, U diag(eigenvalues) U'), with a Haar-random rotation U for every prompt."""
    checks.nonnegative("eigenvalues", eigenvalues)

    def sample(key: Key, n: int, d: int) -> Float[Array, "n d"]:
        key_rotation, key_x = jax.random.split(key)
        rotation = jax.random.orthogonal(key_rotation, d)
        return (_deviations(eigenvalues, d) * jax.random.normal(key_x, (n, d))) @ rotation.T

    return sample


def sphere() -> Covariates:
    """x uniform on the sphere of radius sqrt(d), so that its covariance is I."""

    def sample(key: Key, n: int, d: int) -> Float[Array, "n d"]:
        x = jax.random.normal(key, (n, d))
        return x * (jnp.sqrt(float(d)) / jnp.linalg.norm(x, axis=-1, keepdims=True))

    return sample


def rademacher() -> Covariates:
    """Independent entries, +1 or -1 with probability 1/2."""
    return _rademacher


def _rademacher(key: Key, n: int, d: int) -> Float[Array, "n d"]:
    return jax.random.rademacher(key, (n, d), dtype=float)


def column_correlated(correlation: float) -> Covariates:
    """x ~ N(0, Sigma) with Sigma_ij = correlation^|i - j|: an autoregressive walk over the columns; |correlation| < 1."""
    checks.require(abs(correlation) < 1.0, f"correlation is {correlation:g}; it must lie strictly between -1 and 1.")

    def sample(key: Key, n: int, d: int) -> Float[Array, "n d"]:
        lag = jnp.abs(jnp.arange(d)[:, None] - jnp.arange(d)[None, :])
        covariance = jnp.asarray(correlation, dtype=float) ** lag
        return jax.random.normal(key, (n, d)) @ jnp.linalg.cholesky(covariance).T

    return sample


def heavy_tailed(degrees: float) -> Covariates:
    """Independent Student-t entries with `degrees` > 2 degrees of freedom, scaled to unit variance."""
    checks.finite("degrees", degrees)
    checks.require(degrees > 2.0, f"degrees is {degrees:g}; a Student-t law has a variance only above 2.")
    scale = ((degrees - 2.0) / degrees) ** 0.5
    return lambda key, n, d: scale * jax.random.t(key, degrees, (n, d))


def scaled(factor: float, law: Covariates) -> Covariates:
    """The same rows, times a factor > 0."""
    checks.positive("factor", factor)
    return lambda key, n, d: factor * law(key, n, d)


def within_unit_ball(law: Covariates) -> Covariates:
    """The same rows over the length of the longest of them, so that all have |x| <= 1; queries drawn with them among them.

    One number divides them all, so labels sign(<x, w>) stay as they are.
    """

    def sample(key: Key, n: int, d: int) -> Float[Array, "n d"]:
        x = law(key, n, d)
        longest = jnp.max(jnp.linalg.norm(x, axis=1), initial=0.0)
        return x / jnp.where(longest > 0.0, longest, 1.0)

    return sample


def conditioned(condition: float) -> Covariates:
    """X = U diag(s) V' with Haar-random U and V, singular values from 1 to 1 / `condition` evenly in their logarithm.

    They are rescaled to |X|_F^2 = n d, the mean of isotropic rows. X are all rows that are drawn together, queries among
    them. condition >= 1; 1 makes all singular values equal.
    """
    checks.require(
        condition >= 1.0, f"condition is {condition:g}; it is the largest over the least singular value, so 1 or more."
    )

    def sample(key: Key, n: int, d: int) -> Float[Array, "n d"]:
        key_left, key_right = jax.random.split(key)
        rank = min(n, d)
        values = jnp.logspace(0.0, -jnp.log10(condition), rank)
        values = values * jnp.sqrt(n * d / jnp.sum(values**2))
        left, right = jax.random.orthogonal(key_left, n)[:, :rank], jax.random.orthogonal(key_right, d)[:rank]
        return (left * values[None]) @ right

    return sample


def _deviations(eigenvalues: Float[Array, " k"], d: int) -> Float[Array, "1 d"]:
    checks.shape("eigenvalues", eigenvalues, (d,))
    return jnp.sqrt(jnp.asarray(eigenvalues, dtype=float))[None, :]
