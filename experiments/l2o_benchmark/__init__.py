"""Sixteen steps on one known matrix: the benchmark of learning to optimise, with every row trained here.

Claim. ALISTA with analytic weights in closed form, 32 scalars trained for half a minute, recovers signals 33 dB better than
sixteen steps of FISTA, and better than it was published after as many training steps and at its best. Methods that know the
law of the signals need no training at all and come within a decibel of an oracle that is told the support.
Source. Liu et al. 2019 (ICLR), Behrens et al. 2021 (arXiv:2010.13053) and their published logs for the settings of 250
measurements: NMSE = 10 log10(sum |w - b|^2 / sum |b|^2) over 10,000 test signals. Chen et al. 2021 (arXiv:2103.12828) for 256
measurements of 512 coefficients, NMSE being the mean of the signals' own decibels.
How. X: N(0, 1/n) entries, then columns of unit norm; signals: Bernoulli(p) times N(0, 1), 50 non-zero entries on average; noise
relative to the spread of each signal's labels. Fresh signals at every training step. The loss is the mean over the steps of
the logarithm of the batch's NMSE, and in the second half of the longer trainings that of the last step alone. What is trained
wears the safeguard, in training and test. Rates and starts were chosen on training and validation draws; of the methods that
are called best, the one is taken that is best on validation draws. Test signals are of a seed that no recipe was chosen by,
but for a thousand coefficients, where ALISTA's start was mended after its first test. One training of each method.
Expected. At 40 dB: FISTA -7.63, ISTA -5.77, ALISTA -39.07 and -29.0 after 485 steps, NA-ALISTA -42.19, all as published.
Command. python -m experiments l2o_benchmark --preset quick
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from experiments.common import Results, Run
from experiments.l2o_benchmark.claims import claims as claims
from experiments.l2o_benchmark.figure import ORACLE, decibels, own_decibels
from experiments.l2o_benchmark.figure import plot as plot
from experiments.l2o_benchmark.figure import table as table
from experiments.l2o_benchmark.methods import METHODS, PLAN, Method, learner_of, loss_of
from experiments.l2o_benchmark.problems import SEEDS, SETTINGS, Problem, oracle_errors, problem_of
from jaxl2o.checks import require
from jaxl2o.evaluation.curves import curve, squared_errors
from jaxl2o.training import metrics
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Chunk, Recipe, start
from jaxl2o.training.parallel import devices_for, settle
from jaxl2o.training.run import train_in
from jaxl2o.types import Key, Learner, Params, Task

COST = {"smoke": "30 s", "quick": "50 min", "cpu": "3 h"}
CHUNKS = 20  # of a training, after each of which validation signals are recovered


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    settings: tuple[str, ...] = ("40 dB", "20 dB", "noiseless", "1000 at 40 dB", "Open-L2O")
    depth: int = 16  # steps of every method
    batch: int = 256  # signals a training step
    short: int = 485  # training steps of ALISTA where its published budget is met, and of TISTA and HyperLISTA
    long: int = 2000  # of ALISTA trained on, of AGLISTA, of LAMP, and of NA-ALISTA where it is trained less
    adaptive: int = 10_000  # of NA-ALISTA
    matrices: int = 4000  # of LISTA-CP and LISTA-CPSS
    validation: int = 2048  # signals
    test: int = 10_000  # signals

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "settings":
                require(value >= 1, f"{name} is {value}; it must be at least 1.")
        unknown = ", ".join(sorted(set(self.settings) - set(SETTINGS)))
        require(not unknown, f"there is no setting {unknown}; choose among {', '.join(SETTINGS)}.")
        require(len(self.settings) > 0, "settings is empty; choose at least one.")


PRESETS = {
    "smoke": Config(("small",), depth=2, batch=16, short=1, long=1, adaptive=1, matrices=1, validation=16, test=32),
    "quick": Config(),
    "cpu": Config(long=5000, adaptive=20_000, matrices=20_000),
}


def run(config: Config, run: Run) -> Results:
    """Train and test every method in every setting."""
    results: Results = {}
    for name in config.settings:
        problem = problem_of(SETTINGS[name])
        results[f"{name}/gain error"] = np.array(problem.gain_error)
        for title in PLAN[name]:
            method = METHODS[title]
            learner = learner_of(method, problem, config.depth)
            params, history = trained(config, run, name, title, method, problem, learner)
            results |= {f"{name}/{title}/{key}": values for key, values in history.items()}
            with run.stage(f"{name}: {title}"):
                for purpose, count in (("validation", config.validation), ("test", config.test)):
                    errors, sizes = tested(learner, params, problem, keys()[purpose], count)
                    results[f"{name}/{title}/{purpose} curve"] = np.array([decibels(step, sizes) for step in errors.T])
                results |= scores(f"{name}/{title}", errors[:, -1], sizes)
        with run.stage(f"{name}: {ORACLE}"):
            results |= scores(f"{name}/{ORACLE}", *oracle_errors(problem, keys()["test"], config.test))
    return results


def keys() -> dict[str, Key]:
    """The keys of training, validation and test signals."""
    return {name: jax.random.key(seed) for name, seed in zip(("training", "validation", "test"), SEEDS[2:5], strict=True)}


def tested(learner: Learner, params: Params, problem: Problem, key: Key, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors after every step (count, T+1), and the sizes of the signals (count,)."""
    errors, sizes = _errors(Partial(learner.predict, params), problem.task, key, count)
    return np.asarray(errors), np.asarray(sizes)


