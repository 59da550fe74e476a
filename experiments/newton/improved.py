"""The part that trains the constructed Transformer on: whether the same widths can do better than the theorem's knots."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.newton.blocks import block_of, logistic_task, optimum
from experiments.newton.config import TEST, TRAINING, Config
from jaxl2o.constructions.construction import Construction, at_claimed_layers
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.types import Instance, Params, Prompt, Task

FLOOR = 1e-20  # of squared distances in the loss


def improved(config: Config, run: Run, results: Results) -> None:
    """Distances to the minimiser before and after all parameters have been trained: quantiles over fresh prompts, and the most.

    In double precision and at a tiny rate: heads and units cancel, and steps of 1e-6 in single precision destroy the theorem.
    Tests go on for as many steps again as trainings did: a floor is where iterates stay.
    """
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(TEST + 1), config.test)
        prompts = jax.vmap(logistic_task(config).sample)(keys).prompt
        for cells in config.improved_cells:
            construction = block_of(config, cells, config.improved_newton_steps)
            longer = block_of(config, cells, 2 * config.improved_newton_steps)
            seeds = TRAINING[: config.repetitions]
            several = [trained_on(config, run, construction, f"{cells} cells, seed {seed}", seed) for seed in seeds]
            for title, models in {"theorem": [longer.params], "trained on": several}.items():
                with run.stage(f"{cells} cells, {title}, tested"):
                    found = [np.asarray(distances(config, longer, params, prompts)) for params in models]
                    rows = [np.quantile(each, (0.05, 0.5, 0.95, 1.0), axis=0) for each in found]
                    results[f"improved/{title}/{cells}"] = np.stack(rows)


def distances(config: Config, construction: Construction, params: Params, prompts: Prompt) -> Float[Array, "k T"]:
    """From the minimiser, after every step."""
    predict = at_claimed_layers(construction)

    @jax.jit
    def measure(params: Params, prompts: Prompt) -> Float[Array, "k T"]:
        def one(prompt: Prompt) -> Float[Array, " T"]:
            return jnp.linalg.norm(predict(params, prompt) - optimum(config, prompt), axis=1)

        return jax.lax.map(one, prompts, batch_size=250)

    return measure(params, prompts)


def to_optimum(config: Config) -> Task:
    """Prompts whose solution is the minimiser of the logistic loss, which is what is asked."""
    task = logistic_task(config)

    def sample(key: Array) -> Instance:
        instance = task.sample(key)
        best = optimum(config, instance.prompt)
        return Instance(instance.prompt, best, best)

    return task._replace(sample=sample)


def trained_on(config: Config, run: Run, construction: Construction, title: str, seed: int) -> Params:
    """The parameters after training on from the theorem, for the logarithm of the last distance to the minimiser."""
    task, n_steps = to_optimum(config), config.improved_steps

    def loss(trajectory: Float[Array, "T d"], instance: Instance, step: Array) -> Float[Array, ""]:
        return jnp.log(jnp.sum((trajectory[-1] - instance.y_query) ** 2) + FLOOR)

    optimizer = optax.adam(optax.cosine_decay_schedule(config.improved_rate, n_steps))
    recipe = Recipe(at_claimed_layers(construction), lambda step: task, loss, guarded(optimizer), config.improved_batch)
    return fit(run, title, recipe, construction.params, n_steps, jax.random.key(seed))
