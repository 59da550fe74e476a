"""Files that are there whole or not at all, whenever the process is killed."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file of another name beside `path`, .NAME.partial.SUFFIX, wait until it is on the disk, and rename it.

    If `write` raises, nothing is left of it; a killed process may leave the other name, never half of `path`.
    """
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    temporary.unlink(missing_ok=True)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
