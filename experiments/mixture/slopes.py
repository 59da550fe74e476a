"""The part about rates: how EM's error falls with the number of examples, and its steps to convergence, at every noise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from experiments.common import Results, Run
from experiments.mixture.config import SLOPES, Config
from experiments.mixture.exact import limits_of, rate_of, run_of
from experiments.mixture.measuring import summary
from experiments.parts import kept
from jaxl2o.constructions.construction import at_claimed_layers
from jaxl2o.constructions.expectation_maximisation import symmetric_expectation_maximisation
from jaxl2o.solvers.expectation_maximisation import symmetric_em, symmetric_gradient_em
from jaxl2o.solvers.unroll import solve
from jaxl2o.tasks.mixture import mixture_per_example, near, symmetric, tied
from jaxl2o.types import Instance, Key, Prompt

D, WEIGHT = 8, 0.5  # features; the weight of b and of -b, known
DISTANCE = 0.25  # of starts from the truth
CONVERGED = 1e-5  # |grad| of what a step of EM minimises; for inputs from N(0, I) about the length of the step
CHUNK = 20  # prompts that run at one time, until all of them have converged
CELLS, STEPS, INNER = 300, 25, 5  # of the Transformer


def slopes(config: Config, run: Run) -> Results:
    """|b - b*| of every prompt, and EM's steps; the constructed Transformer on the first of the same prompts."""
    results: Results = {"slopes/lengths": np.array(config.slope_lengths), "slopes/ratios": np.array(config.slope_ratios)}
    for ratio in config.slope_ratios:
        results |= kept(run, f"slopes, ratio {ratio:g}", lambda ratio=ratio: of_ratio(config, ratio))
    for ratio in config.network_ratios:
        for n in config.network_lengths:
            title = f"Transformer, ratio {ratio:g}, {n} examples"
            results |= kept(run, title, lambda ratio=ratio, n=n: of_network(config, ratio, n))
    return results


def draw(n: int, ratio: float, key: Key) -> Instance:
    """b and -b with |b| / sigma = ratio, asked for b, with a start nearby."""
    weights = jnp.array([WEIGHT, 1.0 - WEIGHT])
    return tied(mixture_per_example(n, symmetric(D), weights, 1.0 / ratio, start=near(DISTANCE))).sample(key)


def keys_of(config: Config, ratio: float, n: int) -> Array:
    """Of the prompts of this ratio and length."""
    own = jax.random.fold_in(jax.random.key(SLOPES), config.slope_ratios.index(ratio))
    return jax.random.split(jax.random.fold_in(own, n), config.slope_repeats)


def of_ratio(config: Config, ratio: float) -> Results:
    """Errors (lengths, prompts), and of every length the summary of steps and the share of prompts that did not converge."""
    errors, steps, unfinished = [], [], []
    with jax.enable_x64(True):
        for n in config.slope_lengths:
            measure = partial(by_em, n, ratio, config.slope_steps)
            run = jax.jit(lambda keys, one=measure: jax.lax.map(one, keys, batch_size=CHUNK))
            error, taken = jax.tree.map(np.asarray, run(keys_of(config, ratio, n)))
            errors.append(error)
            steps.append(summary(taken))
            unfinished.append(np.mean(taken >= config.slope_steps))
    key = f"slopes/{ratio:g}"
    return {
        f"{key}/errors": np.stack(errors).astype(np.float32),
        f"{key}/steps": np.stack(steps),
        f"{key}/unfinished": np.array(unfinished),
    }


def by_em(n: int, ratio: float, most: int, key: Key) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """|b - b*| of EM where it has converged, and the steps that it took."""
    instance, solver = draw(n, ratio, key), symmetric_em(WEIGHT, 1.0 / ratio)

    def until(b: Float[Array, " d"], prompt: Prompt) -> Bool[Array, ""]:
        assert solver.residual is not None
        return jnp.linalg.norm(solver.residual(b, prompt)) <= CONVERGED

    found, taken = solve(solver, instance.prompt, until, most)
    return jnp.linalg.norm(found - instance.solution), taken


def of_network(config: Config, ratio: float, n: int) -> Results:
    """|b - b*| of the Transformer after its last step, and how far it is from gradient EM at any step, in double precision."""
    with jax.enable_x64(True):
        instances = jax.vmap(partial(draw, n, ratio))(keys_of(config, ratio, n)[: config.network_repeats])
        prompts, noise = instances.prompt._replace(x_query=None), 1.0 / ratio
        rate = rate_of(prompts)
        target = run_of(symmetric_gradient_em(WEIGHT, noise, rate, INNER), prompts, STEPS)
        limits = limits_of(prompts, target)
        construction = symmetric_expectation_maximisation(D, WEIGHT, noise, rate, STEPS, INNER, CELLS, limits, n=n)
        answer = at_claimed_layers(construction)
        run = jax.jit(lambda params, prompts: jax.lax.map(partial(answer, params), prompts))
        read = np.asarray(run(construction.params, prompts))
        key = f"slopes/network/{ratio:g}/{n}"
        errors = np.linalg.norm(read[:, -1] - np.asarray(instances.solution), axis=1)
        return {f"{key}/errors": errors, f"{key}/gap": np.linalg.norm(read - target, axis=2).max(axis=1)}
