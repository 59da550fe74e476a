"""The part about a softmax encoder that is trained to give the minimiser of the logistic loss, beside Newton's iterates."""

from collections.abc import Callable
from functools import partial

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
from jaxl2o.types import Prompt

Path = Callable[[Prompt], Float[Array, "T d"]]


def encoder(config: Config, run: Run, results: Results) -> None:
    """Loss over the least, and squared distance to the minimiser over d: of encoders by depth, and of Newton's steps."""
    prompts = jax.vmap(to_optimum(config).sample)(jax.random.split(jax.random.key(TEST + 3), config.test)).prompt

    def measured(path: Path, prompt: Prompt) -> Float[Array, "T 2"]:
        best = optimum(config, prompt)
        least = logistic_loss(best, prompt, config.penalty)
        return jax.vmap(lambda w: jnp.stack([logistic_loss(w, prompt, config.penalty) - least, jnp.mean((w - best) ** 2)]))(
            path(prompt)
        )

    def mean(path: Path) -> np.ndarray:
        found = jax.jit(lambda prompts: jax.lax.map(partial(measured, path), prompts, batch_size=250))(prompts)
        return np.asarray(found).mean(axis=0)

    with run.stage("Newton's steps on the encoder's prompts"):
        results["encoder/Newton"] = mean(
            lambda prompt: unroll(logistic.damped_newton(config.penalty), prompt, config.newton_steps)
        )
    rows = []
    for layers in config.encoder_layers:
        answer = trained(config, run, layers)
        with run.stage(f"encoder of {layers} layers, tested"):
            rows.append(mean(lambda prompt, answer=answer: answer(prompt)[-1:])[0])
    results["encoder/layers"], results["encoder/trained"] = np.array(config.encoder_layers), np.array(rows)


def trained(config: Config, run: Run, layers: int) -> Path:
    """What an encoder of so many layers answers after its training: w after every layer."""
    learner = transformer_learner(newton_softmax(config.d, layers, config.n), summary(config.d))
    task, n_steps, name = to_optimum(config), config.encoder_steps, f"encoder, {layers} layers"
    rate = optax.warmup_cosine_decay_schedule(0.0, config.encoder_rate, n_steps // 10 + 1, n_steps)
    recipe = Recipe(
        learner.predict,
        lambda step: task,
        losses.last_step(),
        guarded(optax.adam(rate)),
        config.batch,
        devices=devices_for(config.batch),
    )
    key_start, key_run = jax.random.split(jax.random.key(TRAINING[0]))
    first = learner.init(key_start, task.sample(key_run).prompt)
    params = fit(run, name, recipe, first, n_steps, key_run)
    return partial(learner.predict, jax.device_put(params, jax.local_devices()[0]))
