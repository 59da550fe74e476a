"""The parts about prompts that training has not seen: other scales, few prompts, other laws; and a sweep of trainings."""

import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import FEW, SWEPT, TEST, Config
from experiments.memformer.measuring import EIGENVALUES, D, integrated, isotropic, kept, score
from experiments.memformer.methods import memories, scalar
from experiments.memformer.parts import GAPS
from jaxl2o.constructions.construction import merge
from jaxl2o.constructions.first_order import gradient_descent_with_momentum, optimal
from jaxl2o.evaluation.sweep import Point, at_once_for, sweep
from jaxl2o.limits.polynomial import limit, loss_of, optimal_momentum, optimal_polynomial
from jaxl2o.limits.wishart import loss_matrix
from jaxl2o.models.experts import Gate, gated, gates_learner, inverse_variance
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.linear_first_order import residual_polynomials
from jaxl2o.solvers.momentum import Steps, scheduled_momentum
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.tasks.shift import with_variance
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, advance, start
from jaxl2o.types import Key, Params, Prompt, design_matrix, queries

FACTOR = 3.0  # of inputs and of solutions, where the gate's equivariance is measured
EXPERTS = (1.0, 2.0, 3.0)  # variances that the paper's experts are trained at
BUDGET = 2**30  # bytes of the sweep


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
    config_, params = merge(experts[0].config, [expert.params for expert in experts])
    learner = gates_learner(config_, experts[0].encoding, params, len(EXPERTS))

    def adapted(point: Point) -> tuple[Array, Array]:
        task = with_variance(integrated(config.n, jnp.eye(D)), point["variance"])
        key_fit, key_fresh = jax.random.split(jax.random.key(FEW))

        def mean_loss(gates: Params, key: Key) -> Array:
            def one(key: Key) -> Array:
                instance = task.sample(key)
                return D * jnp.mean((learner.predict(gates, instance.prompt)[-1] - instance.y_query) ** 2)

            return jnp.mean(jax.vmap(one)(jax.random.split(key, config.fitted)))

        optimizer = optax.adam(1e-2)

        def step(state: tuple[Params, optax.OptState], _: None) -> tuple[tuple[Params, optax.OptState], None]:
            gates, memory = state
            updates, memory = optimizer.update(jax.grad(mean_loss)(gates, key_fit), memory)
            return (gates + updates, memory), None

        gates = jnp.full(len(EXPERTS), 1.0 / len(EXPERTS))
        (gates, _), _ = jax.lax.scan(step, (gates, optimizer.init(gates)), length=config.fits)
        return mean_loss(gates, key_fit), mean_loss(gates, key_fresh)

    def compute() -> tuple[np.ndarray, np.ndarray]:
        return sweep(adapted, {"variance": config.variances}, 1).values

    fitted, fresh = kept(run, "gates", (0.0, 0.0), compute)
    results["variance/of"] = np.array(config.variances)
    results["variance/fitted, same prompts"], results["variance/fitted, fresh prompts"] = np.asarray(fitted), np.asarray(fresh)


def few(config: Config, run: Run, results: Results) -> None:
    """Coefficients that are best on few prompts, exactly, and their loss on those and on all.

    After T steps these methods are the polynomials of degree T, so the least training loss is a quadratic problem.
    """
    matrix = loss_matrix(config.n, EIGENVALUES["isotropic"], config.depth).astype(float)

    def moments(key: Key) -> Float[Array, " k"]:
        """w'H^k w of one prompt, for k = 0..2T."""
        instance = linear_regression(config.n, jnp.eye(D), n_queries=0).sample(key)
        x, vectors = design_matrix(instance.prompt), [instance.solution]
        hessian = x.T @ x / config.n
        for _ in range(2 * config.depth):
            vectors.append(hessian @ vectors[-1])
        return jnp.stack(vectors) @ instance.solution

    @jax.jit
    def fit(key: Key, weights: Float[Array, " B"]) -> tuple[Array, Array]:
        """Training loss and loss at every depth, for a training set of as many prompts as there are weights."""
        means = weights @ jax.vmap(moments)(jax.random.split(key, len(weights)))
        hankel = means[jnp.arange(config.depth + 1)[:, None] + jnp.arange(config.depth + 1)[None]]
        training, on_all = [], []
        for depth in range(1, config.depth + 1):
            column = jnp.linalg.solve(hankel[: depth + 1, : depth + 1], jnp.eye(depth + 1)[0])
            best = column / column[0]
            training.append(1.0 / column[0])
            on_all.append(best @ jnp.asarray(matrix)[: depth + 1, : depth + 1] @ best)
        return jnp.stack(training), jnp.stack(on_all)

    with jax.enable_x64(True):
        for size in config.prompts:
            with run.stage(f"few prompts: {size}"):
                keys = jax.random.split(jax.random.fold_in(jax.random.key(FEW), size), config.repeats)
                found = jax.lax.map(lambda key, size=size: fit(key, jnp.full(size, 1.0 / size)), keys)
            for name, values in zip(("training", "all"), found, strict=True):
                results[f"few/{size}/{name}"] = np.quantile(np.asarray(values), (0.5, 0.025, 0.975), axis=0)
    results["few/sizes"] = np.array(config.prompts)


