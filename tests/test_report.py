"""The page of all claims: every kept number is on it, every link resolves, and it needs nothing from elsewhere."""

import ast
import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from experiments import report
from experiments.__main__ import main
from experiments.claims import claim
from experiments.common import EXPERIMENTS, RESULTS, load
from experiments.report import browser
from experiments.report.figure import Picture, picture_of
from experiments.report.gather import chosen, gather
from experiments.report.html import Html, element, number
from experiments.report.page import by_id, duration, page_of
from experiments.report.papers import PAPERS, Statement, status_of
from experiments.report.reasons import REASONS, TABLE
from experiments.report.rows import digits_of, row_of, spans
from jaxl2o.checks import InputError

ROOT = Path(__file__).parent.parent
VOID = {"meta", "link", "img", "input", "br"}
# attributes by which a page fetches what it shows
FETCHING = ("src", "srcset", "data", "poster", "action", "background")
STATEMENTS = [statement for paper in PAPERS for statement in paper.statements]


class Page(HTMLParser):
    """The elements of a page in order, with attributes, text, and what is around and within it; tags must balance."""

    def __init__(self, text: str) -> None:
        """Read a page whole."""
        super().__init__()
        self.elements: list[SimpleNamespace] = []
        self.open: list[SimpleNamespace] = []
        self.feed(text)
        self.close()
        assert not self.open, [element.tag for element in self.open]

    def handle_starttag(self, tag, attrs):
        """An element begins."""
        found = SimpleNamespace(tag=tag, at=dict(attrs), text="", around=tuple(self.open), within=[])
        assert len(found.at) == len(attrs), f"an attribute of {tag} is given twice"
        self.elements.append(found)
        for outer in self.open:
            outer.within.append(found)
        if tag not in VOID:
            self.open.append(found)

    def handle_endtag(self, tag):
        """It ends, and none else that began after it is open."""
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        """Text is that of all elements that are open."""
        for found in self.open:
            found.text += data

    def all(self, tag, **attributes):
        """The elements of a tag with these attributes."""
        return [e for e in self.elements if e.tag == tag and all(e.at.get(k) == v for k, v in attributes.items())]


@pytest.fixture(scope="module")
def runs():
    """All kept runs that count."""
    return gather()


@pytest.fixture(scope="module")
def text(runs):
    """The page, with its figures named instead of drawn."""
    return page_of(runs, "<revision>", lambda path: Picture(f"data:{path.parent.parent.name}", 3, 2))


@pytest.fixture(scope="module")
def page(text):
    """The page, read."""
    return Page(text)


def test_every_kept_claim_is_a_row(runs, page):
    """The largest preset of every experiment, each claim once, with all that the claim says."""
    rows = {row.at["id"]: row for row in page.all("tr") if row.at.get("id")}
    kept = [(run, found) for run in runs for found in run.claims]
    assert len(rows) == len(kept) > 200
    for run, found in kept:
        row = rows[found.id + (f"@{run.device}" if run.device else "")]
        cells = {e.at["data-label"]: e for e in row.within if e.tag == "td"}
        assert float(cells["Measured"].at["data-value"]) == found.measured or found.measured != found.measured
        assert float(cells["Expected"].at["data-value"]) == found.expected
        assert row.at["data-status"] == ("holds" if found.holds else "fails")
        assert cells["Holds"].text[2:] == ("holds" if found.holds else "does not hold")
        assert all(part in cells["Claim"].text for part in (found.id, found.claim, found.source))
        assert cells["Kind"].text == found.kind
        assert cells["n"].text == f"{found.n:,}"
        assert (cells["95 % interval"].text == "–") == (found.interval is None)
        assert ("Why not: " in cells["Claim"].text) == (not found.holds)
        assert (not found.unit) or cells["Measured"].text.endswith(found.unit)


def test_every_experiment_says_how_it_is_made_again(runs, page):
    """Command, cost, revision and figure of each; those without a kept run have none."""
    sections = page.all("section", **{"class": "card experiment"})
    kept = {path.parent.parent.name for path in RESULTS.glob("*/*/claims.json")}
    assert {run.name for run in runs} == kept
    assert [section.at["id"] for section in sections] == [run.anchor for run in runs]
    for run, section in zip(runs, sections, strict=True):
        written = json.loads((run.figure.parent / "config.json").read_text(encoding="utf-8"))["environment"]
        assert f"python -m experiments {run.name} --preset {run.preset} --keep" in section.text
        assert load(run.name).COST[run.preset] in section.text
        assert written["revision"] in section.text
        assert run.preset in load(run.name).PRESETS
        (image,) = (e for e in section.within if e.tag == "img")
        assert image.at["src"] == f"data:{run.name}"
        assert image.at["alt"]


