"""The part about Bayes: how much better than all of them the posterior mean is, for Gaussian components."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.mixture.config import BAYES, CHAINS, Config
from experiments.mixture.measuring import summaries, summary
from experiments.mixture.methods import METHODS, Setting, measured
from experiments.parts import kept
from jaxl2o.limits.bayes_mixture import gaussian_components
from jaxl2o.tasks.mixture import gaussian, oracle
from jaxl2o.types import Key, ScalarLike

D, COUNT = 8, 2  # features and components
STEPS, STARTS, TRIAL_STEPS = 50, 8, 20  # of EM
AT_ONCE = 10  # prompts whose chains run at one time


def bayes(config: Config, run: Run) -> Results:
    """Rows of all methods and of the posterior mean on the same prompts, and what tells whether its chains are enough."""
    results: Results = {"bayes/lengths": np.array(config.bayes_lengths), "bayes/repeats": np.array(config.bayes_prompts)}
    for n in config.bayes_lengths:
        results |= kept(run, f"posterior mean, {n} examples", lambda n=n: of_length(config, n))
    return results


def of_length(config: Config, n: int) -> Results:
    """Of every ratio: summaries (methods + 1, 5), the posterior mean's being the last; what methods have over it, prompt by
    prompt; its own error, chains, and calibration.
    """
    setting = Setting(gaussian(D, COUNT, D**-0.5), D, COUNT, n, STEPS, STARTS, TRIAL_STEPS)
    key = jax.random.fold_in(jax.random.key(BAYES), n)
    posterior = jax.jit(partial(chains_of, setting, config))
    found: Results = {}
    for ratio, errors in measured(setting, config.bayes_ratios, key, config.bayes_prompts).items():
        # the keys by which `measured` draws its prompts
        keys = jax.random.split(jax.random.fold_in(key, ratio), config.bayes_prompts)
        own = jax.random.split(jax.random.fold_in(jax.random.fold_in(jax.random.key(CHAINS), n), ratio), config.bayes_prompts)
        excess, error, chains, calibration = np.asarray(posterior(1.0 / ratio, keys, own), dtype=float)
        cell = f"bayes/{ratio}/{n}"
        found[cell], found[f"{cell}/covariance"] = summaries([*(errors[name] for name in METHODS), excess])
        found[f"{cell}/over"] = np.stack([summary(errors[name] - excess) for name in METHODS])
        found[f"{cell}/error"] = summary(error)
        found[f"{cell}/chains"] = summary(chains)
        found[f"{cell}/calibration"] = summary(calibration)
    return found


def chains_of(setting: Setting, config: Config, noise: ScalarLike, keys: Array, own: Array) -> Float[Array, "4 prompts"]:
    """Of every prompt: the excess, |standard error|^2, the effective number of chains, and <b_hat, bbar - b_hat>.

    The last has mean zero for the posterior mean, as bbar - b_hat is uncorrelated with all that is known; |error|^2 is added to
    it, which is what the chains' own noise takes from it.
    """
    estimate = gaussian_components(setting.weights, D**-0.5, noise, config.chains, config.annealing, config.sweeps)

    def one(both: tuple[Key, Key]) -> Float[Array, " 4"]:
        instance, _ = setting.draw(noise, both[0])
        found = estimate(both[1], instance.prompt)
        error = jnp.sum(found.error**2)
        calibration = found.mean @ (oracle(instance.solution, setting.weights) - found.mean) + error
        return jnp.stack([setting.excess(found.mean, instance), error, found.chains, calibration])

    return jax.lax.map(one, (keys, own), batch_size=AT_ONCE).T
