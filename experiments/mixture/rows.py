"""The part about baselines: the excess risk of classical methods over the oracle, by components, noise and length."""

import jax
import numpy as np

from experiments.common import Results, Run
from experiments.mixture.config import ROWS, Config
from experiments.mixture.measuring import summaries
from experiments.mixture.methods import METHODS, Setting, measured
from experiments.parts import kept
from jaxl2o.tasks.mixture import unit_norm


def rows(config: Config, run: Run) -> Results:
    """For every number of components, ratio and length: all methods' excess, and what attention's should be."""
    results: Results = {"rows/lengths": np.array(config.lengths), "rows/repeats": np.array(config.repeats)}
    for count in config.counts:
        for n in config.lengths:
            title = f"rows, {count} components, {n} examples"
            results |= kept(run, title, lambda count=count, n=n: of_length(config, count, n))
    return results


def of_length(config: Config, count: int, n: int) -> Results:
    """Of every ratio. Components are uniform on the unit sphere."""
    setting = Setting(unit_norm(config.d, count), config.d, count, n, config.row_steps, config.starts, config.trial_steps)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(ROWS), count), n)
    found: Results = {}
    for ratio, errors in measured(setting, config.ratios, key, config.repeats).items():
        cell = f"rows/{count}/{ratio}/{n}"
        found[cell], found[f"{cell}/covariance"] = summaries([errors[name] for name in METHODS])
        found[f"{cell}/closed"] = np.array(setting.closed(1.0 / ratio))
    return found
