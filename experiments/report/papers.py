"""What the four papers claim, and which of our claims, or which test, answers it; from papers.toml."""

import tomllib
from pathlib import Path
from typing import Literal, NamedTuple

from experiments.claims import Claim

Status = Literal["holds", "fails", "needs"]


class Statement(NamedTuple):
    """A claim of a paper, in a sentence of our own, and where it stands there.

    evidence: ids of claims, or tests as pytest names them.  against: they say that it is not so.  Without evidence: the command
    that would answer it on an accelerator, and an estimate of what that takes.
    """

    place: str
    text: str
    evidence: tuple[str, ...] = ()
    against: bool = False
    note: str = ""
    command: str = ""
    estimate: str = ""


class Paper(NamedTuple):
    """A paper by its number on arXiv, and what it claims."""

    arxiv: str
    authors: str
    title: str
    statements: tuple[Statement, ...]


def papers() -> tuple[Paper, ...]:
    """The four papers."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["paper"]
    return tuple(Paper(p["arxiv"], p["authors"], p["title"], tuple(map(statement_of, p["statement"]))) for p in table)


def statement_of(found: dict) -> Statement:
    """A statement from its table."""
    return Statement(**{**found, "evidence": tuple(found.get("evidence", ()))})


def status_of(statement: Statement, claims: dict[str, Claim]) -> Status:
    """Whether the statement holds: all of its evidence does, and speaks for it; without evidence it needs an accelerator."""
    if not statement.evidence:
        return "needs"
    held = all(claims[name].holds for name in statement.evidence if not name.startswith("tests/"))
    return "holds" if held and not statement.against else "fails"


PAPERS = papers()