def test_every_statement_of_the_papers_is_a_row(page, runs):
    """It holds, does not hold, or needs an accelerator, by a command of an experiment that is there, and an estimate."""
    rows = [row for row in page.all("tr") if "data-status" in row.at and "id" not in row.at]
    assert len(rows) == len(STATEMENTS)
    for row, statement in zip(rows, STATEMENTS, strict=True):
        assert statement.place in row.text
        assert statement.text in row.text
        assert row.at["data-status"] == status_of(statement, by_id(runs))
        assert bool(statement.evidence) != bool(statement.command) == bool(statement.estimate)
        if statement.command:
            name, preset = re.fullmatch(r"python -m experiments (\S+) --preset (\S+).*", statement.command).groups()
            assert name in EXPERIMENTS
            assert preset in load(name).PRESETS
            assert statement.command in row.text


def test_evidence_is_there(runs):
    """Every id is a kept claim's, and every test is one of its file."""
    for name in {name for statement in STATEMENTS for name in statement.evidence}:
        if name.startswith("tests/"):
            file, test = name.split("::")
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
        else:
            assert name in by_id(runs)


def test_what_does_not_hold_has_a_reason(runs):
    """Every kept claim that does not hold, and no other, stands once in reasons.toml."""
    assert {found.id for run in runs for found in run.claims if not found.holds} == set(REASONS)
    assert sum(len(reason["claims"]) for reason in TABLE) == len(REASONS)
    assert all(reason["why"].endswith((".", "].")) for reason in TABLE)


@pytest.mark.parametrize(
    ("evidence", "against", "holding", "status"),
    [
        (("a", "b"), False, {"a", "b"}, "holds"),
        (("a", "b"), False, {"a"}, "fails"),
        (("a", "tests/t.py::t"), False, {"a"}, "holds"),
        (("a",), True, {"a"}, "fails"),
        ((), False, set(), "needs"),
    ],
)
def test_the_status_of_a_statement(evidence, against, holding, status):
    """It holds if all of its evidence does and speaks for it; without evidence it needs an accelerator."""
    claims = {name: claim(name, "", 0.0 if name in holding else 1.0, "=", 0.0, n=1, seeds=()) for name in "ab"}
    assert status_of(Statement("", "", evidence, against), claims) == status


def test_nothing_comes_from_elsewhere(page, text):
    """No address but links to arXiv; script, style and figures stand in the page."""
    assert {e.at[name].split(":")[0] for e in page.elements for name in FETCHING if name in e.at} == {"data"}
    assert {link.at["href"] for link in page.all("link")} == {"data:,"}
    assert not page.all("iframe") + page.all("object") + page.all("embed")
    assert not [script for script in page.all("script") if script.at]
    assert re.findall(r"@import|url\(|fetch\(|XMLHttp|import\(", text) == []
    outside = [e.at["href"] for e in page.all("a") if not e.at["href"].startswith("#")]
    assert outside == [f"https://arxiv.org/abs/{paper.arxiv}" for paper in PAPERS]
    assert re.findall(r"https?://(?!arxiv\.org/abs/)", text) == []


def test_links_within_the_page_resolve(page):
    """Every anchor is an id, and every id is given once."""
    ids = [e.at["id"] for e in page.elements if "id" in e.at]
    assert len(ids) == len(set(ids))
    assert {e.at["href"][1:] for e in page.all("a") if e.at["href"].startswith("#")} <= set(ids)


def test_tables_can_be_sorted(page):
    """Every column has a button in its head, and every cell below it a value; rows are as wide as their heads."""
    tables = page.all("table")
    assert tables
    for table in tables:
        assert "sortable" in table.at["class"]
        inside = table.within
        heads = [e for e in inside if e.tag == "th"]
        assert len([e for e in inside if e.tag == "button" and e.around[-1] in heads]) == len(heads)
        for row in (e for e in inside if e.tag == "tr" and e.around[-1].tag == "tbody"):
            cells = [e for e in inside if e.tag == "td" and e.around[-1] is row]
            assert len(cells) == len(heads)
            assert all("data-value" in cell.at for cell in cells)


def test_the_summary_counts(page, runs):
    """The numbers at the top are those of the claims and of the statements."""
    (summary,) = page.all("section", id="summary")
    claims = [found for run in runs for found in run.claims]
    words = " ".join(summary.text.split())
    assert f"{sum(found.holds for found in claims)} of {len(claims)} claims hold" in words
    found = [status_of(statement, by_id(runs)) for statement in STATEMENTS]
    expected = (len(found), found.count("holds"), found.count("fails"), found.count("needs"))
    assert "{} statements of four papers: {} hold, {} do not, {} need an accelerator".format(*expected) in words
    tables = [[int(e.text) for e in t.within if e.at.get("class") == "count"] for t in page.all("table")[:2]]
    assert [sum(counts) for counts in tables] == [len(claims), len(found)]


