"""A thousand small trainings in one call: rates, covariances and seeds."""

from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.accelerator.config import FEWEST, SEED, Config
from experiments.common import Results
from jaxl2o.evaluation.sweep import Point, sweep
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.linear_first_order import linear_first_order
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, advance, start

N, D, DEPTH = 20, 5, 4
CONDITIONS = (1, 2, 4, 8, 16)  # of the covariances
LEAST = 0.2  # seconds for which calls are repeated, FEWEST of them or more


def costs(config: Config) -> Results:
    """What a model costs, by how many are trained in one call; and the last losses of them all, on their grid."""
    roots = jnp.stack([jnp.diag(jnp.geomspace(1.0, condition**-0.5, D)) for condition in CONDITIONS])
    first = jnp.zeros((DEPTH, DEPTH)).at[:, 0].set(0.5)
    learner = learned(lambda key, prompt: first, linear_first_order)

    def trained(point: Point) -> Float[Array, ""]:
        """The last loss of four layers that remember all gradients, at one rate, covariance and seed."""
        task = linear_regression(N, roots[point["covariance"]], solution_root=jnp.eye(D))  # w ~ N(0, I)
        optimizer = optax.adam(point["rate"])
        recipe = Recipe(learner.predict, lambda step: task, losses.last_step(), optimizer, config.swept_batch)
        return advance(recipe, start(recipe, first, jax.random.key(point["seed"])), config.swept_steps)[1][-1]

    def seconds(count: int) -> list[float]:
        """The seconds of every timed call of so many trainings, behind one that warms up."""
        numbers = jnp.arange(count)
        points = {"rate": jnp.full(count, 1e-2), "covariance": numbers % len(CONDITIONS), "seed": SEED + numbers}
        call = jax.jit(jax.vmap(trained)).lower(points).compile()
        jax.block_until_ready(call(points))
        times: list[float] = []
        while len(times) < FEWEST or sum(times) < LEAST:
            began = perf_counter()
            jax.block_until_ready(call(points))
            times.append(perf_counter() - began)
        return times

    most = max(config.counts)
    rates = np.geomspace(1e-3, 1e-1, max(1, min(10, most // len(CONDITIONS))))
    seeds = range(SEED, SEED + max(1, most // (len(CONDITIONS) * len(rates))))
    axes = {"rate": rates, "covariance": range(len(CONDITIONS)), "seed": seeds}
    began = perf_counter()
    losses_found = sweep(trained, axes, most).values
    whole = perf_counter() - began
    times = [seconds(count) for count in config.counts]
    return {
        "sweep/whole": np.array(whole),
        "sweep/losses": losses_found,
        "sweep/rates": rates,
        "sweep/counts": np.array(config.counts),
        "sweep/seconds": np.array([np.median(calls) for calls in times]),
        "sweep/calls": np.array([len(calls) for calls in times]),
    }
