"""The parts of the experiment: each trains what it needs, and adds its errors to the results."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import Results, Run
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.bound import checks
from experiments.sparse_recovery.config import SEEDS, Config
from experiments.sparse_recovery.in_context import halting, in_branches
from experiments.sparse_recovery.measuring import (
    classical,
    converged_lasso,
    gaps_at,
    path_of,
    score,
    task_of,
    train,
    train_by_stages,
)
from experiments.sparse_recovery.methods import Method
from jaxl2o.constructions.in_context import in_context_alista
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.limits.bayes_sparse import exactly_sparse
from jaxl2o.solvers.greedy import omp
from jaxl2o.solvers.in_context import from_logarithms
from jaxl2o.solvers.proximal import block_ista, fista, ista
from jaxl2o.solvers.pseudo_inverse import relative_ridge, ridge_inverse
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.wrappers import safeguarded, with_matrix
from jaxl2o.tasks import covariates
from jaxl2o.tasks.shift import among, at_length, random_length
from jaxl2o.tasks.sparse import blocks, exactly, fixed, fresh, pooled, sparse_recovery
from jaxl2o.types import Params

DRAWS = 5  # matrices of LISTA-CP
RATES = (1e-2, 1e-3)  # of the solvers for one matrix, where matrices change
FACTORS = (0.1, 0.3, 3.0, 10.0)
CONDITIONS = (1.0, 10.0, 100.0, 1e3, 1e4)
CORRELATIONS = (0.3, 0.6, 0.9)
SPARSITIES = (1, 2, 4, 5, 6, 8)
LENGTHS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
BAYES_SIGNALS = 200  # each of whose prompts sums over all supports


def fresh_matrices(config: Config, run: Run, results: Results) -> dict[str, tuple[Method, Params]]:
    """The main table: n measurements, no noise, a new matrix for every signal."""
    task = task_of(config)
    d, n, depth = config.d, config.n, config.depth
    learnable = {
        "LISTA-VM": methods.varying(d, depth),
        "LISTA-VM, M = c I": methods.varying_by_scalars(d, depth),
        "LISTA-VM with momentum": methods.with_momentum(d, depth),
        "Ada-LISTA": methods.ada(n, depth),
        "in-context ALISTA": methods.in_context(depth),
        "in-context ALISTA, without D": methods.without_leverages(depth),
        f"in-context ALISTA, {config.deeper} steps": methods.in_context(config.deeper),
        f"in-context ALISTA, {2 * depth} steps": methods.in_context(2 * depth),
        "TISTA, prior known": methods.tista_known(d, n, config.sparsity, depth, 0.0),
    }
    trained = {title: (method, train(config, run, title, method, task)) for title, method in learnable.items()}
    staged = learnable["LISTA-VM"]
    trained["LISTA-VM, stage by stage"] = staged, train_by_stages(config, run, "LISTA-VM, stage by stage", staged, task)
    paths = {title: path_of(method, params) for title, (method, params) in trained.items()}
    bare = trained["LISTA-VM"][1]
    paths["LISTA-VM, no safeguard"] = lambda prompt: unroll(methods.bare_varying(bare), prompt, depth)
    paths["in-context ALISTA, branches"] = in_branches(config, trained["in-context ALISTA"][1])
    paths["OMP, sparsity known"] = lambda prompt: unroll(omp(), prompt, config.sparsity)
    with run.stage("penalties of the classical solvers"):
        for title, make, n_steps in (
            ("ISTA", ista, depth),
            ("FISTA", fista, depth),
            (f"ISTA, {config.fista_steps} steps", ista, config.fista_steps),
            (f"FISTA, {config.fista_steps} steps", fista, config.fista_steps),
        ):
            paths[title] = classical(make, task, n_steps, config.validation)
        paths["Lasso, converged"] = converged_lasso(task, config.validation)
    paths["minimum norm"] = methods.shortest
    for title, path in paths.items():
        with run.stage(f"fresh matrices: {title}"):
            # a while-loop goes on until the slowest signal of its group is done
            score(results, f"fresh/{title}", path, task, config.shifted if "Lasso" in title else config.test)
    deepest = f"in-context ALISTA, {2 * depth} steps"
    halting(config, run, results, deepest, *trained[deepest])
    with run.stage("in-context ALISTA as a Transformer"):
        layers = from_logarithms(trained["in-context ALISTA, without D"][1])
        results["gap"] = gaps_at(partial(in_context_alista, d=config.d, newton_schulz_steps=20), layers, task)
    return trained


def other_laws(config: Config, run: Run, trained: dict[str, tuple[Method, Params]], results: Results) -> None:
    """The same parameters on laws that they were not trained on."""
    plain = covariates.isotropic()
    shifts = {
        "as trained": task_of(config),
        **{f"scaled by {factor:g}": task_of(config, covariates.scaled(factor, plain)) for factor in FACTORS},
        **{f"condition {c:g}": task_of(config, covariates.conditioned(c)) for c in CONDITIONS},
        **{f"correlated {r:g}": task_of(config, covariates.column_correlated(r)) for r in CORRELATIONS},
        "random signs": task_of(config, covariates.rademacher()),
        "heavy tails": task_of(config, covariates.heavy_tailed(3.0)),
        **{f"{s} non-zero": task_of(config, sparsity=s) for s in SPARSITIES if s <= config.d},
    }
    paths = {title: path_of(*trained[title]) for title in ("LISTA-VM", "LISTA-VM with momentum", "in-context ALISTA")}
    paths["in-context ALISTA, branches"] = in_branches(config, trained["in-context ALISTA"][1])
    for law, task in shifts.items():
        with run.stage(f"shifted: {law}"):
            for title, path in paths.items():
                score(results, f"shift/{law}/{title}", path, task, config.shifted)


def one_matrix(config: Config, run: Run, results: Results) -> None:
    """Solvers for one matrix, trained on it, on a pool of them, or on fresh ones: tested on their own and on unseen ones.

    Where matrices change, they wear the safeguard and begin with weights a tenth as large: those of one explode on others.
    """
    unseen = task_of(config)
    signal = exactly(config.d, config.sparsity)
    keys = jax.random.split(jax.random.key(SEEDS[0]), max(config.pool, DRAWS))
    matrices = jax.vmap(lambda key: jax.random.normal(key, (config.n, config.d)))(keys)
    pool = sparse_recovery(signal, pooled(matrices[: config.pool]), n_queries=0)
    pool = among(pool, config.pool * config.each, jax.random.key(SEEDS[0]))
    for title, make in methods.FOR_ONE.items():
        for draw in range(DRAWS if title == "LISTA-CP" else 1):
            matrix = matrices[draw]
            own, method = sparse_recovery(signal, fixed(matrix), n_queries=0), make(matrix, config.depth)
            shared = replace(
                method, solver=lambda params, method=method, matrix=matrix: with_matrix(method.solver(params), matrix)
            )
            params = train(config, run, f"{title}, matrix {draw}", shared, own)
            with run.stage(f"{title}, matrix {draw}"):
                score(results, f"one/{title}, own {draw}", path_of(shared, params), own, config.shifted)
                score(results, f"one/{title}, unseen {draw}", path_of(method, params), unseen, config.shifted)
        for name, task in (("pool", pool), ("fresh", unseen)):
            small = make(10.0 * matrices[0], config.depth)
            for rate in RATES:
                trained = f"{title}, trained on {name} at {rate:g}"
                method = replace(small, rate=rate, solver=lambda params, small=small: safeguarded(small.solver(params)))
                params = train(config, run, trained, method, task)
                with run.stage(trained):
                    score(results, f"one/{trained}", path_of(method, params), unseen, config.shifted)


def any_length(config: Config, run: Run, results: Results) -> None:
    """One parameter set for every number of measurements, trained on random ones; FISTA's penalty is tuned at the usual one.

    Of every length: mean and median error; and mean and standard error of what a method's error has over that of the Bayes
    estimate, on the signals that both have.
    """
    longest, farthest = task_of(config, n=config.longest), task_of(config, n=2 * config.longest)
    task = random_length(longest, 1)
    learnable = {"LISTA-VM": methods.varying(config.d, config.depth), "in-context ALISTA": methods.of_any_length(config.depth)}
    trained = {title: train(config, run, f"any length, {title}", method, task) for title, method in learnable.items()}
    paths = {title: path_of(learnable[title], params) for title, params in trained.items()}
    paths["in-context ALISTA, branches"] = in_branches(config, trained["in-context ALISTA"], relative_ridge(methods.RIDGE))
    paths["FISTA"] = classical(fista, at_length(longest, config.n), config.fista_steps, config.validation)
    paths["minimum norm"] = methods.shortest
    bayes = exactly_sparse(config.d, config.sparsity, 0.0)
    paths = {"Bayes": lambda prompt: bayes(prompt)[None], **paths}
    lengths = [length for length in LENGTHS if length <= 2 * config.longest]
    results["length/lengths"] = np.array(lengths)
    few, least = min(config.shifted, BAYES_SIGNALS), {}
    for title, path in paths.items():
        with run.stage(f"any length: {title}"):
            count = few if title == "Bayes" else config.shifted
            measure = jax.jit(
                lambda key, length, path=path, count=count: squared_errors(path, at_length(farthest, length), key, count, 500)
            )
            rows = []
            for length in lengths:
                errors, sizes = (np.asarray(found) for found in measure(jax.random.key(SEEDS[4]), jnp.asarray(length)))
                last = errors[:, -1] / sizes.mean()
                excess = last[:few] - least.setdefault(length, last)  # the first signals are the same for any count
                rows.append([last.mean(), np.median(last), excess.mean(), excess.std() / np.sqrt(few)])
            results[f"length/{title}"] = np.array(rows)


def noisy(config: Config, run: Run, results: Results) -> None:
    """With noise in the labels there is a limit: the posterior mean, which sums over all supports."""
    task = task_of(config, noise=config.noise)
    learnable = {
        "LISTA-VM": methods.varying(config.d, config.depth),
        "in-context ALISTA, ridge": methods.in_context_with_noise(config.depth, config.noise),
        "TISTA, prior known": methods.tista_known(config.d, config.n, config.sparsity, config.depth, config.noise),
    }
    trained = {title: train(config, run, f"noise, {title}", method, task) for title, method in learnable.items()}
    paths = {title: path_of(learnable[title], params) for title, params in trained.items()}
    ridge = ridge_inverse(config.noise**2)
    paths["in-context ALISTA, ridge, branches"] = in_branches(config, trained["in-context ALISTA, ridge"], ridge)
    paths["FISTA"] = classical(fista, task, config.fista_steps, config.validation)
    paths["Lasso, converged"] = converged_lasso(task, config.validation)
    bayes = exactly_sparse(config.d, config.sparsity, config.noise)
    paths["Bayes"] = lambda prompt: bayes(prompt)[None]
    for title, path in paths.items():
        with run.stage(f"noise: {title}"):
            score(results, f"noise/{title}", path, task, config.shifted, SEEDS[5])


def block_signals(config: Config, run: Run, results: Results) -> None:
    """Signals of one block of four, of a hidden partition: block ISTA, which is told it, beside those that are not."""
    order = jax.random.permutation(jax.random.key(SEEDS[0]), config.d)
    task = sparse_recovery(blocks(config.d, 4, 1, order), fresh(config.n, config.d), n_queries=0)
    partition = order // 4
    method = methods.varying(config.d, config.depth)
    paths = {
        "ISTA": classical(ista, task, config.fista_steps, config.validation),
        "block ISTA": classical(lambda penalty: block_ista(penalty, partition), task, config.fista_steps, config.validation),
        "LISTA-VM": path_of(method, train(config, run, "hidden blocks, LISTA-VM", method, task)),
    }
    for title, path in paths.items():
        with run.stage(f"blocks: {title}"):
            score(results, f"blocks/{title}", path, task, config.shifted, SEEDS[6])


def bound(config: Config, run: Run, results: Results) -> None:
    """Instances of the derived bound in float64, half of them with a support that is known to be in the first half."""
    count = -(-config.checked // (2 * len(config.instances)))
    for n in config.instances:
        for q in (config.d, config.d // 2):
            with run.stage(f"the bound: n = {n}, {q} coordinates"), jax.enable_x64(True):
                key = jax.random.fold_in(jax.random.key(SEEDS[7]), n)
                found = checks(key, count, n, config.d, config.sparsity, config.depth, q)
            results[f"bound/{n}/{q}/errors"] = np.asarray(found.errors).max(axis=0)
            for name in ("rate", "broken", "false_positive"):
                results[f"bound/{n}/{q}/{name}"] = np.asarray(getattr(found, name)).astype(np.float32)
