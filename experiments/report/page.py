"""The page: a summary, what the papers state, and every experiment with its claims, its command and its figure."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from string import Template

from experiments.claims import Claim
from experiments.report.figure import Picture, picture_of
from experiments.report.gather import Kept
from experiments.report.html import Html, element, joined
from experiments.report.papers import PAPERS, Paper, Statement, Status, status_of
from experiments.report.rows import TITLES, WORDS, badge, row_of
from experiments.report.rows import status_of as claims_status

HERE = Path(__file__).parent
KINDS = {
    "theorem": "equal, up to rounding",
    "bound": "nothing can be beyond it",
    "published": "a number of a paper",
    "ratio": "one thing over another",
    "measured": "a number set beforehand",
}


def page_of(runs: list[Kept], revision: str, picture: Callable[[Path], Picture] = picture_of) -> str:
    """The page as one text, from kept runs; `picture` reads a figure."""
    claims = [claim for run in runs for claim in run.claims]
    statuses = Counter(status_of(statement, by_id(runs)) for paper in PAPERS for statement in paper.statements)
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        revision=joined([revision]),
        held=sum(claim.holds for claim in claims),
        claims=len(claims),
        stated=statuses.total(),
        hold=statuses["holds"],
        fail=statuses["fails"],
        need=statuses["needs"],
        kinds=kinds(claims),
        papers_summary=papers_summary(by_id(runs)),
        contents=contents(runs),
        papers=joined([stated(paper, runs) for paper in PAPERS]),
        experiments=joined([experiment(run, picture(run.figure)) for run in runs]),
    )


def by_id(runs: list[Kept]) -> dict[str, Claim]:
    """Claims by their id; where devices share one, the first device's."""
    return {claim.id: claim for run in reversed(runs) for claim in run.claims}


def anchors(runs: list[Kept]) -> dict[str, str]:
    """The place of every claim's row on the page, by id."""
    return {claim.id: anchor_of(run, claim) for run in reversed(runs) for claim in run.claims}


def anchor_of(run: Kept, claim: Claim) -> str:
    """The name of a claim's row: its id, with the device where there may be several."""
    return f"{claim.id}@{run.device}" if run.device else claim.id


def table(titles: tuple[str, ...], rows: list[Html], class_: str) -> Html:
    """A table whose columns can be sorted by."""
    names = [title.split()[-1].lower() for title in titles]
    buttons = [element("button", title, type="button") for title in titles]
    heads = (element("th", button, scope="col", class_=name) for button, name in zip(buttons, names, strict=True))
    return element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_=f"sortable {class_}")


def counts(name: str | Html, note: str, found: Counter[Status], statuses: tuple[Status, ...]) -> Html:
    """A row of a summary: how many of each status, and a bar of them."""
    total = found.total()
    cells = (element("td", str(found[s]), class_="count", data_value=found[s], data_label=WORDS[s][1]) for s in statuses)
    parts = (element("span", class_=s, style=f"flex-grow:{found[s]}") for s in statuses if found[s])
    bar = element("span", *parts, class_="bar", aria_hidden="true")
    what = joined([element("span", name, class_="name"), element("span", note, class_="source")])
    label = element("td", what, data_label="", data_value=note)
    return element("tr", label, *cells, element("td", bar, data_label="", data_value=found["holds"] / max(total, 1)))


def kinds(claims: list[Claim]) -> Html:
    """How many claims hold, by what they are held to."""
    found: dict[str, Counter[Status]] = {
        kind: Counter(claims_status(claim) for claim in claims if claim.kind == kind) for kind in KINDS
    }
    rows = [counts(kind, KINDS[kind], found[kind], ("holds", "fails")) for kind in KINDS]
    return table(("Held to", "holds", "does not", "share"), rows, "summary")


def papers_summary(claims: dict[str, Claim]) -> Html:
    """How many statements of each paper hold."""
    rows = []
    for paper in PAPERS:
        found: Counter[Status] = Counter(status_of(statement, claims) for statement in paper.statements)
        link = element("a", paper.authors, href=f"#paper-{paper.arxiv}")
        rows.append(counts(link, paper.title, found, ("holds", "fails", "needs")))
    return table(("Paper", "holds", "does not", "needs an accelerator", "share"), rows, "summary")


