"""A state that was saved on some devices goes on, on any others: the same numbers, the same curve, and no more waiting."""

import os
import re
import shutil
import signal
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import multihost_utils

from jaxl2o.training import losses, metrics
from jaxl2o.training.checkpoint import Checkpoints
from jaxl2o.training.checksums import checksum, checksums
from jaxl2o.training.loop import Recipe, TrainState, start
from jaxl2o.training.preemption import Preempted, preemption
from jaxl2o.training.run import train_in
from jaxl2o.types import Instance, Prompt, Task

NUMBERS = np.random.default_rng(0).normal(size=(4, 8)) * 40.0
DTYPES = ("bool", "int8", "bfloat16", "float32", "float64", "complex64")


def cut(array, devices: int):
    """The second axis of an array over so many devices."""
    kind = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ("wide",), axis_types=kind, devices=jax.devices()[:devices])
    return jax.device_put(array, jax.NamedSharding(mesh, jax.P(*[None, "wide"][: array.ndim])))


def flipped(array: np.ndarray) -> np.ndarray:
    """Every array that differs in one bit, stacked; of booleans, in one value."""
    if array.dtype == bool:
        return array ^ np.eye(array.size, dtype=bool).reshape(-1, *array.shape)
    bits = np.unpackbits(np.frombuffer(array.tobytes(), dtype=np.uint8))
    changed = np.packbits(bits ^ np.eye(len(bits), dtype=np.uint8), axis=1)
    return changed.view(array.dtype).reshape(-1, *array.shape)


def swapped(array: np.ndarray) -> np.ndarray:
    """Every array in which two unequal elements have changed places, stacked."""
    flat = array.ravel()
    pairs = [(i, j) for i in range(flat.size) for j in range(i) if flat[i] != flat[j]]
    stack = np.tile(flat, (len(pairs), 1))
    for row, (i, j) in zip(stack, pairs, strict=True):
        row[[i, j]] = row[[j, i]]
    return stack.reshape(-1, *array.shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_checksum_sees_one_changed_bit_and_two_swapped_elements(dtype):
    """In dtypes of every width, also in elements that differ in the sign alone; and it is the same on any number of devices."""
    array = np.concatenate([NUMBERS[:2], -NUMBERS[:2]]) if dtype == "float32" else NUMBERS
    array = (array > 0 if dtype == "bool" else array.astype("int64").astype(dtype) if "int" in dtype else array).astype(dtype)
    whole = int(checksum(array))
    others = np.concatenate([flipped(array), swapped(array)])
    assert len(others) > 200
    assert whole not in np.asarray(jax.vmap(checksum)(others))
    assert int(checksum(cut(array, 8))) == whole


def test_a_checksum_is_that_of_the_formula():
    """sum_i mix(word_i ^ index_i * GOLDEN) mod 2^32 in the integers of Python, for doubles, which have two words each."""

    def mixed(word: int) -> int:
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            word = (word ^ word >> shift) * factor % 2**32
        return word ^ word >> 16

    words = NUMBERS.view(np.uint32).ravel().tolist()
    total = sum(mixed(word ^ index * 0x9E3779B9 % 2**32) for index, word in enumerate(words))
    assert int(checksum(NUMBERS)) == total % 2**32


def test_keys_and_scalars_have_checksums_by_name():
    """A typed key has that of its numbers; every array of a tree has its own, under its own name."""
    keys = jax.random.split(jax.random.key(1), 2)
    found = checksums({"keys": keys, "one": {"scalar": jnp.asarray(2.0)}})
    assert found == {
        "['keys']": int(checksum(jax.random.key_data(keys))),
        "['one']['scalar']": int(checksum(jnp.asarray(2.0))),
    }


def matrices(key):
    """A prompt of eight numbers, and the label that a fixed matrix gives them."""
    x = jax.random.normal(key, (8,))
    return Instance(Prompt(None, x, None, jnp.ones(8, dtype=bool)), jnp.sin(jnp.arange(1.0, 9.0)) @ x[:, None], None)


def recipe_on(devices: int, at_once: int = 0) -> Recipe:
    """A two-layer network of width 8 on 16 such prompts a step."""
    return Recipe(
        lambda params, prompt: (jnp.tanh(prompt.y @ params["in"]) @ params["out"])[None],
        lambda step: Task(matrices, lambda w, prompt: jnp.zeros(()), lambda w, x: w),
        losses.last_step(),
        optax.adam(0.03),
        16,
        devices=devices,
        at_once=at_once,
    )


def begin(recipe: Recipe) -> TrainState:
    """The state before the first step."""
    return start(recipe, {"in": jnp.asarray(NUMBERS.T @ NUMBERS / 1e4), "out": jnp.ones((8, 1))}, jax.random.key(3))


def facts(state: TrainState) -> list[tuple[str, bytes]]:
    """Dtype and bytes of every array of a state."""
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    return [(str(leaf.dtype), np.asarray(leaf).tobytes()) for leaf in leaves]


def curve_of(folder: Path, legs: list[tuple[int, int]], at_once: int) -> np.ndarray:
    """The losses of a run in a folder, of which every leg (devices, steps in all) is a call of its own."""
    for devices, steps in legs:
        recipe = recipe_on(devices, at_once)
        train_in(folder, recipe, begin(recipe), steps, 5, {})
    return np.array([record["loss"] for record in metrics.read(folder / "metrics.jsonl")])


@cache
def alone(parent: Path, at_once: int) -> np.ndarray:
    """The losses of ten steps on one device."""
    return curve_of(parent / f"alone-{at_once}", [(1, 10)], at_once)


@cache
def on_eight(parent: Path, at_once: int) -> Path:
    """The folder of five steps on eight devices."""
    curve_of(parent / f"eight-{at_once}", [(8, 5)], at_once)
    return parent / f"eight-{at_once}"


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_run_goes_on_with_other_devices(tmp_path_factory, devices):
    """Five steps on eight devices, then five on others: the curve of one device, with groups of tasks bit for bit."""
    parent = tmp_path_factory.getbasetemp()
    for at_once in (0, 2) if devices == 2 else (2,):
        folder = parent / f"moved-{devices}-{at_once}"
        shutil.copytree(on_eight(parent, at_once), folder)
        found, expected = curve_of(folder, [(devices, 10)], at_once), alone(parent, at_once)
        if at_once:
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_arrays_cut_over_devices_are_restored_on_any(tmp_path):
    """Parameters and moments cut over eight devices come back whole, or cut over 1, 2, 4 or 8, as `like` has them."""
    state = begin(recipe_on(1))
    wide = jax.tree.map(lambda leaf: cut(leaf, 8) if leaf.ndim == 2 and leaf.shape[1] == 8 else leaf, state)
    assert len(wide.params["in"].sharding.device_set) == 8
    assert checksums(wide) == checksums(state)
    with Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(wide)
    with Checkpoints(tmp_path, {}) as checkpoints:
        for devices in (1, 2, 4, 8):
            like = jax.tree.map(lambda leaf, n=devices: cut(leaf, n) if leaf.sharding.num_devices > 1 else leaf, wide)
            found = checkpoints.restore(like)
            assert found.params["in"].sharding == like.params["in"].sharding
            assert found.opt_state[0].mu["in"].sharding.num_devices == devices
            assert facts(found) == facts(state)


def buffers() -> dict[tuple, int]:
    """The bytes of every buffer that lives, by its device and its place there; several arrays may stand for one."""
    shards = [shard for array in jax.live_arrays() for shard in array.addressable_shards]
    return {(shard.device, shard.data.unsafe_buffer_pointer()): shard.data.nbytes for shard in shards}


def test_with_fsdp_a_device_keeps_its_share_after_a_resumption(tmp_path):
    """Of two matrices and Adam's moments of both, in bytes that live between steps; what the caller keeps does not count."""

    def predict(params, prompt):
        return (prompt.y @ params["in"][:8] @ params["out"][:, :1])[None]

    recipe = recipe_on(8)._replace(sharding="fsdp", predict=predict)
    state = start(recipe, {"in": jnp.ones((512, 64)), "out": jnp.ones((64, 512))}, jax.random.key(3))
    before, held = buffers(), []  # this state among them, which is whole on the first device

    def report(chunk):
        own = buffers().items() - before.items()
        held.append(max(sum(size for (on, _), size in own if on == device) for device in jax.devices()))

    for steps in (1, 2):
        train_in(tmp_path, recipe, state, steps, 1, {}, report)
    share = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.opt_state))) / 8
    assert [share <= size <= share + 1000 for size in held] == [True, True], (held, share)


