"""The paper's Transformers from a random start, what each of their layers knows; and smaller ones of other shapes."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import Results, Run
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.measuring import fit, folder_of, path_of, score
from experiments.sparse_recovery.methods import Path
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.transformers.config import FIT, RANDOM, TEST, TRAINING, Config
from experiments.sparse_recovery.transformers.measuring import path_of_bare, solver, task_of
from experiments.sparse_recovery.transformers.networks import Network
from jaxl2o.evaluation.alignment import alignment, decode, observe, read_outs
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.solvers.first_order import gradient_descent
from jaxl2o.solvers.proximal import fista, ista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.shift import at_length, in_dimensions
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import metrics
from jaxl2o.types import Params, ScalarLike, Task

QUERIES = 32  # of a prompt, where labels are scored
PENALTY = 1e-4  # of the read-outs that are fitted
DESCENT, LASSO = 0.1, 0.05  # the step of gradient descent and the penalty of FISTA, which networks are compared with


def random(config: Config, run: Run, results: Results) -> None:
    """The paper's Transformers from a random start with a curriculum: one seed, and its curve."""
    one, many = task_of(config, n_queries=1), task_of(config, n_queries=QUERIES)

    def within(count: ScalarLike) -> Task:
        return in_dimensions(task_of(config, count, n_queries=1), count)

    def score_lengths(title: str, path: Path, task: Task) -> None:
        """The mean error by the number of measurements."""
        measure = jax.jit(lambda key, length: squared_errors(path, at_length(task, length), key, config.test // 4 + 1))
        found = (measure(jax.random.key(TEST[0]), jnp.asarray(length)) for length in range(config.n + 1))
        results[f"random/by length/{title}"] = np.array([float(errors[:, -1].mean() / sizes.mean()) for errors, sizes in found])

    learnable = {
        "LISTA-VM 0": methods.varying(config.d, config.depth),
        "LISTA-VM with momentum 0": methods.with_momentum(config.d, config.depth),
        "in-context ALISTA": methods.in_context(config.depth),
    }
    solvers: dict[str, Path] = {
        title.removesuffix(" 0"): path_of(method, solver(config, run, title, method, task_of(config), TRAINING[0]))
        for title, method in learnable.items()
    }
    solvers |= {
        "gradient descent": lambda prompt: unroll(gradient_descent(DESCENT), prompt, config.depth),
        "ISTA": lambda prompt: unroll(ista(LASSO), prompt, config.depth),
        "FISTA": lambda prompt: unroll(fista(LASSO), prompt, config.depth),
    }
    for title, network in networks.of_the_paper(config, one, RANDOM).items():
        recipe = networks.from_random(network, within, config, config.random_steps)
        params = fit(run, title, recipe, network.params, config.random_steps, RANDOM)
        losses = np.array([line["loss"] for line in metrics.read(folder_of(run, title) / "metrics.jsonl")])
        results[f"random/loss/{title}"] = np.array([part.mean() for part in np.array_split(losses, min(100, len(losses)))])
        with run.stage(f"{title}, tested"):
            score(results, f"random/{title}", path_of_bare(network, params), many, config.test, seed=TEST[0])
            score_lengths(title, path_of_bare(network, params), many)
        probed(config, run, results, title, network, params, solvers)
        probed(config, run, results, f"{title}, random parameters", network, network.params, solvers)
    with run.stage("solvers by the number of measurements"):
        score_lengths("minimum norm", methods.shortest, task_of(config))


def probed(
    config: Config, run: Run, results: Results, title: str, network: Network, params: Params, solvers: dict[str, Path]
) -> None:
    """What every layer of a network that answers with labels knows of the signal, and whose errors its errors are like."""
    task, represent = task_of(config, n_queries=1), network.represent(params)
    with run.stage(f"read-outs of every layer: {title}"):
        seen = observe(represent, lambda prompt: jnp.zeros((1, config.d)), task, jax.random.key(FIT), config.fitted)
        read_out = read_outs(seen.features, seen.solutions, PENALTY)
        for name, path in solvers.items():
            test = observe(represent, path, task, jax.random.key(TEST[0]), max(1, config.test // 4))
            found = alignment(decode(read_out, test.features), test.iterates, test.solutions)
            results[f"alignment/{title}/{name}"] = found.cosine.astype(np.float32)
            results[f"alignment/{title}/error"] = found.error  # the same beside every solver


def shapes(config: Config, run: Run, results: Results) -> None:
    """Numbers of heads, and read-outs, at a small size: all from a random start, with the same steps and prompts."""
    one, many = (
        sparse_recovery(exactly(config.small_d, 2), fresh(config.small_d, config.small_d), n_queries=m) for m in (1, QUERIES)
    )
    for title, network in networks.smaller(config, one, RANDOM).items():
        recipe = networks.on_prefixes(network, one, config, config.small_rate, config.small_steps)
        params = fit(run, title, recipe, network.params, config.small_steps, RANDOM)
        with run.stage(f"shapes: {title}"):
            score(results, f"shapes/{title}", path_of_bare(network, params), many, config.test // 4 + 1, seed=TEST[0])
