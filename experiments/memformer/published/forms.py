"""The Transformers of the paper, computed by what their heads can write: labels, and in GD++ inputs as well.

With merged heads of linear attention, tokens z_j = (x_j; r_j) and sums over the examples, a layer writes

    r_j += <x_j, S sum_i x_i r_i / n>,      x_j += B (sum_i x_i x_i' / n) S' x_j      (the second in GD++ alone),

through its memory. These are the Transformers that `parameters` fills, and `gaps` compares with them, without their zeros: a
layer costs n d products in place of n^2 d, and trainings of a thousand full steps are many.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import TEST
from experiments.memformer.measuring import D
from experiments.memformer.parts import GAPS
from experiments.memformer.published.config import Config
from jaxl2o.constructions.construction import merge
from jaxl2o.models.config import Memory, TransformerConfig
from jaxl2o.models.encoding import stacked
from jaxl2o.models.experts import fitted, gated
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import memformer
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.types import Key, Params, Prompt, design_matrix, queries


class Form(NamedTuple):
    """A Transformer of the paper. scalar: scores are multiples of I.  moving: inputs move, as in GD++.

    heads: scores that are summed; heads that write labels are one head whose score is the sum.
    """

    memory: Memory = "none"
    scalar: bool = False
    moving: bool = False
    heads: int = 1


FORMS = {
    "scalar, no memory": Form(scalar=True),
    "scalar, momentum": Form("momentum", scalar=True),
    "scalar, momentum, 5 heads": Form("momentum", scalar=True, heads=5),
    "no memory": Form(),
    "momentum": Form("momentum"),
    "Hadamard": Form("hadamard"),
    "Hadamard, of the past": Form("hadamard_past"),
    "GD++, no memory": Form(moving=True),
    "GD++, Hadamard, of the past": Form("hadamard_past", moving=True),
}


class Start(NamedTuple):
    """Where a training begins. step: of the gradient steps that all layers take; if they do, free scores are a number times a
    matrix, the same class of Transformers, in which Adam takes all entries of a score down together.  spread: the deviation of
    all matrices.  weight: of what was seen in a Hadamard memory; other memories write what is seen."""

    step: float = 0.0
    spread: float = 1e-4
    weight: float = 0.0


def start(form: Form, at: Start, depth: int, d: int, n: int, key: Key) -> Params:
    """theta before training."""
    key_score, key_write = jax.random.split(key)
    scaled = at.step > 0.0 and not form.scalar
    mean = -(1.0 if scaled else at.step) / form.heads * (1.0 if form.scalar else jnp.eye(d))
    size = (depth, form.heads) if form.scalar else (depth, form.heads, d, d)
    theta: Params = {"score": mean + at.spread * jax.random.normal(key_score, size)}
    if scaled:
        theta["scale"] = jnp.full(depth, at.step)
    if form.moving:
        theta["write"] = at.spread * jax.random.normal(key_write, (depth, d, d))
    if form.memory == "momentum":
        theta["memory"] = {"step_size": jnp.ones(depth), "decay": jnp.zeros(depth)}
    elif form.memory != "none":
        theta["memory"] = {"weights": jnp.full((depth, (d if form.moving else 0) + 1, n + 1), at.weight)}
    return theta


def scores(form: Form, theta: Params, d: int) -> Float[Array, "L d d"]:
    """S of every layer."""
    total = theta["score"].sum(axis=1)
    if form.scalar:
        return total[:, None, None] * jnp.eye(d)[None]
    return theta["scale"][:, None, None] * total if "scale" in theta else total


def predict(form: Form, theta: Params, prompt: Prompt) -> Float[Array, " m"]:
    """What the last layer answers."""
    return mixed(form, jax.tree.map(lambda leaf: leaf[None], theta), jnp.ones(1), prompt)


def mixed(form: Form, experts: Params, gates: Float[Array, " E"], prompt: Prompt) -> Float[Array, " m"]:
    """The same for several experts in one stream, what each writes times its gate; their thetas are stacked."""
    x = jnp.concatenate([design_matrix(prompt), queries(prompt)]).T
    n, d = prompt.y.shape[0], x.shape[0]
    z = jnp.concatenate([x, jnp.concatenate([prompt.y, jnp.zeros(x.shape[1] - n)])[None]])
    matrices = jax.vmap(lambda theta: scores(form, theta, d))(experts)
    register: Any = 0.0
    for layer in range(matrices.shape[1]):
        x, examples = z[:d], z[:, :n]
        sums = matrices[:, layer] @ (examples[:d] @ examples[d] / n)
        seen = (sums @ x)[:, None]
        if form.moving:
            moves = experts["write"][:, layer] @ (examples[:d] @ examples[:d].T / n) @ matrices[:, layer].transpose(0, 2, 1)
            seen = jnp.concatenate([moves @ x, seen], axis=1)
        own = {name: leaf[:, layer] for name, leaf in experts["memory"].items()} if "memory" in experts else {}
        register, written = remember(form.memory, own, register, seen)
        z = z.at[d - seen.shape[1] + 1 :].add(jnp.einsum("e,edj->dj", gates, written))
    return -z[d, n:]


def remember(memory: Memory, own: Params, register: Any, seen: Float[Array, "E D N"]) -> tuple[Any, Float[Array, "E D N"]]:
    """The register after a layer, and what is written."""
    match memory:
        case "momentum":
            register = seen + own["decay"][:, None, None] * register
            return register, own["step_size"][:, None, None] * register
        case "hadamard":
            register = register + by_token(own["weights"], seen)
            return register, register
        case "hadamard_past":
            return register + by_token(own["weights"], seen), seen + register
        case _:
            return register, seen


def by_token(weights: Float[Array, "E D n1"], seen: Float[Array, "E D N"]) -> Float[Array, "E D N"]:
    """A number for every slot of every token; all that ask share theirs."""
    n, count = weights.shape[-1] - 1, seen.shape[-1]
    return seen * weights[..., jnp.minimum(jnp.arange(count), n)]


def parameters(form: Form, theta: Params, d: int, n: int) -> tuple[TransformerConfig, Params]:
    """The Transformer itself, of one head: its config, and its parameters in the paper's sparsity."""
    matrices = scores(form, theta, d)
    depth = matrices.shape[0]
    score = jnp.zeros((depth, d + 1, 1, d + 1)).at[:, :d, 0, :d].set(matrices)
    write = jnp.zeros((depth, 1, d + 1, d + 1)).at[..., d, d].set(1.0)
    if form.moving:
        write = write.at[..., :d, :d].set(theta["write"].transpose(0, 2, 1)[:, None])
    layers = {"attention": {"score": score, "write": write}}
    if form.memory == "momentum":
        layers["memory"] = {name: leaf[:, None] for name, leaf in theta["memory"].items()}
    elif form.memory != "none":
        own = theta["memory"]["weights"]
        layers["memory"] = {"weights": jnp.zeros((depth, 1, d + 1, n + 1)).at[:, 0, d + 1 - own.shape[1] :].set(own)}
    return memformer(d, depth, form.memory, n=n), {"layers": layers}


