"""The parts of the experiment: each trains what it needs, and adds its errors to the results."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from experiments.common import Results, Run
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.measuring import classical, fit, folder_of, gaps_at, path_of, recipe_of, score
from experiments.sparse_recovery.methods import Method, Path
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.transformers.config import FIT, LONGER, RANDOM, TEST, TRAINING, Config
from experiments.sparse_recovery.transformers.networks import Network
from jaxl2o.evaluation.alignment import alignment, decode, observe, read_outs
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.solvers.proximal import fista, ista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import known_support
from jaxl2o.solvers.wrappers import safeguarded, seen_through
from jaxl2o.tasks.shift import at_length
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import metrics
from jaxl2o.training.accounting import steps_in_the_time_of
from jaxl2o.types import Params, ScalarLike, Solver, Task, design_matrix

GENTLER = 3.0  # by what a solver's rate is divided where it is trained on
QUERIES = 32  # of a prompt, where labels are scored
PENALTY = 1e-4  # of the read-outs that are fitted
CLASSICAL_STEPS = 400
EXACT_BOUND = 1e4  # mask constant above every score that the clip allows
Inside = Bool[Array, " d"]


def task_of(config: Config, support: int = 0, n_queries: int = 0) -> Task:
    """Fresh Gaussian matrices without noise; signals live in the first `support` coordinates, 0: in all."""
    inside = jnp.arange(config.d) < (support or config.d)
    return sparse_recovery(exactly(config.d, config.sparsity, inside), fresh(config.n, config.d), n_queries=n_queries)


def solver(config: Config, run: Run, title: str, method: Method, task: Task, seed: int) -> Params:
    """The parameters of a solver after its training."""
    recipe = recipe_of(method, task, config.solver_batch, config.solver_steps)
    return fit(run, title, recipe, method.start, config.solver_steps, seed)


def theorem(config: Config, run: Run, results: Results) -> None:
    """A Transformer filled with a trained solver is trained on; so are solvers, for the same time."""
    task = task_of(config)
    plain, momentum = methods.varying(config.d, config.depth), methods.with_momentum(config.d, config.depth)
    steps = []
    for number, seed in enumerate(TRAINING[: config.repetitions]):
        starts = {
            title: (method, solver(config, run, f"{title} {number}", method, task, seed))
            for title, method in {"LISTA-VM": plain, "LISTA-VM with momentum": momentum}.items()
        }
        network, params = transformer(config, run, number, starts["LISTA-VM with momentum"][1], task, seed)
        paths: dict[str, Path] = {title: path_of(*pair) for title, pair in starts.items()}
        folder = folder_of(run, f"Transformer {number}")
        for title, (method, begun) in starts.items():
            longer = steps_in_the_time_of(folder, folder_of(run, f"{title} {number}"))
            recipe = recipe_of(method, task, config.solver_batch, longer, GENTLER)
            trained = fit(run, f"{title} {number} trained on", recipe, begun, longer, LONGER[number])
            paths[f"{title}, trained on"] = path_of(method, trained)
            steps.append(longer)
            if method is plain:
                paths[f"{title}, trained on, no safeguard"] = bare(trained, config.depth)
        paths["Transformer, filled"] = answers(network, network.params)
        paths["Transformer"] = answers(network, params)
        paths["Transformer, no safeguard"] = path_of_bare(network, params)
        for title, path in paths.items():
            with run.stage(f"theorem {number}: {title}"):
                # every repetition has test signals of its own, the same for all methods
                score(results, f"theorem {number}/{title}", path, task, config.test, seed=TEST[number])
        if number == 0:
            layers = methods.momentum_layers(starts["LISTA-VM with momentum"][1])
            results["gap"] = gaps_at(partial(networks.theorem, n=config.n, bound=EXACT_BOUND), layers, task)
            repeated(config, run, results, task, network, params, starts)
            solvers = {title: paths[title] for title in ("LISTA-VM", "LISTA-VM with momentum")}
            for title in ("Transformer, filled", "Transformer"):
                aligned(config, run, results, title, paths[title], solvers)
    results["theorem/solver steps"] = np.array(steps)


def transformer(config: Config, run: Run, number: int, params: Params, task: Task, seed: int) -> tuple[Network, Params]:
    """The Transformer that the theorem fills with LISTA-VM with momentum, and its parameters after training."""
    network = networks.filled(methods.momentum_layers(params), config.n)
    recipe = networks.from_theorem(network, task, config, config.steps)
    return network, fit(run, f"Transformer {number}", recipe, network.params, config.steps, seed)


def answers(network: Network, params: Params) -> Path:
    """The Transformer's iterates, under the safeguard."""
    predict = networks.guarded_answers(network)
    return lambda prompt: predict(params, prompt)


