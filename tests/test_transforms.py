"""jit, vmap, grad, pmap and shard_map of every kind of learner, and of one layer, agree with the plain call.

Eight tasks, on the eight devices that the tests have.
"""

from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.models import presets
from jaxl2o.models.encoding import alternating, interleaved, stacked
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.transformer import Layer
from jaxl2o.solvers import varying
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.types import Prompt

TASKS, N, D, DEPTH, STEP = 8, 4, 3, 2, 1e-6
RNG = np.random.default_rng(0)
SHAPES = [(TASKS, N, D), (TASKS, N), (TASKS, 1, D)]
PROMPTS = jax.vmap(Prompt.of)(*[jnp.asarray(RNG.normal(size=shape)) for shape in SHAPES])
LAYERS = VaryingLayers(jnp.asarray(RNG.normal(size=(DEPTH, D, D))), jnp.asarray([0.01, 0.02]))


def transformer(config, encoding):
    """A learner with random parameters."""
    learner = transformer_learner(config, encoding)
    tree = jax.eval_shape(learner.init, jax.random.key(0), task(0))
    return learner, jax.tree.map(lambda leaf: jnp.asarray(0.5 * np.random.default_rng(1).normal(size=leaf.shape)), tree)


def task(index: int) -> Prompt:
    """One of the eight prompts."""
    return jax.tree.map(lambda leaf: leaf[index], PROMPTS)


THEOREM = lista_vm(LAYERS, bound=20.0)
GPT2 = presets.gpt2(D, DEPTH, heads=2, width=8, positions=2 * N + 1)

# name -> (learner, params)
LEARNERS = {
    "construction": lambda: (transformer_learner(THEOREM.config, THEOREM.encoding), THEOREM.params),
    "small-tf": lambda: transformer(presets.small_tf(D, DEPTH), interleaved(D)),
    "gpt2": lambda: transformer(GPT2, alternating(D)),
    "linear-attention": lambda: transformer(presets.linear_attention(D, DEPTH), stacked(D)),
    "learned-solver": lambda: (learned(lambda key, prompt: LAYERS, varying.lista_vm), LAYERS),
}


def one_layer():
    """A layer of GPT-2 as (params, prompt) -> stream, on the residual stream before it."""
    _, params = transformer(GPT2, alternating(D))
    own = jax.tree.map(lambda leaf: leaf[0], params["layers"])

    def apply(own, prompt):
        tokens = alternating(D).tokens(prompt)
        z = jnp.sin(tokens.z.sum(axis=1, keepdims=True) + jnp.arange(8.0)[None])
        return Layer(GPT2).apply({"params": own}, z, tokens)[0]

    return apply, own


@cache
def subject(name: str):
    """The function (params, prompt) -> array under test, and its parameters."""
    if name == "layer":
        return one_layer()
    learner, params = LEARNERS[name]()
    return learner.predict, params


@cache
def plain(name: str):
    """One task after another, without any transformation."""
    function, params = subject(name)
    return jnp.stack([function(params, task(index)) for index in range(TASKS)])


def sharded(function, transform=jax.jit):
    """Every device maps its own share of the tasks."""
    mesh = jax.make_mesh((TASKS,), ("tasks",))
    mapped = jax.vmap(function, in_axes=(None, 0))
    run = transform(jax.shard_map(mapped, mesh=mesh, in_specs=(jax.P(), jax.P("tasks")), out_specs=jax.P("tasks")))
    return lambda params, prompts: run(params, jax.device_put(prompts, jax.NamedSharding(mesh, jax.P("tasks"))))


def one_by_one(function):
    """jit, called for one task after another."""
    compiled = jax.jit(function)
    return lambda params, prompts: jnp.stack(
        [compiled(params, jax.tree.map(lambda leaf, index=index: leaf[index], prompts)) for index in range(TASKS)]
    )


# name -> ((params, prompt) -> array) -> ((params, prompts) -> arrays)
TRANSFORMS = {
    "jit": one_by_one,
    "vmap": lambda function: jax.jit(jax.vmap(function, in_axes=(None, 0))),
    "pmap": partial(jax.pmap, in_axes=(None, 0)),
    "shard_map": sharded,
}
SUBJECTS = [*LEARNERS, "layer"]
EVERY_SUBJECT = pytest.mark.parametrize("name", SUBJECTS)


@EVERY_SUBJECT
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transformed_call_is_the_plain_call(name, transform):
    """T(f)(params, prompts) = (f(params, prompt) for every prompt), for each transformation T of JAX."""
    function, params = subject(name)
    out = TRANSFORMS[transform](function)(params, PROMPTS)
    chex.assert_shape(out, plain(name).shape)
    chex.assert_trees_all_close(out, plain(name), rtol=1e-12, atol=1e-13)
    if transform in ("pmap", "shard_map"):
        assert len(out.sharding.device_set) == TASKS


def total(run):
    """A smooth scalar of all answers of (params, prompts) -> arrays."""
    return lambda params, prompts: jnp.mean(jnp.sin(run(params, prompts)))


@EVERY_SUBJECT
def test_the_gradient_is_the_finite_difference(name):
    """d mean sin f / d params along random directions is the central difference quotient; on eight devices it is the same."""
    function, params = subject(name)
    run = jax.jit(jax.value_and_grad(total(jax.vmap(function, in_axes=(None, 0)))))
    gradient = run(params, PROMPTS)[1]
    spread = sharded(function, lambda run: jax.jit(jax.grad(total(run))))(params, PROMPTS)
    chex.assert_trees_all_close(spread, gradient, rtol=1e-10, atol=1e-13)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        direction = jax.tree.map(lambda leaf, rng=rng: jnp.asarray(rng.normal(size=leaf.shape)), params)
        up, down = (
            run(jax.tree.map(lambda leaf, v, step=step: leaf + step * v, params, direction), PROMPTS)[0]
            for step in (STEP, -STEP)
        )
        slope = sum(jnp.vdot(g, v) for g, v in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
        assert jnp.abs(slope) > 1e-4
        assert jnp.abs((up - down) / (2.0 * STEP) - slope) <= 1e-6 * (1.0 + jnp.abs(slope))
