"""The part that trains a thousand small models in one call."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import SWEPT, Config
from experiments.memformer.laws import spectrum
from experiments.memformer.measuring import integrated
from experiments.memformer.methods import memories, scalar
from jaxl2o.evaluation.grid import Point
from jaxl2o.evaluation.memory import at_once_for
from jaxl2o.evaluation.sweep import sweep
from jaxl2o.limits.polynomial import limit, loss_of
from jaxl2o.limits.wishart import loss_matrix
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.linear_first_order import residual_polynomials
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, advance, start

BUDGET = 2**30  # bytes of the sweep


def swept(config: Config, run: Run, results: Results) -> None:
    """Rates, covariances and seeds in one compiled call; and what a model costs, by how many there are."""
    conditions = (1, 2, 4, 8, 16)
    roots = jnp.stack([jnp.diag(jnp.sqrt(jnp.asarray(spectrum(condition)))) for condition in conditions])
    matrices = [loss_matrix(config.n, spectrum(condition), 2) for condition in conditions]
    table = jnp.asarray(np.stack([matrix.astype(float) for matrix in matrices]), dtype=float)
    method = scalar(memories(2)["all gradients"])
    learner = learned(lambda key, prompt: method.start, method.solver)
    axes = {"rate": np.geomspace(1e-3, 1.0, 10), "covariance": range(5), "seed": range(SWEPT, SWEPT + config.swept // 50)}

    def train(point: Point) -> Float[Array, " T"]:
        """The exact losses of coefficients after a short training."""
        task = integrated(config.n, roots[point["covariance"]])
        optimizer = optax.adam(point["rate"])
        recipe = Recipe(learner.predict, lambda step: task, losses.all_steps(), optimizer, config.swept_batch)
        state = start(recipe, method.start, jax.random.key(point["seed"]))
        params = advance(recipe, state, config.swept_steps)[0].params
        return loss_of(residual_polynomials(params), table[point["covariance"]])

    at_once = at_once_for(train, axes, BUDGET)
    with run.stage(f"{config.swept} trainings, {at_once} at once"):
        found = sweep(train, axes, at_once)
    own = np.array([limit(config.n, spectrum(condition), 2)[-1] for condition in conditions])
    results["sweep/rates"], results["sweep/conditions"] = found.axes["rate"], np.array(conditions)
    results["sweep/excess"] = np.log(found.values[..., -1] / own[None, :, None])
    counts = [count for count in (1, 10, 100, 1000, 10_000) if count <= config.swept]
    results["sweep/counts"] = np.array(counts)
    results["sweep/seconds"] = np.array([seconds(train, count) for count in counts])


def seconds(train: Callable[[Point], Array], count: int) -> float:
    """The median of the runs of so many trainings at once, without compiling: three, or as many as a second holds."""
    points = {
        "rate": jnp.full(count, 1e-2),
        "covariance": jnp.arange(count) % 5,
        "seed": jnp.arange(count),
    }
    run = jax.jit(jax.vmap(train)).lower(points).compile()
    times = []
    while len(times) < 3 or sum(times) < 1.0:
        began = time.perf_counter()
        jax.block_until_ready(run(points))
        times.append(time.perf_counter() - began)
    return float(np.median(times))
