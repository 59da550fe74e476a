"""The part on fresh prompts: the main network, classical methods and Bayes' estimate on the same prompts, of all lengths."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.mixture.measuring import kept
from experiments.mixture.methods import LINEAR, Setting, chunked, of_em, of_linear, start_of
from experiments.mixture.trained.config import CHAINS, TEST, TRAINING, VALIDATION, Config
from experiments.mixture.trained.networks import (
    Trained,
    by_seed,
    excess_of,
    keys_of,
    law,
    main_shape,
    setting_of,
    trained,
)
from jaxl2o.limits.bayes_mixture import gaussian_components
from jaxl2o.types import Key, ScalarLike

COUNT = 2  # components
BASELINES = (*LINEAR, "restarted", "spectral")  # the last two are EM, from the best of several starts
AT_ONCE = 10  # prompts whose chains run at one time
Method = Callable[[ScalarLike, Array], Float[Array, " k"]]


def fresh(config: Config, run: Run, results: Results) -> None:
    """The excess of every method on every test prompt, for every ratio of signal to noise and length."""
    results["map/ratios"], results["map/lengths"] = np.array(config.ratios), np.array(config.lengths)
    networks = [
        trained(config, run, main_shape(config), COUNT, config.ratios, config.steps, seed) for seed in TRAINING[: config.seeds]
    ]
    for n in config.lengths:
        results |= kept(run, f"map, {n} examples", lambda n=n: of_length(config, n, networks))


def of_length(config: Config, n: int, networks: list[Trained]) -> Results:
    """Of every ratio: test errors (seeds, prompts), those of networks (networks, seeds, prompts); means on validation draws."""
    setting = setting_of(config, law(config, COUNT), COUNT, n)
    methods, excess, found = classical(setting, BASELINES), excess_of(setting, networks[0].learner), Results()
    every = (*methods.values(), *(partial(excess, network.params) for network in networks))
    posterior, count = jax.jit(partial(posteriors, setting, config)), len(methods)
    for ratio in config.ratios:
        noise, keys, key = 1.0 / ratio, keys_of(TEST, ratio, n, config.test), f"map/{ratio}/{n}"
        # together, so that every method is compiled for one number of prompts
        both = jnp.concatenate([keys, keys_of((VALIDATION,), ratio, n, config.validation)])
        test, validation = zip(*(np.split(np.asarray(method(noise, both)), [len(keys)]) for method in every), strict=True)
        found |= {f"{key}/{name}": by_seed(errors) for name, errors in zip(methods, test, strict=False)}
        found[f"{key}/transformer"] = np.stack([by_seed(errors) for errors in test[count:]])
        means = [errors.mean() for errors in validation]
        found[f"validation/{ratio}/{n}"] = np.array([*means[:count], np.mean(means[count:])])
        found[f"closed/{ratio}/{n}"] = np.array(setting.closed(noise))
        few = keys.reshape(len(TEST), -1)[:, : config.bayes].reshape(-1)
        own = keys_of((CHAINS,), ratio, n, len(few))
        found[f"{key}/Bayes"], found[f"{key}/chains"] = (by_seed(values) for values in posterior(noise, few, own))
    return found


def classical(setting: Setting, names: tuple[str, ...]) -> dict[str, Method]:
    """(noise, keys) -> the excess on the prompts of these keys, by name; every method is a program of its own."""
    em = chunked(partial(of_em, setting))

    def method(name: str) -> Method:
        if name in LINEAR:
            return chunked(partial(of_linear, setting, name))
        choose = chunked(partial(start_of, setting, name))
        return lambda noise, keys: em(noise, keys, choose(noise, keys))

    return {name: method(name) for name in names}


def posteriors(setting: Setting, config: Config, noise: ScalarLike, keys: Array, own: Array) -> Float[Array, "2 k"]:
    """The excess of Bayes' estimate, and the effective number of its chains; `own` draws the chains."""
    deviation = config.d**-0.5
    estimate = gaussian_components(setting.weights, deviation, noise, config.chains, config.annealing, config.sweeps)

    def one(both: tuple[Key, Key]) -> Float[Array, "2"]:
        instance, _ = setting.draw(both[0], noise)
        found = estimate(both[1], instance.prompt)
        return jnp.stack([setting.excess(found.mean, instance), found.chains])

    return jax.lax.map(one, (keys, own), batch_size=AT_ONCE).T
