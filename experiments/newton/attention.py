"""The part about linear self-attention that is trained: its place among Newton's orders, and the lines that it predicts."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.newton.config import TEST, TRAINING, Config
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.mutual import mutual
from jaxl2o.models.presets import linear_self_attention, linear_self_attention_with_norm
from jaxl2o.solvers.inverse import over_spectrum
from jaxl2o.solvers.newton import newton
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.regression import conditioned_root, linear_regression
from jaxl2o.tasks.shift import at_length, in_dimensions
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import devices_for
from jaxl2o.types import Learner, Params, Prompt, ScalarLike, Task, queries

HEADS, CLIP = 4, 10.0
WARMUP, GROWN = 0.1, 0.4  # shares of a training: the rate rises; prompts have grown
FIRST = (2, 10)  # dimensions and examples that training begins with
MODELS: dict[str, Callable[[int, int, int, int], TransformerConfig]] = {
    "plain": linear_self_attention,
    "norm": linear_self_attention_with_norm,
}
Law = tuple[int, float]  # the condition of the covariances, and the noise of labels
NEAR, FAR = 2.6, 13.0  # values of a coordinate: 99 % of those in training lie below the first


class Trained(NamedTuple):
    """A Transformer after its training."""

    learner: Learner
    params: Params

    def answer(self, prompt: Prompt) -> Float[Array, " m"]:
        """Of the last layer."""
        return self.learner.predict(self.params, prompt)[-1]


def attention(config: Config, run: Run, results: Results) -> None:
    """Squared error at a query over d: of every model and depth, and of the orders after as many steps, on the same prompts."""
    results["attention/layers"] = np.array(config.layers)
    # of the best layer of one head of linear attention at condition 1, for n examples: (d + 1) / (n + d + 1)
    results["attention/one layer"] = np.array((config.attention_d + 1) / (config.attention_n + config.attention_d + 1))
    for law in config.attention_laws:
        for title in MODELS:
            rows = []
            for layers in config.layers:
                models = [trained(config, run, title, law, layers, seed) for seed in TRAINING[: config.repetitions]]
                with run.stage(f"{title}, {name_of(law)}, {layers} layers, tested"):
                    rows.append([errors(config, law, model.answer) for model in models])
                if law == (1, 0.0):
                    lines(config, results, f"{title}/{layers}", models[0].answer)
            results[f"attention/{name_of(law)}/{title}"] = np.array(rows)
        for order in config.orders:
            found = [errors(config, law, partial(by_order, order, layers, law[1])) for layers in config.layers]
            results[f"attention/{name_of(law)}/order {order}"] = np.array(found)
    for order in config.orders[:2]:
        for layers in config.layers:
            lines(config, results, f"order {order}/{layers}", partial(by_order, order, layers, 0.0))


def name_of(law: Law) -> str:
    """Condition 5, or condition 5 and noise 0.1."""
    condition, noise = law
    return f"condition {condition}" + (f" and noise {noise:g}" if noise else "")


def task_of(config: Config, law: Law, key: Array) -> Task:
    """Isotropic w, and one covariance for all prompts of this task."""
    condition, noise = law
    root = conditioned_root(key, config.attention_d, condition)
    return linear_regression(config.attention_n, root, noise=gaussian_noise(noise), solution_root=jnp.eye(config.attention_d))


def by_order(order: int, steps: int, noise: float, prompt: Prompt) -> Float[Array, " m"]:
    """What Newton's method predicts after so many steps: for the noise of the law, as in `orders`."""
    penalty = noise**2 / prompt.y.shape[0]
    return queries(prompt) @ unroll(newton(over_spectrum, order, penalty), prompt, steps)[-1]


