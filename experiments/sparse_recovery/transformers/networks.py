"""The Transformers: filled by a theorem, or at a random start; and how each is trained."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from experiments.sparse_recovery.transformers.config import Config
from jaxl2o.constructions.construction import Construction
from jaxl2o.constructions.momentum import lista_vm_with_momentum
from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, alternating, interleaved, scratch
from jaxl2o.models.learner import residual_stream, transformer_learner
from jaxl2o.models.presets import gpt2, small_tf
from jaxl2o.models.unmasking import first_heads
from jaxl2o.solvers.varying import MomentumLayers, VaryingLayers
from jaxl2o.solvers.wrappers import safeguarded_answers
from jaxl2o.training import losses
from jaxl2o.training.guard import guarded
from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import devices_for
from jaxl2o.types import Learner, Params, Predict, Prompt, ScalarLike, Task

CLIP, GATE = 8.0, 16.0  # a healthy stream stays below the first; |x| + rho |y| below the second
BOUND = 100.0  # mask constant in training, which it disturbs the less the smaller it is
EXACT_BOUND = 1e4  # one above every score that the clip allows
WARMUP = 50  # steps in which the rate rises
RISE = (0.04, 0.6)  # shares of a training between which its dimensions grow, one after another
INIT_SCALE = 3.0**-0.5  # of random parameters: the deviation of PyTorch's uniform default
HEADS_JOIN = 0.03  # share of the training after which one head more joins, as at 30,000 of a million steps


@dataclass(frozen=True)
class Network:
    """config, encoding: the Transformer.  params: where its training begins."""

    config: TransformerConfig
    encoding: Encoding
    params: Params

    @cached_property
    def learner(self) -> Learner:
        """Answers after 0..L layers; always the same one, so that it is compiled once."""
        return transformer_learner(self.config, self.encoding)

    @cached_property
    def guarded(self) -> Predict:
        """Its iterates, under the rule that a solver's steps are under."""
        return safeguarded_answers(self.learner.predict)

    def represent(self, params: Params) -> Callable[[Prompt], Float[Array, "layers D"]]:
        """The stream of the query's token."""
        stream = residual_stream(self.config, self.encoding)
        return lambda prompt: stream(params, prompt)[:, -1]


def theorem(layers: MomentumLayers | VaryingLayers, n: int, bound: float = EXACT_BOUND) -> Construction:
    """The Transformer that runs LISTA-VM, with momentum or without, and has no norms.

    Its clip is one that no healthy stream reaches: short prefixes explode, and are in the same stream.
    """
    momentum = isinstance(layers, MomentumLayers)
    construction = lista_vm_with_momentum(layers, n, bound, GATE) if momentum else lista_vm(layers, n, bound)
    return construction._replace(config=replace(construction.config, clip=CLIP, unroll=True))


def filled(layers: MomentumLayers | VaryingLayers, n: int) -> Network:
    """The same, where training begins."""
    construction = theorem(layers, n, BOUND)
    return Network(construction.config, construction.encoding, construction.params)


def deeper(network: Network, params: Params, extra: int) -> tuple[Network, Params]:
    """The last layer, so many times more."""
    return replace(network, config=replace(network.config, depth=network.config.depth + extra)), {
        **params,
        "layers": repeat_last(params["layers"], extra),
    }


def repeat_last(layers: Params, extra: int) -> Params:
    """The same for layers alone, a Transformer's or a solver's."""
    return jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[-1:], extra, axis=0)]), layers)


def from_theorem(network: Network, task: Task, config: Config, n_steps: int) -> Recipe:
    """All parameters move, on the logarithm of the mean error of every layer's iterate."""
    rate = optax.warmup_cosine_decay_schedule(0.0, config.rate, min(WARMUP, n_steps // 2), n_steps)
    loss = losses.log_mean_relative(1e-6)
    optimizer = guarded(optax.adam(rate))
    devices = devices_for(config.batch)
    return Recipe(network.guarded, lambda step: task, loss, optimizer, config.batch, devices=devices)


def from_random(network: Network, within: Callable[[ScalarLike], Task], config: Config, n_steps: int) -> Recipe:
    """All prefixes are asked; dimensions grow from one to d, and heads join one after another.

    within: a number of coordinates, which is traced -> the task in which the others are zero. Without the curriculum, or
    where it begins at d / 4, short trainings answer zero to the end.
    """
    first, last = RISE

    def task_at(step: Int[Array, ""]) -> Task:
        risen = jnp.clip((step / n_steps - first) / (last - first), 0.0, 1.0)
        return within(1 + jnp.floor((config.d - 1) * risen).astype(int))

    def params_at(params: Params, step: Int[Array, ""]) -> Params:
        return first_heads(params, 1 + step // max(1, round(HEADS_JOIN * n_steps / max(1, network.config.heads - 1))))

    recipe = on_prefixes(network, within(config.d), config, config.random_rate, n_steps)
    return recipe._replace(task_at=task_at, params_at=params_at)


def on_prefixes(network: Network, task: Task, config: Config, rate: float, n_steps: int) -> Recipe:
    """All prefixes are asked, from the first step to the last."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, min(WARMUP, n_steps // 2), n_steps)
    optimizer, batch = guarded(optax.adam(schedule)), config.random_batch
    loss = losses.all_prefixes(losses.squared)
    return Recipe(network.learner.prefixes, lambda step: task, loss, optimizer, batch, devices=devices_for(batch))


def at_random(config: TransformerConfig, encoding: Encoding, task: Task, seed: int) -> Network:
    """A Transformer with random parameters."""
    key, config = jax.random.key(seed), replace(config, init_scale=INIT_SCALE)
    prompt = task.sample(key).prompt
    return Network(config, encoding, transformer_learner(config, encoding).init(key, prompt))


def of_the_paper(name: str, d: int, depth: int, task: Task, seed: int) -> Network:
    """Small TF, with norms after each sum, a learned read-in and a linear read-out; or GPT-2."""
    shape = {"Small TF": (small_tf(d, depth), interleaved(d)), "GPT-2": (gpt2(d, depth), alternating(d))}[name]
    return at_random(*shape, task, seed)


def smaller(config: Config, task: Task, seed: int) -> dict[str, Network]:
    """Small TF of fewer coefficients and layers with other numbers of heads, and with other read-outs."""
    d = config.small_d
    plain = small_tf(d, config.small_depth)
    shapes = {
        f"{heads} {'heads' if heads > 1 else 'head'}": (replace(plain, heads=heads), interleaved(d)) for heads in config.heads
    }
    shapes["bilinear read-out"] = (replace(plain, read_out="bilinear"), interleaved(d))
    shapes["fixed read-out"] = (replace(plain, read_in=0, read_out="none"), scratch(d))
    return {title: at_random(*shape, task, seed) for title, shape in shapes.items()}
