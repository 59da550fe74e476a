"""The part that trains as it was published: on a thousand prompts, all in every step; losses on them and on fresh ones.

What is as in the paper's code is said as it is: its conjugate gradients leave out one of the twenty examples, and some of its
losses are those of the very prompts that were trained on. Its first stage of ten steps has no effect there, and is left out.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import TRAINING, Config
from experiments.memformer.measuring import ROOTS, D, adapted, kept
from experiments.memformer.parts import conjugate
from jaxl2o.models.config import Memory, TransformerConfig
from jaxl2o.models.encoding import stacked
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import memformer
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.tasks.shift import at_length
from jaxl2o.types import Instance, Key, Params, Prompt, Task

RATE, SPREAD = 1e-2, 1e-4  # of Adam; the deviation of matrices before training
FRESH = 100  # times as many fresh prompts as there are in training, for losses that the tails do not rule


class Published(NamedTuple):
    """A Transformer of the paper. scalar: its score matrices are multiples of I.  moving: its tokens move, as in GD++."""

    memory: Memory
    scalar: bool = False
    moving: bool = False


# by the inputs on which the paper shows them
SHOWN = {
    "rotated": {
        "scalar, no memory": Published("none", scalar=True),
        "scalar, momentum": Published("momentum", scalar=True),
        "no memory": Published("none"),
        "momentum": Published("momentum"),
        "Hadamard": Published("hadamard"),
        "Hadamard, of the past": Published("hadamard_past"),
        "GD++, no memory": Published("none", moving=True),
        "GD++, Hadamard, of the past": Published("hadamard_past", moving=True),
    },
    "isotropic": {"no memory": Published("none"), "Hadamard": Published("hadamard")},
}


def published(config: Config, run: Run, results: Results) -> None:
    """Losses of every Transformer of the paper at every depth, on the prompts it was trained on and on fresh ones."""
    for law, shown in SHOWN.items():
        for title, model in shown.items():
            for depth in range(1, config.depth + 1):
                like = (0.0, 0.0)
                key = f"published {law}, {title}, {depth} layers"
                found = kept(run, key, like, lambda m=model, d=depth, law=law: losses_of(config, m, d, law))
                for place, values in zip(("same prompts", "fresh prompts"), found, strict=True):
                    results[f"published/{law}/{title}/{place}/{depth}"] = np.asarray(values)
        with run.stage(f"published {law}, conjugate gradients of 19 examples"):
            values = [nineteen(config, law, seed) for seed in TRAINING[: config.published_seeds]]
            results[f"published/{law}/conjugate gradients, 19 examples"] = np.stack(values)


def losses_of(config: Config, model: Published, depth: int, law: str) -> tuple[np.ndarray, np.ndarray]:
    """The last layer's losses of every seed: on the prompts of training, and on fresh ones."""
    shape, start, assemble = network(model, depth, config.n)
    learner = transformer_learner(shape, stacked(D))

    @jax.jit
    def one(seed: Array) -> tuple[Array, Array]:
        task = linear_regression(config.n, ROOTS[law](seed))
        key_start, key_train, key_fresh = jax.random.split(jax.random.key(seed), 3)
        prompts = jax.vmap(task.sample)(jax.random.split(key_train, config.fitted))

        def loss(theta: Params, instances: Instance) -> Float[Array, ""]:
            answers = jax.vmap(learner.predict, (None, 0))(assemble(theta), instances.prompt)
            return jnp.mean((answers[:, -1] - instances.y_query) ** 2)

        theta = adapted(lambda theta: loss(theta, prompts), start(key_start), RATE, config.published_steps)

        def fresh(key: Key) -> Float[Array, ""]:
            return loss(theta, jax.vmap(task.sample)(jax.random.split(key, config.fitted)))

        return loss(theta, prompts), jnp.mean(jax.lax.map(fresh, jax.random.split(key_fresh, FRESH)))

    found = [one(jnp.asarray(seed)) for seed in TRAINING[: config.published_seeds]]
    same, fresh = (np.stack([np.asarray(value) for value in values]) for values in zip(*found, strict=True))
    return same, fresh


def network(
    model: Published, depth: int, n: int
) -> tuple[TransformerConfig, Callable[[Key], Params], Callable[[Params], Params]]:
    """The config; theta at a random start; and theta -> parameters in the paper's sparsity: labels are written to labels."""
    shape, at = memformer(D, depth, model.memory, n=n), stacked(D).layout
    label = at.matrix(y__y=1.0).dense

    def start(key: Key) -> Params:
        key_score, key_write, key_memory = jax.random.split(key, 3)
        size = (depth,) if model.scalar else (depth, D, D)
        theta = {"score": SPREAD * jax.random.normal(key_score, size)}
        if model.moving:
            theta["write"] = SPREAD * jax.random.normal(key_write, (depth, D, D))
        prompt = linear_regression(n, jnp.eye(D)).sample(key_memory).prompt
        layers = transformer_learner(shape, stacked(D)).init(key_memory, prompt)["layers"]
        return theta | ({"memory": layers["memory"]} if "memory" in layers else {})

    def assemble(theta: Params) -> Params:
        scores = theta["score"][:, None, None] * jnp.eye(D)[None] if model.scalar else theta["score"]
        score = jnp.zeros((depth, D + 1, D + 1)).at[:, :D, :D].set(scores)
        write = jnp.broadcast_to(label, (depth, D + 1, D + 1))
        write = write.at[:, :D, :D].set(theta["write"]) if model.moving else write
        attention = {"score": score[:, :, None], "write": write[:, None]}
        return {"layers": {"attention": attention} | {name: theta[name] for name in ("memory",) if name in theta}}

    return shape, start, assemble


def nineteen(config: Config, law: str, seed: int) -> np.ndarray:
    """Conjugate gradients as in the paper's code, which see one example less, on as many fresh prompts."""
    task: Task = at_length(linear_regression(config.n, ROOTS[law](seed)), config.n - 1)

    def error(key: Key) -> Array:
        instance = task.sample(key)
        prompt: Prompt = instance.prompt
        return jnp.mean((conjugate(config.depth, None, prompt) - instance.y_query[None]) ** 2, axis=1)

    keys = jax.random.split(jax.random.key(seed), FRESH * config.fitted)
    return np.asarray(jax.jit(lambda keys: jnp.mean(jax.lax.map(error, keys, batch_size=1000), axis=0))(keys))
