"""Compressed sensing of picture patches: every patch is measured by its own random matrix.

A patch p (side x side, flattened to d pixels) has DCT coefficients c = Phi' p, with Phi the orthonormal synthesis basis.
The signal is beta = c - mean, the measurements are y = X beta with a fresh X for each patch, and the queries are the
rows of Phi: predictions are pixels, less those of the mean patch.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import lasso_objective, linear_prediction
from jaxl2o.tasks.covariates import Covariates, isotropic
from jaxl2o.types import Instance, Key, Prompt, ScalarLike, Task


def dct_basis(side: int) -> Float[Array, "d d"]:
    """Phi (pixels, coefficients), d = side^2: the orthonormal two-dimensional DCT-II, so that pixels = Phi c."""
    place, frequency = jnp.arange(side)[None, :] + 0.5, jnp.arange(side)[:, None]
    rows = jnp.sqrt(2.0 / side) * jnp.cos(jnp.pi * frequency * place / side)
    analysis = rows.at[0].divide(jnp.sqrt(2.0))
    return jnp.kron(analysis, analysis).T


def patches_of(picture: Float[Array, "rows columns"], side: int) -> Float[Array, "p d"]:
    """Cut a picture into its whole, non-overlapping patches, row by row, each flattened."""
    checks.shape("picture", picture, (None, None))
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    checks.require(
        rows > 0 and columns > 0, f"a picture of {picture.shape} holds no patch of {side} x {side}; choose a smaller side."
    )
    tiles = picture[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return tiles.transpose(0, 2, 1, 3).reshape(rows * columns, side * side)


def picture_of(patches: Float[Array, "p d"], columns: int) -> Float[Array, "rows columns"]:
    """Put patches back to a picture that is `columns` patches wide: the inverse of `patches_of`."""
    side = round(patches.shape[1] ** 0.5)
    return patches.reshape(-1, columns, side, side).transpose(0, 2, 1, 3).reshape(-1, columns * side)


@partial(jax.tree_util.register_dataclass, data_fields=["basis", "mean", "noise"], meta_fields=["n", "rows"])
@dataclass(frozen=True)
class Camera:
    """How patches are measured: n rows of a law, the basis Phi (d, d), the mean coefficients (d,), the deviation of noise."""

    n: int
    rows: Covariates
    basis: Float[Array, "d d"]
    mean: Float[Array, " d"]
    noise: ScalarLike


def camera(patches: Float[Array, "p d"], n: int, rows: Covariates | None = None, noise: float = 0.0) -> Camera:
    """A camera whose mean is that of the given (training) patches; N(0, I) rows by default; noise in the pixels' units.

    Raises `ValueError` if patches are not square, n is negative, or the noise is negative.
    """
    checks.shape("patches", patches, (None, None))
    checks.finite("patches", patches)
    checks.nonnegative("noise", noise)
    side = round(patches.shape[1] ** 0.5)
    checks.require(side**2 == patches.shape[1], f"patches have {patches.shape[1]} pixels; only square patches have a DCT.")
    checks.require(n >= 0, f"n is {n}; the number of measurements must be zero or greater.")
    basis = dct_basis(side)
    return Camera(n, isotropic() if rows is None else rows, basis, jnp.mean(patches, axis=0) @ basis, noise)


def measure(camera: Camera, patch: Float[Array, " d"], key: Key) -> Instance:
    """Measure one patch with a fresh random matrix; the solution is beta, the targets are pixels less the mean patch."""
    key_matrix, key_noise = jax.random.split(key)
    beta = patch @ camera.basis - camera.mean
    x = camera.rows(key_matrix, camera.n, beta.shape[0])
    y = x @ beta + camera.noise * jax.random.normal(key_noise, (camera.n,))
    prompt = Prompt(x, y, camera.basis, jnp.ones(camera.n, dtype=bool))
    return Instance(prompt, camera.basis @ beta, beta)


def pixels(camera: Camera, predictions: Float[Array, "*steps d"]) -> Float[Array, "*steps d"]:
    """Predictions plus the mean patch: grey values."""
    return predictions + jnp.broadcast_to(camera.basis @ camera.mean, predictions.shape)


def compressed_sensing(camera: Camera, patches: Float[Array, "p d"], penalty: ScalarLike = 0.1) -> Task:
    """A patch drawn uniformly from `patches` and measured by its own matrix. The objective is the Lasso."""
    checks.shape("patches", patches, (None, camera.basis.shape[0]))
    checks.nonnegative("penalty", penalty)

    def sample(key: Key) -> Instance:
        key_patch, key_measure = jax.random.split(key)
        which = jax.random.randint(key_patch, (), 0, patches.shape[0])
        return measure(camera, patches[which], key_measure)

    return Task(sample, lambda w, prompt: lasso_objective(w, prompt, penalty), linear_prediction)
