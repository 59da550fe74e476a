"""A sweep on disk is the sweep, in every bit, however often it was interrupted; and it goes on in no other sweep's folder."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.evaluation.sweep import sweep
from jaxl2o.evaluation.sweep_on_disk import _gaps, sweep_on_disk

AXES = {"factor": [0.5, 2.0, 3.0, 4.0], "seed": range(5)}
TABLE = np.array([1.0, 2.0, 5.0])


def mix(table, point):
    """A vector, a count, and a number in a precision that NumPy does not know."""
    noise = jax.random.normal(jax.random.key(point["seed"]), (4,))
    return {
        "vector": point["factor"] * jnp.tanh(noise) * jnp.sum(table),
        "which": (point["seed"], jnp.sum(noise).astype(jnp.bfloat16)),
    }


run = partial(mix, TABLE)


class Stopped(Exception):
    """What ends a sweep early."""


def stopping(after, seen):
    """A report that keeps how many points were done, and stops the sweep after so many."""

    def report(done, total):
        seen.append((done, total))
        if done >= after:
            raise Stopped

    return report


def assert_equal(found, expected):
    """The same axes, tree, kinds and bits."""
    assert list(found.axes) == list(expected.axes)
    assert jax.tree.structure(found.values) == jax.tree.structure(expected.values)
    for a, b in zip(jax.tree.leaves(found.values), jax.tree.leaves(expected.values), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def written(folder):
    """When each group was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}


@pytest.fixture(scope="module")
def expected():
    """The sweep in memory, in groups of at most six."""
    return sweep(run, AXES, 6)


@pytest.fixture
def stopped(tmp_path):
    """A folder in which two of four groups, of five points each, are finished."""
    with pytest.raises(Stopped):
        sweep_on_disk(tmp_path, run, AXES, 6, report=stopping(10, []))
    return tmp_path


def test_it_is_the_sweep(tmp_path, expected):
    """A file a group, whose arrays hold its points; called again, it computes nothing and gives the same."""
    seen = []
    assert_equal(sweep_on_disk(tmp_path / "new", run, AXES, 6, report=stopping(99, seen)), expected)
    assert seen == [(done, 20) for done in (0, 5, 10, 15, 20)]
    names = [f"{first:09d}-{first + 5:09d}.npz" for first in range(0, 20, 5)]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [*names, "lock", "manifest.json"]
    with np.load(tmp_path / "new" / names[1], allow_pickle=False) as file:
        np.testing.assert_array_equal(file["0"], expected.values["vector"].reshape(20, 4)[5:10])
    again = []
    assert_equal(sweep_on_disk(tmp_path / "new", run, AXES, 6, report=stopping(99, again)), expected)
    assert again == [(20, 20)]


def test_an_interrupted_sweep_goes_on(stopped, expected):
    """Behind the last group that is whole: those before are not written again, and what a kill left is removed."""
    before = written(stopped)
    (stopped / ".000000010-000000015.partial.npz").write_bytes(b"half")
    seen = []
    assert_equal(sweep_on_disk(stopped, run, AXES, 6, report=stopping(99, seen)), expected)
    assert [done for done, _ in seen] == [10, 15, 20]
    assert before.items() <= written(stopped).items()
    assert not list(stopped.glob(".*.partial*"))


def test_it_goes_on_elsewhere(stopped, expected):
    """In groups of another size, and on more devices."""
    seen = []
    found = sweep_on_disk(stopped, run, AXES, 1, 4, report=stopping(99, seen))
    assert [done for done, _ in seen] == [10, 14, 18, 20]
    np.testing.assert_allclose(found.values["vector"], expected.values["vector"], rtol=1e-14)
    np.testing.assert_array_equal(found.values["which"][0], expected.values["which"][0])


def test_a_gap_alone_is_filled(stopped, expected):
    """The first of two groups is gone: with groups of other sizes its points and those behind are found, the second is kept."""
    (stopped / "000000000-000000005.npz").unlink()
    before, seen = written(stopped), []
    found = sweep_on_disk(stopped, run, AXES, 20, report=stopping(99, seen))
    assert seen == [(5, 20), (10, 20), (20, 20)]
    assert before.items() <= written(stopped).items()
    names = ["000000000-000000005.npz", "000000005-000000010.npz", "000000010-000000020.npz"]
    assert sorted(path.name for path in stopped.glob("*.npz")) == names
    np.testing.assert_allclose(found.values["vector"], expected.values["vector"], rtol=1e-14)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)).filter(lambda ends: ends[0] < ends[1]), max_size=5))