def errors(config: Config, law: Law, answer: Callable[[Prompt], Array]) -> tuple[float, float]:
    """The mean over test covariances of the squared error over d, and its standard error; fifty prompts of each.

    The label that is asked has its noise: in the mean it adds its variance.
    """
    each = 50

    def of_covariance(key: Array) -> Array:
        key_root, key_prompts = jax.random.split(key)
        instances = jax.vmap(task_of(config, law, key_root).sample)(jax.random.split(key_prompts, each))
        off = jax.vmap(answer)(instances.prompt) - instances.y_query
        return (jnp.mean(off**2) + law[1] ** 2) / config.attention_d

    keys = jax.random.split(jax.random.key(TEST), max(2, config.test // each))
    found = np.asarray(jax.jit(lambda keys: jax.lax.map(of_covariance, keys))(keys))
    return float(found.mean()), float(found.std(ddof=1) / np.sqrt(len(found)))


def trained(config: Config, run: Run, title: str, law: Law, layers: int, seed: int) -> Trained:
    """A Transformer from a random start, with the paper's curriculum, and one covariance a step."""
    d, n, n_steps = config.attention_d, config.attention_n, config.attention_steps
    shape = MODELS[title](d, layers, config.attention_width, HEADS)
    learner = transformer_learner(shape, mutual(d, (HEADS / config.attention_width) ** 0.5))
    key_start, key_run, key_roots = jax.random.split(jax.random.key(seed), 3)

    def task_at(step: Int[Array, ""]) -> Task:
        task = task_of(config, law, jax.random.fold_in(key_roots, step))
        return at_length(in_dimensions(task, grown(step, FIRST[0], d)), grown(step, min(FIRST[1], n), n))

    def grown(step: Int[Array, ""], first: int, last: int) -> ScalarLike:
        return first + jnp.floor((last - first) * jnp.clip(step / (GROWN * n_steps), 0.0, 1.0)).astype(int)

    warmup = max(1, int(WARMUP * n_steps))
    highest = {"plain": config.attention_rate, "norm": config.norm_rate}[title]
    rate = optax.warmup_cosine_decay_schedule(0.0, highest, warmup, n_steps, 0.1 * highest)
    recipe = Recipe(
        learner.predict,
        task_at,
        losses.last_step(),
        guarded(optax.adam(rate), CLIP),
        config.batch,
        devices=devices_for(config.batch),
    )
    name = f"{title}, {name_of(law)}, {layers} layers, seed {seed}"
    first = learner.init(key_start, task_of(config, law, key_roots).sample(key_run).prompt)
    params = fit(run, name, recipe, first, n_steps, key_run)
    return Trained(learner, jax.device_put(params, jax.local_devices()[0]))


def lines(config: Config, results: Results, key: str, answer: Callable[[Prompt], Array]) -> None:
    """Predictions as one coordinate of a fixed query moves, for prompts that share w: mean and 5 and 95 % over prompts.

    Near: where training had it; far: five times as far.
    """
    key_w, key_query, key_prompts = jax.random.split(jax.random.key(TEST + 2), 3)
    d, n = config.attention_d, config.attention_n
    w, query = jax.random.normal(key_w, (d,)), jax.random.normal(key_query, (d,))
    for place, most in (("near", NEAR), ("far", FAR)):
        values = jnp.linspace(-most, most, 41)

        def along(key: Array, values: Array = values) -> Float[Array, " k"]:
            x = jax.random.normal(key, (n, d))

            def at(value: Array) -> Array:
                return answer(Prompt(x, x @ w, query.at[0].set(value)[None], jnp.ones(n, dtype=bool)))[0]

            return jax.vmap(at)(values)

        found = jax.jit(lambda keys, one=along: jax.lax.map(one, keys, batch_size=50))(jax.random.split(key_prompts, 500))
        rows = [np.asarray(found).mean(axis=0), *np.quantile(np.asarray(found), (0.05, 0.95), axis=0)]
        results[f"lines/{place}/{key}"] = np.stack(rows).astype(np.float32)
        results[f"lines/{place}/values"] = np.asarray(values)
        results[f"lines/{place}/truth"] = np.asarray(values * w[0] + (query[1:] @ w[1:]))
