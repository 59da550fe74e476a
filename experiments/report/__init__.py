"""One page of every claim with its number, its interval, its command and its figure: `python -m experiments report`.

The page is one file that needs nothing else: style, script and figures stand in it. It is made from the kept results alone.
"""

import argparse
from pathlib import Path

from rich.console import Console

from experiments.common import write_atomically
from experiments.provenance import revision
from experiments.report.gather import Kept, gather
from experiments.report.page import page_of
from jaxl2o.checks import require

__all__ = ["Kept", "gather", "make"]


def make(words: list[str], console: Console) -> Path:
    """Write the page of all kept results to the path behind `--out`, which is report.html if none is given."""
    parser = argparse.ArgumentParser(prog="python -m experiments report", add_help=False, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    known, rest = parser.parse_known_args(words)
    require(not rest, f"the report takes --out PATH alone; leave out {' '.join(rest)}.")
    require(known.out.parent.is_dir(), f"there is no folder {known.out.parent} for the report; make it, or name another.")
    runs = gather()
    with console.status("report …"):
        page = page_of(runs, revision())
    write_atomically(known.out, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    claims = [claim for run in runs for claim in run.claims]
    held = sum(claim.holds for claim in claims)
    console.print(f"{known.out}: {held} of {len(claims)} claims hold, {known.out.stat().st_size / 1e6:.1f} MB.")
    return known.out