def test_text_is_escaped(text):
    """What a claim says is text, whatever is in it; and so is the revision."""
    assert "&lt;revision&gt;" in text
    found = claim("a/b", 'x < y & "z" <script>', 1.0, "<=", 0.0, n=1, seeds=(0,), source="<b>", unit="<i>")
    row = Page(row_of(found, 'a"b'))
    assert not row.all("script") + row.all("i")
    assert 'x < y & "z" <script>' in row.all("tr")[0].text
    assert row.all("tr")[0].at["id"] == 'a"b'
    assert (
        element("p", Html("<b></b>"), "<b>", class_="c", hidden=True, title=None) == '<p class="c" hidden><b></b>&lt;b&gt;</p>'
    )


def test_numbers_are_written_for_readers():
    """Powers of ten, true minus signs, digits that tell what was measured from what was asked, seeds in spans."""
    assert [number(value) for value in (-1.5, 1e-12, 2.5e7, 0.0)] == [
        "−1.5",
        "1 × 10<sup>−12</sup>",
        "2.5 × 10<sup>7</sup>",
        "0",
    ]
    near = claim("a", "", -42.1995, "<=", -42.2, n=1, seeds=())
    assert number(near.measured, digits_of(near)) != number(near.expected, digits_of(near))
    assert [spans(seeds) for seeds in ((), (3,), (0, 1, 2, 5, 7, 8), (2, 0))] == ["–", "3", "0–2, 5, 7–8", "0, 2"]
    assert [duration(seconds) for seconds in (9.6, 600.0, 7200.0)] == ["10 s", "10 min", "2.0 h"]


PRESETS = ("smoke", "quick", "cpu")


@pytest.mark.parametrize(
    ("folders", "devices", "found"),
    [
        ({"smoke"}, False, []),
        ({"smoke", "quick"}, False, [("quick", "quick", "")]),
        ({"cpu", "quick", "cpu-0123abcd"}, False, [("cpu", "cpu", "")]),
        ({"a", "b-cpu", "b", "c-smoke"}, True, [("a", "quick", "a"), ("b-cpu", "cpu", "b")]),
    ],
)
def test_the_largest_preset_counts(folders, devices, found):
    """Never smoke, nor a run with other values; where folders are named after devices, the largest one of each."""
    module = SimpleNamespace(PRESETS=dict.fromkeys(PRESETS), **({"kept_as": None} if devices else {}))
    assert chosen(module, folders) == found


def test_a_run_that_kept_its_trainings_says_their_time(tmp_path):
    """summary.json beside the claims: the sum over trainings, in words on the page."""
    folder = tmp_path / "pod" / "quick"
    folder.mkdir(parents=True)
    for name in ("claims.json", "config.json", "figure.png"):
        (folder / name).write_bytes((RESULTS / "pod" / "quick" / name).read_bytes())
    trainings = {"a": {"seconds": 100.0}, "b": {"seconds": 500.0}}
    (folder / "summary.json").write_text(json.dumps({"trainings": trainings}))
    (run,) = gather(tmp_path, ("pod", "scale"))
    assert run.seconds == 600.0
    (folder / "claims.json").write_text("[{}]")
    with pytest.raises(InputError, match=r"claims\.json is damaged"):
        gather(tmp_path, ("pod",))


def test_a_figure_keeps_its_pixels():
    """A palette of 256 colours: as many pixels, fewer bytes, and colours that are off by half a shade of 255 on average."""
    path = RESULTS / "speed.evaluation" / "quick" / "figure.png"
    found = picture_of(path)
    with Image.open(path) as image:
        full = np.asarray(image.convert("RGB"), dtype=float)
    with Image.open(io.BytesIO(base64.b64decode(found.uri.split(",")[1]))) as image:
        few = np.asarray(image.convert("RGB"), dtype=float)
    assert few.shape == full.shape == (found.height, found.width, 3)
    assert np.abs(few - full).mean() < 0.5
    assert found.uri.startswith("data:image/png;base64,")
    assert len(found.uri) < path.stat().st_size


def test_the_command_writes_the_page(tmp_path, monkeypatch, refused, runs):
    """The word is `report`; --out names the file; other words and folders that are not there are refused."""
    monkeypatch.setattr(report, "gather", lambda: [run for run in runs if run.name == "speed.evaluation"])
    monkeypatch.setattr("experiments.report.page.PAPERS", ())
    said = io.StringIO()
    console = Console(file=said, width=200)
    path = tmp_path / "page.html"
    main(["report", "--out", str(path)], console)
    assert said.getvalue().startswith(f"{path}: 2 of 2 claims hold")
    assert len(Page(path.read_text(encoding="utf-8")).all("h1")) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    refused(lambda: main(["report", "--outt", "x"], console), ["the report takes --out PATH alone", "--outt x"])
    refused(lambda: main(["report", "--out", str(tmp_path / "no" / "x")], console), ["there is no folder", "make it"])


def test_without_a_browser_one_line_says_how_to_install_one(monkeypatch, capsys):
    """Status 1, and a sentence on stderr."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    assert browser.main(None) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "apt-get install chromium" in said
