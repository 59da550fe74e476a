"""Transformers of every depth, in several forms and from several seeds, and the best of them on validation draws."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import TEST, TRAINING
from experiments.memformer.measuring import D, Predict, isotropic, score, trained
from experiments.memformer.published.forms import FORMS, Form, predict, start
from experiments.memformer.published.protocols import SOUND
from experiments.memformer.weights.config import ALONE, REMEMBERING, Config
from experiments.shipping import INFINITE
from jaxl2o.training import losses
from jaxl2o.types import Key, Params, Prompt

SEEDS = (*TRAINING, *TEST, 89)  # of trainings; of validation draws; of test signals
FAMILIES = {"linear-attention": ALONE, "memformer": REMEMBERING}


class Chosen(NamedTuple):
    """The best Transformer of a family: its form, its layers, the seed of its training, and its parameters."""

    form: Form
    title: str
    depth: int
    seed: int
    theta: Params


def chosen(config: Config, run: Run, results: Results, name: str) -> Chosen:
    """The Transformer of least mean error on validation draws, of all forms, depths and seeds of a family."""
    depth = config.alone if name == "linear-attention" else config.depth
    found = []
    for title in FAMILIES[name]:
        if title in config.forms:
            thetas, answer = of_every_depth(config, run, title, depth)
            scored: Results = {}
            score(config, run, scored, f"validation, {title}", answer, thetas, isotropic)
            # an error that overflowed is the largest
            errors = np.nan_to_num(scored[f"validation, {title}/loss"][:, 1:] / D, nan=INFINITE, posinf=INFINITE)
            results[f"validation/{title}"] = errors
            seed, place = np.unravel_index(int(np.argmin(errors)), errors.shape)
            theta = jax.tree.map(lambda leaf, seed=seed: leaf[seed], thetas[place])
            found.append((errors[seed, place], Chosen(FORMS[title], title, int(place) + 1, TRAINING[seed], theta)))
    return min(found, key=lambda pair: pair[0])[1]


def of_every_depth(config: Config, run: Run, title: str, depth: int) -> tuple[tuple[Params, ...], Predict]:
    """The parameters of depths 1..T after training on fresh prompts, all seeds stacked, and what they answer."""
    form = FORMS[title]

    def first(key: Key) -> tuple[Params, ...]:
        return tuple(start(form, SOUND, layers, D, config.n, jax.random.fold_in(key, layers)) for layers in range(1, depth + 1))

    answer = partial(answers, form)
    thetas = trained(config, run, f"{title}, {depth} layers", first, answer, isotropic, losses.all_steps())
    return thetas, answer


def answers(form: Form, thetas: tuple[Params, ...], prompt: Prompt) -> Float[Array, "T+1 m"]:
    """Of depths 0..T; depth 0 says zero."""
    last = [predict(form, theta, prompt) for theta in thetas]
    return jnp.stack([jnp.zeros_like(last[0]), *last])
