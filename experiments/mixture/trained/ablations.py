"""The parts about what a network is and what it is asked: attention, width, depth, and the number of components."""

import numpy as np
from jaxtyping import Array

from experiments.common import Results, Run
from experiments.mixture.methods import Setting, chunked, classical
from experiments.mixture.trained.config import TEST, TRAINING, Config
from experiments.mixture.trained.fresh import COUNT
from experiments.mixture.trained.networks import (
    Shape,
    Trained,
    by_seed,
    excess_of,
    keys_of,
    law,
    main_shape,
    setting_of,
    trained,
)
from jaxl2o.types import Instance

BESIDE = ("ridge", "restarted")  # methods that other numbers of components are compared with


def shapes(config: Config, run: Run, results: Results) -> None:
    """The excess by length of networks that differ in one thing from the main one, all trained alike, at one ratio."""
    main = main_shape(config)
    results["shapes/widths"], results["shapes/depths"] = np.array(config.widths), np.array(config.depths)
    results["shapes/main"], results["shapes/lengths"] = np.array(main[:2]), np.array(config.lengths)
    results["shapes/ratio"] = np.array(config.ratio)
    wide = [main._replace(width=width) for width in config.widths]
    deep = [main._replace(depth=depth) for depth in config.depths]
    settings = {n: setting_of(config, law(config, COUNT), COUNT, n) for n in config.lengths}
    prompts = {n: drawn(config, setting, config.test)[0] for n, setting in settings.items()}
    for shape in dict.fromkeys((main, main._replace(attention="softmax"), *wide, *deep)):
        network = at_one_ratio(config, run, shape, COUNT)
        with run.stage(f"{shape.title}, tested"):
            for n in config.lengths:
                results[f"shapes/{shape.title}/{n}"] = tested(network, settings[n], prompts[n])


def counts(config: Config, run: Run, results: Results) -> None:
    """The excess by length for more components, with a network for each number of them, and of two other methods."""
    results["counts/counts"], results["counts/lengths"] = np.array(config.counts), np.array(config.lengths)
    results["counts/ratio"] = np.array(config.ratio)
    for count in config.counts:
        network = at_one_ratio(config, run, main_shape(config), count)
        with run.stage(f"{count} components, tested"):
            for n in config.lengths:
                setting = setting_of(config, law(config, count), count, n)
                instances, own = drawn(config, setting, config.test)
                results[f"counts/{count}/{n}/transformer"] = tested(network, setting, instances)
                for name, method in classical(setting, BESIDE).items():
                    results[f"counts/{count}/{n}/{name}"] = by_seed(method(1.0 / config.ratio, instances, own))


def at_one_ratio(config: Config, run: Run, shape: Shape, count: int) -> Trained:
    """A network that is trained at one ratio of signal to noise, from one seed."""
    return trained(config, run, shape, count, (config.ratio,), config.shape_steps, TRAINING[0])


def tested(network: Trained, setting: Setting, instances: Instance) -> np.ndarray:
    """Its excess on every test prompt, (seeds, prompts)."""
    return by_seed(excess_of(setting, network.learner)(network.params, instances))


def drawn(config: Config, setting: Setting, each: int) -> tuple[Instance, Array]:
    """So many prompts of each test seed at that ratio, and the keys of what methods draw on them."""
    return chunked(setting.draw)(1.0 / config.ratio, keys_of(TEST, config.ratio, setting.n, each))
