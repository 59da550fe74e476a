"""The part about existence: constructed Transformers, gradient EM and EM, on the same prompts."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.mixture.config import EXACT, Config
from experiments.parts import kept
from jaxl2o.constructions.construction import Construction, at_claimed_layers
from jaxl2o.constructions.expectation_maximisation import (
    error_bound,
    expectation_maximisation,
    symmetric_error_bound,
    symmetric_expectation_maximisation,
)
from jaxl2o.constructions.mixture_block import Limits
from jaxl2o.solvers import expectation_maximisation as em
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.mixture import mixture_per_example, near, symmetric, tied, unit_norm
from jaxl2o.types import Prompt, ScalarLike, Solver, Task, design_matrix

WEIGHT, WEIGHTS = 0.7, (0.5, 0.3, 0.2)  # of b, beside -b; of three components
DISTANCE = 0.5  # of starts from the truth
MARGIN = 1.02  # of the limit of iterates over gradient EM's, off which the Transformer's are a little


class Case(NamedTuple):
    """A mixture, and gradient EM for it: as a solver, as a Transformer, and with the Transformer's error bound of one step."""

    task: Task
    em: Solver
    gradient_em: Callable[[ScalarLike, int], Solver]
    construct: Callable[[ScalarLike, int, Limits], Construction]
    bound: Callable[[ScalarLike, int, Limits], ScalarLike]
    prompts: int
    cells: tuple[int, ...]
    steps: int


def two(config: Config, ratio: int) -> Case:
    """b and -b, |b| / sigma = ratio; d = 5, 300 examples."""
    d, noise, steps, inner = 5, 1.0 / ratio, config.em_steps, config.inner_steps
    task = mixture_per_example(300, symmetric(d), jnp.array([WEIGHT, 1.0 - WEIGHT]), noise, start=near(DISTANCE))
    return Case(
        tied(task),
        em.symmetric_em(WEIGHT, noise),
        lambda rate, inner: em.symmetric_gradient_em(WEIGHT, noise, rate, inner),
        lambda rate, cells, limits: symmetric_expectation_maximisation(
            d, WEIGHT, noise, rate, steps, inner, cells, limits, n=300
        ),
        lambda rate, cells, limits: symmetric_error_bound(noise, rate, 1, inner, cells, limits),
        config.prompts,
        config.cells,
        steps,
    )


def three(config: Config) -> Case:
    """Three components of norm one, noise of 0.2; d = 4, 400 examples."""
    d, noise, steps, inner, weights = 4, 0.2, config.general_em_steps, config.inner_steps, jnp.array(WEIGHTS)
    return Case(
        mixture_per_example(400, unit_norm(d, len(WEIGHTS)), weights, noise, start=near(DISTANCE)),
        em.expectation_maximisation(weights, noise),
        lambda rate, inner: em.gradient_em(weights, noise, rate, inner),
        lambda rate, cells, limits: expectation_maximisation(d, weights, noise, rate, steps, inner, cells, limits, n=400),
        lambda rate, cells, limits: error_bound(d, len(WEIGHTS), noise, rate, 1, inner, cells, limits),
        config.general_prompts,
        config.general_cells,
        steps,
    )


def exact(config: Config, run: Run) -> Results:
    """The largest |entry of b_t - gradient EM's| for every width, prompt and step; and of gradient EM against EM."""
    cases = {"two, 1": two(config, 1), "two, 5": two(config, 5), "three": three(config)}
    results: Results = {"exact/inner": np.array(config.inner)}
    with jax.enable_x64(True):
        for title, case in cases.items():
            results |= kept(run, f"constructed, {title}", lambda title=title, case=case: of_case(config, title, case))
    return results


def of_case(config: Config, title: str, case: Case) -> Results:
    """All widths and numbers of descents. Limits and step size are measured, on the prompts and their iterates."""
    prompts = jax.vmap(case.task.sample)(jax.random.split(jax.random.key(EXACT), case.prompts)).prompt._replace(x_query=None)
    rate = rate_of(prompts)
    iterates = {inner: run_of(case.gradient_em(rate, inner), prompts, case.steps) for inner in config.inner}
    target = run_of(case.gradient_em(rate, config.inner_steps), prompts, case.steps)
    exactly = run_of(case.em, prompts, case.steps)
    limits = limits_of(prompts, target)
    found: Results = {
        f"exact/{title}/inner": np.array([np.abs(values - exactly).max() for values in iterates.values()]),
        f"exact/{title}/moved": np.array(np.abs(target[:, -1] - target[:, 0]).max()),
        f"exact/{title}/cells": np.array(case.cells),
        f"exact/{title}/bound": np.array([float(case.bound(rate, cells, limits)) / float(limits.x) for cells in case.cells]),
    }
    for cells in case.cells:
        construction = case.construct(rate, cells, limits)
        answer = jax.jit(jax.vmap(at_claimed_layers(construction), (None, 0)))
        read = np.asarray(answer(construction.params, prompts)).reshape(target.shape)
        found[f"exact/{title}/gap/{cells}"] = np.abs(read - target).reshape(*target.shape[:2], -1).max(axis=2)
    return found


def run_of(solver: Solver, prompts: Prompt, steps: int) -> Float[np.ndarray, "prompts T ..."]:
    """The iterates of every prompt."""
    return np.asarray(jax.jit(jax.vmap(lambda prompt: unroll(solver, prompt, steps)))(prompts))


def rate_of(prompts: Prompt) -> float:
    """1 / |X'X / n|, the least of these prompts: a step size that serves them all."""

    def curvature(prompt: Prompt) -> Float[Array, ""]:
        x = design_matrix(prompt)
        return jnp.linalg.eigvalsh(x.T @ x / prompt.n_used).max()

    return float(1.0 / jax.vmap(curvature)(prompts).max())


def limits_of(prompts: Prompt, iterates: Float[np.ndarray, "prompts T ..."]) -> Limits:
    """What the curves of a Transformer must span for these prompts, whose iterates are known."""
    largest = [
        jnp.linalg.norm(jax.vmap(design_matrix)(prompts), axis=2).max(),
        jnp.abs(prompts.y).max(),
        MARGIN * np.linalg.norm(iterates, axis=-1).max(),
    ]
    return Limits(*map(float, largest))
