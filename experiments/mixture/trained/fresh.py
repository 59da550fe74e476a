"""The part on fresh prompts: the main network, classical methods and Bayes' estimate on the same prompts, of all lengths."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.mixture.methods import LINEAR, METHODS, STARTS, Setting, chunked, classical
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
from experiments.parts import kept
from jaxl2o.limits.bayes_mixture import gaussian_components
from jaxl2o.types import Instance, Key, ScalarLike

COUNT = 2  # components
BASELINES = (*LINEAR, *STARTS[:-1])  # of EM those that are not told the truth
AT_ONCE = 10  # prompts whose chains run at one time


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
    setting, found = setting_of(config, law(config, COUNT), COUNT, n), Results()
    methods, excess, draw = classical(setting, METHODS), excess_of(setting, networks[0].learner), chunked(setting.draw)
    posterior, count, tested = jax.jit(partial(posteriors, setting, config)), len(METHODS), len(TEST) * config.test
    few = np.arange(tested).reshape(len(TEST), -1)[:, : config.bayes].reshape(-1)
    for ratio in config.ratios:
        noise, key = 1.0 / ratio, f"map/{ratio}/{n}"
        # test and validation together, so that every method is compiled for one number of prompts
        keys = [keys_of(TEST, ratio, n, config.test), keys_of((VALIDATION,), ratio, n, config.validation)]
        instances, own = draw(noise, jnp.concatenate(keys))
        errors = [method(noise, instances, own) for method in methods.values()]
        errors += [excess(network.params, instances) for network in networks]
        test, validation = zip(*(np.split(np.asarray(each), [tested]) for each in errors), strict=True)
        found |= {f"{key}/{name}": by_seed(each) for name, each in zip(methods, test, strict=False)}
        found[f"{key}/transformer"] = np.stack([by_seed(each) for each in test[count:]])
        means = [each.mean() for each in validation]
        found[f"validation/{ratio}/{n}"] = np.array([*means[: len(BASELINES)], np.mean(means[count:])])
        found[f"closed/{ratio}/{n}"] = np.array(setting.closed(noise))
        chains = keys_of((CHAINS,), ratio, n, len(few))
        best = posterior(noise, jax.tree.map(lambda leaf: leaf[few], instances), chains)
        found |= {f"{key}/{name}": by_seed(each) for name, each in zip(("Bayes", "chains", "sampling"), best, strict=True)}
    return found


def posteriors(setting: Setting, config: Config, noise: ScalarLike, instances: Instance, keys: Array) -> Float[Array, "3 k"]:
    """The excess of Bayes' estimate, its effective chains, and about how much of the excess is their error; keys draw them."""
    deviation = config.d**-0.5
    estimate = gaussian_components(setting.weights, deviation, noise, config.chains, config.annealing, config.sweeps)

    def one(both: tuple[Instance, Key]) -> Float[Array, "3"]:
        instance, key = both
        found = estimate(key, instance.prompt)
        return jnp.stack([setting.excess(found.mean, instance), found.chains, jnp.sum(found.error**2)])

    return jax.lax.map(one, (instances, keys), batch_size=AT_ONCE).T
