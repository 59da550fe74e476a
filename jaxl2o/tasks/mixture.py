"""Mixtures of linear regressions: the coefficients of a label are one of K components, drawn for every example or every prompt.

A task is put together from a law of the components, their probabilities, a deviation of noise, and a law of starts.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares, linear_prediction, mixture_loss
from jaxl2o.tasks.covariates import Covariates, isotropic
from jaxl2o.types import Instance, Key, Prompt, Task, queries

Components = Callable[[Key], Float[Array, "K d"]]
# (key, components) -> the iterate that the prompt brings
StartLaw = Callable[[Key, Float[Array, "K d"]], Float[Array, "K d"]]


def symmetric(d: int) -> Components:
    """b and -b, with b uniform on the unit sphere."""
    checks.positive("d", d)

    def draw(key: Key) -> Float[Array, "2 d"]:
        b = _directions(key, (d,))
        return jnp.stack([b, -b])

    return draw


def unit_norm(d: int, count: int) -> Components:
    """`count` independent components, uniform on the unit sphere."""
    checks.positive("d", d)
    checks.positive("count", count)
    return lambda key: _directions(key, (count, d))


def gaussian(d: int, count: int, deviation: float) -> Components:
    """`count` independent components from N(0, deviation^2 I); deviation = 1 / sqrt(d) gives a mean square norm of 1."""
    checks.positive("d", d)
    checks.positive("count", count)
    checks.nonnegative("deviation", deviation)
    return lambda key: deviation * jax.random.normal(key, (count, d))


def given(components: Float[Array, "K d"]) -> Components:
    """The same components in every prompt; a network that is trained on them can learn them by heart."""
    checks.shape("components", components, (None, None))
    checks.finite("components", components)
    return lambda key: components


def near(distance: float) -> StartLaw:
    """Every component, moved by `distance` in a direction of its own, which is uniform."""
    checks.nonnegative("distance", distance)
    return lambda key, components: components + distance * _directions(key, components.shape)


def anywhere(norm: float = 1.0) -> StartLaw:
    """Independent vectors of this norm, with uniform directions, whatever the components."""
    checks.positive("norm", norm)
    return lambda key, components: norm * _directions(key, components.shape)


def oracle(components: Float[Array, "K d"], weights: Float[Array, " K"]) -> Float[Array, " d"]:
    """sum_k pi_k b_k: who knows all but the query's own component errs least, in mean square, with <x, oracle>."""
    return weights @ components


def mixture_per_example(
    n: int,
    components: Components,
    weights: Float[Array, " K"],
    noise: float,
    n_queries: int = 1,
    covariates: Covariates | None = None,
    start: StartLaw | None = None,
) -> Task:
    """y_i = <x_i, b_{z_i}> + N(0, sigma^2), every z_i its own draw from pi, for examples and queries alike.

    Labels of queries are noisy labels too: what training is to predict. Its error is never below sigma^2 plus the spread of
    the components; to score the excess over the oracle E (y_hat - <x, sum_k pi_k b_k>)^2 alone, ask for `oracle_labels(task)`.
    Solution and iterate are all components; they predict <x, oracle>, and their objective is `mixture_loss`. The
    signal-to-noise ratio is |b| / sigma, so 1 / sigma for components of norm 1. Jin, Balasubramanian and Lai 2024,
    arXiv:2410.14183; for two components Kwon, Ho and Caramanis 2021, arXiv:2006.02601.

    symbol   code         shape
    pi       weights      (K,), their sum is 1
    sigma    noise        (), > 0
    x        covariates   its law, isotropic by default
    start    start        (K, d) by a law, for solvers that need one; None is none

    Raises `ValueError` for weights that are no probabilities or not one a component, a noise that is not positive, a negative
    n, and fewer than one query.
    """
    d = _dimension(components, weights)
    _check(n, noise, n_queries)
    law = isotropic() if covariates is None else covariates

    def sample(key: Key) -> Instance:
        key_x, key_components, key_labels, key_noise, key_start = jax.random.split(key, 5)
        rows, solution = law(key_x, n + n_queries, d), components(key_components)
        drawn = jax.random.choice(key_labels, solution, (n + n_queries,), p=weights)
        labels = jnp.sum(rows * drawn, axis=1) + noise * jax.random.normal(key_noise, (n + n_queries,))
        first = None if start is None else start(key_start, solution)
        return _instance(rows, labels, n, solution, first)

    def predict(iterate: Float[Array, "K d"], x_query: Float[Array, "m d"]) -> Float[Array, " m"]:
        return linear_prediction(oracle(iterate, weights), x_query)

    return Task(sample, partial(mixture_loss, weights=weights, noise=noise), predict)


