"""Choosing the penalty by information criteria: how well an answer fits, and how many coefficients it takes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Int

from jaxl2o import checks
from jaxl2o.certified.intercept import centred
from jaxl2o.certified.problem import check_magnitudes
from jaxl2o.types import ScalarLike


class Criteria(NamedTuple):
    """The criteria of k answers (the least is best), their degrees of freedom, and the noise variance they stand on."""

    aic: Float[Array, " k"]
    bic: Float[Array, " k"]
    ebic: Float[Array, " k"]
    degrees_of_freedom: Int[Array, " k"]
    noise_variance: Float[Array, ""]


def information_criteria(
    solutions: Any, x: Any, y: Any, *, intercept: bool = False, noise_variance: ScalarLike | None = None
) -> Criteria:
    """Of answers w (k, d) on x (n, d) and y (n,), with f the number of coefficients of w that are not zero,

        AIC = n log(2 pi s^2) + |X w - y|^2 / s^2 + 2 f,    BIC = the same with log(n) f,    EBIC = BIC + 2 log binom(d, f).

    f is an unbiased estimate of the Lasso's degrees of freedom (Zou, Hastie and Tibshirani 2007); EBIC is that of Chen and
    Chen 2008 with gamma = 1.  noise_variance: s^2 > 0; None is least squares' |X w - y|^2 / (n - d), or n - d - 1 with an
    intercept, which is fitted to X and y by their means. All as scikit-learn's LassoLarsIC.

    Numbers are answered in float64, as NumPy arrays; traced it is pure JAX. A coefficient that is zero in the exact answer
    may not be in one of a loose tolerance: solve to 1e-8 or better.

    Raises `ValueError` for shapes that do not fit, and where n is too small to estimate the noise.
    """
    checks.shape("x", x, (None, None))
    n, d = np.shape(x)
    checks.shape("y", y, (n,))
    checks.shape("solutions", solutions, (None, d))
    check_magnitudes(x, y)
    checks.finite("solutions", solutions)
    if noise_variance is None:
        needed = d + int(intercept)
        checks.require(n > needed, f"x has {n} rows; to estimate the noise give more than {needed}, or a noise_variance.")
    else:
        checks.shape("noise_variance", noise_variance, ())
        checks.positive("noise_variance", noise_variance)
    given = (solutions, x, y, noise_variance)
    if not checks.concrete(given):
        return _criteria(*given, intercept)
    with jax.enable_x64(True):
        given = [None if part is None else np.asarray(part, dtype=np.float64) for part in given]
        criteria = jax.tree.map(np.asarray, _compiled(*given, intercept))
    known = bool(criteria.noise_variance > 0.0)
    checks.require(known, "least squares fits y without an error, which says nothing of the noise; give a noise_variance.")
    return criteria


def _criteria(solutions: Any, x: Any, y: Any, noise_variance: Any, intercept: bool) -> Criteria:
    """`information_criteria` as a pure function, all being checked."""
    solutions, x, y = (jnp.asarray(part, dtype=float) for part in (solutions, x, y))
    n, d = x.shape
    given = centred(x, y, jnp.ones_like(y), intercept)
    if noise_variance is None:
        error = given.y - given.x @ jnp.linalg.lstsq(given.x, given.y)[0]
        noise_variance = error @ error / (n - d - int(intercept))
    unexplained = jnp.sum((solutions @ given.x.T - given.y[None]) ** 2, axis=1)
    fit = n * jnp.log(2.0 * jnp.pi * noise_variance) + unexplained / noise_variance
    f = jnp.sum(solutions != 0.0, axis=1)
    supports = gammaln(d + 1.0) - gammaln(f + 1.0) - gammaln(d - f + 1.0)
    bic = fit + jnp.log(float(n)) * f
    return Criteria(fit + 2.0 * f, bic, bic + 2.0 * supports, f, jnp.asarray(noise_variance, dtype=x.dtype))


_compiled = jax.jit(_criteria, static_argnums=4)
