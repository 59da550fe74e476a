"""A sweep that outlasts its process: every finished group is a file, and the same call goes on behind the last of them.

FOLDER/manifest.json               the axes and a digest of the program: whose sweep this is
FOLDER/000000000-000000064.npz     what was found at the points 0..63, a leaf of the result an array
"""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxl2o.checks import InputError, require
from jaxl2o.evaluation.grid import Axes, Labels, Point, group, labels_of, shape_of
from jaxl2o.evaluation.sweep import Part, Sweep, joined, parts


def sweep_on_disk(
    folder: Path,
    run: Callable[[Point], PyTree],
    axes: Axes,
    at_once: int,
    devices: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """`sweep`, whose groups are written to a folder as they are found, and are not computed again.

    While it runs, one group is held in memory; in the end the whole is read from the folder. Each file is written under
    another name and renamed, so that a kill leaves it whole or absent. A sweep may go on with another `at_once` and on other
    devices: with the same it equals `sweep` in every bit, else but for rounding.

    report: called with how many points are done and how many there are: before the first group and after each.

    Raises `ValueError` for what `sweep` refuses, for a folder of another sweep, and for one with a damaged file.
    """
    labels, total = labels_of(axes), math.prod(shape_of(labels_of(axes)))
    _claim(folder, labels, run)
    done = max(_finished(folder, total), default=0)
    report(done, total)
    for first, values in parts(run, labels, at_once, devices, done):
        leaves = jax.tree.leaves(values)
        done = first + len(leaves[0])
        _write(folder / f"{first:09d}-{done:09d}.npz", _packed(leaves))
        report(done, total)
    like = jax.eval_shape(run, _one(labels))
    return joined(labels, (_part(path, like) for path in _finished(folder, total).values()))


def _claim(folder: Path, labels: Labels, run: Callable[[Point], PyTree]) -> None:
    """Write whose sweep the folder holds, or refuse it if it holds another's."""
    # the text of the lowered program has the values of all constants in it, and no addresses
    text = jax.jit(run).lower(_one(labels)).as_text()
    manifest = {
        "axes": [[name, axis.dtype.name, axis.tolist()] for name, axis in labels.items()],
        "program": hashlib.sha256(text.encode()).hexdigest(),
    }
    path = folder / "manifest.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write(path, json.dumps(manifest, indent=2).encode())
        return
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in manifest if found[key] != manifest[key]]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from error
    require(
        not differing,
        f"{folder} holds a sweep with {' and '.join(f'another {key}' for key in differing)}; give this one its own folder.",
    )


def _finished(folder: Path, total: int) -> dict[int, Path]:
    """The files of all groups that follow one another from the first point on, by the number of points that then are done.

    What lies behind a gap would be found anew, and is removed; so is what a kill has left half-written.
    """
    files = {path: [int(end) for end in path.stem.split("-")] for path in sorted(folder.glob("[0-9]*-[0-9]*.npz"))}
    chain, done = {}, 0
    for path, (first, end) in files.items():
        if first == done and end <= total:
            chain[end], done = path, end
    for path in {*files, *folder.glob("*.partial")} - {*chain.values()}:
        path.unlink()
    return chain


def _write(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(content)
    temporary.replace(path)


def _packed(leaves: list[np.ndarray]) -> bytes:
    """The leaves as an .npz archive."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{str(i): leaf for i, leaf in enumerate(leaves)})
    return file.getvalue()


def _part(path: Path, like: PyTree) -> Part:
    """What a file holds, as the tree of the result of one point."""
    kinds, treedef = jax.tree.flatten(like)
    first, end = (int(number) for number in path.stem.split("-"))
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            # NumPy gives back kinds that it does not know, such as bfloat16, as plain bytes
            leaves = [file[str(i)].view(kind.dtype) for i, kind in enumerate(kinds)]
        shapes = [leaf.shape == (end - first, *kind.shape) for leaf, kind in zip(leaves, kinds, strict=True)]
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error
    require(all(shapes), f"{path} holds arrays of other shapes than the sweep's; remove it and call again.")
    return Part(first, jax.tree.unflatten(treedef, leaves))


def _one(labels: Labels) -> dict[str, jax.ShapeDtypeStruct]:
    """The kinds of the numbers of one point."""
    kinds = {name: jax.dtypes.canonicalize_dtype(axis.dtype) for name, axis in group(labels, 0, 1).items()}
    return {name: jax.ShapeDtypeStruct((), kind) for name, kind in kinds.items()}


def _damaged(path: Path, error: Exception) -> InputError:
    """What is said of a file that cannot be read."""
    return InputError(f"{path} is damaged and cannot be read ({type(error).__name__}); remove it and call again.")
