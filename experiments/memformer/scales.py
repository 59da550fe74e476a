"""The part about prompts of other scales: a gate that reads the scale off the inputs, and gates that are fitted to labels."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.common import Results, Run
from experiments.memformer.config import FEW, TEST, Config
from experiments.memformer.measuring import D, adapted, integrated, isotropic, kept, score
from experiments.memformer.parts import GAPS
from jaxl2o.constructions.construction import merge
from jaxl2o.constructions.first_order import gradient_descent_with_momentum, optimal
from jaxl2o.evaluation.grid import Point
from jaxl2o.evaluation.sweep import sweep
from jaxl2o.limits.polynomial import optimal_momentum
from jaxl2o.models.experts import Gate, gated, gates_learner, inverse_variance
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers.momentum import Steps, scheduled_momentum
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.tasks.shift import with_variance
from jaxl2o.types import Key, Params, Prompt, queries

FACTOR = 3.0  # of inputs and of solutions, where the gate's equivariance is measured
FRESH = 100  # times as many fresh prompts as labelled ones, since the tails are heavy
EXPERTS = (1.0, 2.0, 3.0)  # variances that the paper's experts are trained at


def variance(config: Config, run: Run, results: Results) -> None:
    """The best method with fixed coefficients at variance one, with a gate that reads the variance off the inputs."""
    steps = Steps(*map(jnp.asarray, optimal_momentum(config.n, D, config.depth)))
    gate = inverse_variance(float(D))
    predict = partial(by_gate, gate, steps, config.depth)
    score(config, run, results, "isotropic/gated by the inputs", predict, None, isotropic)
    with run.stage("equivariance of the gate"), jax.enable_x64(True):
        construction = optimal(config.n, jnp.eye(D), config.depth)
        construction = construction._replace(encoding=gated(construction.encoding, inverse_variance(float(D))))
        answer = jax.jit(jax.vmap(transformer_learner(construction.config, construction.encoding).predict, (None, 0)))
        task, keys = linear_regression(config.n, jnp.eye(D)), jax.random.split(jax.random.key(TEST[0]), GAPS)
        both = (jax.vmap(law.sample)(keys).prompt for law in (task, with_variance(task, FACTOR**2)))
        plain, other = (np.asarray(answer(construction.params, prompts)) for prompts in both)
        results["gap/gate"] = np.abs(other / FACTOR**2 - plain).max(axis=(1, 2)) / (1.0 + np.abs(plain).max(axis=(1, 2)))
    fitted_gates(config, run, results, steps)


def by_gate(gate: Gate, steps: Steps, depth: int, _: None, prompt: Prompt) -> Array:
    """Answers of momentum whose every step is multiplied by the gate."""
    own = steps._replace(step_size=gate(prompt) * steps.step_size)
    return unroll(scheduled_momentum(own), prompt, depth) @ queries(prompt).T


def fitted_gates(config: Config, run: Run, results: Results, steps: Steps) -> None:
    """The paper's adaptation: three experts, best at their own variances; gates fitted on labelled prompts of the test's law.

    Their loss is measured on those same prompts, as published, and on fresh ones.
    """
    experts = [gradient_descent_with_momentum(steps._replace(step_size=steps.step_size / v), jnp.eye(D)) for v in EXPERTS]
    shape, params = merge(experts[0].config, [expert.params for expert in experts])
    learner = gates_learner(shape, experts[0].encoding, params, len(EXPERTS))

    def losses_at(point: Point) -> tuple[Array, Array]:
        task = with_variance(integrated(config.n, jnp.eye(D)), point["variance"])
        key_fit, key_fresh = jax.random.split(jax.random.key(FEW))

        def mean_loss(gates: Params, key: Key) -> Array:
            def one(key: Key) -> Array:
                instance = task.sample(key)
                return D * jnp.mean((learner.predict(gates, instance.prompt)[-1] - instance.y_query) ** 2)

            return jnp.mean(jax.vmap(one)(jax.random.split(key, config.fitted)))

        first = jnp.full(len(EXPERTS), 1.0 / len(EXPERTS))
        gates = adapted(lambda gates: mean_loss(gates, key_fit), first, 1e-2, config.fits)
        fresh = jax.lax.map(lambda key: mean_loss(gates, key), jax.random.split(key_fresh, FRESH))
        return mean_loss(gates, key_fit), jnp.mean(fresh)

    def compute() -> tuple[np.ndarray, np.ndarray]:
        return sweep(losses_at, {"variance": config.variances}, 1).values

    fitted, fresh = kept(run, "gates", (0.0, 0.0), compute)
    results["variance/of"] = np.array(config.variances)
    results["variance/fitted, same prompts"], results["variance/fitted, fresh prompts"] = np.asarray(fitted), np.asarray(fresh)
