"""The part about inverses and least squares: constructions equal their solvers to rounding."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.newton.config import TEST, Config
from jaxl2o.constructions.construction import Construction, gap_by_layer
from jaxl2o.constructions.newton import (
    newton_least_squares,
    newton_schulz,
    newton_schulz_in_one_layer,
    third_order_inverse,
)
from jaxl2o.limits.extremes import largest_eigenvalue
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.types import Key, Prompt

FEATURES, EXAMPLES = 5, 20  # of the linear prompts
PENALTY = 0.01  # of ridge
PRECISIONS = {"float64": True, "float32": False}


def exact(config: Config, run: Run, results: Results) -> None:
    """Gaps of inverses and of least squares at every claimed layer, for covariances of every condition, in both precisions."""
    results["exact/conditions"], results["exact/prompts"] = np.array(config.conditions), np.array(config.prompts)
    for precision, wide in PRECISIONS.items():
        with run.stage(f"least squares, {precision}"), jax.enable_x64(wide):
            for condition in config.conditions:
                for title, found in of_condition(condition, config.prompts).items():
                    results[f"exact/{title}/{precision}/{condition}"] = found


def of_condition(condition: int, count: int) -> dict[str, np.ndarray]:
    """The largest gap over prompts, by claimed layer: of iterations that invert a covariance, of least squares, and of ridge.

    Eigenvalues are spread evenly in their logarithm, and the largest is 1; every prompt has a rotation of its own.
    """
    deviations = jnp.sqrt(jnp.geomspace(1.0, 1.0 / condition, FEATURES))
    # until the least eigenvalue has converged, and a little longer; that of X'X / n starts further from its end
    steps = 8 + int(np.ceil(2.0 * np.log2(condition)))
    largest, longer = largest_eigenvalue(EXAMPLES, FEATURES), steps + 10
    of_gram, of_ridge = 1.0 / largest**2, 1.0 / (largest + PENALTY) ** 2
    keys = jax.random.split(jax.random.key(TEST), count)
    inverses, regressions = (jax.vmap(partial(law, deviations))(keys) for law in (inverted, regressed))
    constructions = {
        "Newton-Schulz": (partial(newton_schulz, FEATURES, steps, 1.0), inverses),
        "Newton-Schulz in one layer": (partial(newton_schulz_in_one_layer, FEATURES, steps, 1.0), inverses),
        "third order": (partial(third_order_inverse, FEATURES, steps, 1.0), inverses),
        "least squares": (partial(newton_least_squares, FEATURES, longer, of_gram), regressions),
        "ridge": (partial(newton_least_squares, FEATURES, longer, of_ridge, PENALTY), regressions),
    }
    return {title: np.asarray(gaps_of(*both), dtype=float).max(axis=0) for title, both in constructions.items()}


@partial(jax.jit, static_argnums=0)
def gaps_of(make: Callable[[], Construction], prompts: Prompt) -> Float[Array, "prompts layers"]:
    """`gap_by_layer` of a construction, which is made where all of it is compiled together."""
    return jax.vmap(partial(gap_by_layer, make()))(prompts)


def inverted(deviations: Float[Array, " d"], key: Key) -> Prompt:
    """Sigma itself as the matrix of a linear system: Sigma w = y."""
    key_rotation, key_w = jax.random.split(key)
    root = jax.random.orthogonal(key_rotation, FEATURES) * deviations[None]
    w, query = jax.random.normal(key_w, (2, FEATURES))
    sigma = root @ root.T
    return Prompt(sigma, sigma @ w, query[None], jnp.ones(FEATURES, dtype=bool))


def regressed(deviations: Float[Array, " d"], key: Key) -> Prompt:
    """Examples and a query of covariance Sigma."""
    key_rotation, key_sample = jax.random.split(key)
    rotation = jax.random.orthogonal(key_rotation, FEATURES)
    return linear_regression(EXAMPLES, rotation * deviations[None]).sample(key_sample).prompt