@partial(jax.jit, static_argnames=("task", "count"))
def _errors(path: Partial, task: Task, key: Key, count: int) -> tuple[jax.Array, jax.Array]:
    """`squared_errors`; what the path is bound to is an argument, so a method is compiled once for all its parameters."""
    return squared_errors(path, task, key, count, min(count, 512))


def trained(
    config: Config, run: Run, name: str, title: str, method: Method, problem: Problem, learner: Learner
) -> tuple[Params, Results]:
    """The method's parameters after its training, and its steps, validation NMSE and seconds along the way."""
    params = method.init(problem, config.depth)
    if not method.steps:
        return params, {}
    n_steps = getattr(config, method.steps)
    optimizer = optax.adam(optax.cosine_decay_schedule(method.rate, n_steps))
    recipe = Recipe(
        learner.predict,
        lambda step: problem.task,
        loss_of(method, n_steps),
        guarded(optimizer, 10.0),
        config.batch,
        devices=devices_for(config.batch),
    )
    recipe = run.placement.of(recipe)
    folder: Path = run.folder / "training" / name.replace(" ", "-") / title.replace(" ", "-").replace(",", "")
    validated = folder / "validation.jsonl"
    with run.bar(f"{name}: {title}", n_steps, config.batch) as show:

        def report(chunk: Chunk) -> None:
            show(chunk)
            now = settle(chunk.state.params, recipe.devices)
            errors, sizes = tested(learner, now, problem, keys()["validation"], config.validation)
            record = {"step": int(chunk.state.step), "decibels": decibels(errors[:, -1], sizes), "seconds": chunk.seconds}
            metrics.append(validated, [record])

        identity = {"n_steps": n_steps, "setting": name, "method": title}
        size, key = max(1, n_steps // CHUNKS), keys()["training"]
        state = train_in(folder, recipe, start(recipe, params, key), n_steps, size, identity, report)
    # a step that was validated again after an interruption counts once
    found = {record["step"]: record for record in metrics.read(validated)}
    history = {
        "steps": np.array(list(found)),
        "history": np.array([record["decibels"] for record in found.values()]),
        "seconds": np.array([record["seconds"] for record in found.values()]).cumsum(),
    }
    return state.params, history


def scores(key: str, errors: np.ndarray, sizes: np.ndarray) -> Results:
    """In dB, of the errors of test signals after the last step: NMSE with its interval by bootstrap over signals; of the
    signals' own NMSE the mean, half of its interval, and what 99.9 % of them are below."""
    own, found = own_decibels(errors, sizes), curve(jnp.asarray(errors[:, None]), jnp.asarray(sizes))
    return {
        f"{key}/nmse": 10.0 * np.log10(np.concatenate([found.mean, found.low, found.high])),
        f"{key}/own": np.array([own.mean(), 1.96 * own.std() / np.sqrt(len(own)), np.quantile(own, 0.999)]),
        f"{key}/signals": np.array(len(sizes)),
    }
