"""The part about B prompts that are fixed: the loss on them, the loss on others, and the gap between the two."""

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
    CHUNK,
    RATE,
    Shape,
    excess_of,
    law,
    learner_of,
    on_one_device,
    recipe_of,
    setting_of,
)
from jaxl2o.tasks.mixture import given, mixture_per_example, oracle
from jaxl2o.tasks.shift import among
from jaxl2o.types import Instance, Key, Learner, Params, Task

LAWS = ("drawn anew", "given")  # components of every prompt; what is given can be learned by heart


def sets(config: Config, run: Run, results: Results) -> None:
    """(trainings, sizes, 3): the loss on the set, that on fresh prompts, and the excess of the latter over the oracle's.

    Prompts have `short` examples and one noisy label that is asked. Given components are tried at the last depth alone.
    """
    results["sets/sizes"], results["sets/depths"] = np.array(config.sizes), np.array(config.set_depths)
    anew = law(config, COUNT)
    laws = {"drawn anew": anew, "given": given(anew(jax.random.key(GIVEN)))}
    for name, components in laws.items():
        setting = setting_of(config, components, COUNT, config.short)
        for depth in config.set_depths if name == "drawn anew" else config.set_depths[-1:]:
            rows = [
                [of_set(config, run, name, setting, depth, size, seed) for size in config.sizes]
                for seed in TRAINING[: config.set_seeds]
            ]
            results[f"sets/{name}/{depth}"] = np.array(rows)


def of_set(config: Config, run: Run, name: str, setting: Setting, depth: int, size: int, seed: int) -> Float[np.ndarray, "3"]:
    """Of one training on the first `size` prompts of a seed."""
    shape, noise = Shape(config.width, depth), 1.0 / config.ratio
    learner = learner_of(config, shape)
    task = mixture_per_example(config.short, setting.components, setting.weights, noise)
    key_start, key_set, key_run = jax.random.split(jax.random.key(seed), 3)
    first = learner.init(key_start, task.sample(key_start).prompt)
    recipe = recipe_of(learner, among(task, size, key_set), RATE / config.width, config.set_steps, config.batch)
    title = f"{size} prompts, components {name}, {depth} layers, seed {seed}"
    params = on_one_device(fit(run, title, recipe, first, config.set_steps, key_run))
    instances, _ = drawn(config, setting)
    excess = float(excess_of(setting, learner)(params, instances).mean())
    own = float(jax.jit(lambda params: loss_on(task, learner, params, key_set, size))(params))
    return np.array([own, excess + noise**2 + spread(setting, instances), excess])


def loss_on(task: Task, learner: Learner, params: Params, key: Key, size: int) -> Float[Array, ""]:
    """The mean squared error on the labels of a training set, by the keys that `among` has."""

    def one(index: Array) -> Float[Array, ""]:
        instance = task.sample(jax.random.fold_in(key, index))
        return jnp.mean((learner.predict(params, instance.prompt)[-1] - instance.y_query) ** 2)

    return jax.lax.map(one, jnp.arange(size), batch_size=CHUNK).mean()


def spread(setting: Setting, instances: Instance) -> float:
    """The mean of sum_k pi_k |b_k - bbar|^2 on these prompts: with the noise, the oracle's loss."""

    def one(components: Float[Array, "K d"]) -> Float[Array, ""]:
        return setting.weights @ jnp.sum((components - oracle(components, setting.weights)[None]) ** 2, axis=1)

    return float(jax.vmap(one)(instances.solution).mean())
