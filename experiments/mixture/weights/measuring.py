"""The test signals, the encoder in both ways, and the baselines beside it, all on the same prompts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.common import Results
from experiments.mixture.methods import Setting, chunked, classical
from experiments.mixture.trained.fresh import COUNT
from experiments.mixture.trained.networks import law
from experiments.mixture.weights.config import Config
from experiments.shipping import Made, Method, both_ways, row
from jaxl2o.tasks.mixture import oracle
from jaxl2o.types import Instance, ScalarLike

NAME = "mixture-encoder"
TESTED = 138  # the seed of test signals
BASELINES = ("linear", "restarted")  # of `classical`
TRIALS = 20  # steps of EM from every start


def law_of(ratio: int) -> str:
    """As results name a ratio of signal to noise."""
    return f"SNR {ratio}"


def label_mean_square(config: Config) -> float:
    """Of the labels in training, all ratios as likely: |b|^2 = 1, and the noise's variance."""
    return float(1.0 + np.mean(1.0 / np.square(config.ratios, dtype=float)))


def measure(config: Config, results: Results, made: Made) -> None:
    """The rows of all methods at every ratio and length. Solves of one program must end before another's begin."""
    results[f"{NAME}/lengths"] = np.array(config.lengths)
    ways = both_ways(made, config.d, label_mean_square(config))
    found: dict[str, list[np.ndarray]] = {}
    for n in config.lengths:
        setting = Setting(law(config.network, COUNT), config.d, COUNT, n, config.em_steps, config.starts, TRIALS)
        beside, draw = classical(setting, BASELINES), chunked(setting.draw)
        own = {title: chunked(excess_of(setting, method)) for title, method in ways.items()}
        for ratio in config.ratios:
            noise, key = 1.0 / ratio, jax.random.fold_in(jax.random.key(TESTED), n)
            instances, keys = draw(noise, jax.random.split(key, config.test))
            sizes = np.asarray(jax.vmap(lambda truth, at=setting: jnp.sum(oracle(truth, at.weights) ** 2))(instances.solution))
            errors = {title: method(noise, instances) for title, method in own.items()}
            errors |= {title: method(noise, instances, keys) for title, method in beside.items()}
            for title, error in errors.items():
                found.setdefault(f"{NAME}/{law_of(ratio)}/{title}", []).append(row(np.asarray(error), sizes))
    # all of one ratio side by side, as they are shown
    for ratio in config.ratios:
        results |= {key: np.stack(rows) for key, rows in found.items() if key.split("/")[1] == law_of(ratio)}


def excess_of(setting: Setting, method: Method) -> Callable[[ScalarLike, Instance], Array]:
    """(noise, instance) -> the excess risk of what a method answers."""

    def one(noise: ScalarLike, instance: Instance) -> Array:
        return setting.excess(method(instance.prompt._replace(x_query=None)), instance)

    return one