def gaps(config: Config, run: Run, results: Results, used: set[Form]) -> None:
    """How far these forms are from the Transformers that they are, at random parameters; at last that of gated experts."""
    with run.stage("gaps of the fast forms"), jax.enable_x64(True):
        instances = jax.vmap(linear_regression(config.n, jnp.eye(D)).sample)(jax.random.split(jax.random.key(TEST[0]), GAPS))
        found = [np.asarray(gap(form, config, instances.prompt)) for form in FORMS.values() if form in used]
        results["gap/forms"] = np.stack([*found, np.asarray(gap_of_experts(config, instances.prompt))])


def at_random(form: Form, config: Config, key: Key) -> Params:
    """theta, all of whose entries are random."""
    key_start, key_noise = jax.random.split(key)
    theta = start(form, Start(spread=0.1), config.depth, D, config.n, key_start)
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(key_noise, leaf.shape), theta)


@partial(jax.jit, static_argnums=(0, 1))
def gap(form: Form, config: Config, prompts: Prompt) -> Float[Array, " k"]:
    """Of one form, relative to the answers, for prompts of one query."""
    theta = at_random(form, config, jax.random.key(TEST[0]))
    transformer, params = parameters(form, theta, D, config.n)
    learner = transformer_learner(transformer, stacked(D))
    return relative(jax.vmap(partial(predict, form, theta))(prompts), jax.vmap(partial(learner.predict, params))(prompts))


@partial(jax.jit, static_argnums=0)
def gap_of_experts(config: Config, prompts: Prompt) -> Float[Array, " k"]:
    """Of two experts side by side, whose tokens move and who remember, with gates."""
    form, gates = FORMS["GD++, Hadamard, of the past"], jnp.array([0.7, 0.2])
    thetas = [at_random(form, config, jax.random.key(seed)) for seed in TEST[:2]]
    each = [parameters(form, theta, D, config.n) for theta in thetas]
    transformer, params = merge(each[0][0], [own for _, own in each])
    learner = transformer_learner(transformer, gated(stacked(D), fitted(gates)))
    fast = jax.vmap(partial(mixed, form, jax.tree.map(lambda *leaves: jnp.stack(leaves), *thetas), gates))
    return relative(fast(prompts), jax.vmap(partial(learner.predict, params))(prompts))


def relative(fast: Float[Array, "k 1"], layers: Float[Array, "k L 1"]) -> Float[Array, " k"]:
    """The difference to what the last layer answers, over one and that."""
    exact = layers[:, -1]
    return (jnp.abs(fast - exact) / (1.0 + jnp.abs(exact)))[:, 0]
