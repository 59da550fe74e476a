"""What is added to labels: a noise law is a function (key, labels without noise) -> labels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Key, ScalarLike

Noise = Callable[[Key, Float[Array, " n"]], Float[Array, " n"]]


def noiseless() -> Noise:
    """y = X beta."""
    return lambda key, clean: clean


def gaussian_noise(deviation: ScalarLike) -> Noise:
    """y = X beta + N(0, deviation^2), in the labels' own units."""
    checks.nonnegative("deviation", deviation)
    return lambda key, clean: clean + deviation * jax.random.normal(key, clean.shape)


def snr(decibels: ScalarLike) -> Noise:
    """Noise of deviation std(X beta) * 10^(-decibels / 20), for each prompt its own: ALISTA's convention."""
    checks.finite("decibels", decibels)
    return lambda key, clean: clean + jnp.std(clean) * 10.0 ** (-decibels / 20.0) * jax.random.normal(key, clean.shape)
