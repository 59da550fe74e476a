"""The part about real data: tables of scikit-learn whose class is hidden, as mixtures of two regressions, a class or not it.

Of all pairs of columns of a table, and all its classes, that is taken whose likelihood as a mixture gains most over one
regression when the class is known: EM has no say in the choice. So it is petal length of iris on sepal width, for setosa's
petals are short whatever its sepals; and flavanoids of wine on the intensity of its colour. In `sepals` the width is regressed
on the length, which itself tells the species, against what a mixture takes for granted.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from sklearn.datasets import load_iris, load_wine

from experiments.common import Results, Run
from experiments.mixture.config import SPLITS, Config
from experiments.mixture.exact import limits_of
from experiments.parts import kept
from jaxl2o.constructions.construction import at_claimed_layers
from jaxl2o.constructions.expectation_maximisation import expectation_maximisation
from jaxl2o.objectives import mixture_loss
from jaxl2o.solvers.expectation_maximisation import Mixture, estimating_em, gradient_em, responsibilities
from jaxl2o.solvers.starts import best_start
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Key, Prompt, design_matrix


class Columns(NamedTuple):
    """Of a table: what is regressed on what, by their places, and the class that is a component of its own."""

    load: Callable[..., Any]
    response: int
    feature: int
    group: int


TABLES = {
    "petals": Columns(load_iris, 2, 1, 0),  # of iris: petal length on sepal width, setosa
    "wine": Columns(load_wine, 6, 9, 2),  # flavanoids on the intensity of colour, the third cultivar
    "sepals": Columns(load_iris, 1, 0, 0),  # of iris: sepal width on sepal length, setosa
}
LEAST_NOISE = 0.05  # EM's lower limit; labels have deviation one
TRIED, TRIAL_STEPS, EM_STEPS = 20, 30, 300  # starts, their steps, and those of the best
CELLS, STEPS, INNER = 200, 30, 25  # of the Transformer


class Split(NamedTuple):
    """Half of the rows to fit, the other half held out, and which of them are in the group."""

    train: Prompt
    held: Prompt
    group: Bool[Array, " n"]
    group_held: Bool[Array, " m"]


def tables(config: Config, run: Run) -> Results:
    """Of every split: held-out log-likelihoods, how well components tell the class, and the Transformer against EM.

    `gap` is its largest distance from gradient EM in any step; `off` and `shares` are those of its last components, and of the
    responsibilities that they give to held-out rows, from where EM ended.
    """
    results: Results = {}
    for place, name in enumerate(TABLES):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(SPLITS), place), config.splits)
        results |= kept(run, f"table, {name}", lambda name=name, keys=keys: of_splits(name, keys, config.network_splits))
    return results


def split_of(columns: Columns, key: Key) -> Split:
    """One column regressed on 1 and another, both standardised by the rows that are fitted."""
    data = columns.load()
    x, y = (jnp.asarray(data.data[:, place], dtype=float) for place in (columns.feature, columns.response))
    order = jax.random.permutation(key, len(y))
    train, held = order[: len(y) // 2], order[len(y) // 2 :]
    group = jnp.asarray(data.target == columns.group)

    def prompt(rows: Array) -> Prompt:
        z, label = ((column[rows] - column[train].mean()) / column[train].std() for column in (x, y))
        return Prompt(jnp.stack([jnp.ones_like(z), z], axis=1), label, None, jnp.ones(len(rows), dtype=bool))

    return Split(prompt(train), prompt(held), group[train], group[held])


def constant(prompt: Prompt) -> Prompt:
    """The same without its feature: a mixture of two constants, which a mixture of regressions is to be better than."""
    return prompt._replace(x=design_matrix(prompt) * jnp.array([1.0, 0.0])[None])


def of_splits(name: str, keys: Array, networks: int) -> Results:
    """In double precision. The Transformer is tried on so many splits, the first ones."""
    with jax.enable_x64(True):
        key_splits, key_starts = jax.vmap(jax.random.split, out_axes=1)(keys)
        splits = jax.vmap(partial(split_of, TABLES[name]))(key_splits)
        starts, mixtures = jax.jit(jax.vmap(fitted))(key_starts, splits)
        few, own, start = jax.tree.map(lambda leaf: leaf[:networks], (splits, mixtures, starts))
        ends, gaps = by_network(few.train, start, own)
        models = {
            "mixture": mixtures,
            "one regression": jax.vmap(known)(splits.train, jnp.ones_like(splits.train.y)[..., None]),
            "class known": jax.vmap(known)(splits.train, jnp.stack([splits.group, ~splits.group], axis=2).astype(float)),
        }
        flat = splits._replace(train=jax.vmap(constant)(splits.train), held=jax.vmap(constant)(splits.held))
        _, constants = jax.jit(jax.vmap(fitted))(key_starts, flat)
        found = {f"likelihood/{name}": jax.vmap(likelihood)(model, splits.held) for name, model in models.items()}
        found |= {"likelihood/two constants": jax.vmap(likelihood)(constants, flat.held)}
        found |= {f"right/{name}": jax.vmap(right)(models[name], splits) for name in ("mixture", "class known")}
        found |= {"right/two constants": jax.vmap(right)(constants, flat)}
        network = own._replace(components=jnp.asarray(ends))
        found |= {"likelihood/Transformer": jax.vmap(likelihood)(network, few.held)}
        found |= {"right/Transformer": jax.vmap(right)(network, few)}
        shares = [jax.vmap(responsibilities)(model.components, few.held, own.weights, own.noise) for model in (network, own)]
        found["shares"] = jnp.abs(shares[0] - shares[1]).max(axis=(1, 2))
        found["right/majority"] = jnp.maximum(splits.group_held.mean(axis=1), 1.0 - splits.group_held.mean(axis=1))
        found |= {"gap": gaps, "off": np.abs(ends - np.asarray(own.components)).max(axis=(1, 2))}
        first = jax.tree.map(lambda leaf: leaf[0], (splits, mixtures, models["one regression"]))
        found |= picture(*first)
        return {f"tables/{name}/{what}": np.asarray(values) for what, values in found.items()}


def fitted(key: Key, split: Split) -> tuple[Mixture, Mixture]:
    """The best start, and where EM leads from it: component 0 is the one that the group has more of, which only names it."""

    def draw(key: Key, prompt: Prompt) -> Mixture:
        return Mixture(jax.random.normal(key, (2, 2)), jnp.full(2, 0.5), jnp.ones(()))

    def loss(mixture: Mixture, prompt: Prompt) -> Array:
        return mixture_loss(mixture.components, prompt, mixture.weights, mixture.noise)

    solver = estimating_em(LEAST_NOISE)
    prompt = best_start(solver, loss, draw, TRIED, TRIAL_STEPS)(key, split.train)
    end = unroll(solver, prompt, EM_STEPS, keep="last")
    share = responsibilities(end.components, split.train, end.weights, end.noise)[:, 0]
    swapped = jnp.mean(share, where=split.group) < jnp.mean(share, where=~split.group)

    def named(mixture: Mixture) -> Mixture:
        order = jnp.where(swapped, jnp.array([1, 0]), jnp.array([0, 1]))
        return mixture._replace(components=mixture.components[order], weights=mixture.weights[order])

    return named(prompt.start), named(end)


def known(prompt: Prompt, shares: Float[Array, "n K"]) -> Mixture:
    """The most likely mixture for components that are known: least squares of each, one noise for all."""
    x = design_matrix(prompt)

    def of_component(share: Float[Array, " n"]) -> Float[Array, " d"]:
        return jnp.linalg.solve((x.T * share[None]) @ x, x.T @ (share * prompt.y))

    components = jax.vmap(of_component, in_axes=1)(shares)
    errors = prompt.y[:, None] - x @ components.T
    return Mixture(components, jnp.mean(shares, axis=0), jnp.sqrt(jnp.sum(shares * errors**2) / prompt.n_used))


def likelihood(mixture: Mixture, prompt: Prompt) -> Float[Array, ""]:
    """The mean log-density of a label."""
    return -mixture_loss(mixture.components, prompt, mixture.weights, mixture.noise)


def right(mixture: Mixture, split: Split) -> Float[Array, ""]:
    """The share of held-out rows whose likelier component is that of their class."""
    share = responsibilities(mixture.components, split.held, mixture.weights, mixture.noise)[:, 0]
    return jnp.mean((share > 0.5) == split.group_held)


def by_network(
    prompts: Prompt, starts: Mixture, mixtures: Mixture
) -> tuple[Float[np.ndarray, "splits K d"], Float[np.ndarray, " splits"]]:
    """The last iterate of the Transformer that is given EM's weights and noise, and its largest distance from gradient EM."""
    ends, gaps = [], []
    answer = None
    for place in range(len(prompts.y)):
        prompt, start, mixture = jax.tree.map(lambda leaf, place=place: leaf[place], (prompts, starts, mixtures))
        prompt = prompt._replace(start=start.components)
        # columns are standardised, so that |X'X / n| is one up to rounding
        sizes = (float(mixture.noise), 1.0 - 1e-12)
        target = np.asarray(unroll(gradient_em(mixture.weights, *sizes, INNER), prompt, STEPS))
        limits = limits_of(jax.tree.map(lambda leaf: leaf[None], prompt), target[None])
        construction = expectation_maximisation(2, mixture.weights, *sizes, STEPS, INNER, CELLS, limits, n=len(prompt.y))
        # without queries all splits have one program, since what differs is in the parameters
        answer = answer or jax.jit(at_claimed_layers(construction))
        read = np.asarray(answer(construction.params, prompt)).reshape(target.shape)
        ends.append(read[-1])
        gaps.append(np.abs(read - target).max())
    return np.stack(ends), np.array(gaps)


def picture(split: Split, mixture: Mixture, single: Mixture) -> Results:
    """Of one split, standardised: rows (x, y, whether in the group, responsibility of component 0), and three lines."""

    def of(prompt: Prompt, group: Bool[Array, " n"]) -> Float[Array, "n 4"]:
        share = responsibilities(mixture.components, prompt, mixture.weights, mixture.noise)[:, 0]
        return jnp.stack([design_matrix(prompt)[:, 1], prompt.y, group.astype(float), share], axis=1)

    rows = [of(split.train, split.group), of(split.held, split.group_held)]
    lines = [mixture.components, single.components]
    return {"rows": np.concatenate(rows), "lines": np.concatenate(lines)}
