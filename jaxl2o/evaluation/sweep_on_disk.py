"""A sweep that outlasts its process: every finished group is a file, and the same call computes the points that no file has.

FOLDER/manifest.json               the axes and a digest of the program: whose sweep this is
FOLDER/000000000-000000064.npz     what was found at the points 0..63, a leaf of the result an array
FOLDER/lock                        held by the call that is at work here; a kill lets it go
"""

import fcntl
import hashlib
import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxl2o.checks import InputError, require
from jaxl2o.evaluation.grid import Axes, Labels, Point, group, labels_of, shape_of
from jaxl2o.evaluation.sweep import Part, Sweep, joined, parts
from jaxl2o.files import write_whole
from jaxl2o.types import PyTree

ANEW = "remove it and call again, which finds its points alone anew"


def sweep_on_disk(
    folder: Path,
    run: Callable[[Point], PyTree],
    axes: Axes,
    at_once: int,
    devices: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """`sweep`, whose groups are written to a folder as they are found, and are not computed again.

    While it runs, one group is held in memory; in the end the whole is read from the folder. Each file reaches the disk under
    another name and is then renamed, so that a kill leaves it whole or absent. What is there is looked through before
    anything is computed: names, kinds and shapes; and no file of a group is ever removed. A sweep may go on with another
    `at_once` and number of devices: with the same it equals `sweep` in every bit, else but for rounding.

    The digest is that of the program as JAX lowers it. So it is bound to the version of JAX and to the kind of device: a sweep
    begun on a CPU does not go on on a GPU, nor behind an update of JAX, and is refused as another program.

    report: called with how many points are done and how many there are: before the first group and after each.

    Raises `ValueError` for what `sweep` refuses, for a folder of another sweep, for one with a damaged file, for one in which
    another call is at work, and where there are several JAX processes.
    """
    processes = jax.process_count()
    require(
        processes == 1, f"there are {processes} JAX processes, and a sweep on disk has one writer; call it in a single one."
    )
    labels, total = labels_of(axes), math.prod(shape_of(labels_of(axes)))
    kinds, treedef = jax.tree.flatten(jax.eval_shape(run, _one(labels)))
    with _alone(folder):
        _claim(folder, labels, run)
        gaps = _gaps(_groups(folder, total, kinds), total)
        done = total - sum(map(len, gaps))
        report(done, total)
        for first, values in parts(run, labels, at_once, devices, gaps):
            leaves = jax.tree.leaves(values)
            end = first + len(leaves[0])
            _write(folder / f"{first:09d}-{end:09d}.npz", _packed(leaves))
            done += end - first
            report(done, total)
        files = _groups(folder, total, kinds)
        return joined(labels, (Part(file[0], treedef.unflatten(_read(path, kinds))) for file, path in files.items()))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, or refuse; what a killed call has left half-written is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another call is at work in {folder}; wait for its end, or give this sweep its own folder."
            ) from error
        for path in folder.glob(".*.partial*"):
            path.unlink()
        yield


def _claim(folder: Path, labels: Labels, run: Callable[[Point], PyTree]) -> None:
    """Write whose sweep the folder holds, or refuse it if it holds another's."""
    # the text of the lowered program has the values of all constants in it, and no addresses
    text = jax.jit(run).lower(_one(labels)).as_text()
    manifest = {
        "axes": [[name, axis.dtype.name, axis.tolist()] for name, axis in labels.items()],
        "program": hashlib.sha256(text.encode()).hexdigest(),
    }
    path = folder / "manifest.json"
    if not path.exists():
        _write(path, json.dumps(manifest, indent=2).encode())
        return
    with _readable(
        path, "give this sweep its own folder, or, if the groups here are its own, remove the manifest and call again"
    ):
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in manifest if found[key] != manifest[key]]
    require(
        not differing,
        f"{folder} holds a sweep with {' and '.join(f'another {key}' for key in differing)}; give this one its own folder.",
    )


Kinds = list[jax.ShapeDtypeStruct]
Groups = dict[tuple[int, int], Path]  # the first point and the one behind the last -> the file


def _groups(folder: Path, total: int, kinds: Kinds) -> Groups:
    """The files of all groups, in order. Each is looked at, not read: an archive of the result's arrays for so many points."""
    found = {}
    for path in sorted(folder.glob("[!.]*.npz")):
        name = re.fullmatch(r"(\d+)-(\d+)", path.stem)
        first, end = map(int, name.groups()) if name else (0, 0)
        require(first < end <= total, f"{path} is no group of a sweep of {total} points; move it out of this folder.")
        with _readable(path, ANEW), zipfile.ZipFile(path) as archive:
            headers = [_header(archive, i) for i in range(len(kinds))]
        expected = [((end - first, *kind.shape), kind.dtype.itemsize) for kind in kinds]
        require(headers == expected, f"{path} holds arrays of other shapes than the sweep's; {ANEW}.")
        found[first, end] = path
    return found


def _header(archive: zipfile.ZipFile, i: int) -> tuple[tuple[int, ...], int]:
    """Shape and bytes of an entry of the i-th array of an archive."""
    with archive.open(f"{i}.npy") as array:
        np.lib.format.read_magic(array)
        shape, _, dtype = np.lib.format.read_array_header_1_0(array)
    return shape, dtype.itemsize


def _gaps(groups: Iterable[tuple[int, int]], total: int) -> list[range]:
    """The points that are in no group, as ranges in order."""
    gaps, reached = [], 0
    for first, end in sorted(groups):
        gaps.append(range(reached, first))
        reached = max(reached, end)
    return [gap for gap in [*gaps, range(reached, total)] if gap]


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def _packed(leaves: list[np.ndarray]) -> bytes:
    """The leaves as an .npz archive."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{str(i): leaf for i, leaf in enumerate(leaves)})
    return file.getvalue()


def _read(path: Path, kinds: Kinds) -> list[np.ndarray]:
    """The leaves that a file holds."""
    with _readable(path, ANEW), np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        # NumPy gives back kinds that it does not know, such as bfloat16, as plain bytes
        return [file[str(i)].view(kind.dtype) for i, kind in enumerate(kinds)]


@contextmanager
def _readable(path: Path, advice: str) -> Iterator[None]:
    """Whatever fails while a file is read means that it is damaged: `InputError` in its place."""
    try:
        yield
    except (ValueError, TypeError, KeyError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged and cannot be read ({type(error).__name__}); {advice}.") from error


def _one(labels: Labels) -> dict[str, jax.ShapeDtypeStruct]:
    """The kinds of the numbers of one point."""
    kinds = {name: jax.dtypes.canonicalize_dtype(axis.dtype) for name, axis in group(labels, 0, 1).items()}
    return {name: jax.ShapeDtypeStruct((), kind) for name, kind in kinds.items()}
