"""Every model that ships: where its parameters come from, what it is, and what its card tells beside its errors.

What a card says of other laws, and of trainings at length, are numbers that `sparse_recovery` and `at_length` have kept.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.committed import committed
from experiments.common import Run
from experiments.shipping import Arrays, Made
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.at_length.config import RANDOM, TRAINING
from experiments.sparse_recovery.config import SEEDS
from experiments.sparse_recovery.measuring import task_of, train
from experiments.sparse_recovery.transformers import networks
from experiments.sparse_recovery.weights.config import Config
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.presets import small_tf
from jaxl2o.pretrained import load_pretrained
from jaxl2o.pretrained.model import flat
from jaxl2o.solvers.in_context import InContextLayers, from_logarithms
from jaxl2o.solvers.varying import MomentumLayers
from jaxl2o.tasks.shift import random_length

LAW = "Rows of X are N(0, I) and new for every signal; {sparsity} of {d} coefficients are N(0, 1), at random places; no noise."
NOISE = "It was trained without noise and knows no noise level."


def alista(config: Config, run: Run, in_branches: bool = False) -> Made:
    """In-context ALISTA of ten measurements: the parameters of the experiment `sparse_recovery`."""
    layers = train(config.solvers, run, "in-context ALISTA", methods.in_context(config.depth), task_of(config.solvers))
    runs = "run in d + 1 branches, of which the simplest answer is given" if in_branches else "in one run"
    name = "in-context ALISTA, branches" if in_branches else "in-context ALISTA"
    limits = (
        f"Trained at {config.n} measurements; it needs at least twice as many as there are non-zero coefficients, and from d "
        f"on least squares is exact and it is not. Its error is {worse(name, 'heavy tails')} times as large with heavy-tailed "
        f"rows of X, {worse(name, 'random signs')} times where entries of X are random signs, {worse(name, 'condition 100')} "
        f"times at a condition of 100, and {worse(name, 'condition 10000')} times at 10,000. {NOISE}"
    )
    if in_branches:
        limits += " With eight non-zero coefficients of twenty the simplest answer is worse than that of a single run."
    texts = {
        "summary": f"{config.depth} steps of in-context ALISTA, {4 * config.depth} learned scalars, {runs}",
        "training": f"{config.steps} steps of {config.batch} signals, seed {SEEDS[1]}.",
        "limits": limits,
    }
    model = {"is": "in-context ALISTA", "weights": "analytic", "in_branches": in_branches}
    return Made(layer_arrays(layers), model, texts, least(config), config.longest)


def branches(config: Config, run: Run) -> Made:
    """The same parameters in branches."""
    return alista(config, run, in_branches=True)


def any_length(config: Config, run: Run) -> Made:
    """In-context ALISTA of any number of measurements, by one set of parameters."""
    task = task_of(config.solvers, n=config.longest)
    method = methods.of_any_length(config.depth)
    layers = train(config.solvers, run, "any length, in-context ALISTA", method, random_length(task, 1))
    texts = {
        "summary": f"{config.depth} steps of in-context ALISTA, {4 * config.depth} learned scalars for every number "
        "of measurements",
        "training": f"{config.steps} steps of {config.batch} signals of 1 to {config.longest} measurements; seed {SEEDS[1]}.",
        "limits": f"At {config.n} measurements its error is larger than that of the model for as many. {NOISE}",
    }
    model = {"is": "in-context ALISTA", "weights": "relative ridge", "in_branches": False, "share": methods.RIDGE}
    return Made(layer_arrays(layers), model, texts, least(config), config.longest)


def from_theorem(config: Config, run: Run) -> Made:
    """Small TF, filled by the theorem of LISTA-VM with momentum and trained on at length."""
    d, depth = config.d, config.depth
    shapes = MomentumLayers(jnp.zeros((depth, d, d)), *jnp.zeros((3, depth)))
    network = networks.filled(shapes, config.n)
    long, found = committed("sparse_recovery.at_length", "accelerator")
    bare = "theorem/Transformer, no safeguard"
    signals, largest = int(found[f"{bare}/signals"]), float(found[f"{bare}/quantiles"][-1, -1])
    texts = {
        "summary": f"Small TF, {depth} layers, filled by the theorem of LISTA-VM with momentum and trained with all parameters "
        "free",
        "training": f"From the theorem {long['steps']:,} steps of {long['batch']:,} prompts, at the best of the rates "
        f"{', '.join(f'{rate:g}' for rate in long['rates'])}; seed {TRAINING}; an H100.",
        "limits": f"Trained at {long['n']} measurements alone. The order of the rows and the signs of columns matter a little. "
        f"Without the safeguard the largest relative error of {signals:,} signals is {largest:.0f}. {NOISE}",
    }
    arrays = arrays_of(config, "small-tf", "theorem")
    model = transformer(network.config, "scratch with memory", "coefficients")
    return Made(arrays, model, texts, least(config), config.d - 1)


def from_random(config: Config, run: Run) -> Made:
    """Small TF as published, trained from random parameters with a curriculum."""
    long, _ = committed("sparse_recovery.at_length", "accelerator")
    texts = {
        "summary": f"Small TF as published, {config.depth} layers, trained from random parameters",
        "training": f"{long['random_steps']:,} steps of {long['random_batch']} prompts of up to {long['longest']} measurements "
        f"at a rate of {long['random_rate']:g}, with a curriculum of dimensions and of heads; every prefix is asked; seed "
        f"{RANDOM}; an H100.",
        "limits": "It answers labels; coefficients are decoded from its answers to fixed queries. It has learned that "
        "signals are sparse, not to solve: from d measurements on least squares is exact and it is not. The order of rows "
        f"matters. {NOISE}",
    }
    arrays = arrays_of(config, "small-tf-random", "random")
    model = transformer(small_tf(config.d, config.depth), "interleaved", "labels")
    return Made(arrays, model, texts, least(config), config.longest)


MAKERS: dict[str, Callable[[Config, Run], Made]] = {
    "in-context-alista": alista,
    "in-context-alista-branches": branches,
    "in-context-alista-any-n": any_length,
    "small-tf": from_theorem,
    "small-tf-random": from_random,
}


def least(config: Config) -> int:
    """The fewest measurements that are answered: three tenths of d, six of twenty.

    With four no model's mean error, asked as users ask, is below that of minimum norm; five were not measured so. The most are
    those that were measured, or those from which on minimum norm is exact and the model is not.
    """
    return max(1, round(0.3 * config.d))


def worse(title: str, law: str) -> str:
    """How many times as large a method's mean error is under another law than under that of training."""
    _, found = committed("sparse_recovery")
    there, own = (float(found[f"shift/{of}/{title}/mean"][0, -1]) for of in (law, "as trained"))
    return f"{there / own:.2g}"


def layer_arrays(learned: InContextLayers) -> Arrays:
    """What is learned are logarithms; the layers themselves ship."""
    return from_logarithms(learned)._asdict()


def transformer(config: TransformerConfig, encoding: str, gives: str) -> dict[str, Any]:
    """What a card says of a Transformer: its layers in a loop, which one prompt compiles faster; answers are the same."""
    return {"is": "Transformer", "config": asdict(replace(config, unroll=False)), "encoding": encoding, "gives": gives}


def arrays_of(config: Config, name: str, part: str) -> Arrays:
    """The parameters of a Transformer, where `sparse_recovery.at_length` left them, or as they ship."""
    if config.transformers:
        with np.load(Path(config.transformers) / "weights" / f"{part}.npz", allow_pickle=False) as file:
            return dict(file)
    return flat(load_pretrained(f"{name}-d{config.d}").params)