def laws(config: Config, run: Run, results: Results) -> None:
    """The best coefficients of one length and covariance, on others: exact losses over the others' own limits, in nats."""
    worlds = [(n, condition) for condition in config.conditions for n in config.lengths]
    matrices = [loss_matrix(n, spectrum(condition), config.depth) for n, condition in worlds]
    best = [optimal_polynomial(matrix) for matrix in matrices]
    excess = [[float(p @ matrix @ p / own) for matrix, (own, _) in zip(matrices, best, strict=True)] for _, p in best]
    results["laws/worlds"], results["laws/excess"] = np.array(worlds), np.log(np.array(excess))


def spectrum(condition: int) -> list[float]:
    """D eigenvalues from 1 to 1 / condition, evenly in their logarithm."""
    return list(np.geomspace(1.0, 1.0 / condition, D))


def swept(config: Config, run: Run, results: Results) -> None:
    """Rates, covariances and seeds in one compiled call; and what a model costs, by how many there are."""
    conditions = (1, 2, 4, 8, 16)
    roots = jnp.stack([jnp.diag(jnp.sqrt(jnp.asarray(spectrum(condition)))) for condition in conditions])
    matrices = [loss_matrix(config.n, spectrum(condition), 2) for condition in conditions]
    table = jnp.asarray(np.stack([matrix.astype(float) for matrix in matrices]), dtype=float)
    method = scalar(memories(2)["all gradients"])
    learner = learned(lambda key, prompt: method.start, method.solver)
    axes = {"rate": np.geomspace(1e-3, 1.0, 10), "covariance": range(5), "seed": range(SWEPT, SWEPT + config.swept // 50)}

    def train(point: Point) -> Float[Array, " T"]:
        """The exact losses of coefficients after a short training."""
        task = integrated(config.n, roots[point["covariance"]])
        optimizer = optax.adam(point["rate"])
        recipe = Recipe(learner.predict, lambda step: task, losses.all_steps(), optimizer, config.swept_batch)
        state = start(recipe, method.start, jax.random.key(point["seed"]))
        params = advance(recipe, state, config.swept_steps)[0].params
        return loss_of(residual_polynomials(params), table[point["covariance"]])

    at_once = at_once_for(train, axes, BUDGET)
    with run.stage(f"{config.swept} trainings, {at_once} at once"):
        found = sweep(train, axes, at_once)
    own = np.array([limit(config.n, spectrum(condition), 2)[-1] for condition in conditions])
    results["sweep/rates"], results["sweep/conditions"] = found.axes["rate"], np.array(conditions)
    results["sweep/excess"] = np.log(found.values[..., -1] / own[None, :, None])
    counts = [count for count in (1, 10, 100, 1000, 10_000) if count <= config.swept]
    results["sweep/counts"] = np.array(counts)
    results["sweep/seconds"] = np.array([seconds(train, count) for count in counts])


def seconds(train: Callable[[Point], Array], count: int) -> float:
    """The median of three runs of so many trainings at once, without compiling."""
    points = {
        "rate": jnp.full(count, 1e-2),
        "covariance": jnp.arange(count) % 5,
        "seed": jnp.arange(count),
    }
    run = jax.jit(jax.vmap(train)).lower(points).compile()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(run(points))
        times.append(time.perf_counter() - began)
    return float(np.median(times))
