"""Sixteen steps on one known matrix: the benchmark of learning to optimise, with every row trained here.

Claim. ALISTA with analytic weights in closed form, 32 scalars trained for half a minute, recovers signals 33 dB better than
sixteen steps of FISTA, and better than it was published after as many training steps and at its best. Methods that know the
law of the signals need no training at all and come within a decibel of an oracle that is told the support.
Source. Liu et al. 2019 (ICLR), Behrens et al. 2021 (arXiv:2010.13053) and their published logs for the settings of 250
measurements: NMSE = 10 log10(sum |w - b|^2 / sum |b|^2) over 10,000 test signals. Chen et al. 2021 (arXiv:2103.12828) for 256
measurements of 512 coefficients, NMSE being the mean of the signals' own decibels.
How. X: N(0, 1/n) entries, then columns of unit norm; signals: Bernoulli(p) times N(0, 1), 50 non-zero entries on average; noise
relative to the spread of each signal's labels. Fresh signals at every training step. The loss is the mean over the steps of
the logarithm of the batch's NMSE. Rates and starts were chosen on training and validation draws; of the methods that are
called best, the one is taken that is best on validation draws. Test signals are seen once. One training of each method.
Expected. At 40 dB: FISTA -7.63, ISTA -5.77, ALISTA -39.07 and -29.0 after 485 steps, NA-ALISTA -42.19, all as published.
Command. python -m experiments l2o_benchmark --preset quick
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import optax

from experiments.common import Claim, Results, Run, claim
from experiments.l2o_benchmark.figure import ORACLE, decibels, interval, own_decibels, settings_of
from experiments.l2o_benchmark.figure import plot as plot
from experiments.l2o_benchmark.figure import table as table
from experiments.l2o_benchmark.methods import METHODS, PLAN, Method, learner_of
from experiments.l2o_benchmark.problems import SETTINGS, Problem, oracle_errors, problem_of
from jaxl2o.checks import require
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.training import losses, metrics
from jaxl2o.training.loop import Chunk, Recipe, start
from jaxl2o.training.parallel import devices_for
from jaxl2o.training.run import train_in
from jaxl2o.types import Key, Learner, Params

COST = {"smoke": "60 s", "quick": "35 min", "cpu": "2 h"}
SEEDS = (0, 1, 2, 3, 4)  # the matrix; random starts; training; validation; test
CHUNKS = 20  # of a training, after each of which validation signals are recovered


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    settings: tuple[str, ...] = ("40 dB", "20 dB", "noiseless", "1000 at 40 dB", "Open-L2O")
    depth: int = 16  # steps of every method
    batch: int = 256  # signals a training step
    short: int = 485  # training steps of ALISTA where its published budget is met, and of TISTA
    long: int = 2000  # of ALISTA trained on, and of AGLISTA
    adaptive: int = 5000  # of NA-ALISTA
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
    "smoke": Config(("small",), depth=2, batch=16, short=2, long=2, adaptive=2, matrices=2, validation=16, test=32),
    "quick": Config(),
    "cpu": Config(long=5000, adaptive=10_000, matrices=20_000),
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
            params = trained(config, run, name, title, method, problem, learner, results)
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
    return {name: jax.random.key(seed) for name, seed in zip(("training", "validation", "test"), SEEDS[2:], strict=True)}


def tested(learner: Learner, params: Params, problem: Problem, key: Key, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors after every step (count, T+1), and the sizes of the signals (count,)."""
    chunk = min(count, 512)

    @jax.jit
    def measure(params: Params, key: Key) -> tuple[jax.Array, jax.Array]:
        return squared_errors(lambda prompt: learner.predict(params, prompt), problem.task, key, count, chunk)

    errors, sizes = measure(params, key)
    return np.asarray(errors), np.asarray(sizes)


