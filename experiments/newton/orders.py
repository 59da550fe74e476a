"""The part about orders: Newton's method for least squares with inverses of order 2, 3 and 4, on the paper's own law."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.newton.config import COVARIANCES, Config
from jaxl2o.solvers.inverse import over_spectrum
from jaxl2o.solvers.newton import newton
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.regression import conditioned_root, linear_regression
from jaxl2o.types import Key

FEATURES, EXAMPLES, STEPS = 10, 50, 6  # as published
NOISES = (0.0, 0.1)


def orders(config: Config, run: Run, results: Results) -> None:
    """Squared error at a query over d, noise of its label with it, after 0..6 steps: the mean of every covariance's prompts.

    All orders see the same prompts. The query is integrated out: <x, w> is off by (w_t - w)' Sigma (w_t - w) in the mean.
    """
    results["orders/conditions"] = np.array(config.order_conditions)
    for condition in config.order_conditions:
        for noise in NOISES:
            with run.stage(f"orders, condition {condition}, noise {noise:g}"), jax.enable_x64(True):
                keys = jax.random.split(jax.random.key(COVARIANCES), config.covariances)
                measure = jax.jit(partial(of_covariance, config, condition, noise))
                found = np.asarray(jax.lax.map(measure, keys, batch_size=20))
            for place, order in enumerate(config.orders):
                results[f"orders/{condition}/{noise:g}/{order}"] = found[:, place]


def of_covariance(config: Config, condition: int, noise: float, key: Key) -> Float[Array, "orders T"]:
    """The mean over prompts that share one covariance, for every order."""
    key_root, key_prompts = jax.random.split(key)
    root = conditioned_root(key_root, FEATURES, condition)
    task = linear_regression(EXAMPLES, root, 0, gaussian_noise(noise), jnp.eye(FEATURES))

    def errors(key: Key) -> Float[Array, "orders T"]:
        instance = task.sample(key)
        paths = [unroll(newton(over_spectrum, order, noise**2 / EXAMPLES), instance.prompt, STEPS) for order in config.orders]
        off = (jnp.stack(paths) - instance.solution) @ root
        return (jnp.sum(off**2, axis=2) + noise**2) / FEATURES

    return jax.vmap(errors)(jax.random.split(key_prompts, config.each)).mean(axis=0)
