"""The part about B prompts that are fixed: the loss on them, the loss on others, and the gap between the two."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.mixture.methods import Setting
from experiments.mixture.trained.ablations import drawn
from experiments.mixture.trained.config import GIVEN, TRAINING, Config
from experiments.mixture.trained.fresh import COUNT
from experiments.mixture.trained.networks import (
    RATE,
    Shape,
    by_seed,
    excess_of,
    law,
    learner_of,
    recipe_of,
    setting_of,
)
from jaxl2o.tasks.mixture import given, mixture_per_example, oracle_labels
from jaxl2o.tasks.shift import among
from jaxl2o.types import Instance, Key, Learner, Params, Task

LAWS = ("drawn anew", "given")  # components of every prompt; what is given can be learned by heart
AT_ONCE = 64  # prompts of a set that are answered at one time


def sets(config: Config, run: Run, results: Results) -> None:
    """Losses of networks that B prompts have trained; given components are tried at the last depth alone."""
    results["sets/sizes"], results["sets/depths"] = np.array(config.sizes), np.array(config.set_depths)
    results["sets/steps"] = np.array(config.set_steps)
    anew = law(config, COUNT)
    laws = dict(zip(LAWS, (anew, given(anew(jax.random.key(GIVEN)))), strict=True))
    for name, components in laws.items():
        setting = setting_of(config, components, COUNT, config.short)
        instances, _ = drawn(config, setting, config.set_test)
        for depth in config.set_depths if components is anew else config.set_depths[-1:]:
            own, fresh = of_depth(config, run, name, setting, depth, instances)
            results[f"sets/{name}/{depth}/own"], results[f"sets/{name}/{depth}/fresh"] = own, fresh


def of_depth(
    config: Config, run: Run, name: str, setting: Setting, depth: int, instances: Instance
) -> tuple[Float[np.ndarray, "trainings sizes"], Float[np.ndarray, "trainings sizes seeds"]]:
    """What the loss is above the oracle's: on the training set, against the same labels, and on the fresh prompts.

    The oracle's mean loss is the same on both, so the difference is the gap of the losses, without most of the labels' noise.
    A training is on the first B prompts of its seed, which have `short` examples and one noisy label that is asked.
    """
    learner = learner_of(config, Shape(config.width, depth))
    task = mixture_per_example(config.short, setting.components, setting.weights, 1.0 / config.ratio)
    excess, above = excess_of(setting, learner), jax.jit(partial(above_oracle, task, learner), static_argnums=2)

    def one(size: int, seed: int) -> tuple[float, Float[np.ndarray, " seeds"]]:
        key_start, key_set, key_run = jax.random.split(jax.random.key(seed), 3)
        first = learner.init(key_start, task.sample(key_start).prompt)
        recipe = recipe_of(learner, among(task, size, key_set), RATE / config.width, config.set_steps, config.batch)
        title = f"{size} prompts, components {name}, {depth} layers, seed {seed}"
        params = fit(run, title, recipe, first, config.set_steps, key_run)
        return float(above(params, key_set, size)), by_seed(excess(params, instances)).mean(axis=1)

    found = [[one(size, seed) for size in config.sizes] for seed in TRAINING[: config.set_seeds]]
    own, fresh = (np.array([[pair[part] for pair in row] for row in found]) for part in (0, 1))
    return own, fresh


def above_oracle(task: Task, learner: Learner, params: Params, key: Key, size: int) -> Float[Array, ""]:
    """The mean squared error on the labels of a training set, by the keys that `among` has, minus the oracle's there."""

    def one(index: Array) -> Float[Array, ""]:
        own = jax.random.fold_in(key, index)
        instance, best = task.sample(own), oracle_labels(task).sample(own).y_query
        answer = learner.predict(params, instance.prompt)[-1]
        return jnp.mean((answer - instance.y_query) ** 2 - (best - instance.y_query) ** 2)

    return jax.lax.map(one, jnp.arange(size), batch_size=AT_ONCE).mean()
