"""Signals with more structure than sparsity, and noise: those that are told, and those that must find it by their training."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.measuring import classical, path_of, score
from experiments.sparse_recovery.methods import Method
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.transformers.config import TEST, TRAINING, Config
from experiments.sparse_recovery.transformers.measuring import answers, solver, task_of
from jaxl2o.solvers.proximal import block_ista, fista
from jaxl2o.solvers.varying import known_support
from jaxl2o.solvers.wrappers import safeguarded, seen_through
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.sparse import blocks, exactly, fresh, sparse_recovery
from jaxl2o.types import ScalarLike, Solver, design_matrix

CLASSICAL_STEPS = 400
Inside = Bool[Array, " d"]


def support(config: Config, run: Run, results: Results) -> None:
    """Signals that live in the first coordinates: some are told so, the Transformer is not."""
    plain, momentum = methods.varying(config.d, config.depth), methods.with_momentum(config.d, config.depth)
    start = solver(config, run, "LISTA-VM with momentum 0", momentum, task_of(config), TRAINING[0])
    network = networks.filled(methods.momentum_layers(start), config.n)
    for size in config.supports:
        task, inside = task_of(config, size), jnp.arange(config.d) < size
        learnable = {"LISTA-VM, told": told(plain, inside), "LISTA-VM": plain}
        paths = {
            title: path_of(method, solver(config, run, f"{title}, first {size}", method, task, TRAINING[0]))
            for title, method in learnable.items()
        }
        recipe = networks.from_theorem(network, task, config, config.support_steps)
        title, key = f"Transformer, first {size}", jax.random.key(TRAINING[0])
        params = fit(run, title, recipe, network.params, config.support_steps, key)
        paths["Transformer, filled"] = answers(network, network.params)
        paths["Transformer"] = answers(network, params)
        paths["FISTA, told"] = classical(partial(within, inside), task, CLASSICAL_STEPS, config.test // 10 + 1)
        paths["FISTA"] = classical(fista, task, CLASSICAL_STEPS, config.test // 10 + 1)
        for title, path in paths.items():
            with run.stage(f"first {size} coordinates: {title}"):
                score(results, f"support {size}/{title}", path, task, config.test, seed=TEST[0])


def told(method: Method, inside: Inside) -> Method:
    """LISTA-VM whose iterates stay where the signal lives."""
    return replace(method, solver=lambda params: safeguarded(methods.bare_varying(known_support(params, inside))))


def within(inside: Inside, penalty: ScalarLike) -> Solver:
    """FISTA that is told where the signal lives: the other columns of X are zero."""
    return seen_through(fista(penalty), lambda prompt: prompt._replace(x=jnp.where(inside, design_matrix(prompt), 0.0)))


def structure(config: Config, run: Run, results: Results) -> None:
    """Signals of one block of four, and labels with noise: solvers, and a Transformer, filled with one and trained on."""
    d, n = config.d, config.n
    order = jax.random.permutation(jax.random.key(TRAINING[0]), d)  # hides the partition
    law, exact = fresh(n, d), exactly(d, config.sparsity)
    tasks = {
        "blocks": sparse_recovery(blocks(d, 4, 1, order), law, n_queries=0),
        "noise": sparse_recovery(exact, law, gaussian_noise(config.noise), n_queries=0),
    }
    for name, task in tasks.items():
        learnable = {
            "LISTA-VM": methods.varying(d, config.depth),
            "LISTA-VM with momentum": methods.with_momentum(d, config.depth),
        }
        trained = {
            title: solver(config, run, f"{title}, {name}", method, task, TRAINING[0]) for title, method in learnable.items()
        }
        paths = {title: path_of(learnable[title], params) for title, params in trained.items()}
        network = networks.filled(methods.momentum_layers(trained["LISTA-VM with momentum"]), n)
        recipe = networks.from_theorem(network, task, config, config.support_steps)
        params = fit(run, f"Transformer, {name}", recipe, network.params, config.support_steps, jax.random.key(TRAINING[0]))
        paths["Transformer, filled"] = answers(network, network.params)
        paths["Transformer"] = answers(network, params)
        few = config.test // 10 + 1
        paths["FISTA"] = classical(fista, task, CLASSICAL_STEPS, few)
        if name == "blocks":
            paths["block ISTA, told"] = classical(lambda p: block_ista(p, order // 4), task, CLASSICAL_STEPS, few)
        for title, path in paths.items():
            with run.stage(f"{name}: {title}"):
                score(results, f"structure/{name}/{title}", path, task, config.test, seed=TEST[0])
