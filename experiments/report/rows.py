"""A claim as a row of a table: what was expected, what was measured, and how it was held to it."""

from itertools import pairwise

from experiments.claims import Claim
from experiments.report.html import Html, element, joined, number
from experiments.report.papers import Status
from experiments.report.reasons import REASONS

RELATIONS = {"<=": "≤", ">=": "≥", "=": "="}
WORDS: dict[Status, tuple[str, str]] = {
    "holds": ("✓", "holds"),
    "fails": ("✗", "does not hold"),
    "needs": ("◇", "needs an accelerator"),
}
TITLES = ("Claim", "Kind", "Expected", "Measured", "95 % interval", "Holds", "n", "Seeds")


def badge(status: Status) -> Html:
    """A status in a word and a sign, so that colour is not all that tells it."""
    sign, words = WORDS[status]
    return element("span", element("span", sign, aria_hidden="true"), f" {words}", class_=f"badge {status}")


def status_of(claim: Claim) -> Status:
    """That of a claim, which was measured."""
    return "holds" if claim.holds else "fails"


def row_of(claim: Claim, anchor: str) -> Html:
    """The row of a claim, with its reason if it does not hold."""
    status, digits = status_of(claim), digits_of(claim)
    reason = element("p", element("b", "Why not: "), REASONS.get(claim.id, "not known."), class_="reason")
    what = joined(
        [
            element("span", claim.claim, class_="text"),
            element("span", element("code", claim.id), f" · {claim.source}", class_="source"),
            *([] if claim.holds else [reason]),
        ]
    )
    tolerance = joined([" ± ", number(claim.tolerance)]) if claim.tolerance else ""
    expected = joined([RELATIONS[claim.relation], " ", number(claim.expected, digits), tolerance])
    interval: Html | str = "–"
    if claim.interval is not None:
        interval = joined([number(claim.interval[0]), " … ", number(claim.interval[1])])
    unit = element("span", f" {claim.unit}", class_="unit") if claim.unit else ""
    values = (
        claim.claim,
        claim.kind,
        claim.expected,
        claim.measured,
        width_of(claim),
        WORDS[status][1],
        claim.n,
        len(claim.seeds),
    )
    cells = (
        what,
        claim.kind,
        expected,
        joined([number(claim.measured, digits), unit]),
        interval,
        badge(status),
        f"{claim.n:,}",
        spans(claim.seeds),
    )
    return element(
        "tr",
        *(
            element("td", cell, data_label=title, data_value=value, class_=title.split()[-1].lower())
            for title, cell, value in zip(TITLES, cells, values, strict=True)
        ),
        id=anchor,
        data_status=status,
    )


def digits_of(claim: Claim) -> int:
    """As many digits, three at least, as tell the measured number from the expected one, if they are not the same."""
    return next((d for d in range(3, 8) if f"{claim.measured:.{d}g}" != f"{claim.expected:.{d}g}"), 3)


def width_of(claim: Claim) -> float:
    """The length of the interval, by which it is sorted; -1 where there is none."""
    return -1.0 if claim.interval is None else claim.interval[1] - claim.interval[0]


def spans(seeds: tuple[int, ...]) -> str:
    """Seeds in order, neighbours joined: 0–4, 80."""
    if not seeds:
        return "–"
    order = sorted(set(seeds))
    starts = [order[0], *(later for earlier, later in pairwise(order) if later != earlier + 1)]
    ends = [*(earlier for earlier, later in pairwise(order) if later != earlier + 1), order[-1]]
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True))
