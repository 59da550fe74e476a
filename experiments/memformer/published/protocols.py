"""Two ways to train and test: on one set of prompts, as published, and on prompts that are fresh in every step."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import TRAINING
from experiments.memformer.measuring import ROOTS, D, adapted, kept, score, trained
from experiments.memformer.published.config import Config
from experiments.memformer.published.forms import Form, predict, start
from jaxl2o.evaluation.sweep import Point, sweep
from jaxl2o.solvers.linear_first_order import linear_first_order, tied_coefficients
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.training import losses
from jaxl2o.types import Instance, Key, Params, Prompt, queries

RATE = 1e-2  # of Adam


class Case(NamedTuple):
    """What is trained: a start for every depth, and what its parameters answer.

    law: of its inputs.  prompts, steps: of a training on one set.  sound: whether it is also trained on fresh prompts.
    """

    law: str
    start: Callable[[int, Key], Params]
    predict: Callable[[Params, Prompt], Float[Array, " m"]]
    prompts: int
    steps: int
    sound: bool = True


def network(config: Config, law: str, form: Form, prompts: int = 0, sound: bool = True) -> Case:
    """A Transformer, trained on so many prompts, the config's if not said."""

    def first(depth: int, key: Key) -> Params:
        return start(form, depth, D, config.n, key)

    return Case(law, first, partial(predict, form), prompts or config.prompts, config.own_steps, sound)


def extracted(config: Config, prompts: int, sound: bool) -> Case:
    """A method apart from any Transformer, w -= sum_{i <= k} Gamma_i * X'(X w_i - y); Gamma_i, (d,), are zero at first."""

    def answer(theta: Float[Array, "L d"], prompt: Prompt) -> Float[Array, " m"]:
        # the gradient of the solver is X'(X w - y) / n
        coefficients = config.n * jax.vmap(tied_coefficients, 1, 2)(theta)
        return queries(prompt) @ unroll(linear_first_order(coefficients), prompt, theta.shape[0])[-1]

    steps = config.own_steps if prompts == min(config.sets) else config.long_steps
    return Case("isotropic", lambda depth, key: jnp.zeros((depth, D)), answer, prompts, steps, sound)


def measure(config: Config, run: Run, results: Results, panel: str, cases: dict[str, Case]) -> None:
    """Losses of every case at every depth, whose parameters are its own: (seeds, depths).

    own: of training on one set, on that set.  fresh: of the same, on fresh prompts.  sound: of training on fresh prompts.
    """
    for title, case in cases.items():
        found = [at_depth(config, run, f"{panel}, {title}, depth {depth}", case, depth) for depth in range(1, config.depth + 1)]
        for name in found[0]:
            results[f"{panel}/{title}/{name}"] = np.stack([own[name] for own in found], axis=-1)


def at_depth(config: Config, run: Run, title: str, case: Case, depth: int) -> Results:
    """Losses of all seeds, and their standard errors."""
    first, found = case.start(depth, jax.random.key(0)), Results()
    params, loss = kept(run, f"{title}, own", (first, 0.0), lambda: on_one_set(config, case, depth))
    found["own/loss"] = np.asarray(loss)
    # what was trained on one set is far from any limit, so that fewer prompts tell its loss
    tested = {"fresh": (params, replace(config, test=max(1, config.test // 10)))}

    def answer(theta: Params, prompt: Prompt) -> Float[Array, "1 m"]:
        return case.predict(theta, prompt)[None]

    root = ROOTS[case.law]
    if case.sound:
        tested["sound"] = (trained(config, run, f"{title}, sound", first, answer, root, losses.last_step()), config)
    for protocol, (theta, sizes) in tested.items():
        scored: Results = {}
        score(sizes, run, scored, f"{title}, {protocol}", answer, theta, root)
        found |= {f"{protocol}/{name}": scored[f"{title}, {protocol}/{name}"][:, 0] for name in ("loss", "error")}
    return found


def on_one_set(config: Config, case: Case, depth: int) -> tuple[Params, np.ndarray]:
    """The parameters of all seeds after training on a set of each, and their losses on it."""

    def train(point: Point) -> tuple[Params, Float[Array, ""]]:
        key_start, key_set = jax.random.split(jax.random.key(point["seed"]))
        task = linear_regression(config.n, ROOTS[case.law](point["seed"]))
        instances = jax.vmap(task.sample)(jax.random.split(key_set, case.prompts))
        loss = partial(mean_loss, case.predict, instances)
        theta = adapted(loss, case.start(depth, key_start), RATE, case.steps)
        return theta, loss(theta)

    return sweep(train, {"seed": TRAINING[: config.seeds]}, config.seeds).values


def mean_loss(answer: Callable[[Params, Prompt], Float[Array, " m"]], instances: Instance, theta: Params) -> Float[Array, ""]:
    """The mean squared error on these prompts."""
    return jnp.mean((jax.vmap(answer, (None, 0))(theta, instances.prompt) - instances.y_query) ** 2)
