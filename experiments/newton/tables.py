"""The part about real data: logistic regression in context on the tables that scikit-learn ships."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression

from experiments.common import Results, Run
from experiments.newton.blocks import cells_of
from experiments.newton.config import NAMED, TABLES, Config
from jaxl2o.constructions.construction import Construction, at_claimed_layers
from jaxl2o.constructions.logistic import damped_newton_of_any_length
from jaxl2o.constructions.logistic_bound import floor_bound
from jaxl2o.objectives import logistic_prediction
from jaxl2o.solvers import logistic
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Key, Params, Prompt, queries

QUERIES = 50  # held-out rows that every prompt asks


# how a table is loaded, and its classes that are labelled -1 and +1
LOADED = {"breast cancer": (load_breast_cancer, (0, 1)), "digits": (load_digits, (3, 8))}


class Table(NamedTuple):
    """Rows of norm at most 1 with labels of -1 and +1: two thirds of them for prompts, the others to ask."""

    x: Float[np.ndarray, "rows d"]
    y: Float[np.ndarray, " rows"]
    x_held: Float[np.ndarray, "held d"]
    y_held: Float[np.ndarray, " held"]


def table(name: str, components: int) -> Table:
    """The first principal components of a table's standardised columns, fitted on the rows for prompts."""
    load, classes = LOADED[name]
    x, target = load(return_X_y=True)
    x, target = x[np.isin(target, classes)], target[np.isin(target, classes)]
    y = np.where(target == classes[1], 1.0, -1.0)
    order = np.random.default_rng(TABLES).permutation(len(y))
    x, y, count = x[order], y[order], 2 * len(y) // 3
    spread = x[:count].std(axis=0)
    x = (x - x[:count].mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    _, _, directions = np.linalg.svd(x[:count], full_matrices=False)
    x = x @ directions[:components].T
    # held-out rows that are longer than all others are drawn in
    x = x / np.maximum(np.linalg.norm(x[:count], axis=1).max(), np.linalg.norm(x, axis=1, keepdims=True))
    return Table(x[:count], y[:count], x[count:], y[count:])


def prompt_of(data: Table, n: int, key: Key) -> tuple[Prompt, Float[Array, " m"]]:
    """n rows without repetition as examples, and held-out rows as queries; with the queries' labels."""
    key_examples, key_queries = jax.random.split(key)
    rows = jax.random.choice(key_examples, len(data.y), (n,), replace=False)
    asked = jax.random.choice(key_queries, len(data.y_held), (QUERIES,), replace=False)
    x, y, x_held, y_held = (jnp.asarray(values) for values in data)
    return Prompt(x[rows], y[rows], x_held[asked], jnp.ones(n, dtype=bool)), y_held[asked]


def tables(config: Config, run: Run, results: Results) -> None:
    """Probabilities of one constructed Transformer, of damped Newton and of scikit-learn, for prompts of every length."""
    least, most = min(config.sizes), max(config.sizes)
    with jax.enable_x64(True):
        construction = damped_newton_of_any_length(
            config.d, config.penalty, config.newton_steps, config.inner_steps, cells_of(NAMED), least, most
        )
        results["tables/bound"] = np.asarray(floor_bound(config.penalty, cells_of(NAMED)))
        answer = jax.jit(jax.vmap(partial(both, config, construction), (None, 0)))
        for name in LOADED:
            data = table(name, config.d)
            for n in config.sizes:
                with run.stage(f"{name}, {n} examples"):
                    keys = jax.random.split(jax.random.fold_in(jax.random.key(TABLES), n), config.tabled)
                    prompts, labels = jax.vmap(partial(prompt_of, data, n))(keys)
                    constructed, newton = (np.asarray(found) for found in answer(construction.params, prompts))
                    one_by_one = (jax.tree.map(lambda leaf, i=i: leaf[i], prompts) for i in range(config.tabled))
                    outside = np.stack([by_scikit(config, prompt) for prompt in one_by_one])
                key = f"tables/{name}/{n}"
                for title, found in (("transformer", constructed), ("newton", newton)):
                    results[f"{key}/{title}"] = (found - outside).astype(np.float32)
                right = [np.mean((found > 0.5) == (labels > 0.0)) for found in (constructed, newton, outside)]
                results[f"{key}/right"] = np.array(right)
                results[f"{key}/probabilities"] = np.quantile(outside, (0.01, 0.5, 0.99))


def both(config: Config, construction: Construction, params: Params, prompt: Prompt) -> tuple[Array, Array]:
    """What the Transformer and exact damped Newton answer."""
    asking = prompt._replace(x_query=None)
    constructed = at_claimed_layers(construction)(params, asking)[-1]
    newton = unroll(logistic.damped_newton(config.penalty), asking, config.newton_steps, keep="last")
    return logistic_prediction(constructed, queries(prompt)), logistic_prediction(newton, queries(prompt))


def by_scikit(config: Config, prompt: Prompt) -> Float[np.ndarray, " m"]:
    """The same regression by scikit-learn: C = 1 / (n mu), no intercept."""
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    model = LogisticRegression(C=1.0 / (len(y) * config.penalty), fit_intercept=False, tol=1e-10, max_iter=10_000)
    return model.fit(x, y).predict_proba(np.asarray(prompt.x_query))[:, 1]