def contents(runs: list[Kept]) -> Html:
    """The experiments, with how many of their claims hold."""
    lines = []
    for run in runs:
        held = sum(claim.holds for claim in run.claims)
        tally = element("span", f"{held}/{len(run.claims)}", class_="tally" + ("" if held == len(run.claims) else " fails"))
        lines.append(element("li", element("a", run.anchor, href=f"#{run.anchor}"), " ", tally))
    return element("ul", *lines, class_="contents")


def stated(paper: Paper, runs: list[Kept]) -> Html:
    """What a paper states, row by row."""
    rows = [statement_row(statement, by_id(runs), anchors(runs)) for statement in paper.statements]
    link = element("a", f"arXiv:{paper.arxiv}", href=f"https://arxiv.org/abs/{paper.arxiv}", rel="noreferrer")
    head = element("header", element("h3", paper.authors), element("p", f"{paper.title}. ", link))
    answers = table(("Statement", "Answer", "Evidence"), rows, "statements")
    return element("section", head, answers, id=f"paper-{paper.arxiv}", class_="card")


def statement_row(statement: Statement, claims: dict[str, Claim], places: dict[str, str]) -> Html:
    """The row of a statement: what it says, whether that is so, and by what."""
    status = status_of(statement, claims)
    where = element("span", statement.place, class_="source")
    text = element("span", statement.text, class_="text")
    note = element("p", statement.note, class_="note") if statement.note else ""
    links = (element("li", reference(name, places)) for name in statement.evidence)
    estimate = element("span", statement.estimate, class_="source")
    evidence = element("ul", *links) if statement.evidence else joined([words(statement.command), estimate])
    cells = {
        "Statement": (joined([where, text, note]), statement.place),
        "Answer": (badge(status), WORDS[status][1]),
        "Evidence": (evidence, len(statement.evidence)),
    }
    row = (element("td", cell, data_label=name, data_value=value, class_=name.lower()) for name, (cell, value) in cells.items())
    return element("tr", *row, data_status=status)


def reference(name: str, places: dict[str, str]) -> Html:
    """A claim's id as a link to its row, or a test as it is run."""
    if name.startswith("tests/"):
        return element("code", name.removeprefix("tests/").replace("::", " "))
    return element("a", name, href=f"#{places[name]}")


def experiment(run: Kept, picture: Picture) -> Html:
    """A kept run: what it is, how it is made again, its figure and its claims."""
    made = run.environment
    facts = {
        "cost": run.cost + ("" if run.seconds is None else f"; its trainings took {duration(run.seconds)}"),
        "on": made.get("device", "unknown").replace("cpu cpu", "CPU"),
        "revision": made.get("revision", "unknown"),
        "with": f"JAX {made.get('jax', 'unknown')}, Python {made.get('python', 'unknown')}",
    }
    terms = (element("div", element("dt", term), element("dd", fact)) for term, fact in facts.items())
    copy = element("button", "copy", type="button", class_="copy", aria_label=f"copy the command of {run.anchor}")
    title = f"Figure of {run.anchor}: {run.title}"
    size = {"width": picture.width, "height": picture.height}
    shown = element("img", src=picture.uri, alt=title, loading="lazy", decoding="async", **size)
    head = element(
        "header",
        element("h3", run.anchor),
        element("p", run.title),
        element("p", words(run.command), copy, class_="command"),
        element("dl", *terms),
    )
    enlarge = element("button", shown, type="button", class_="enlarge", aria_label=f"enlarge: {title}", aria_haspopup="dialog")
    claims = table(TITLES, [row_of(claim, anchor_of(run, claim)) for claim in run.claims], "claims")
    return element("section", element("div", head, enlarge, class_="about"), claims, id=run.anchor, class_="card experiment")


def words(command: str) -> Html:
    """A command whose lines break between words alone, so that no flag is cut."""
    spans = [element("span", word) for word in command.split(" ")]
    return element("code", spans[0], *(part for span in spans[1:] for part in (" ", span)))


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is read easily."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
