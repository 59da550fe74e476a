"""A run that was stopped anywhere and started again is, byte for byte, the run that was never stopped."""

import errno
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxl2o.solvers.learned import learned
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.training import losses, metrics
from jaxl2o.training.checkpoint import CheckpointError, Checkpoints, CheckpointWarning
from jaxl2o.training.loop import Recipe, TrainState, start
from jaxl2o.training.preemption import Preempted
from jaxl2o.training.run import train_in
from jaxl2o.types import Instance, Prompt, Task

CHUNK, STEPS, EVERY = 2, 12, 2
KEY = jax.random.key(3)

SCRIPT_STEPS = 200


def work(folder: Path) -> None:
    """Train LISTA-VM in a folder, and leave every array of the last state in end.npz."""

    def sample(key):
        rows = jax.random.normal(key, (7, 6))
        return Instance(Prompt(rows[:5], rows[:5] @ rows[5], rows[6:], jnp.ones(5, dtype=bool)), rows[6:] @ rows[5], rows[5])

    layers = VaryingLayers(jnp.tile(0.1 * jnp.eye(6), (2, 1, 1)), jnp.full(2, 0.5))
    task = Task(sample, lambda w, prompt: jnp.zeros(()), lambda w, x: x @ w)
    learner = learned(lambda key, prompt: layers, lista_vm)
    recipe = Recipe(learner.predict, lambda step: task, losses.all_steps(), optax.adam(1e-3), 8)
    state = start(recipe, layers, jax.random.key(5))
    end = train_in(folder, recipe, state, SCRIPT_STEPS, 4, {"name": "tiny"}, checkpoint_every=3)
    leaves, tree = jax.tree.flatten(end._replace(key=jax.random.key_data(end.key)))
    np.savez(folder / "end.npz", tree=str(tree), **{f"leaf{i}": leaf for i, leaf in enumerate(leaves)})


def numbers(key):
    """Three labels from N(0, 1), of which one is asked."""
    y = jax.random.normal(key, (3,))
    return Instance(Prompt(None, y[:2], None, jnp.ones(2, dtype=bool)), y[2:], None)


RECIPE = Recipe(
    predict=lambda params, prompt: params["slope"] * prompt.y[None, :1] + params["shift"] * jnp.ones((2, 1)),
    task_at=lambda step: Task(numbers, lambda w, prompt: jnp.zeros(()), lambda w, x: w),
    loss=losses.last_step(),
    optimizer=optax.adam(0.1),
    batch_size=4,
)
PARAMS = {"slope": jnp.asarray(2.0), "shift": jnp.asarray(-1.0)}


def begin() -> TrainState:
    """The state before the first step."""
    return start(RECIPE, PARAMS, KEY)


def train_here(folder: Path, **changes) -> TrainState:
    """The small run, in this process."""
    options = {"n_steps": STEPS, "chunk_size": CHUNK, "config": {"name": "small"}, "checkpoint_every": EVERY, **changes}
    return train_in(folder, RECIPE, begin(), **options)


def facts(state: TrainState) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of every array of a state, parameters, optimiser, step and key."""
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    return [(str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()) for leaf in leaves]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@cache
def uninterrupted(parent: Path) -> tuple[Path, list]:
    """The folder of the small run that nobody stopped, and its last state."""
    return parent / "whole", facts(train_here(parent / "whole"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The small run that nobody stopped, made once."""
    return uninterrupted(tmp_path_factory.mktemp("resume"))


