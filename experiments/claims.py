"""A claim: one number that a run measured, beside what was expected of it."""

from typing import Literal, NamedTuple

from rich.table import Column, Table


class Claim(NamedTuple):
    """One number that a run measured, beside what was expected. `holds` is recomputed from the others, never stored by hand.

    relation: measured <= expected + tolerance, measured >= expected - tolerance, or |measured - expected| <= tolerance.
    interval: 95 %, or None for what has no sampling error; n: over how many tasks; seeds: the fixed list of them.
    """

    id: str
    claim: str
    source: str
    kind: Literal["theorem", "bound", "published", "ratio", "measured"]
    relation: Literal["<=", ">=", "="]
    expected: float
    tolerance: float
    measured: float
    interval: tuple[float, float] | None
    n: int
    seeds: tuple[int, ...]
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the measured number stands in the claimed relation; NaN never does."""
        difference = self.measured - self.expected
        if self.relation == "<=":
            return bool(difference <= self.tolerance)
        if self.relation == ">=":
            return bool(difference >= -self.tolerance)
        return bool(abs(difference) <= self.tolerance)


def claim(
    id: str,
    text: str,
    measured: float,
    relation: Literal["<=", ">=", "="],
    expected: float,
    *,
    n: int,
    seeds: tuple[int, ...],
    kind: Literal["theorem", "bound", "published", "ratio", "measured"] = "measured",
    source: str = "own measurement",
    interval: tuple[float, float] | None = None,
    unit: str = "",
) -> Claim:
    """A `Claim` as most are: of an own measurement, and held to its number without a tolerance."""
    return Claim(id, text, source, kind, relation, expected, 0.0, measured, interval, n, seeds, unit)


def table_of(claims: list[Claim]) -> Table:
    """The claims as a table: what was measured, beside what was expected."""
    table = Table(*(Column(title, no_wrap=True) for title in ("claim", "measured", "95 % interval", "expected", "holds")))
    for found in claims:
        interval = "" if found.interval is None else f"{found.interval[0]:.3g} … {found.interval[1]:.3g}"
        expected = f"{found.relation} {found.expected:.3g}" + (f" ± {found.tolerance:.2g}" if found.tolerance else "")
        measured = f"{found.measured:.3g} {found.unit}".strip()
        table.add_row(found.id, measured, interval, expected, "yes" if found.holds else "no")
    return table
