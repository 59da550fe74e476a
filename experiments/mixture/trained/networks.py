"""The Transformers: an encoder that estimates bbar from noisy labels, how it is trained, and its excess risk."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.common import Run
from experiments.fitting import fit
from experiments.mixture.methods import CHUNK, Setting
from experiments.mixture.trained.config import TEST, Config
from jaxl2o.models.attention import Attention
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.mutual import marked_summary
from jaxl2o.models.presets import mixture_encoder
from jaxl2o.tasks.mixture import Components, gaussian
from jaxl2o.tasks.mixture import mixture_per_example as mixture
from jaxl2o.tasks.shift import random_length
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import devices_for
from jaxl2o.types import Instance, Key, Learner, Params, Task

RATE = 0.2  # Adam's rate times the width, after the first steps; cosine to zero
LATER = 3.0  # by what the rate is divided in the second stage
WARMUP = 100  # steps in which the rate rises, at most


class Shape(NamedTuple):
    """Of an encoder."""

    width: int
    depth: int
    attention: Attention = "relu"

    @property
    def title(self) -> str:
        """As in the names of trainings and of results."""
        return f"{self.attention}, width {self.width}, {self.depth} layers"


class Trained(NamedTuple):
    """An encoder after its training."""

    learner: Learner
    params: Params


def main_shape(config: Config) -> Shape:
    """Of the network that is compared with all methods."""
    return Shape(config.width, config.depth)


def law(config: Config, count: int) -> Components:
    """Of `count` independent components with E |b_k|^2 = 1, for which Bayes' estimate can be sampled."""
    return gaussian(config.d, count, config.d**-0.5)


def setting_of(config: Config, components: Components, count: int, n: int) -> Setting:
    """What methods are told of prompts of n examples."""
    return Setting(components, config.d, count, n, config.em_steps, config.starts, config.trial_steps)


def learner_of(config: Config, shape: Shape) -> Learner:
    """Whose answers after 0..L layers are <x, b>, or b for prompts without queries."""
    encoder = mixture_encoder(config.d, shape.depth, shape.width, config.heads, shape.attention)
    return transformer_learner(encoder, marked_summary(config.d))


def task_of(config: Config, n: int, count: int, ratios: tuple[int, ...]) -> Task:
    """Prompts of any length up to n, with one of these ratios of signal to noise each."""
    weights, components = jnp.full(count, 1.0 / count), law(config, count)

    def sample(key: Key) -> Instance:
        key_ratio, key_prompt = jax.random.split(key)
        noise = 1.0 / jax.random.choice(key_ratio, jnp.asarray(ratios, dtype=float))
        return mixture(n, components, weights, noise, config.queries).sample(key_prompt)

    plain = mixture(n, components, weights, 1.0, config.queries)
    return random_length(plain._replace(sample=sample), min(config.lengths))


def recipe_of(learner: Learner, task: Task, rate: float, n_steps: int, batch: int) -> Recipe:
    """The last layer's squared error on noisy labels, by Adam."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, min(WARMUP, n_steps // 2), n_steps)
    optimizer = guarded(optax.adam(schedule))
    return Recipe(learner.predict, lambda step: task, losses.last_step(), optimizer, batch, devices=devices_for(batch))


def trained(
    config: Config, run: Run, shape: Shape, count: int, ratios: tuple[int, ...], steps: tuple[int, int], seed: int
) -> Trained:
    """An encoder from a random start: on short prompts, whose steps cost little, then on prompts up to the longest."""
    learner = learner_of(config, shape)
    key_start, *keys = jax.random.split(jax.random.key(seed), 3)
    stages = (config.short, max(config.lengths))
    params = learner.init(key_start, task_of(config, config.short, count, ratios).sample(key_start).prompt)
    title = f"{shape.title}, {count} components, SNR {' '.join(map(str, ratios))}, seed {seed}"
    for stage, (n, n_steps, rate, key) in enumerate(zip(stages, steps, (RATE, RATE / LATER), keys, strict=True), start=1):
        recipe = recipe_of(learner, task_of(config, n, count, ratios), rate / shape.width, n_steps, config.batch)
        params = fit(run, f"{title}, stage {stage}", recipe, params, n_steps, key)
    return Trained(learner, params)


def keys_of(seeds: tuple[int, ...], ratio: int, n: int, each: int) -> Array:
    """Of the prompts of these seeds, one seed's after another's."""
    own = [jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), ratio), n) for seed in seeds]
    return jnp.concatenate([jax.random.split(key, each) for key in own])


def by_seed(values: Array) -> Float[np.ndarray, "seeds each"]:
    """What was found on the prompts of the test seeds, a row for each of them; 24 bits are enough."""
    return np.asarray(values, dtype=np.float32).reshape(len(TEST), -1)


def excess_of(setting: Setting, learner: Learner) -> Callable[[Params, Instance], Float[Array, " k"]]:
    """(params, instances) -> the excess risk on every instance, the query integrated out; compiled once."""

    def run(params: Params, instances: Instance) -> Float[Array, " k"]:
        def one(instance: Instance) -> Float[Array, ""]:
            estimate = learner.predict(params, instance.prompt._replace(x_query=None))[-1]
            return setting.excess(estimate, instance)

        return jax.lax.map(one, instances, batch_size=CHUNK)

    return jax.jit(run)