def mixture_per_prompt(
    n: int,
    components: Components,
    weights: Float[Array, " K"],
    noise: float,
    n_queries: int = 1,
    covariates: Covariates | None = None,
) -> Task:
    """y_i = <x_i, b_z> + N(0, sigma^2), with one z from pi for the whole prompt, queries included.

    Solution and iterate are the one component b_z (d,), and the objective is least squares. Only where the components are
    `given` does the prompt differ from a linear regression of its own. Pathak, Sen, Kong and Das 2023, arXiv:2311.08362.
    Arguments and errors as in `mixture_per_example`; here the noise may be zero.
    """
    d = _dimension(components, weights)
    _check(n, 1.0, n_queries)
    checks.nonnegative("noise", noise)
    law = isotropic() if covariates is None else covariates

    def sample(key: Key) -> Instance:
        key_x, key_components, key_labels, key_noise = jax.random.split(key, 4)
        rows, solution = law(key_x, n + n_queries, d), jax.random.choice(key_labels, components(key_components), p=weights)
        labels = linear_prediction(solution, rows) + noise * jax.random.normal(key_noise, (n + n_queries,))
        return _instance(rows, labels, n, solution, None)

    return Task(sample, least_squares, linear_prediction)


def tied(task: Task) -> Task:
    """The same prompts of two components b and -b, asked for b alone: iterate, solution and start have the shape (d,).

    For `symmetric` components; the start is that of the first.
    """
    solution = jax.eval_shape(task.sample, jax.random.key(0)).solution
    checks.shape("the solution", solution, (2, None))

    def both(b: Float[Array, " d"]) -> Float[Array, "2 d"]:
        return jnp.stack([b, -b])

    def sample(key: Key) -> Instance:
        instance = task.sample(key)
        start = instance.prompt.start
        prompt = instance.prompt._replace(start=None if start is None else start[0])
        return instance._replace(prompt=prompt, solution=instance.solution[0])

    def objective(b: Float[Array, " d"], prompt: Prompt) -> Float[Array, ""]:
        return task.objective(both(b), prompt)

    return Task(sample, objective, lambda b, x_query: task.predict(both(b), x_query))


def oracle_labels(task: Task) -> Task:
    """The same prompts, scored against what the solution predicts: the mean squared error is then the excess risk."""

    def sample(key: Key) -> Instance:
        instance = task.sample(key)
        return instance._replace(y_query=task.predict(instance.solution, queries(instance.prompt)))

    return task._replace(sample=sample)


def _directions(key: Key, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    normal = jax.random.normal(key, shape)
    return normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)


def _instance(rows: Float[Array, "k d"], labels: Float[Array, " k"], n: int, solution: Array, start: Any) -> Instance:
    """The first n rows are examples, the others ask."""
    return Instance(Prompt(rows[:n], labels[:n], rows[n:], jnp.ones(n, dtype=bool), start), labels[n:], solution)


def _dimension(components: Components, weights: Float[Array, " K"]) -> int:
    checks.probabilities("weights", weights)
    count, d = jax.eval_shape(components, jax.random.key(0)).shape
    checks.require(
        weights.shape[0] == count, f"there are {count} components, but {weights.shape[0]} weights; give each component one."
    )
    return d


def _check(n: int, noise: float, n_queries: int) -> None:
    checks.nonnegative("n", n)
    checks.positive("noise", noise)
    checks.require(n_queries >= 1, f"n_queries is {n_queries}; a mixture is asked for labels, so ask at least one.")
