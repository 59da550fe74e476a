"""The parts about methods with fixed coefficients: their limits, what training reaches, and exact conjugate gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import Results, Run
from experiments.memformer.config import TEST, TRAINING, Config
from experiments.memformer.measuring import (
    EIGENVALUES,
    ROOTS,
    D,
    isotropic,
    kept,
    recipe_of,
    rotated,
    score,
    trained,
)
from experiments.memformer.methods import at_every_depth, memories, preconditioned, scalar
from jaxl2o.constructions.construction import Construction, gap
from jaxl2o.constructions.first_order import conjugate_gradient, linear_first_order, optimal
from jaxl2o.constructions.learner import constrained_learner
from jaxl2o.limits.krylov import krylov_oracle
from jaxl2o.limits.polynomial import limit, loss_of
from jaxl2o.limits.wishart import loss_matrix
from jaxl2o.solvers.krylov import conjugate_gradient as conjugate_gradient_solver
from jaxl2o.solvers.linear_first_order import momentum_coefficients, residual_polynomials
from jaxl2o.solvers.momentum import Steps
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.training import losses
from jaxl2o.training.loop import advance, start
from jaxl2o.types import Params, Prompt, design_matrix, queries

GAPS = 100  # prompts on which gaps are measured


def exact_losses(coefficients: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The exact loss after 0..T steps of a method with these scalar coefficients, in double precision."""
    with jax.enable_x64(True):
        polynomials = residual_polynomials(jnp.asarray(coefficients, dtype=float))
        return np.asarray(loss_of(polynomials, jnp.asarray(matrix.astype(float))))


def limits(config: Config, run: Run, results: Results) -> None:
    """The least loss of fixed coefficients, that the construction has it, and conjugate gradients on many prompts."""
    for law, eigenvalues in EIGENVALUES.items():
        results[f"limit/{law}"] = limit(config.n, eigenvalues, config.depth)
    with jax.enable_x64(True):
        memory = optimal(config.n, jnp.eye(D), config.depth).params["layers"]["memory"]
        steps = Steps(memory["step_size"][:, 0], memory["decay"][:, 0])
        coefficients = np.asarray(momentum_coefficients(steps))
    found = exact_losses(coefficients, loss_matrix(config.n, EIGENVALUES["isotropic"], config.depth))
    results["gap/limit"] = found - results["limit/isotropic"]
    for law, root in ROOTS.items():
        score(config, run, results, f"{law}/conjugate gradients", partial(conjugate, config.depth), None, root)
    score(config, run, results, "isotropic/Krylov oracle", partial(oracle, config.depth), None, isotropic)
    with run.stage("gaps of exact conjugate gradients"), jax.enable_x64(True):
        construction = conjugate_gradient(jnp.eye(D), 2 * D)
        keys = jax.random.split(jax.random.key(TEST[0]), GAPS)
        results["gap/exact conjugate gradients"] = gaps_of(construction, jax.vmap(construction.sample)(keys))


def gaps_of(construction: Construction, prompts: Prompt) -> np.ndarray:
    """The gaps of a construction on these prompts."""
    return np.asarray(jax.jit(jax.vmap(partial(gap, construction)))(prompts))


def conjugate(depth: int, _: None, prompt: Prompt) -> jax.Array:
    """Answers of conjugate gradients."""
    return unroll(conjugate_gradient_solver(), prompt, depth) @ queries(prompt).T


def oracle(depth: int, _: None, prompt: Prompt) -> jax.Array:
    """Answers of the best points of the Krylov spaces, for isotropic prompts: they know the solution."""
    x = design_matrix(prompt)
    solution = jnp.linalg.solve(x.T @ x, x.T @ prompt.y)
    return krylov_oracle(prompt, solution, jnp.eye(D), depth) @ queries(prompt).T


def descent(config: Config, run: Run, results: Results) -> None:
    """Every memory, with scalars and with free matrices, trained at every depth on fresh prompts; and a Transformer."""
    for law, root in ROOTS.items():
        for title, memory in memories(config.depth).items():
            methods = {f"{title}, preconditioned": preconditioned(memory, D, config.depth)}
            if law == "rotated" or title == "all gradients":
                methods[title] = scalar(memory)
            for name, method in methods.items():
                first, predict = at_every_depth(method, config.depth)
                params = trained(config, run, f"{law}, {name}", lambda _, at=first: at, predict, root, losses.all_steps())
                score(config, run, results, f"{law}/{name}", predict, params, root)
                if name == "all gradients":
                    results[f"exact/{law}"] = exact_of_every_depth(config, np.asarray(params), law)
    network(config, run, results)


def exact_of_every_depth(config: Config, coefficients: np.ndarray, law: str) -> np.ndarray:
    """The exact loss at depth t of the coefficients of depth t, for every seed: (seeds, T)."""
    matrix = loss_matrix(config.n, EIGENVALUES[law], config.depth)
    return np.array([[exact_losses(own, matrix)[t + 1] for t, own in enumerate(seed)] for seed in coefficients])


def network(config: Config, run: Run, results: Results) -> None:
    """The Transformer itself, with the memory of all gradients, whose coefficients are trained; asked after every layer."""
    plain = jnp.broadcast_to(jnp.eye(D), (config.depth, D, D))
    learner = constrained_learner(lambda theta: linear_first_order(theta, plain), lambda key, prompt: None)
    first = memories(config.depth)["all gradients"].start

    def compute() -> Params:
        task = linear_regression(config.n, jnp.eye(D))
        recipe = recipe_of(config, learner.predict, task, losses.all_steps(), config.network_batch)
        train = jax.jit(advance, static_argnums=(0, 2))
        return train(recipe, start(recipe, first, jax.random.key(TRAINING[0])), config.steps)[0].params

    theta = kept(run, "Transformer with the memory of all gradients", first, compute)
    matrix = loss_matrix(config.n, EIGENVALUES["isotropic"], config.depth)
    results["network/coefficients"] = np.asarray(theta)
    results["network/exact loss"] = exact_losses(np.asarray(theta), matrix)
    with jax.enable_x64(True):
        wide = jnp.asarray(np.asarray(theta), dtype=float)
        construction = linear_first_order(wide, jnp.broadcast_to(jnp.eye(D), (config.depth, D, D)))
        prompts = jax.vmap(construction.sample)(jax.random.split(jax.random.key(TEST[0]), GAPS))
        results["gap/trained network"] = gaps_of(construction, prompts)


def exact(config: Config, run: Run, results: Results) -> None:
    """Exact conjugate gradients with one learned preconditioner, where inputs are not isotropic; and with the given one."""

    def predict(factor: Params, prompt: Prompt) -> jax.Array:
        return unroll(conjugate_gradient_solver(factor @ factor.T), prompt, config.depth) @ queries(prompt).T

    params = trained(config, run, "preconditioner", lambda _: jnp.eye(D), predict, rotated, losses.log_relative(1e-6))
    score(config, run, results, "rotated/conjugate gradients, preconditioner learned", predict, params, rotated)
    key = "rotated/conjugate gradients, preconditioner given"
    given = jnp.stack([jnp.linalg.inv(rotated(seed)).T for seed in TRAINING[: config.seeds]])
    score(config, run, results, key, predict, given, rotated)
