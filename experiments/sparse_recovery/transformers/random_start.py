"""The paper's Transformers from a random start, what each of their layers knows; and smaller ones of other shapes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.parts import place_of
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.measuring import path_of, score
from experiments.sparse_recovery.methods import Path
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.transformers.config import FIT, RANDOM, TEST, TRAINING, Config
from experiments.sparse_recovery.transformers.measuring import path_of_bare, solver, task_of
from experiments.sparse_recovery.transformers.networks import Network
from jaxl2o.evaluation.alignment import Observations, alignment, decode, implied, observe, read_outs
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.solvers.first_order import gradient_descent
from jaxl2o.solvers.proximal import fista, ista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.shift import at_length, in_dimensions, random_length
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import metrics
from jaxl2o.types import Params, Prompt, ScalarLike, Task
from jaxl2o.types import queries as asked_at

QUERIES = 32  # of a prompt, where labels are scored
PENALTY = 1e-4  # of the read-outs that are fitted
DESCENT, LASSO = 0.1, 0.05  # the step of gradient descent and the penalty of FISTA, which networks are compared with


def random(config: Config, run: Run, results: Results) -> None:
    """The paper's Transformers from a random start with a curriculum, beside solvers: one seed, and its curve."""
    known = trained_solvers(config, run)
    for start in config.starts:
        one = task_of(config, n_queries=1, n=start.n)
        network = networks.of_the_paper(start.network, config.d, config.depth, one, RANDOM)
        title = start.network if start.n == config.n else f"{start.network}, {start.n} measurements"

        def within(count: ScalarLike, n: int = start.n) -> Task:
            return in_dimensions(task_of(config, count, n_queries=1, n=n), count)

        recipe = networks.from_random(network, within, config, start.steps)
        params = fit(run, title, recipe, network.params, start.steps, jax.random.key(RANDOM))
        losses = np.array([line["loss"] for line in metrics.read(place_of(run, title) / "metrics.jsonl")])
        results[f"random/loss/{title}"] = np.array([part.mean() for part in np.array_split(losses, min(100, len(losses)))])
        asked(config, run, results, title, path_of_bare(network, params), start.n)
        if start.n == config.n:
            probed(config, run, results, title, network, params, known)
            probed(config, run, results, f"{title}, random parameters", network, network.params, known)
    for title in ("LISTA-VM", "in-context ALISTA"):
        asked(config, run, results, title, known[title], max(config.lengths))
    longest = max(config.lengths)
    asked(config, run, results, "minimum norm", lambda prompt: methods.shortest(prompt) @ asked_at(prompt).T, longest)


def trained_solvers(config: Config, run: Run) -> dict[str, Path]:
    """Solvers of as many steps as the networks have layers; two of them trained on prompts of any length."""
    any_length = random_length(task_of(config, n=max(config.lengths)), 1)
    learnable = {
        "LISTA-VM": methods.varying(config.d, config.depth),
        "in-context ALISTA": methods.of_any_length(config.depth),
    }
    solvers: dict[str, Path] = {
        title: path_of(method, solver(config, run, f"{title}, any length", method, any_length, TRAINING[0]))
        for title, method in learnable.items()
    }
    momentum = methods.with_momentum(config.d, config.depth)
    start = solver(config, run, "LISTA-VM with momentum 0", momentum, task_of(config), TRAINING[0])
    return solvers | {
        "LISTA-VM with momentum": path_of(momentum, start),
        "gradient descent": lambda prompt: unroll(gradient_descent(DESCENT), prompt, config.depth),
        "ISTA": lambda prompt: unroll(ista(LASSO), prompt, config.depth),
        "FISTA": lambda prompt: unroll(fista(LASSO), prompt, config.depth),
    }


def asked(config: Config, run: Run, results: Results, title: str, path: Path, longest: int) -> None:
    """What all layers answer at some lengths, and the last at all up to the longest that was trained: errors of labels."""
    with run.stage(f"{title}: answers at every length"):
        for n in (n for n in config.lengths if n <= longest):
            score(results, f"random {n}/{title}", path, task_of(config, n_queries=QUERIES, n=n), config.asked, seed=TEST[0])
        task, count = task_of(config, n_queries=QUERIES, n=longest), config.asked // 4 + 1
        measure = jax.jit(lambda key, length: squared_errors(path, at_length(task, length), key, count))
        found = (measure(jax.random.key(TEST[0]), jnp.asarray(length)) for length in range(longest + 1))
        results[f"random/by length/{title}"] = np.array([float(errors[:, -1].mean() / sizes.mean()) for errors, sizes in found])


def probed(
    config: Config, run: Run, results: Results, title: str, network: Network, params: Params, solvers: dict[str, Path]
) -> None:
    """What every layer of a network that answers with labels knows of the signal, and whose errors its errors are like.

    Twice: decoded from the query's token by a linear read-out, and from what the network's own read-out answers after every
    layer to queries that are the same for all prompts.
    """
    task = task_of(config, n_queries=1)
    queries = jax.random.normal(jax.random.key(FIT), (QUERIES, config.d))

    def path(prompt: Prompt) -> Float[Array, "steps d"]:
        """All solvers' iterates, one solver after another."""
        return jnp.concatenate([path(prompt._replace(x_query=None)) for path in solvers.values()])

    def compare(name: str, estimates: np.ndarray, test: Observations) -> None:
        cosines = alignment(estimates, test.iterates, test.solutions)
        results[f"alignment/{title}/{name} error"] = cosines.error
        for rival, part in zip(solvers, np.array_split(cosines.cosine, len(solvers), axis=1), strict=True):
            results[f"alignment/{title}/{name} {rival}"] = part.astype(np.float32)

    with run.stage(f"what every layer knows: {title}"):
        count = max(1, config.test // 4)
        represent = network.represent(params)
        fitted = observe(represent, lambda prompt: jnp.zeros((1, config.d)), task, jax.random.key(FIT), config.fitted)
        test = observe(represent, path, task, jax.random.key(TEST[0]), count)
        compare("token", decode(read_outs(fitted.features, fitted.solutions, PENALTY), test.features), test)
        answer = implied(partial(network.learner.predict, params), queries)
        answers = observe(answer, path, task, jax.random.key(TEST[0]), count)
        compare("answers", np.asarray(answers.features), answers)


def shapes(config: Config, run: Run, results: Results) -> None:
    """Numbers of heads, and read-outs, at a small size: all from a random start, with the same steps and prompts."""
    one, many = (
        sparse_recovery(exactly(config.small_d, 2), fresh(config.small_d, config.small_d), n_queries=m) for m in (1, QUERIES)
    )
    for title, network in networks.smaller(config, one, RANDOM).items():
        recipe = networks.on_prefixes(network, one, config, config.small_rate, config.small_steps)
        params = fit(run, title, recipe, network.params, config.small_steps, jax.random.key(RANDOM))
        with run.stage(f"shapes: {title}"):
            score(results, f"shapes/{title}", path_of_bare(network, params), many, config.test // 4 + 1, seed=TEST[0])
