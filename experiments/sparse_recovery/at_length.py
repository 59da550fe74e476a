"""Small TF at length: filled by a theorem or begun at random, and trained on tens of millions of prompts.

Claim. A Transformer of Small TF's sizes that a theorem fills with LISTA-VM with momentum, and that is then trained with all its
parameters free, has a mean relative error below 0.10 on signals with three of twenty coefficients and ten measurements.
Source. Liu et al. 2025 (arXiv:2410.13981), for the task and Small TF; theirs is a million steps of 64 from a random start.
How. A fresh matrix for every signal, no noise, the test signals of the experiment `sparse_recovery`. From the theorem: the rate
is the one of three whose short training has the lowest error on validation signals. From random parameters: prompts of up to
40 measurements, with a curriculum of dimensions; errors are of the labels of 32 queries. One training each.
Expected. Its references at ten measurements: LISTA-VM with momentum 0.12, in-context ALISTA 0.047, FISTA with 400 steps 0.064.
Command. python -m experiments sparse_recovery.at_length --preset accelerator
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claims import Claim, claim
from experiments.common import RESULTS, Results, Run
from experiments.figures import panels_of
from experiments.fitting import fit
from experiments.parts import kept, place_of
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.config import check
from experiments.sparse_recovery.measuring import path_of, score
from experiments.sparse_recovery.methods import Path
from experiments.sparse_recovery.rows import colour_of, titles
from experiments.sparse_recovery.rows import table as table
from experiments.sparse_recovery.transformers import config as transformers
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.transformers.measuring import answers, path_of_bare, solver, task_of
from experiments.sparse_recovery.transformers.networks import Network
from experiments.sparse_recovery.transformers.random_start import asked
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.tasks.shift import in_dimensions
from jaxl2o.training import metrics
from jaxl2o.training.loop import Chunk, Recipe, start
from jaxl2o.training.parallel import settle
from jaxl2o.training.run import train_in
from jaxl2o.types import Params, ScalarLike, Task, queries

TRAINING, VALIDATION, TEST, RANDOM = 0, 2, 30, 8  # seeds; tests are those of the experiment `sparse_recovery`
SEEDS = (TRAINING, VALIDATION, TEST, RANDOM)
PARTS = ("theorem", "random")


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    parts: tuple[str, ...] = PARTS  # what is measured
    d: int = 20  # coefficients
    n: int = 10  # measurements
    longest: int = 40  # measurements of a prompt from a random start
    sparsity: int = 3  # coefficients that are not zero
    depth: int = 12  # layers
    solver_steps: int = 3000  # of training the solver that fills the Transformer, 512 signals each
    rates: tuple[float, ...] = (1e-5, 3e-5, 1e-4)  # of Adam, which are tried
    tried: int = 1000  # steps of each try
    steps: int = 40_000  # of training at the best of them
    batch: int = 1024  # signals a step
    random_steps: int = 30_000  # from the random start
    random_batch: int = 256  # prompts a step
    random_rate: float = 1e-3  # of Adam there
    reports: int = 40  # times that the validation error is measured
    validation: int = 20_000  # signals
    test: int = 100_000  # signals
    asked: int = 4000  # test prompts from the random start, a quarter of them a length

    def __post_init__(self) -> None:
        check(self, PARTS)

    @property
    def network(self) -> transformers.Config:
        """The same sizes as the experiment on Transformers has them."""
        names = ("d", "n", "sparsity", "depth", "solver_steps", "batch", "random_batch", "random_rate", "asked")
        lengths = tuple(sorted({self.n, min(2 * self.n, self.longest), self.longest}))
        return transformers.Config(
            **{name: getattr(self, name) for name in names}, lengths=lengths, supports=(self.d,), solver_batch=512
        )


COST = {"smoke": "60 s", "cpu": "6 h", "accelerator": "20 min on an H100"}
PRESETS = {
    "smoke": Config(
        parts=("theorem",),
        d=4,
        n=2,
        sparsity=1,
        depth=1,
        solver_steps=2,
        rates=(1e-5,),
        steps=2,
        batch=4,
        reports=2,
        validation=8,
        test=8,
    ),
    "cpu": Config(parts=("theorem",), batch=256, steps=40_000),
    "accelerator": Config(),
}


def run(config: Config, run: Run) -> Results:
    """The parts that the config asks for."""
    results: Results = {}
    for name, part in zip(PARTS, (from_theorem, from_random), strict=True):
        if name in config.parts:
            results |= kept(run, f"part {name}", partial(part, config, run))
    return results


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
    losses = np.array([line["loss"] for line in metrics.read(place_of(run, title) / "metrics.jsonl")])
    results = {"random/loss": np.array([part.mean() for part in np.array_split(losses, min(200, len(losses)))])}
    asked(sizes, run, results, title, path_of_bare(network, params), config.longest)
    asked(sizes, run, results, "minimum norm", lambda prompt: methods.shortest(prompt) @ queries(prompt).T, config.longest)
    return results


def on_device(network: Network) -> Network:
    """With layers in a loop on accelerators, where compiling twelve one by one takes minutes."""
    return network._replace(config=replace(network.config, unroll=jax.default_backend() == "cpu"))


def trained(
    config: Config, run: Run, title: str, recipe: Recipe, network: Network, n_steps: int, reports: int, task: Task
) -> tuple[Params, Float[np.ndarray, "reports 3"]]:
    """The parameters after a training, and on its way: steps, mean and median relative error on validation signals."""
    folder, recipe = place_of(run, title), run.layout.of(recipe)
    key = jax.random.key(VALIDATION)

    @jax.jit
    def measure(params: Params) -> Float[Array, " 2"]:
        errors, sizes = squared_errors(partial(networks.guarded_answers(network), params), task, key, config.validation, 500)
        return jnp.stack([errors[:, -1].mean(), jnp.median(errors[:, -1])]) / sizes.mean()

    with run.bar(title, n_steps, recipe.batch_size) as report:

        def look(chunk: Chunk) -> None:
            mean, median = (float(error) for error in measure(settle(chunk.state.params, recipe.devices)))
            metrics.append(folder / "validation.jsonl", [{"step": int(chunk.state.step), "mean": mean, "median": median}])
            report(chunk)

        state, size = start(recipe, network.params, jax.random.key(TRAINING)), max(1, n_steps // reports)
        params = train_in(folder, recipe, state, n_steps, size, {"title": title, "n_steps": n_steps}, look).params
    # a chunk that was taken twice, for a kill came after its line, has two lines
    lines = {line["step"]: (line["step"], line["mean"], line["median"]) for line in metrics.read(folder / "validation.jsonl")}
    return params, np.array([lines[step] for step in sorted(lines)])


def claims(results: Results) -> list[Claim]:
    """The error of the trained Transformer, and how much the training gave."""
    if "theorem/Transformer/mean" not in results:
        return []
    mean, low, high = (float(row[-1]) for row in results["theorem/Transformer/mean"])
    filled, filled_low, filled_high = (float(row[-1]) for row in results["theorem/Transformer, filled/mean"])
    signals = int(results["theorem/Transformer/signals"])
    text = "Small TF filled by a theorem and trained at length: mean relative error at ten measurements, a fresh matrix each"
    return [
        claim("results/small-tf-fresh-n10", text, mean, "<=", 0.10, n=signals, seeds=SEEDS, interval=(low, high)),
        claim(
            "results/small-tf-over-its-start",
            "the same over its own start, which is LISTA-VM with momentum",
            mean / filled,
            "<=",
            1.0,
            n=signals,
            seeds=SEEDS,
            kind="ratio",
            interval=(low / filled_high, high / filled_low),  # of both means' ends: wider than 95 %, for they share signals
        ),
    ]


def plot(results: Results) -> Figure:
    """Validation error by prompts seen; errors by layer beside references; from a random start, loss and errors by length."""
    draws = {"history": learning, "theorem/": layers, "random/loss": losing, "random/by length/": lengths}
    return panels_of(results, draws, 2, 10.0, 3.4)


def learning(axes: Axes, results: Results) -> None:
    """Mean and median on validation signals, by the prompts of the training so far."""
    steps, mean, median = results["history"].T
    seen = steps * results["history/batch"]
    axes.loglog(seen, mean, color=colour_of("Transformer"), label="mean")
    axes.loglog(seen, median, color=colour_of("Transformer"), linestyle="--", label="median")
    filled = results["theorem/Transformer, filled/mean"][0, -1]
    axes.axhline(filled, color=colour_of("LISTA-VM with momentum"), linewidth=1.0, label="mean of its start")
    axes.set(title="from the theorem: validation", xlabel="prompts trained on", ylabel="relative error")
    axes.legend()


def layers(axes: Axes, results: Results) -> None:
    """Mean errors after every layer, and where references end."""
    for title in titles(results, "theorem"):
        if title != "Transformer, no safeguard":
            style = "--" if "filled" in title else "-"
            axes.semilogy(results[f"theorem/{title}/mean"][0], style, color=colour_of(title), label=title)
    with np.load(RESULTS / "sparse_recovery" / "quick" / "results.npz", allow_pickle=False) as others:
        for title in ("FISTA, 400 steps", "in-context ALISTA"):
            axes.axhline(
                others[f"fresh/{title}/mean"][0, -1], color=colour_of(title), linewidth=1.0, linestyle=":", label=title
            )
    axes.set(title="ten measurements: mean error", xlabel="layer", ylabel="relative error")
    axes.legend()


def losing(axes: Axes, results: Results) -> None:
    """The training loss from random parameters."""
    loss = results["random/loss"]
    axes.semilogy((np.arange(len(loss)) + 0.5) / len(loss), loss, color=colour_of("Small TF"))
    axes.set(title="from random parameters: training loss", xlabel="share of the training", ylabel="squared error")


def lengths(axes: Axes, results: Results) -> None:
    """Errors of labels by the number of measurements."""
    for title in ("minimum norm", "Small TF"):
        axes.semilogy(np.maximum(results[f"random/by length/{title}"], 1e-6), color=colour_of(title), label=title)
    axes.set(title="from random parameters: labels", xlabel="measurements", ylabel="relative error", ylim=(1e-3, 2))
    axes.legend()
