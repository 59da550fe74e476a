"""Errors after any number of measurements of the same signals, and at one number on more signals."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.sparse_recovery.config import SEEDS
from experiments.sparse_recovery.measuring import INFINITE, score, task_of
from experiments.sparse_recovery.methods import Path
from experiments.sparse_recovery.prefixes.config import BAYES, RANDOM, SHIPPED, SMALL_TF, Config
from experiments.sparse_recovery.prefixes.methods import path_named
from jaxl2o.evaluation.curves import curve, squared_errors
from jaxl2o.pretrained import load_card, load_pretrained
from jaxl2o.tasks.shift import at_length
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.types import Key, Prompt

SEED = SEEDS[4]  # of test signals: no penalty, rate or model was chosen on them
QUERIES = 32  # of a prompt at n, where labels are asked
CHUNK = 250  # prompts at one time

# of every number of measurements and every signal: squared error, and that of predicting zero
Errors = tuple[Float[np.ndarray, "lengths count"], Float[np.ndarray, "lengths count"]]


def measured(config: Config, run: Run, title: str) -> Results:
    """All numbers of one method.

    by length: mean, and its interval, of the relative error after 0, 1, ... measurements; median: the same of coefficients'
    errors; first: errors of the first signals while the Bayes estimate errs; fresh: at n, by `score`; range: of the card.
    """
    path = path_named(config, run, title)
    errors, sizes = labels_by_length(config, title) if title == RANDOM else coefficients_by_length(config, title, path)
    found = [curve(jnp.asarray(row)[:, None], jnp.asarray(size)) for row, size in zip(errors, sizes, strict=True)]
    results: Results = {
        f"by length/{title}": np.array([[of_n.mean[0], of_n.low[0], of_n.high[0]] for of_n in found]),
        f"by length/{title}/signals": np.array(errors.shape[1]),
    }
    if title != RANDOM:
        results[f"median/{title}"] = np.array([of_n.quantiles[0, 0] for of_n in found])
        some, own = (rows[: config.sparsity + 1, : config.few] for rows in (errors, sizes))
        results[f"first/{title}"] = (some / own.mean(axis=1, keepdims=True)).astype(np.float32)
    if title != BAYES:
        task = task_of(config.solvers)
        if title == RANDOM:
            task = sparse_recovery(exactly(config.d, config.sparsity), fresh(config.n, config.d), n_queries=QUERIES)
        score(results, f"fresh/{title}", last(path), task, config.test, SEED)
    if title in SHIPPED:
        card = load_card(f"{SHIPPED[title]}-d{config.d}")
        results[f"range/{title}"] = np.array([card.n_least, card.n_most])
    return results


def coefficients_by_length(config: Config, title: str, path: Path) -> Errors:
    """Of the coefficients; the Bayes estimate is asked as long as it errs, which is until n exceeds the non-zero ones."""
    lengths = config.sparsity if title == BAYES else config.longest
    task = task_of(config.solvers, n=lengths)
    count = config.few if title in (BAYES, SMALL_TF) else config.signals
    measure = jax.jit(lambda length: squared_errors(last(path), at_length(task, length), jax.random.key(SEED), count, CHUNK))
    rows = [measure(jnp.asarray(length)) for length in range(lengths + 1)]
    errors, sizes = (np.stack([np.asarray(row[i]).reshape(count) for row in rows]) for i in range(2))
    return np.minimum(np.nan_to_num(errors, nan=INFINITE), INFINITE), sizes


def labels_by_length(config: Config, title: str) -> Errors:
    """Of the next label after every prefix, which a decoder answers in one pass: the k-th row is the query after k of them."""
    model = load_pretrained(f"{SHIPPED[title]}-d{config.d}")
    task = sparse_recovery(exactly(config.d, config.sparsity), fresh(config.longest, config.d), n_queries=1)

    def one(key: Key) -> tuple[Array, Array]:
        prompt, y_query, _ = task.sample(key)
        labels = jnp.concatenate([prompt.y, y_query])
        return (model.learner.prefixes(model.params, prompt)[-1] - labels) ** 2, labels**2

    keys = jax.random.split(jax.random.key(SEED), config.signals)
    errors, sizes = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=min(CHUNK, config.signals)))(keys)
    return np.asarray(errors).T, np.asarray(sizes).T


def last(path: Path) -> Callable[[Prompt], Float[Array, "1 m"]]:
    """The answer after all steps alone."""
    return lambda prompt: path(prompt)[-1:]
