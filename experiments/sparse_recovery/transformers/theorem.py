"""A Transformer that a theorem fills with a trained solver, trained on with all parameters free; and what it runs then."""

from functools import partial

import jax
import numpy as np

from experiments.common import Results, Run
from experiments.fitting import fit
from experiments.parts import place_of
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.measuring import gaps_at, path_of, recipe_of, score
from experiments.sparse_recovery.methods import Method, Path
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.transformers.config import LONGER, TEST, TRAINING, Config
from experiments.sparse_recovery.transformers.measuring import answers, bare, path_of_bare, solver, task_of
from experiments.sparse_recovery.transformers.networks import Network
from jaxl2o.evaluation.alignment import alignment, observe
from jaxl2o.training.accounting import steps_in_the_time_of
from jaxl2o.types import Params, Task

GENTLER = 3.0  # by what a solver's rate is divided where it is trained on


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
        network = networks.filled(methods.momentum_layers(starts["LISTA-VM with momentum"][1]), config.n)
        params = trained_on(config, run, f"Transformer {number}", network, task, seed)
        paths: dict[str, Path] = {title: path_of(*pair) for title, pair in starts.items()}
        folder = place_of(run, f"Transformer {number}")
        for title, (method, begun) in starts.items():
            longer = steps_in_the_time_of(folder, place_of(run, f"{title} {number}"))
            recipe = recipe_of(method, task, config.solver_batch, longer, GENTLER)
            trained = fit(run, f"{title} {number} trained on", recipe, begun, longer, jax.random.key(LONGER[number]))
            paths[f"{title}, trained on"] = path_of(method, trained)
            steps.append(longer)
            if method is plain:
                paths[f"{title}, trained on, no safeguard"] = bare(trained, config.depth)
        paths["Transformer, filled"] = answers(network, network.params)
        paths["Transformer"] = answers(network, params)
        paths["Transformer, no safeguard"] = path_of_bare(network, params)
        if number == 0:
            own = networks.filled(methods.varying_layers(starts["LISTA-VM"][1]), config.n)
            paths["Transformer, without momentum, filled"] = answers(own, own.params)
            title = "Transformer, without momentum"
            paths[title] = answers(own, trained_on(config, run, title, own, task, seed))
        for title, path in paths.items():
            with run.stage(f"theorem {number}: {title}"):
                # every repetition has test signals of its own, the same for all methods
                score(results, f"theorem {number}/{title}", path, task, config.test, seed=TEST[number])
        if number == 0:
            layers = methods.momentum_layers(starts["LISTA-VM with momentum"][1])
            results["gap"] = gaps_at(partial(networks.theorem, n=config.n), layers, task)
            repeated(config, run, results, task, network, params, starts)
            solvers = {title: paths[title] for title in ("LISTA-VM", "LISTA-VM with momentum")}
            for title in ("Transformer, filled", "Transformer"):
                aligned(config, run, results, task, title, paths[title], solvers)
    results["theorem/solver steps"] = np.array(steps)


def trained_on(config: Config, run: Run, title: str, network: Network, task: Task, seed: int) -> Params:
    """The parameters of a filled Transformer after its training."""
    recipe = networks.from_theorem(network, task, config, config.steps)
    return fit(run, title, recipe, network.params, config.steps, jax.random.key(seed))


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


def aligned(
    config: Config, run: Run, results: Results, task: Task, title: str, estimates: Path, solvers: dict[str, Path]
) -> None:
    """Whose errors the errors of a network's own iterates are like."""
    observed = jax.jit(observe, static_argnames=("task", "count"))
    with run.stage(f"alignment: {title}"):
        for name, path in solvers.items():
            seen = observed(estimates, path, task, jax.random.key(TEST[0]), max(1, config.test // 4))
            results[f"alignment/{title}/{name}"] = alignment(*seen).cosine.astype(np.float32)
