"""Stage-wise training: what moves when, how fast, and what it is scored on."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxl2o.checks import InputError
from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.lista import CouplingLayers, ista_as_lista_cp, lista_cp
from jaxl2o.solvers.wrappers import with_matrix
from jaxl2o.tasks.sparse import exactly, fixed, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, advance, start
from jaxl2o.training.stages import Stages, at_stage, by_layer
from jaxl2o.types import Instance, Prompt

STAGES = Stages(depth=3, lengths=(2, 3, 4), rates=(1.0, 0.5, 0.1), ageing=0.3)
N, D = 8, 12


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [1.0, 0.0, 0.0]),
        (1, [1.0, 0.0, 0.0]),
        (2, [0.5, 0.0, 0.0]),
        (4, [0.5, 0.0, 0.0]),
        (5, [0.1, 0.0, 0.0]),
        (9, [0.0, 1.0, 0.0]),
        (11, [0.15, 0.5, 0.0]),
        (14, [0.03, 0.1, 0.0]),
        (18, [0.0, 0.0, 1.0]),
        (20, [0.045, 0.15, 0.5]),
        (26, [0.009, 0.03, 0.1]),
        (1000, [0.009, 0.03, 0.1]),
    ],
)
def test_multipliers(step, expected):
    """A layer alone, then all so far; a layer is slowed by 0.3 for each that came after it; later ones stand still."""
    np.testing.assert_allclose(STAGES.multipliers(jnp.asarray(step)), expected, atol=1e-15)


def test_length():
    """The whole training is depth times the three phases."""
    assert STAGES.n_steps == 27


def test_updates_are_scaled_by_layer():
    """Slices of a leaf with a layer axis move by their own multipliers, other leaves at the phase's rate; steps are counted."""
    updates = {"layers": jnp.ones((3, 2)), "shared": jnp.ones(3), "scalar": jnp.ones(())}
    transformation = by_layer(STAGES, {"layers": True, "shared": False, "scalar": False})
    state = transformation.init(updates)
    for step in range(27):
        scaled, state = transformation.update(updates, state)
        multipliers = np.asarray(STAGES.multipliers(jnp.asarray(step)))
        np.testing.assert_array_equal(scaled["layers"], np.tile(multipliers[:, None], (1, 2)))
        np.testing.assert_array_equal(scaled["shared"], np.full(3, multipliers.max()))
        np.testing.assert_array_equal(scaled["scalar"], multipliers.max())


def test_a_leaf_without_layers_must_be_named():
    """By default every leaf has T layers; another number is refused."""
    with pytest.raises(InputError, match="a leaf of the layers has shape"):
        by_layer(STAGES).init({"shared": jnp.ones(5)})


def test_the_layer_in_training_is_scored():
    """The loss at step t is the loss of the answers after the layer that step t trains."""
    trajectory = jnp.asarray([[9.0], [1.0], [2.0], [3.0]])
    nothing = Prompt(None, jnp.zeros(1), None, jnp.ones(1, dtype=bool))
    loss = at_stage(STAGES, losses.last_step())
    found = [
        float(loss(trajectory, Instance(nothing, jnp.zeros(1), None), jnp.asarray(step))) for step in (0, 8, 9, 17, 18, 99)
    ]
    assert found == [1.0, 1.0, 4.0, 4.0, 9.0, 9.0]


@cache
def trained():
    """LISTA-CP of three layers on one matrix, stage by stage: the layers after each stage, and the losses."""
    matrix = jax.random.normal(jax.random.key(0), (N, D)) / jnp.sqrt(float(N))
    task = sparse_recovery(exactly(D, 2), fixed(matrix), n_queries=0)
    learner = learned(
        lambda key, prompt: ista_as_lista_cp(matrix, 3, 0.02), lambda p: with_matrix(lista_cp(positive(p)), matrix)
    )
    stages = Stages(3, (40, 20, 20))
    optimizer = optax.chain(optax.adam(1e-2), by_layer(stages))
    recipe = Recipe(learner.predict, lambda step: task, at_stage(stages, losses.last_step()), optimizer, 64)
    state = start(recipe, ista_as_lista_cp(matrix, 3, 0.02), jax.random.key(1))
    run = jax.jit(advance, static_argnums=(0, 2))
    states, values = [state], []
    for _ in range(3):
        state, losses_of_stage = run(recipe, state, sum(stages.lengths))
        states.append(state)
        values.append(np.asarray(losses_of_stage))
    return [jax.tree.map(np.asarray, state.params) for state in states], values


def positive(params):
    """Thresholds are kept above zero while they are learned."""
    return CouplingLayers(params.weight, jnp.maximum(params.threshold, 0.0))


def test_later_layers_wait():
    """Until its stage begins, a layer is as it was, bit for bit; in its stage it moves."""
    params, _ = trained()
    for stage in range(3):
        for before, after in zip(params[stage], params[stage + 1], strict=True):
            np.testing.assert_array_equal(before[stage + 1 :], after[stage + 1 :])
            assert np.all(np.any((before != after).reshape(3, -1)[: stage + 1], axis=1))


def test_every_stage_learns():
    """Each stage ends with a smaller loss than it began with, and than the stage before."""
    _, values = trained()
    ends = [value[-20:].mean() for value in values]
    assert all(end < value[:3].mean() for end, value in zip(ends, values, strict=True))
    assert ends[2] < ends[1] < ends[0]
