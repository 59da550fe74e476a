"""The test signals, and the baselines that are asked beside the models."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments.memformer.measuring import D
from experiments.shipping import Method
from jaxl2o.limits.least_squares import minimum_norm
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.types import Prompt, ScalarLike, Task, design_matrix

TESTED = (20, 30, 40)  # examples; the first is that of training
NOISE = {"no noise": 0.0, "noise": 0.5}  # its deviation; labels without it have mean square 5

BASELINES = ("least squares", "ridge")


def task_of(n: int, noise: ScalarLike) -> Task:
    """Prompts of training, or with noise, which ask for the coefficients."""
    return linear_regression(n, jnp.eye(D), n_queries=0, noise=gaussian_noise(noise))


def beside_baselines(ways: dict[str, Method], noise: ScalarLike) -> dict[str, Method]:
    """A model, least squares, and ridge regression: the posterior mean where w ~ N(0, I) and noise is of that deviation."""

    def ridge(prompt: Prompt) -> Float[Array, " d"]:
        x = design_matrix(prompt)
        return jnp.linalg.solve(x.T @ x + noise**2 * jnp.eye(x.shape[1]), x.T @ prompt.y)

    return ways | dict(zip(BASELINES, (minimum_norm, ridge), strict=True))
