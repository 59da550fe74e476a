"""How a method is trained, and how its errors are measured."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common import Results, Run
from experiments.sparse_recovery.config import SEEDS, Config
from experiments.sparse_recovery.methods import Method, Path, Penalised
from jaxl2o.evaluation.curves import curve, squared_errors
from jaxl2o.solvers.lasso import penalty_max
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.covariates import Covariates
from jaxl2o.tasks.sparse import exactly, fresh, gaussian_noise, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe, start
from jaxl2o.training.parallel import devices_for
from jaxl2o.training.run import train_in
from jaxl2o.types import Params, Task

PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)  # over the least penalty that gives zero
INFINITE = 1e30  # what an error that overflowed counts as


def task_of(config: Config, law: Covariates | None = None, sparsity: int = 0, n: int = 0, noise: float = 0.0) -> Task:
    """Fresh matrices; by default isotropic, without noise, with the config's sparsity and number of measurements."""
    signal = exactly(config.d, sparsity or config.sparsity)
    return sparse_recovery(signal, fresh(n or config.n, config.d, law), gaussian_noise(noise), n_queries=0)


def path_of(method: Method, params: Params) -> Path:
    """The iterates of a trained method."""
    return lambda prompt: method.learner.predict(params, prompt)


def train(config: Config, run: Run, title: str, method: Method, task: Task) -> Params:
    """The method's parameters after its training."""
    optimizer = optax.adam(optax.cosine_decay_schedule(method.rate, config.steps))
    loss, batch = losses.log_mean_relative(1e-6), config.batch
    recipe = Recipe(method.learner.predict, lambda step: task, loss, guarded(optimizer), batch, devices=devices_for(batch))
    with run.bar(title, config.steps, batch) as report:
        state = start(recipe, method.start, jax.random.key(SEEDS[1]))
        folder = run.folder / "training" / title.replace(" ", "-").replace(",", "")
        identity = {"title": title, "n_steps": config.steps}
        return train_in(folder, recipe, state, config.steps, max(1, config.steps // 10), identity, report).params


def score(results: Results, key: str, predict: Path, task: Task, count: int, seed: int = SEEDS[3]) -> None:
    """Relative errors by step on test signals: mean and interval, quantiles, largest."""
    measure = jax.jit(lambda key: squared_errors(predict, task, key, count, 500))
    errors, sizes = measure(jax.random.key(seed))
    found = curve(jnp.minimum(jnp.nan_to_num(errors, nan=INFINITE), INFINITE), sizes)
    results[f"{key}/mean"] = np.array([found.mean, found.low, found.high])
    results[f"{key}/quantiles"] = np.array([*found.quantiles, found.largest])
    results[f"{key}/signals"] = np.array(count)


def classical(config: Config, make: Penalised, task: Task, n_steps: int) -> Path:
    """The path of a solver with one penalty, which is chosen on validation signals as a share of each prompt's largest."""

    def path(share: float) -> Path:
        return lambda prompt: unroll(make(share * penalty_max(prompt)), prompt, n_steps)

    def error(share: float) -> float:
        key = jax.random.key(SEEDS[2])
        return float(squared_errors(path(share), task, key, config.validation, 500)[0][:, -1].mean())

    return path(min(PENALTIES, key=error))
