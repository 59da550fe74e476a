"""The trainings that are planned: the papers' presets at their full length, and two models wide enough to need sharding."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import Encoding, alternating, interleaved, stacked
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.mutual import marked_summary, mutual
from jaxl2o.models.presets import gpt2, linear_self_attention_with_norm, memformer, mixture_encoder, small_tf
from jaxl2o.tasks.mixture import gaussian, mixture_per_example
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, TrainState, start
from jaxl2o.types import Key, Learner, Params, Prompt, Task


class Training(NamedTuple):
    """A model, its tasks and the length of its training. at_once: tasks of a device at one time, as in `Recipe`."""

    config: TransformerConfig
    encoding: Encoding
    task: Task
    batch: int
    steps: int
    source: str
    at_once: int = 0

    @property
    def learner(self) -> Learner:
        """The model with its encoding."""
        return transformer_learner(self.config, self.encoding)

    def recipe(self) -> Recipe:
        """Adam, on all prefixes where the model answers them in one pass, else on the query alone."""
        learner = self.learner
        causal = self.encoding.read_prefixes is not None
        answer, loss = (learner.prefixes, losses.all_prefixes()) if causal else (learner.predict, losses.last_step())
        return Recipe(answer, lambda step: self.task, loss, optax.adam(1e-4), self.batch, at_once=self.at_once)

    def state(self, key: Key) -> TrainState:
        """The state before the first step; under `jax.eval_shape` nothing but its shapes."""
        params: Params = self.learner.init(key, self.prompt(key))
        return start(self.recipe(), params, key)

    def prompt(self, key: Key) -> Prompt:
        """One prompt, of whose length the parameters are made."""
        return self.task.sample(key).prompt

    def shapes(self) -> TrainState:
        """The state's shapes."""
        return jax.eval_shape(self.state, jax.eval_shape(lambda: jax.random.key(0)))


def wide(width: int, depth: int, dtype: str | None) -> TransformerConfig:
    """GPT-2's shape with heads of 128, layers looped over and computed again in the backward pass."""
    return replace(gpt2(20, depth, width // 128, width), unroll=False, remat=True, dtype=dtype)


def trainings(dtype: str | None, depth: int = 0) -> dict[str, Training]:
    """Every training by its name, its products in this dtype (None: that of the parameters). depth: layers; 0: the papers'."""

    def of(config: TransformerConfig) -> TransformerConfig:
        return replace(config, dtype=dtype)

    sparse = sparse_recovery(exactly(20, 3), fresh(40, 20))
    weights = jnp.full(2, 0.5)
    return {
        "Small TF": Training(
            of(small_tf(20, depth or 12)), interleaved(20), sparse, 64, 1_000_000, "Liu et al., arXiv:2410.13981; 40 examples"
        ),
        "GPT-2, 9.5 M": Training(
            of(gpt2(20, depth or 12)),
            alternating(20),
            sparse,
            64,
            500_000,
            "Garg et al., arXiv:2208.01066; 40 examples, twice the steps in Liu et al.",
        ),
        "Memformer": Training(
            of(memformer(5, depth or 4, "lfom")),
            stacked(5),
            linear_regression(20, jnp.eye(5)),
            1000,
            2000,
            "Dutta and Sra, arXiv:2410.07263, as in their code: two stages of 1,000 steps",
        ),
        "linear attention": Training(
            of(linear_self_attention_with_norm(10, depth or 6)),
            mutual(10, (4 / 64) ** 0.5),
            linear_regression(50, jnp.eye(10)),
            2000,
            100_000,
            "Giannou et al., arXiv:2403.03183, as in their code: with norm, in groups of 500",
            at_once=500,
        ),
        "mixture encoder": Training(
            of(mixture_encoder(8, depth or 4)),
            marked_summary(8),
            mixture_per_example(128, gaussian(8, 2, 8**-0.5), weights, 0.2, 128),
            32,
            12_000,
            "after Jin et al., arXiv:2410.14183; steps and batch are ours",
        ),
    }


def wide_trainings(dtype: str | None, depth: int = 0) -> dict[str, Training]:
    """Trainings of no paper: what a wide model would need, on prompts of 100 examples in groups of four."""
    task = sparse_recovery(exactly(20, 3), fresh(100, 20))
    return {
        f"wide, {width}": Training(
            wide(width, depth or 48, dtype), alternating(20), task, 256, 500_000, f"no paper's: width {width:,}, 48 layers", 4
        )
        for width in (2048, 4096)
    }


def in_groups(groups: int) -> Training:
    """The wide shape in small, 6.4 million parameters, one task a group: its gradient is 40 times the activations of a task."""
    task = sparse_recovery(exactly(20, 3), fresh(10, 20))
    return Training(wide(512, 2, None), alternating(20), task, groups, 1, "no paper's: to weigh groups", 1)
