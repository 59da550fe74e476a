"""jit, vmap, grad, pmap and shard_map of every kind of learner, and of one layer, agree with the plain call.

Eight tasks, on the eight devices that the tests have.
"""

from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxl2o.constructions.learner import constrained_learner
from jaxl2o.constructions.sparse_recovery import lista_vm
from jaxl2o.models import presets
from jaxl2o.models.encoding import alternating, interleaved, stacked
from jaxl2o.models.layer import Layer, State
from jaxl2o.models.learner import transformer_learner
from jaxl2o.solvers import varying
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers
from jaxl2o.types import Prompt

TASKS, N, D, DEPTH, STEP = 8, 4, 3, 2, 1e-7
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


GPT2 = presets.gpt2(D, DEPTH, heads=2, width=8, positions=2 * N + 1)

# name -> (learner, params)
LEARNERS = {
    "construction": lambda: (constrained_learner(partial(lista_vm, bound=20.0), lambda key, prompt: LAYERS), LAYERS),
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
        one = jax.tree.map(lambda leaf: leaf[None], tokens)
        return Layer(GPT2).apply({"params": own}, State(z.T, None), one)[1].T

    return apply, own


@cache
def subject(name: str):
    """The function (params, prompt) -> array under test, and its parameters."""
    if name == "layer":
        return one_layer()
    learner, params = LEARNERS[name]()
    return learner.predict, params


@cache
def reference(name: str):
    """jit, called for one task after another."""
    function, params = subject(name)
    compiled = jax.jit(function)
    return np.stack([compiled(params, task(index)) for index in range(TASKS)])


def sharded(function, transform=jax.jit):
    """Every device maps its own share of the tasks."""
    mesh = jax.make_mesh((TASKS,), ("tasks",))
    mapped = jax.vmap(function, in_axes=(None, 0))
    run = transform(jax.shard_map(mapped, mesh=mesh, in_specs=(jax.P(), jax.P("tasks")), out_specs=jax.P("tasks")))
    return lambda params, prompts: run(params, jax.device_put(prompts, jax.NamedSharding(mesh, jax.P("tasks"))))


# name -> ((params, prompt) -> array) -> ((params, prompts) -> arrays)
TRANSFORMS = {
    "vmap": lambda function: jax.jit(jax.vmap(function, in_axes=(None, 0))),
    "pmap": partial(jax.pmap, in_axes=(None, 0)),
    "shard_map": sharded,
}
SUBJECTS = [*LEARNERS, "layer"]
EVERY_SUBJECT = pytest.mark.parametrize("name", SUBJECTS)


@cache
def transformed(name: str, transform: str):
    """The subject, transformed."""
    return TRANSFORMS[transform](subject(name)[0])


@pytest.mark.parametrize("name", ["linear-attention", "learned-solver", "layer"])
def test_a_compiled_call_is_the_plain_call(name):
    """jit(f)(params, prompt) = f(params, prompt)."""
    function, params = subject(name)
    np.testing.assert_allclose(reference(name)[0], function(params, task(0)), rtol=1e-12, atol=1e-13)


@EVERY_SUBJECT
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transformed_call_is_one_call_a_task(name, transform):
    """T(f)(params, prompts) = (f(params, prompt) for every prompt), for T = vmap, pmap, shard_map; these on eight devices."""
    out = transformed(name, transform)(subject(name)[1], PROMPTS)
    np.testing.assert_allclose(out, reference(name), rtol=1e-12, atol=1e-13)
    assert len(out.sharding.device_set) == (1 if transform == "vmap" else TASKS)


def loss_of(run):
    """A smooth scalar of all answers of (params, prompts) -> arrays."""
    return lambda params, prompts: jnp.mean(jnp.sin(run(params, prompts)))


@cache
def gradient(name: str):
    """The gradient of the loss of all tasks in the parameters."""
    function, params = subject(name)
    return jax.jit(jax.grad(loss_of(jax.vmap(function, in_axes=(None, 0)))))(params, PROMPTS)


@pytest.mark.parametrize("name", ["construction", "gpt2", "linear-attention", "learned-solver", "layer"])
def test_the_gradient_is_the_finite_difference(name):
    """<grad mean sin f, v> is the central difference quotient along v, for random directions v of the parameters."""
    params = jax.tree.map(np.asarray, subject(name)[1])
    for seed in range(3):
        rng = np.random.default_rng(seed)
        v = jax.tree.map(lambda leaf, rng=rng: rng.normal(size=leaf.shape), params)
        up, down = (
            np.mean(np.sin(transformed(name, "vmap")(jax.tree.map(lambda a, b, h=h: a + h * b, params, v), PROMPTS)))
            for h in (STEP, -STEP)
        )
        slope = sum(np.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient(name)), jax.tree.leaves(v), strict=True))
        assert abs(slope) > 1e-4
        assert abs((up - down) / (2.0 * STEP) - slope) <= 1e-6 * (1.0 + abs(slope))


@pytest.mark.parametrize("name", ["construction", "linear-attention", "learned-solver", "layer"])
def test_the_gradient_over_devices_is_the_gradient(name):
    """Parameters that all devices share get the sum of what every device's tasks say, as on one device."""
    function, params = subject(name)
    spread = sharded(function, lambda run: jax.jit(jax.grad(loss_of(run))))(params, PROMPTS)
    chex.assert_trees_all_close(spread, gradient(name), rtol=1e-10, atol=1e-13)
