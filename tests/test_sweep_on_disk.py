"""A sweep on disk is the sweep, in every bit, however often it was interrupted; and it goes on in no other sweep's folder."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxl2o.evaluation.sweep import sweep
from jaxl2o.evaluation.sweep_on_disk import sweep_on_disk

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
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [*names, "manifest.json"]
    with np.load(tmp_path / "new" / names[1], allow_pickle=False) as file:
        np.testing.assert_array_equal(file["0"], expected.values["vector"].reshape(20, 4)[5:10])
    again = []
    assert_equal(sweep_on_disk(tmp_path / "new", run, AXES, 6, report=stopping(99, again)), expected)
    assert again == [(20, 20)]


def test_an_interrupted_sweep_goes_on(stopped, expected):
    """Behind the last group that is whole: those before are not written again, and what a kill left is removed."""
    first = stopped / "000000000-000000005.npz"
    written = first.stat().st_mtime_ns
    (stopped / "000000010-000000015.npz.partial").write_bytes(b"half")
    seen = []
    assert_equal(sweep_on_disk(stopped, run, AXES, 6, report=stopping(99, seen)), expected)
    assert [done for done, _ in seen] == [10, 15, 20]
    assert first.stat().st_mtime_ns == written
    assert not list(stopped.glob("*.partial"))


def test_it_goes_on_elsewhere(stopped, expected):
    """In groups of another size, and on more devices."""
    seen = []
    found = sweep_on_disk(stopped, run, AXES, 1, 4, report=stopping(99, seen))
    assert [done for done, _ in seen] == [10, 14, 18, 20]
    np.testing.assert_allclose(found.values["vector"], expected.values["vector"], rtol=1e-14)
    np.testing.assert_array_equal(found.values["which"][0], expected.values["which"][0])


def test_what_lies_behind_a_gap_is_found_anew(stopped, expected):
    """Without its first file a folder holds nothing; with other groups nothing of the old ones stays."""
    (stopped / "000000000-000000005.npz").unlink()
    seen = []
    sweep_on_disk(stopped, run, AXES, 20, report=stopping(99, seen))
    assert seen == [(0, 20), (20, 20)]
    assert [path.name for path in stopped.glob("*.npz")] == ["000000000-000000020.npz"]


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


def test_damaged_files_are_named(stopped, refused):
    """A file that was cut off, one with other arrays, a manifest that is none: each by its path, with what to do."""
    path = stopped / "000000005-000000010.npz"
    whole = path.read_bytes()
    call = partial(sweep_on_disk, stopped, run, AXES, 6)
    path.write_bytes(whole[:100])
    refused(call, (str(path), "is damaged", "remove it and call again"))
    np.savez(path, **{"0": np.zeros((4, 4)), "1": np.zeros(4, dtype=int), "2": np.zeros(4, dtype=np.int16)})
    refused(call, (str(path), "other shapes", "remove it and call again"))
    manifest = stopped / "manifest.json"
    for text in ("{", json.dumps({"axes": []}), "[]"):
        manifest.write_text(text)
        refused(call, (str(manifest), "is damaged"))
