"""The two trainings: of a Transformer that a theorem fills, and of Small TF from random parameters."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run, write_atomically
from experiments.fitting import fit
from experiments.parts import place_of
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.at_length.config import RANDOM, TEST, TRAINING, VALIDATION, Config
from experiments.sparse_recovery.measuring import path_of, score
from experiments.sparse_recovery.methods import Path
from experiments.sparse_recovery.rows import table as table
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.transformers.measuring import answers, path_of_bare, solver, task_of
from experiments.sparse_recovery.transformers.networks import Network
from experiments.sparse_recovery.transformers.random_start import asked
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.pretrained.model import flat
from jaxl2o.tasks.shift import in_dimensions
from jaxl2o.training import metrics
from jaxl2o.training.loop import Chunk, Recipe, start
from jaxl2o.training.parallel import settle
from jaxl2o.training.run import train_in
from jaxl2o.types import Params, ScalarLike, Task, queries


def from_theorem(config: Config, run: Run) -> Results:
    """The Transformer filled with a trained solver; the best rate; the long training; errors on test signals."""
    sizes, task = config.network, task_of(config.network)
    momentum = methods.with_momentum(config.d, config.depth)
    begun = solver(sizes, run, "LISTA-VM with momentum", momentum, task, TRAINING)
    network = on_device(networks.filled(methods.momentum_layers(begun), config.n))
    paths: dict[str, Path] = {
        "LISTA-VM with momentum": path_of(momentum, begun),
        "Transformer, filled": answers(network, network.params),
    }

    def recipe(rate: float, n_steps: int) -> Recipe:
        return networks.from_theorem(network, task, replace(sizes, rate=rate), n_steps)

    errors = []
    for rate in config.rates if len(config.rates) > 1 else ():
        title = f"rate {rate:g}"
        _, seen = trained(config, run, title, recipe(rate, config.tried), network, config.tried, 1, task)
        errors.append(seen[-1, 1])
    best = config.rates[int(np.nanargmin(errors)) if errors else 0]
    results: Results = {"rates/tried": np.array(config.rates), "rates/errors": np.array(errors)}
    params, seen = trained(config, run, "Transformer", recipe(best, config.steps), network, config.steps, config.reports, task)
    left(run, "theorem", params)
    results["history"], results["history/batch"] = seen, np.array(config.batch)
    paths["Transformer"] = answers(network, params)
    paths["Transformer, no safeguard"] = path_of_bare(network, params)
    for title, path in paths.items():
        with run.stage(f"theorem: {title}"):
            score(results, f"theorem/{title}", path, task, config.test, seed=TEST)
    return results


def from_random(config: Config, run: Run) -> Results:
    """Small TF as published, from random parameters, on prompts of all lengths: errors of labels by layer and by length."""
    sizes, title, n_steps = config.network, "Small TF", config.random_steps

    def within(count: ScalarLike) -> Task:
        return in_dimensions(task_of(sizes, count, n_queries=1, n=config.longest), count)

    network = on_device(networks.of_the_paper(title, config.d, config.depth, within(config.d), RANDOM))
    recipe = networks.from_random(network, within, sizes, n_steps)
    params = fit(run, title, recipe, network.params, n_steps, jax.random.key(RANDOM))
    left(run, "random", params)
    losses = np.array([line["loss"] for line in metrics.read(place_of(run, title) / "metrics.jsonl")])
    results = {"random/loss": np.array([part.mean() for part in np.array_split(losses, min(200, len(losses)))])}
    asked(sizes, run, results, title, path_of_bare(network, params), config.longest)
    asked(sizes, run, results, "minimum norm", lambda prompt: methods.shortest(prompt) @ queries(prompt).T, config.longest)
    return results


def left(run: Run, part: str, params: Params) -> None:
    """Leaves the parameters in float32 in the run's folder `weights`, from where `sparse_recovery.weights` ships them."""
    arrays = {key: np.asarray(leaf, dtype=np.float32) for key, leaf in flat(params).items()}
    folder = run.folder / "weights"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / f"{part}.npz", lambda path: np.savez_compressed(path, allow_pickle=False, **arrays))


def on_device(network: Network) -> Network:
    """With layers in a loop on accelerators, where compiling twelve one by one takes minutes."""
    return replace(network, config=replace(network.config, unroll=jax.default_backend() == "cpu"))


def trained(
    config: Config, run: Run, title: str, recipe: Recipe, network: Network, n_steps: int, reports: int, task: Task
) -> tuple[Params, Float[np.ndarray, "reports 3"]]:
    """The parameters after a training, and on its way: steps, mean and median relative error on validation signals."""
    folder, recipe = place_of(run, title), run.placement.of(recipe)
    fresh = jax.random.key(VALIDATION)

    @jax.jit
    def measure(params: Params) -> Float[Array, " 2"]:
        errors, sizes = squared_errors(partial(network.guarded, params), task, fresh, config.validation, 500)
        return jnp.stack([errors[:, -1].mean(), jnp.median(errors[:, -1])]) / sizes.mean()

    with run.bar(title, n_steps, recipe.batch_size) as report:

        def look(chunk: Chunk) -> None:
            mean, median = (float(error) for error in measure(settle(chunk.state.params, recipe.devices)))
            metrics.append(folder / "validation.jsonl", [{"step": int(chunk.state.step), "mean": mean, "median": median}])
            report(chunk)

        identity, size = {"title": title, "n_steps": n_steps}, max(1, n_steps // reports)
        key = jax.random.key(TRAINING)
        # no name for the first state, which would keep it whole on one device
        params = train_in(folder, recipe, start(recipe, network.params, key), n_steps, size, identity, look).params
    # a chunk that was taken twice, for a kill came after its line, has two lines
    lines = {line["step"]: (line["step"], line["mean"], line["median"]) for line in metrics.read(folder / "validation.jsonl")}
    return params, np.array([lines[step] for step in sorted(lines)])