def test_gaps_are_the_points_of_no_group(groups):
    """In order, each once, whether or not groups overlap."""
    covered = {i for first, end in groups for i in range(first, end)}
    assert [i for gap in _gaps(groups, 12) for i in gap] == [i for i in range(12) if i not in covered]


def test_two_calls_do_not_share_a_folder(stopped, refused, expected):
    """While one is at work the other is refused and touches nothing; afterwards the folder is free."""

    def meanwhile(done, total):
        half = stopped / ".another.partial.npz"
        half.write_bytes(b"half")
        refused(lambda: sweep_on_disk(stopped, run, AXES, 6), ("another call is at work", str(stopped), "wait for its end"))
        assert half.read_bytes() == b"half"

    sweep_on_disk(stopped, run, AXES, 6, report=meanwhile)
    assert_equal(sweep_on_disk(stopped, run, AXES, 6), expected)


def test_several_processes_are_refused(tmp_path, monkeypatch, refused):
    """They would all write the same files: nothing is touched."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    refused(lambda: sweep_on_disk(tmp_path / "new", run, AXES, 6), ("there are 2 JAX processes", "call it in a single one"))
    assert not (tmp_path / "new").exists()


OTHERS = {
    "another constant": (partial(mix, TABLE + 1.0), AXES, "another program"),
    "another result": (lambda point: run(point)["which"], AXES, "another program"),
    "another label": (run, AXES | {"factor": [0.5, 2.0, 3.0, 5.0]}, "another axes"),
    "another order": (run, dict(reversed(AXES.items())), "another axes"),
    "both": (partial(mix, TABLE + 1.0), AXES | {"seed": range(6)}, "another axes and another program"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_folder_of_another_sweep_is_refused(stopped, refused, other):
    """Whatever differs is named, and nothing is removed."""
    before = sorted(stopped.iterdir())
    function, axes, words = OTHERS[other]
    refused(lambda: sweep_on_disk(stopped, function, axes, 6), (str(stopped), words, "its own folder"))
    assert sorted(stopped.iterdir()) == before


def test_damaged_files_are_named_first(stopped, refused):
    """A file that was cut off, one with other arrays, one of no group: by its path, with what to do, before anything is run."""
    path, seen = stopped / "000000005-000000010.npz", []
    whole = path.read_bytes()
    call = partial(sweep_on_disk, stopped, run, AXES, 6, report=stopping(0, seen))
    path.write_bytes(whole[:100])
    refused(call, (str(path), "is damaged", "remove it and call again"))
    np.savez(path, **{"0": np.zeros((4, 4)), "1": np.zeros(4, dtype=int), "2": np.zeros(4, dtype=np.int16)})
    refused(call, (str(path), "other shapes", "remove it and call again"))
    path.write_bytes(whole)
    for name in ("000000015-000000021.npz", "notes.npz"):
        (stopped / name).write_bytes(whole)
        refused(call, (str(stopped / name), "no group of a sweep of 20 points", "move it"))
        (stopped / name).unlink()
    assert not seen


def test_a_changed_byte_is_found_when_it_is_read(tmp_path, refused):
    """The archive's own sum of an array differs; with that file removed its points alone are found anew."""
    wide, axes = (lambda point: jnp.full(5000, point["seed"])), {"seed": range(4)}
    sweep_on_disk(tmp_path, wide, axes, 2)
    path, seen = tmp_path / "000000002-000000004.npz", []
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused(lambda: sweep_on_disk(tmp_path, wide, axes, 2), (str(path), "is damaged", "remove it and call again"))
    path.unlink()
    found = sweep_on_disk(tmp_path, wide, axes, 2, report=stopping(99, seen))
    assert [done for done, _ in seen] == [2, 4]
    np.testing.assert_array_equal(found.values[:, 0], range(4))


def test_a_damaged_manifest_is_named(stopped, refused):
    """Whatever it holds that is none; nothing is removed."""
    manifest, before = stopped / "manifest.json", written(stopped)
    for text in ("{", json.dumps({"axes": []}), "[]"):
        manifest.write_text(text)
        refused(lambda: sweep_on_disk(stopped, run, AXES, 6), (str(manifest), "is damaged", "its own folder"))
    assert written(stopped) == before
