"""Two ways to train and test: on one set of prompts, as published, and on prompts that are fresh in every step.

Every depth has parameters of its own. All depths are trained at once, on the same prompts: Adam moves each as if it were alone.
"""

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
from experiments.memformer.published.first_stage import first_stage
from experiments.memformer.published.forms import Form, Start, predict, start
from jaxl2o.evaluation.grid import Point
from jaxl2o.evaluation.sweep import sweep
from jaxl2o.solvers.linear_first_order import linear_first_order, tied_coefficients
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.training import losses
from jaxl2o.types import Instance, Key, Params, Prompt, Task, queries

RATE = 1e-2  # of Adam
SOUND = Start(step=0.5)  # of trainings on fresh prompts: gradient descent
FEWER = 10  # by what the prompts are divided on which a training on one set is tested, far from any limit

# (depth, key) -> theta before training
Begin = Callable[[int, Key], Params]
# (task, theta, key) -> theta, before the prompts of a set are seen
Stage = Callable[[Task, Params, Key], Params]


class Case(NamedTuple):
    """What is trained, on inputs of a law. predict: of the parameters of one depth.  form: of a Transformer; else None.

    begin, n, prompts, steps: of a training on one set: its start, the examples of its prompts, how many prompts and steps.
    sound: the start of a training on fresh prompts; None: there is none.  before: what happens between `begin` and the set.
    """

    law: str
    predict: Callable[[Params, Prompt], Float[Array, " m"]]
    begin: Begin
    n: int
    prompts: int
    steps: int
    sound: Begin | None
    form: Form | None = None
    before: Stage = lambda task, theta, key: theta


def network(config: Config, law: str, form: Form) -> Case:
    """A Transformer that is trained in both ways."""

    def begin(at: Start, depth: int, key: Key) -> Params:
        return start(form, at, depth, D, config.n, key)

    sound = partial(begin, SOUND)
    own = partial(begin, Start())
    return Case(law, partial(predict, form), own, config.n, config.prompts, config.own_steps, sound, form)


def staged(config: Config, law: str, form: Form) -> Case:
    """The same, whose matrices have gone through the code's first stage, without memory, where that has an effect."""
    alone = partial(predict, form._replace(memory="none"))

    def loss(own: Params, instances: Instance) -> Array:
        return mean_losses(lambda theta, prompt: alone(theta, prompt)[None], instances, own)[0]

    def before(task: Task, theta: Params, key: Key) -> Params:
        own = {name: leaf for name, leaf in theta.items() if name != "memory"}
        return theta | first_stage(config, task, loss, own, key)

    return network(config, law, form)._replace(before=before)


def extracted(config: Config, prompts: int) -> Case:
    """A method apart from any Transformer, w -= sum_{i <= k} Gamma_i * X'(X w_i - y); Gamma_i, (d,), are zero at first."""

    def answer(theta: Float[Array, "L d"], prompt: Prompt) -> Float[Array, " m"]:
        # the gradient of the solver is X'(X w - y) / n
        coefficients = prompt.y.shape[0] * jax.vmap(tied_coefficients, 1, 2)(theta)
        return queries(prompt) @ unroll(linear_first_order(coefficients), prompt, theta.shape[0])[-1]

    def begin(depth: int, key: Key) -> Params:
        return jnp.zeros((depth, D))

    steps = config.own_steps if prompts == min(config.sets) else config.long_steps
    sound = begin if prompts == max(config.sets) else None
    return Case("isotropic", answer, begin, config.n - 1, prompts, steps, sound)


def measure(config: Config, run: Run, results: Results, panel: str, cases: dict[str, Case]) -> None:
    """Losses of every case at every depth, with their standard errors: (seeds, depths).

    own: of training on one set, on that set.  fresh: of the same, on fresh prompts.  sound: of training on fresh prompts.
    """
    for title, case in cases.items():
        answer, root, name = at_every_depth(config, case), ROOTS[case.law], f"{panel}, {title}"
        like = (each_depth(config, case.begin, jax.random.key(0)), jnp.zeros(config.depth))
        params, loss = kept(run, f"{name}, own", like, lambda c=case: on_one_set(config, c))
        results[f"{panel}/{title}/own/loss"] = np.asarray(loss)
        tested = {"fresh": (params, replace(config, n=case.n, test=max(1, config.test // FEWER)))}
        if case.sound is not None:
            begin = partial(each_depth, config, case.sound)
            tested["sound"] = (trained(config, run, f"{name}, sound", begin, answer, root, losses.all_steps()), config)
        for protocol, (thetas, sizes) in tested.items():
            scored: Results = {}
            score(sizes, run, scored, f"{name}, {protocol}", answer, thetas, root)
            for part in ("loss", "error"):
                results[f"{panel}/{title}/{protocol}/{part}"] = scored[f"{name}, {protocol}/{part}"][:, 1:]


def each_depth(config: Config, begin: Begin, key: Key) -> tuple[Params, ...]:
    """Starts for depths 1..T."""
    return tuple(begin(depth, jax.random.fold_in(key, depth)) for depth in range(1, config.depth + 1))


def at_every_depth(config: Config, case: Case) -> Callable[[tuple[Params, ...], Prompt], Float[Array, "T+1 m"]]:
    """Answers of depths 0..T; depth 0 says zero."""

    def answer(thetas: tuple[Params, ...], prompt: Prompt) -> Float[Array, "T+1 m"]:
        last = [case.predict(theta, prompt) for theta in thetas]
        return jnp.stack([jnp.zeros_like(last[0]), *last])

    return answer


def on_one_set(config: Config, case: Case) -> tuple[tuple[Params, ...], np.ndarray]:
    """The parameters of all seeds after training on a set of each, and their losses on it."""
    answer = at_every_depth(config, case)

    def train(point: Point) -> tuple[tuple[Params, ...], Float[Array, " T"]]:
        key_start, key_set, key_before = jax.random.split(jax.random.key(point["seed"]), 3)
        task = linear_regression(case.n, ROOTS[case.law](point["seed"]))
        losses_of = partial(mean_losses, answer, jax.vmap(task.sample)(jax.random.split(key_set, case.prompts)))
        keys = jax.random.split(key_before, config.depth)
        first = tuple(map(partial(case.before, task), each_depth(config, case.begin, key_start), keys))
        thetas = adapted(lambda thetas: losses_of(thetas).sum(), first, RATE, case.steps)
        return thetas, losses_of(thetas)[1:]

    return sweep(train, {"seed": TRAINING[: config.seeds]}, config.seeds).values


def mean_losses(
    answer: Callable[[Params, Prompt], Float[Array, "T m"]], instances: Instance, theta: Params
) -> Float[Array, " T"]:
    """The mean squared error of every answer on these prompts."""
    errors = jax.vmap(answer, (None, 0))(theta, instances.prompt) - instances.y_query[:, None]
    return jnp.mean(errors**2, axis=(0, 2))