def trained(
    config: Config, run: Run, name: str, title: str, method: Method, problem: Problem, learner: Learner, results: Results
) -> Params:
    """The method's parameters after its training; its validation NMSE along the way goes to the results."""
    params = method.init(problem, config.depth)
    if not method.steps:
        return params
    n_steps = getattr(config, method.steps)
    optimizer = optax.adam(optax.cosine_decay_schedule(method.rate, n_steps))
    # a signal that explodes, early in training, must not move a step: its gradient is clipped, and what is not finite left out
    chain = optax.chain(optax.zero_nans(), optax.clip_by_global_norm(10.0), optimizer)
    recipe = Recipe(
        learner.predict,
        lambda step: problem.task,
        losses.log_mean_relative(),
        chain,
        config.batch,
        devices=devices_for(config.batch),
    )
    folder: Path = run.folder / "training" / name.replace(" ", "-") / title.replace(" ", "-").replace(",", "")
    history = folder / "validation.jsonl"
    with run.bar(f"{name}: {title}", n_steps, config.batch) as show:

        def report(chunk: Chunk) -> None:
            show(chunk)
            now = jax.device_put(chunk.state.params, jax.local_devices()[0])
            errors, sizes = tested(learner, now, problem, keys()["validation"], config.validation)
            record = {"step": int(chunk.state.step), "decibels": decibels(errors[:, -1], sizes), "seconds": chunk.seconds}
            metrics.append(history, [record])

        identity = {"n_steps": n_steps, "setting": name, "method": title}
        state = start(recipe, params, keys()["training"])
        state = train_in(folder, recipe, state, n_steps, max(1, n_steps // CHUNKS), identity, report)
    # a step that was validated again after an interruption counts once
    found = {record["step"]: record for record in metrics.read(history)}
    results[f"{name}/{title}/steps"] = np.array(list(found))
    results[f"{name}/{title}/history"] = np.array([record["decibels"] for record in found.values()])
    results[f"{name}/{title}/seconds"] = np.array([record["seconds"] for record in found.values()]).cumsum()
    return state.params


def scores(key: str, errors: np.ndarray, sizes: np.ndarray) -> Results:
    """Of the errors of test signals after the last step, all in dB: NMSE and its interval; of the signals' own NMSE, the mean,
    half of its interval, and what 99.9 % of them are below."""
    own = own_decibels(errors, sizes)
    return {
        f"{key}/nmse": np.array([decibels(errors, sizes), *interval(errors, sizes)]),
        f"{key}/own": np.array([own.mean(), 1.96 * own.std() / np.sqrt(len(own)), np.quantile(own, 0.999)]),
        f"{key}/signals": np.array(len(sizes)),
    }


def claims(results: Results) -> list[Claim]:
    """NMSE after all steps on test signals, beside what was published or asked of it."""
    published = "Behrens et al. 2021, published logs"

    def nmse(id: str, name: str, title: str, expected: float, source: str = "own measurement") -> Claim:
        value, low, high = (float(number) for number in results[f"{name}/{title}/nmse"])
        return claim(
            f"l2o/{id}",
            f"{title}, {name}: NMSE on test signals, ratio of sums",
            value,
            "<=",
            expected,
            n=int(results[f"{name}/{title}/signals"]),
            seeds=SEEDS,
            kind="measured" if source == "own measurement" else "published",
            source=source,
            interval=(low, high),
            unit="dB",
        )

    def same(id: str, title: str, expected: float) -> Claim:
        return nmse(id, "40 dB", title, expected, published)._replace(relation="=", tolerance=0.2)

    def per_signal(id: str, title: str, expected: float) -> Claim:
        mean, half, _ = (float(number) for number in results[f"Open-L2O/{title}/own"])
        text = f"{title}, noiseless, 256 x 512: mean over test signals of their own NMSE"
        return nmse(id, "Open-L2O", title, expected)._replace(claim=text, measured=mean, interval=(mean - half, mean + half))

    gains = [value for key, value in results.items() if key.endswith("/gain error")]
    found = [
        claim(
            "l2o/analytic-weights-gain",
            "largest |(W X)_ii - 1| of the closed form of ALISTA's weights, in float64",
            float(np.max(gains)),
            "<=",
            1e-10,
            n=len(gains),
            seeds=SEEDS[:1],
            kind="theorem",
            source="Liu et al. 2019 (ICLR), whose constraint it is",
        )
    ]
    if "40 dB" in settings_of(results):
        best = best_of(results, "40 dB")
        found += [
            same("fista16-40db", "FISTA", -7.6),
            same("ista16-40db", "ISTA", -5.8),
            nmse("alista16-40db-485steps", "40 dB", "ALISTA, 485 steps", -40.5),
            nmse("alista16-40db", "40 dB", "ALISTA", -41.0),
            nmse("na-alista16-40db", "40 dB", "NA-ALISTA", -42.2, published),
            nmse("best16-40db", "40 dB", best, -43.0)._replace(claim=f"best on validation signals at 40 dB, {best}: NMSE"),
        ]
    if "20 dB" in settings_of(results):
        best = best_of(results, "20 dB")
        found.append(
            nmse("best16-20db", "20 dB", best, -21.8)._replace(claim=f"best on validation signals at 20 dB, {best}: NMSE")
        )
    if "small" in settings_of(results):
        best = best_of(results, "small")
        ista = float(results["small/ISTA/nmse"][0])
        found.append(nmse("small", "small", best, ista)._replace(claim=f"the smoke preset: {best} is not above ISTA"))
    if "Open-L2O" in settings_of(results):
        found += [per_signal("lista-cp-noiseless", "LISTA-CP", -30.0), per_signal("lista-cpss-noiseless", "LISTA-CPSS", -45.0)]
    return found


def best_of(results: Results, name: str) -> str:
    """The method of least NMSE on validation signals."""
    return min(PLAN[name], key=lambda title: results[f"{name}/{title}/validation curve"][-1])
