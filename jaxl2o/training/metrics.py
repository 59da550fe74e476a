"""Metrics as plain JSON lines: one record a line, each with its step; appended, read, and cut back on resume.

Of several processes the first one alone writes; the others read, and wait for nothing.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxl2o.checks import InputError
from jaxl2o.files import write_whole
from jaxl2o.training.hosts import is_first_process

Record = dict[str, Any]


def append(path: Path, records: Iterable[Record]) -> None:
    """Add records to the end of the file, and see them on the disk before returning."""
    if not is_first_process():
        return
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(record) + "\n" for record in records))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Record]:
    """All whole records. A last line that a killed writer left torn is passed over; a missing file has none.

    Raises `InputError` if another line is not a record with a step.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [_record(path, line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _record(path: Path, line: str) -> Record:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or "step" not in record:
        raise InputError(
            f"{path} has a line that is no record, {line[:40]!r}; remove the line, or start over in an empty folder."
        )
    return record


def cut(path: Path, step: int) -> None:
    """Drop the records after `step`, which a resumed run will make again; rewritten under another name, then renamed."""
    if is_first_process() and path.exists():
        kept = [record for record in read(path) if record["step"] <= step]
        write_whole(path, lambda temporary: append(temporary, kept))
