"""What a step costs, against closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxl2o.models.encoding import interleaved, stacked
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import linear_attention, small_tf
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import accounting, losses, metrics
from jaxl2o.training.accounting import matrix_flops, matrix_peak, model_flops, peak_memory, steps_in_the_time_of, summarise
from jaxl2o.training.loop import Recipe, start
from jaxl2o.training.run import train_in

A, B, C = np.ones((3, 4)), np.ones((4, 5)), np.ones((4, 4))


def loop(x, times):
    """x C C ... C, in a scan."""
    return jax.lax.scan(lambda x, _: (x @ C, None), x, length=times)[0]


# name -> (function of A, FLOP)
PROGRAMS = {
    "a product": (lambda x: x @ B, 2 * 3 * 4 * 5),
    "a batch": (lambda x: jnp.einsum("bij,bjk->bik", jnp.stack([x] * 7), jnp.stack([B] * 7)), 7 * 2 * 3 * 4 * 5),
    "an inner product": (lambda x: jnp.vdot(x, x), 2 * 12),
    "no product": (lambda x: jnp.sin(x) * x, 0),
    "a scan": (partial(loop, times=6), 6 * 2 * 3 * 4 * 4),
    "under jit": (jax.jit(lambda x: jax.jit(jnp.matmul)(x, B)), 2 * 3 * 4 * 5),
    "recomputed": (jax.checkpoint(lambda x: x @ B), 2 * 3 * 4 * 5),
    "the dearest branch": (lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ C, lambda x: loop(x, 3), x), 3 * 2 * 3 * 4 * 4),
    "vmapped": (jax.vmap(lambda row: row @ B), 2 * 3 * 4 * 5),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_products_are_counted(name):
    """2 m n k for every product."""
    program, flops = PROGRAMS[name]
    assert matrix_flops(jax.make_jaxpr(program)(A).jaxpr) == flops


def plan(learner, predict, batch, d, n, loss) -> tuple[Recipe, optax.Params]:
    """A recipe on sparse recovery, and parameters."""
    task = sparse_recovery(exactly(d, 1), fresh(n, d))
    recipe = Recipe(predict, lambda step: task, loss, optax.sgd(1e-3), batch)
    return recipe, learner.init(jax.random.key(0), task.sample(jax.random.key(0)).prompt)


def test_linear_attention_costs_its_formula():
    """A head of a layer: 4 N D^2 for queries and writes, 4 N^2 D for scores and mixing; then the labels <x, beta>."""
    d, n, depth, batch = 4, 6, 3, 5
    learner = transformer_learner(linear_attention(d, depth), stacked(d))
    recipe, params = plan(learner, learner.predict, batch, d, n, losses.last_step())
    size, width = n + 1, d + 1
    layers = depth * (4 * size * width**2 + 4 * size**2 * width)
    labels = 2 * (n + 1) * d
    assert model_flops(recipe, start(recipe, params, jax.random.key(1))) == 3 * batch * (layers + labels)


def test_small_tf_costs_its_formula():
    """Per token 8 H D^2 / 2 + 16 D^2 for heads and MLP, 4 H N D for attention; merging query and key once a step."""
    d, n, depth, batch = 4, 3, 2, 7
    learner = transformer_learner(small_tf(d, depth), interleaved(d))
    recipe, params = plan(learner, learner.prefixes, batch, d, n, losses.all_prefixes())
    size, width, heads = 2 * n + 1, 2 * d + 2, 4
    layer = size * (4 * heads * width**2 + 16 * width**2 + 4 * heads * size * width)
    merging = depth * 2 * heads * width**3
    ends = size * 2 * ((d + 1) * width + (depth + 1) * width)
    labels = 2 * (n + 1) * d
    expected = 3 * (batch * (depth * layer + ends + labels) + merging)
    assert model_flops(recipe, start(recipe, params, jax.random.key(1))) == expected


def test_the_clock_is_kept(tmp_path):
    """timing.jsonl has seconds, tasks/s, model FLOP/s and devices of every chunk, in agreement with each other."""
    learner = transformer_learner(linear_attention(3, 1), stacked(3))
    recipe, params = plan(learner, learner.predict, 8, 3, 4, losses.last_step())
    recipe = recipe._replace(devices=2)
    state = start(recipe, params, jax.random.key(1))
    flops = model_flops(recipe, state)
    train_in(tmp_path, recipe, state, n_steps=5, chunk_size=2)
    records = metrics.read(tmp_path / "timing.jsonl")
    assert [record["step"] for record in records] == [2, 4, 5]
    for record, steps in zip(records, (2, 2, 1), strict=True):
        assert record["devices"] == 2
        np.testing.assert_allclose(record["tasks_per_second"] * record["seconds"], 8 * steps)
        np.testing.assert_allclose(record["flops_per_second"] * record["seconds"], flops * steps)


def test_the_summary_is_of_the_chunks(tmp_path):
    """Medians over the chunks, sums of seconds, and FLOP/s over the measured peak of as many devices."""
    for name, speeds in {"a": (1.0, 5.0, 3.0), "b/c": (2.0,)}.items():
        (tmp_path / name).mkdir(parents=True)
        records = [
            {"step": i + 1, "seconds": 0.5, "tasks_per_second": speed, "flops_per_second": 1e6 * speed, "devices": 2}
            for i, speed in enumerate(speeds)
        ]
        metrics.append(tmp_path / name / "timing.jsonl", records)
    found = summarise(tmp_path)
    assert list(found["trainings"]) == ["a", "b/c"]
    first = found["trainings"]["a"]
    assert (first["steps"], first["seconds"], first["devices"], first["tasks_per_second"]) == (3, 1.5, 2, 3.0)
    np.testing.assert_allclose(first["fraction_of_peak"] * found["peak_flops_per_second"]["2"], 3e6)
    assert found["peak_memory_bytes"] > 2**20


def test_steps_in_the_same_time(tmp_path):
    """12 seconds of the slow training are 80 steps of one that took 3 seconds for 20; never fewer than one."""
    clocks = {"slow": [(4, 8.0), (6, 4.0)], "fast": [(10, 1.0), (20, 2.0)]}
    for name, chunks in clocks.items():
        (tmp_path / name).mkdir()
        metrics.append(tmp_path / name / "timing.jsonl", [{"step": step, "seconds": seconds} for step, seconds in chunks])
    assert steps_in_the_time_of(tmp_path / "slow", tmp_path / "fast") == 80
    assert steps_in_the_time_of(tmp_path / "fast", tmp_path / "slow") == 2


def test_the_peak_and_the_memory_are_positive():
    """A machine of any kind does more than a million products a second and uses more than a megabyte."""
    assert matrix_peak(2) > 1e6
    assert peak_memory() > 2**20


def test_the_memory_of_a_process_is_its_own(monkeypatch, tmp_path):
    """On a CPU it is VmHWM, in KiB, where Linux says it; a process inherits the other count from whoever started it."""
    monkeypatch.setattr(accounting, "STATUS", tmp_path / "status")
    assert peak_memory() > 2**20
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  123 kB\nVmRSS:\t  45 kB\n")
    assert peak_memory() == 123 * 1024