def launch(folder: Path) -> subprocess.Popen:
    """`work` in a process of its own, compiled as in this one; once, SIGTERM makes it begin anew and tell what was saved."""
    settings = {"PLATFORMS": "cpu", "NUM_CPU_DEVICES": "1", "ENABLE_X64": "1", "DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = {**os.environ, **{f"JAX_{name}": value for name, value in settings.items()}}
    return subprocess.Popen([sys.executable, __file__, str(folder)], env=environment, cwd=Path(__file__).parent.parent)


def wait_for_lines(process: subprocess.Popen, path: Path, count: int) -> None:
    """Return as soon as the file has so many lines; the process must be alive until then."""
    until = time.monotonic() + 120.0
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < until, "the run did not begin"
        time.sleep(0.02)


def test_a_stopped_process_resumes_bit_exactly(tmp_path):
    """Preempted, then killed: parameters, optimiser, step, key and metrics are those of a run that nobody stopped."""
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    process = launch(killed)
    try:
        wait_for_lines(process, killed / "metrics.jsonl", 20)
        process.send_signal(signal.SIGTERM)
        wait_for_lines(process, killed / "preempted.txt", 1)
        reached, newest = map(int, (killed / "preempted.txt").read_text().split())
        assert 20 <= reached == newest < SCRIPT_STEPS  # nothing is lost
        wait_for_lines(process, killed / "metrics.jsonl", reached + 20)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert reached + 20 <= len(metrics.read(killed / "metrics.jsonl")) < SCRIPT_STEPS
    assert not (killed / "end.npz").exists()
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1')  # what a writer that is killed in the middle of a line leaves behind
    work(killed)
    work(plain)

    assert (killed / "metrics.jsonl").read_bytes() == (plain / "metrics.jsonl").read_bytes()
    assert [record["step"] for record in metrics.read(killed / "metrics.jsonl")] == list(range(1, SCRIPT_STEPS + 1))
    chunks = [record["step"] for record in metrics.read(killed / "timing.jsonl")]
    assert chunks == list(range(4, SCRIPT_STEPS + 1, 4))
    with np.load(plain / "end.npz") as a, np.load(killed / "end.npz") as b:
        assert sorted(a.files) == sorted(b.files)
        assert len(a.files) == 1 + 2 + 5 + 2  # the tree; parameters; Adam's count, mu and nu; step and key
        for name in a.files:
            assert (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes())
    assert sorted(os.listdir(plain / "checkpoints")) == sorted(os.listdir(killed / "checkpoints"))


class Stopped(Exception):
    """What stands for a kill, in this process."""


def full_disk(monkeypatch, name: str):
    """The third append to a file writes half a line, and then there is no space left."""
    append, count = metrics.append, 0

    def half(path, records):
        nonlocal count
        count += path.name == name
        if path.name != name or count != 3:
            return append(path, records)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record) + "\n" for record in records)[:-5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(metrics, "append", half)


def stop_at_save(monkeypatch, when: str):
    """The second save stops, before or after it has written."""
    save, count = Checkpoints.save, 0

    def stopping(self, state):
        nonlocal count
        count += 1
        if count == 2 and when == "before":
            raise Stopped
        save(self, state)
        if count == 2:
            raise Stopped

    monkeypatch.setattr(Checkpoints, "save", stopping)


# how a run is stopped, by what, and the newest checkpoint it leaves
STOPS = {
    "full disk in metrics": (lambda patch: full_disk(patch, "metrics.jsonl"), OSError, 4),
    "full disk in timing": (lambda patch: full_disk(patch, "timing.jsonl"), OSError, 4),
    "before a checkpoint": (lambda patch: stop_at_save(patch, "before"), Stopped, 4),
    "after a checkpoint": (lambda patch: stop_at_save(patch, "after"), Stopped, 8),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_run_resumes_bit_exactly(tmp_path, monkeypatch, whole, stop):
    """Whatever stopped it, the error comes through, the checkpoint before can be read, and the rest gives the same bytes."""
    how, error, saved = STOPS[stop]
    with monkeypatch.context() as patch:
        how(patch)
        with pytest.raises(error) as caught:
            train_here(tmp_path / "run")
    if error is OSError:
        assert caught.value.errno == errno.ENOSPC
    with Checkpoints(tmp_path / "run" / "checkpoints", {"name": "small"}) as checkpoints:
        assert checkpoints.restore(begin()).step == saved
    folder, end = whole
    assert facts(train_here(tmp_path / "run")) == end
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    timing = [record["step"] for record in metrics.read(tmp_path / "run" / "timing.jsonl")]
    assert timing == list(range(CHUNK, STEPS + 1, CHUNK))


def test_a_run_can_be_made_longer(tmp_path, whole):
    """A finished shorter run, called with more steps, goes on to the same bytes as the long one."""
    train_here(tmp_path, n_steps=STEPS // 2)
    assert facts(train_here(tmp_path)) == whole[1]
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole[0] / "metrics.jsonl").read_bytes()


def test_a_finished_run_is_only_read(whole):
    """The same call again gives the same state, reports nothing and leaves every file's bytes alone."""
    folder, end = whole
    before, reported = contents(folder), []
    assert facts(train_here(folder, report=reported.append)) == end
    assert reported == []
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("every", "latest", "multiple", "kept"),
    [(1, 2, 3, [3, 5, 6]), (4, 1, 100, [6]), (2, 5, 100, [2, 4, 5])],
)
def test_which_checkpoints_are_kept(tmp_path, every, latest, multiple, kept):
    """The newest few, besides those whose step is a multiple; a save every few chunks, and at the end."""
    train_here(tmp_path, n_steps=kept[-1], chunk_size=1, checkpoint_every=every, keep_latest=latest, keep_every=multiple)
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == kept


@pytest.mark.parametrize(("missing", "left"), [(0, [1, 2, 3, 4]), (1, [1, 2, 3]), (9, [1, 2, 3])])
def test_metrics_are_cut_back(tmp_path, missing, left):
    """cut drops what comes after a step, and a torn last line; read passes a torn line over; nothing partial is left behind."""
    path = tmp_path / "metrics.jsonl"
    records = [{"step": step, "loss": 0.1 * step} for step in range(1, 6)]
    metrics.append(path, records[:2])
    metrics.append(path, records[2:])
    assert metrics.read(path) == records
    text = path.read_bytes()
    path.write_bytes(text[: len(text) - len(json.dumps(records[-1])) - 1 - missing])
    assert metrics.read(path) == records[: len(left)]
    metrics.cut(path, 4)
    assert metrics.read(path) == records[: len(left)]
    metrics.cut(path, 2)
    assert metrics.read(path) == records[:2]
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_missing_metrics_are_none(tmp_path):
    """A file that is not there has no records, and cutting it makes none."""
    assert metrics.read(tmp_path / "none.jsonl") == []
    metrics.cut(tmp_path / "none.jsonl", 3)
    assert os.listdir(tmp_path) == []


def assert_refused(folder: Path, like: TrainState, config: dict, *words: str) -> None:
    """Restoring raises CheckpointError, one sentence with these words, and leaves the folder as it was."""
    before = contents(folder)
    with pytest.raises(CheckpointError) as caught, Checkpoints(folder, config) as checkpoints:
        checkpoints.restore(like)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert all(word in message for word in words)
    assert contents(folder) == before
    del caught
    gc.collect()


@pytest.mark.parametrize(
    ("config", "words"),
    [({"name": "small", "depth": 3}, ["depth"]), ({"name": "other"}, ["name"]), ({"depth": 1}, ["depth, name"])],
)
def test_a_foreign_config_is_refused(whole, config, words):
    """The fields that differ are named, also those that only one of the two has; metrics are not cut."""
    folder, _ = whole
    assert_refused(folder / "checkpoints", begin(), config, "other values of", *words, "--fresh")
    before = contents(folder)
    with pytest.raises(CheckpointError, match="other values of"):
        train_here(folder, config=config)
    assert contents(folder) == before


# orbax leaves coroutines behind when a read fails, and Python tells of each when it is collected
READS_THAT_FAIL = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def with_params(params) -> TrainState:
    """The state before the first step, of other parameters."""
    return start(RECIPE, params, KEY)


OTHERS = {
    "another leaf": lambda: with_params({**PARAMS, "curve": jnp.asarray(0.0)}),
    "a leaf less": lambda: with_params({"slope": PARAMS["slope"]}),
    "another name": lambda: with_params({"slope": PARAMS["slope"], "offset": PARAMS["shift"]}),
    "another shape": lambda: with_params({**PARAMS, "shift": jnp.zeros(2)}),
    "another dtype": lambda: with_params(jax.tree.map(lambda leaf: leaf.astype("float32"), PARAMS)),
    "another optimizer": lambda: start(RECIPE._replace(optimizer=optax.sgd(0.1)), PARAMS, KEY),
    "another kind of key": lambda: start(RECIPE, PARAMS, jax.random.key(3, impl="rbg")),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_parameters_are_refused(whole, other):
    """A checkpoint of another tree, of other shapes, of another optimiser or kind of key is not used."""
    assert_refused(
        whole[0] / "checkpoints", OTHERS[other](), {"name": "small"}, "checkpoints/12", "holds other arrays", "--fresh"
    )


DAMAGES = {
    "cut in half": lambda path, data: path.write_bytes(data[: len(data) // 2]),
    "empty": lambda path, data: path.write_bytes(b""),
    "garbled": lambda path, data: path.write_bytes(data[: len(data) // 3] + bytes(b ^ 90 for b in data[len(data) // 3 :])),
    "gone": lambda path, data: path.unlink(),
}
# of the files of a checkpoint: what orbax cannot do without
VITAL = {"about/metadata", "state/_METADATA", "state/manifest.ocdbt"}


@READS_THAT_FAIL
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, whole, damage):
    """Damage to any one file is harmless, or it is named and the checkpoint before is used; never are there other numbers."""
    source, end = whole
    folder, refused = tmp_path / "checkpoints", set()
    for name in contents(source / "checkpoints" / "12"):
        shutil.copytree(source / "checkpoints", folder)
        path = folder / "12" / name
        DAMAGES[damage](path, path.read_bytes())
        with warnings.catch_warnings(record=True) as caught, Checkpoints(folder, {"name": "small"}) as checkpoints:
            warnings.simplefilter("always", CheckpointWarning)
            state = checkpoints.restore(begin())
        if state.step == 8:
            refused.add(name)
            [warning] = [warning for warning in caught if warning.category is CheckpointWarning]
            assert re.search(r"checkpoints/12 (cannot be read|is damaged).*, and step 8 is used\.$", str(warning.message))
        else:
            assert facts(state) == end
        shutil.rmtree(folder)
    gc.collect()
    assert refused >= VITAL
    assert any(name.startswith("state/d/") for name in refused)


def flip_a_bit(folder: Path) -> None:
    """Change one bit in the middle of the largest file."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_flipped_bits_are_refused(tmp_path):
    """Checkpoints whose numbers changed on the disk are not used, though every file of them can still be read."""
    params = {"slope": jnp.asarray(np.random.default_rng(0).normal(size=10_000)), "shift": PARAMS["shift"]}
    steps = [with_params(params)._replace(step=jnp.asarray(step)) for step in range(3)]
    with Checkpoints(tmp_path, {}, keep_latest=3) as checkpoints:
        for state in steps:
            checkpoints.save(state)
    for damaged in ("1", "2"):
        flip_a_bit(tmp_path / damaged)
    with Checkpoints(tmp_path, {}, keep_latest=3) as checkpoints:
        with pytest.warns(
            CheckpointWarning, match=r"\d is damaged, in .*slope.*; it is set aside, and step 0 is used"
        ) as caught:
            assert facts(checkpoints.restore(steps[0])) == facts(steps[0])
        assert [re.search(r"/(\d) is", str(warning.message))[1] for warning in caught] == ["2", "1"]
        for state in steps[1:]:  # what was damaged is not in the way
            checkpoints.save(state)
    assert {path.name for path in tmp_path.glob("*.damaged")} == {"1.damaged", "2.damaged"}  # and nothing is lost
    for damaged in ("0", "1", "2"):
        flip_a_bit(tmp_path / damaged)
    assert_refused(tmp_path, steps[0], {}, "no checkpoint in", "2 is damaged, in", "0 is damaged, in", "slope", "--fresh")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (PermissionError(errno.EACCES, "denied"), PermissionError),
        (OSError(errno.EIO, "no disk"), OSError),
        (MemoryError(), MemoryError),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED"), jax.errors.JaxRuntimeError),
        (ValueError("Error reading [os_error_code='13']"), PermissionError),
    ],
)
def test_what_is_no_damage_is_raised(whole, monkeypatch, raised, expected):
    """A sound checkpoint that cannot be read now is neither passed over nor touched."""

    def fail(*args, **kwargs):
        raise raised

    folder = whole[0] / "checkpoints"
    before = contents(folder)
    with Checkpoints(folder, {"name": "small"}) as checkpoints:
        monkeypatch.setattr(checkpoints._handler, "restore", fail)
        with pytest.raises(expected):
            checkpoints.restore(begin())
    assert contents(folder) == before


def test_what_stands_beside_the_state(tmp_path, whole):
    """With other fields it is damaged; with the one of former versions it is theirs, which is said."""
    shutil.copytree(whole[0] / "checkpoints", tmp_path / "run")
    about = tmp_path / "run" / "12" / "about" / "metadata"
    fields = json.loads(about.read_text())
    about.write_text(json.dumps({"config": {}, "seed": [], "arrays": {}, "digest": "0"}))
    assert_refused(tmp_path / "run", begin(), {"name": "small"}, "12 was written by another version", "--fresh")
    about.write_text(json.dumps({name: fields[name] for name in ("config", "seed", "arrays")} | {"checksumr": {}}))
    with pytest.warns(CheckpointWarning, match="12 cannot be read"), Checkpoints(tmp_path / "run", {"name": "small"}) as found:
        assert found.restore(begin()).step == 8


@pytest.mark.parametrize(
    "changed", [{"config": {"name": "big"}}, {"config": None}, {"seed": [1, 2]}, {"arrays": {}}, {"seal": ""}]
)
def test_what_stands_beside_the_state_is_sealed(tmp_path, whole, changed):
    """What was changed there without the seal is damage, not another run: the checkpoint before is used."""
    shutil.copytree(whole[0] / "checkpoints", tmp_path / "run")
    about = tmp_path / "run" / "12" / "about" / "metadata"
    about.write_text(json.dumps(json.loads(about.read_text()) | changed))
    words = "12 is damaged, in what stands beside its arrays"
    with pytest.warns(CheckpointWarning, match=words), Checkpoints(tmp_path / "run", {"name": "small"}) as found:
        assert found.restore(begin()).step == 8


def test_an_empty_folder_has_no_state(tmp_path):
    """Nothing saved yet: None."""
    with Checkpoints(tmp_path / "checkpoints", {}) as checkpoints:
        assert checkpoints.restore(begin()) is None


def test_another_seed_is_refused(whole):
    """A run from another key does not go on from this one's checkpoint."""
    other = start(RECIPE, PARAMS, jax.random.key(4321))
    assert_refused(whole[0] / "checkpoints", other, {"name": "small"}, "another key", "--fresh")


def save_and(end: str, folder: Path) -> None:
    """Save at step 8; then wait for it, or close, or stop because of something else."""
    with Checkpoints(folder, {}) as checkpoints:
        checkpoints.save(begin()._replace(step=jnp.asarray(8)))
        if end == "wait":
            checkpoints.wait()
        if end == "error":
            raise Stopped


@pytest.mark.parametrize("end", ["wait", "close", "error"])
def test_a_save_that_fails_in_the_background_is_an_os_error(tmp_path, monkeypatch, end):
    """The system's error with its number, or its words as a note to the error that came first; what was saved stays."""
    rename = os.rename

    def full(source, target, **options):
        if Path(target).name == "8":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        rename(source, target, **options)

    with Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(begin())
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(Stopped if end == "error" else OSError) as caught:
        save_and(end, tmp_path)
    if end == "error":
        assert os.strerror(errno.ENOSPC) in caught.value.__notes__[0]
    else:
        assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    with Checkpoints(tmp_path, {}) as checkpoints:
        assert checkpoints.restore(begin()).step == 0
        checkpoints.save(begin()._replace(step=jnp.asarray(8)))
    assert sorted(os.listdir(tmp_path)) == ["0", "8"]


@pytest.mark.parametrize("method", ["save", "wait_until_finished"])
def test_a_disk_that_fills_up_in_tensorstore_is_an_os_error(tmp_path, monkeypatch, method):
    """Its ValueError has the number of the system's error in its text."""

    def full(*args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os_error_code='28']")

    with Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(begin())
        checkpoints.wait()
        monkeypatch.setattr(checkpoints._manager, method, full)
        with pytest.raises(OSError, match="No space left") as caught:
            checkpoints.save(begin()) if method == "save" else checkpoints.wait()
        monkeypatch.undo()
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))
        assert checkpoints.restore(begin()).step == 0


@pytest.mark.parametrize("line", ["not a record", "[1, 2]", '{"loss": 1.0}'])
def test_a_foreign_line_among_the_metrics_is_refused(tmp_path, line):
    """A whole line that is no record is named, and the file stays as it is."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n' + line + "\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no record") as caught:
        metrics.cut(path, 1)
    assert line in str(caught.value)
    assert path.read_bytes() == before


if __name__ == "__main__":
    where = Path(sys.argv[1])
    try:
        work(where)
    except Preempted:
        newest = max(int(path.name) for path in (where / "checkpoints").iterdir())
        (where / "preempted.txt").write_text(f"{len(metrics.read(where / 'metrics.jsonl'))} {newest}\n")
        work(where)
