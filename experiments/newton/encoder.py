"""The part about a softmax encoder that is trained to give the minimiser of the logistic loss, beside Newton's iterates."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.newton.blocks import optimum
from experiments.newton.config import TEST, TRAINING, Config
from experiments.newton.improved import to_optimum
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.mutual import summary
from jaxl2o.models.presets import newton_softmax
from jaxl2o.objectives import logistic_loss
from jaxl2o.solvers import logistic
from jaxl2o.solvers.unroll import unroll
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import devices_for
from jaxl2o.types import Learner, Params, Prompt


class Trained(NamedTuple):
    """An encoder after its training."""

    learner: Learner
    params: Params

    def last(self, params: Params, prompt: Prompt) -> Float[Array, "1 d"]:
        """What it answers after its last layer."""
        return self.learner.predict(params, prompt)[-1:]


def encoder(config: Config, run: Run, results: Results) -> None:
    """Loss over the least, and squared distance to the minimiser over d: of encoders by depth, and of Newton's steps."""
    models = [
        [trained(config, run, layers, seed) for seed in TRAINING[: config.repetitions]] for layers in config.encoder_layers
    ]
    # trained in single precision, which cannot tell small losses from the least
    with jax.enable_x64(True):
        prompts = jax.vmap(to_optimum(config).sample)(jax.random.split(jax.random.key(TEST + 3), config.test)).prompt
        with run.stage("encoders and Newton's steps, tested"):
            newton = logistic.damped_newton(config.penalty)
            found = moments(config, prompts, lambda _, prompt: unroll(newton, prompt, config.newton_steps), None)
            results["encoder/Newton"] = found
            rows = [[moments(config, prompts, model.last, as_double(model.params)) for model in of] for of in models]
            results["encoder/trained"] = np.array(rows)[..., 0, :]
    results["encoder/layers"] = np.array(config.encoder_layers)


def as_double(params: Params) -> Params:
    """The same parameters in double precision."""
    return jax.tree.map(lambda leaf: leaf.astype(float), params)


def moments(
    config: Config, prompts: Prompt, path: Callable[[Params, Prompt], Float[Array, "T d"]], params: Params
) -> Float[np.ndarray, "2 T 2"]:
    """The mean over prompts, and its standard error, of the loss over the least and of the squared distance over d."""

    def one(params: Params, prompt: Prompt) -> Float[Array, "T 2"]:
        best = optimum(config, prompt)
        least = logistic_loss(best, prompt, config.penalty)

        def at(w: Float[Array, " d"]) -> Float[Array, "2"]:
            return jnp.stack([logistic_loss(w, prompt, config.penalty) - least, jnp.mean((w - best) ** 2)])

        return jax.vmap(at)(path(params, prompt))

    many = jax.jit(lambda params, prompts: jax.lax.map(partial(one, params), prompts, batch_size=250))
    found = np.asarray(many(params, prompts))
    return np.stack([found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))])


def trained(config: Config, run: Run, layers: int, seed: int) -> Trained:
    """An encoder of so many layers after its training."""
    learner = transformer_learner(newton_softmax(config.d, layers, config.n), summary(config.d))
    task, n_steps, name = to_optimum(config), config.encoder_steps, f"encoder, {layers} layers, seed {seed}"
    rate = optax.warmup_cosine_decay_schedule(0.0, config.encoder_rate, n_steps // 10 + 1, n_steps)
    recipe = Recipe(
        learner.predict,
        lambda step: task,
        losses.last_step(),
        guarded(optax.adam(rate)),
        config.batch,
        devices=devices_for(config.batch),
    )
    key_start, key_run = jax.random.split(jax.random.key(seed))
    first = learner.init(key_start, task.sample(key_run).prompt)
    params = fit(run, name, recipe, first, n_steps, key_run)
    return Trained(learner, jax.device_put(params, jax.local_devices()[0]))
