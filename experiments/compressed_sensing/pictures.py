"""The pictures, split so that no test picture is ever trained on; and PSNR with its bootstrap."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import load_digits, load_sample_image

from jaxl2o.tasks.images import patches_of

SIDE = 8
BLOCK = 4  # patches: a block of the bootstrap is 32 x 32 pixels
SPLIT_SEED = 0


class Pictures(NamedTuple):
    """training, test: patches (p, 64), grey values in [0, 1].  columns: patches in a row of the test picture.

    picture: (q,) which picture every test patch belongs to; a digit is a picture.
    blocks: (q,) which bootstrap block every test patch belongs to.
    """

    training: Float[np.ndarray, "p d"]
    test: Float[np.ndarray, "q d"]
    columns: int
    picture: Int[np.ndarray, " q"]
    blocks: Int[np.ndarray, " q"]


def photographs() -> Pictures:
    """Patches of the photograph `china` at every third pixel for training; `flower`, cut into whole patches, for the test."""
    china, flower = (load_sample_image(f"{name}.jpg") @ np.array([0.299, 0.587, 0.114]) / 255 for name in ("china", "flower"))
    windows = np.lib.stride_tricks.sliding_window_view(china, (SIDE, SIDE))[::3, ::3].reshape(-1, SIDE**2)
    columns = flower.shape[1] // SIDE
    test = np.asarray(patches_of(jnp.asarray(flower), SIDE))
    row, column = np.divmod(np.arange(len(test)), columns)
    return Pictures(windows, test, columns, np.zeros_like(row), row // BLOCK * columns + column // BLOCK)


def digits() -> Pictures:
    """Of 1,797 scanned digits 1,297 for training and 500 for the test; a digit is one patch, and its own block."""
    images = np.asarray(load_digits(return_X_y=True)[0]) / 16.0
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    return Pictures(images[order[:1297]], images[order[1297:]], 25, np.arange(500), np.arange(500))


DATA: dict[str, Callable[[], Pictures]] = {"photograph": photographs, "digits": digits}


def psnr(errors: Float[np.ndarray, " q"], picture: Int[np.ndarray, " q"]) -> float:
    """10 log10(1 / MSE) of a picture, the MSE pooled over its patches; the mean over pictures if there are several."""
    return float(_each_psnr(errors, np.unique(picture, return_inverse=True)[1]).mean())


def psnr_interval(
    errors: Float[np.ndarray, " q"],
    picture: Int[np.ndarray, " q"],
    blocks: Int[np.ndarray, " q"],
    minus: Float[np.ndarray, " q"] | None = None,
    resamples: int = 1000,
) -> tuple[float, float]:
    """The 95 % interval of `psnr`, or of its difference to that of `minus`, by bootstrap.

    Of several pictures, pictures are drawn with replacement; of one picture, its blocks are.
    """
    several = len(np.unique(picture)) > 1
    _, unit = np.unique(picture if several else blocks, return_inverse=True)
    count = int(unit.max()) + 1
    draws = np.random.default_rng(SPLIT_SEED).multinomial(count, np.full(count, 1.0 / count), size=resamples)

    def resampled(errors: Float[np.ndarray, " q"]) -> Float[np.ndarray, " resamples"]:
        if several:
            return draws @ _each_psnr(errors, unit) / count
        sums = np.bincount(unit, weights=errors.astype(np.float64))
        return 10.0 * np.log10((draws @ np.bincount(unit)) / (draws @ sums))

    values = resampled(errors) - (0.0 if minus is None else resampled(minus))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _each_psnr(errors: Float[np.ndarray, " q"], picture: Int[np.ndarray, " q"]) -> Float[np.ndarray, " pictures"]:
    mse = np.bincount(picture, weights=errors.astype(np.float64)) / np.bincount(picture)
    return 10.0 * np.log10(1.0 / mse)
