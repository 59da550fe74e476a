"""The errors of a model as it was trained, and as users ask it; and the card that tells them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results
from experiments.shipping import Made, as_users_ask, loaded
from experiments.sparse_recovery.config import SEEDS
from experiments.sparse_recovery.measuring import score, task_of
from experiments.sparse_recovery.methods import Path
from experiments.sparse_recovery.weights.config import Config
from experiments.sparse_recovery.weights.making import LAW
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.pretrained.card import Card, Metric
from jaxl2o.tasks.shift import at_length
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.types import Prompt, Task

LENGTHS = (2, 4, 6, 8, 10, 12, 15, 18, 20, 25, 30, 40)  # measurements at which all are asked, whatever they were trained on
NOISE = 0.2  # deviation, where there is some
QUERIES = 32  # of a prompt, where labels are scored


def measure(config: Config, results: Results, name: str, made: Made) -> tuple[Metric, ...]:
    """Errors on test signals: as trained, as users ask, and as users ask by the number of measurements."""
    model, params = loaded(made, config.d)
    method = as_users_ask(model, params, float(config.sparsity))
    few = made.model["is"] == "Transformer"  # signals, for it takes longer
    labels = made.model.get("gives") == "labels"

    def trained(prompt: Prompt) -> Float[Array, "1 m"]:
        """The learner's own last answer: labels, or what is safeguarded of its iterates."""
        return model.learner.predict(params, prompt)[-1:] if labels else model.answer(params, prompt)[None]

    def asked(prompt: Prompt) -> Float[Array, "1 d"]:
        """As `recover` asks."""
        return method(prompt)[None]

    count = min(config.test, config.by_length) if labels else config.test
    usual = task_of(config.solvers)
    own = task_of_labels(config) if labels else usual
    score(results, f"{name}/trained", trained, own, count)
    score(results, f"{name}/asked", asked, usual, count)
    noisy = task_of(config.solvers, noise=NOISE)
    score(results, f"{name}/noisy", asked, noisy, config.by_length, SEEDS[5])
    results[f"{name}/range"] = np.array([made.n_least, made.n_most])
    by_length(config, results, name, asked, config.by_length // 2 if few else config.by_length)
    of = "labels of new queries" if labels else "coefficients"
    titles = {
        "trained": f"relative error of {of}, {config.n} measurements, as trained",
        "asked": f"relative error of coefficients, {config.n} measurements, as `recover` asks",
        "noisy": f"the same with noise of deviation {NOISE:g}",
    }
    found = [metric(results, f"{name}/{key}", title) for key, title in titles.items()]
    for n, (mean, low, high, signals) in zip(results["lengths"], results[f"{name}/by length"].tolist(), strict=True):
        if made.n_least <= n <= made.n_most and n != config.n:
            title = f"relative error of coefficients, {n} measurements, as `recover` asks"
            found.append(Metric(title, mean, low, high, int(signals)))
    return tuple(found)


def task_of_labels(config: Config) -> Task:
    """The same task, which asks for labels."""
    return sparse_recovery(exactly(config.d, config.sparsity), fresh(config.n, config.d), n_queries=QUERIES)


def by_length(config: Config, results: Results, name: str, path: Path, count: int) -> None:
    """Mean error at every number of measurements, with 1.96 standard errors about its logarithm."""
    lengths = [n for n in LENGTHS if n <= config.longest]
    farthest = task_of(config.solvers, n=config.longest)
    check = jax.jit(lambda key, length: squared_errors(path, at_length(farthest, length), key, count, 250))
    rows = []
    for length in lengths:
        errors, sizes = (np.asarray(found) for found in check(jax.random.key(SEEDS[4]), jnp.asarray(length)))
        last = np.nan_to_num(errors[:, -1], nan=1e30) / sizes.mean()
        mean = last.mean()
        spread = 1.96 * last.std() / np.sqrt(count) / mean
        rows.append([mean, mean * np.exp(-spread), mean * np.exp(spread), count])
    results["lengths"], results[f"{name}/by length"] = np.array(lengths), np.array(rows)


def metric(results: Results, key: str, title: str) -> Metric:
    """What `score` found, as a card has it."""
    mean, low, high = (float(row[-1]) for row in results[f"{key}/mean"])
    return Metric(title, mean, low, high, int(results[f"{key}/signals"]))


def described(config: Config, name: str, made: Made, metrics: tuple[Metric, ...]) -> Card:
    """The card of a model."""
    return Card(
        name=f"{name}-d{config.d}",
        task=f"{config.sparsity} of {config.d} coefficients from y = X w, without noise.",
        command="python -m experiments sparse_recovery.weights --preset quick --keep",
        d=config.d,
        n_least=made.n_least,
        n_most=made.n_most,
        law=LAW.format(sparsity=config.sparsity, d=config.d),
        label_mean_square=float(config.sparsity),
        metrics=metrics,
        model=made.model,
        **made.texts,
    )