def test_a_state_whose_buffers_are_donated_is_saved(tmp_path):
    """What is saved is the state at the time of the call, though its buffers are given away before it is written."""
    zero = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf * 0.0, params), donate_argnums=0)
    state = begin(recipe_on(1))._replace(params={"large": jnp.arange(2.0**20), "cut": cut(jnp.ones((4, 2**16)), 8)})
    expected = facts(state)
    with Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(state)
        params = jax.block_until_ready(zero(state.params))
        assert not params["large"].any()
        checkpoints.wait()
        assert facts(checkpoints.restore(state._replace(params=params))) == expected


def test_sigterm_waits_for_the_block():
    """It is noted instead of obeyed; one that is not answered by `Preempted`, and a second one, go to the handler of before."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("before"))
    try:
        with preemption() as asked:
            assert not asked()
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked()
            assert heard == []
        assert heard == ["before"]
        with suppress(Preempted), preemption():
            signal.raise_signal(signal.SIGTERM)
            raise Preempted
        assert heard == ["before"]
        with suppress(Preempted), preemption():
            signal.raise_signal(signal.SIGTERM)
            assert heard == ["before"]
            signal.raise_signal(signal.SIGTERM)
            assert heard == ["before"] * 2
            raise Preempted
        assert heard == ["before"] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_preemption_in_a_thread_leaves_signals_alone():
    """Outside the main thread no handler is set, and nothing is ever asked."""
    found = []

    def run():
        with preemption() as asked:
            found.extend([signal.getsignal(signal.SIGTERM), asked()])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM), False]


@pytest.mark.parametrize("others", [[False, False], [False, True]])
def test_all_processes_stop_together(monkeypatch, others):
    """With several processes, SIGTERM to one of them is known to all."""
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda own: np.array([own, *others]))
    with preemption() as asked:
        assert asked() == any(others)


def test_a_preempted_run_says_where_it_stopped(tmp_path):
    """SIGTERM within a chunk: the chunk ends, is saved whatever the interval, and named; nothing is trained twice."""
    recipe, reached = recipe_on(1), []

    def report(chunk):
        reached.append(int(chunk.state.step))
        if reached == [5]:
            signal.raise_signal(signal.SIGTERM)

    def call():
        return train_in(tmp_path / "run", recipe, begin(recipe), 20, 5, {}, report, checkpoint_every=100)

    with pytest.raises(Preempted, match=re.escape("after step 10, which is saved.")):
        call()
    assert reached == [5, 10]
    call()
    assert reached == [5, 10, 15, 20]
    assert len(metrics.read(tmp_path / "run" / "metrics.jsonl")) == 20