def path_of_bare(network: Network, params: Params) -> Path:
    """The Transformer's iterates as they are."""
    return lambda prompt: network.learner.predict(params, prompt)


def bare(params: Params, depth: int) -> Path:
    """LISTA-VM's iterates as they are."""
    return lambda prompt: unroll(methods.bare_varying(params), prompt, depth)


def repeated(
    config: Config,
    run: Run,
    results: Results,
    task: Task,
    network: Network,
    params: Params,
    starts: dict[str, tuple[Method, Params]],
) -> None:
    """What happens beyond the depth that was trained, where the last layer goes on."""
    extra = config.depth
    paths = {title: path_of(method, networks.repeat_last(trained, extra)) for title, (method, trained) in starts.items()}
    paths["Transformer"] = answers(*networks.deeper(network, params, extra))
    for title, path in paths.items():
        with run.stage(f"the last layer repeated: {title}"):
            score(results, f"repeated/{title}", path, task, config.test, seed=TEST[0])


def aligned(config: Config, run: Run, results: Results, title: str, estimates: Path, solvers: dict[str, Path]) -> None:
    """Whose errors the errors of a network's own iterates are like."""
    with run.stage(f"alignment: {title}"):
        for name, path in solvers.items():
            seen = observe(estimates, path, task_of(config), jax.random.key(TEST[0]), max(1, config.test // 4))
            results[f"alignment/{title}/{name}"] = alignment(*seen).cosine.astype(np.float32)


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


def random(config: Config, run: Run, results: Results) -> None:
    """Small TF as the paper trains it, from a random start with a curriculum: one seed, and its curve."""
    one, many = task_of(config, n_queries=1), task_of(config, n_queries=QUERIES)
    network = networks.small_tf_at_random(config, one, RANDOM)
    recipe = networks.from_random(network, one, config, config.random_steps)
    params = fit(run, "Small TF", recipe, network.params, config.random_steps, RANDOM)
    losses = [line["loss"] for line in metrics.read(folder_of(run, "Small TF") / "metrics.jsonl")]
    results["random/loss"] = np.array([part.mean() for part in np.array_split(np.array(losses), min(100, len(losses)))])
    with run.stage("Small TF, tested"):
        score(results, "random/Small TF", path_of_bare(network, params), many, config.test, seed=TEST[0])
        rows = []
        for length in range(config.n + 1):
            shorter = at_length(many, length)
            errors, sizes = squared_errors(
                path_of_bare(network, params), shorter, jax.random.key(TEST[0]), config.test // 4 + 1
            )
            rows.append(float(errors[:, -1].mean() / sizes.mean()))
        results["random/by length"] = np.array(rows)
    solvers = {"ISTA": lambda prompt: unroll(ista(0.05), prompt, config.depth)}
    probed(config, run, results, "Small TF", network, params, solvers)
    probed(config, run, results, "Small TF, random parameters", network, network.params, solvers)


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
        params = fit(run, f"Transformer, first {size}", recipe, network.params, config.support_steps, TRAINING[0])
        paths["Transformer, filled"] = answers(network, network.params)
        paths["Transformer"] = answers(network, params)
        paths["FISTA, told"] = classical(partial(within, inside), task, CLASSICAL_STEPS, config.test // 10 + 1)
        paths["FISTA"] = classical(fista, task, CLASSICAL_STEPS, config.test // 10 + 1)
        for title, path in paths.items():
            with run.stage(f"first {size} coordinates: {title}"):
                score(results, f"support {size}/{title}", path, task, config.test, seed=TEST[0])


def told(method: Method, inside: Inside) -> Method:
    """LISTA-VM whose iterates stay where the signal lives."""
    return method._replace(solver=lambda params: safeguarded(methods.bare_varying(known_support(params, inside))))


def within(inside: Inside, penalty: ScalarLike) -> Solver:
    """FISTA that is told where the signal lives: the other columns of X are zero."""
    return seen_through(fista(penalty), lambda prompt: prompt._replace(x=jnp.where(inside, design_matrix(prompt), 0.0)))


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
