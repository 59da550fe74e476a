"""The README runs as it stands, and says what the kept results and the cards say."""

import io
import json
import re
import textwrap
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from jaxl2o import cli
from jaxl2o.pretrained import NAMES, load_card

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "docs/results.md", *(f"docs/extending/{page}.md" for page in ("task", "solver", "theorem", "experiment"))]
CLAIMS = {
    claim["id"]: (claim, path.parent)
    for path in (ROOT / "experiments" / "results").glob("*/*/claims.json")
    for claim in json.loads(path.read_text(encoding="utf-8"))
}
RELATIONS = {"≤": "<=", "≥": ">=", "=": "="}
NUMBER = r"(−?[\d.]+(?:e-?\d+)?)"
ASKED = re.compile(rf"([≤≥=]) {NUMBER}(?: ± {NUMBER})?(?: (\w+))?")
OURS = re.compile(rf"{NUMBER}(?: \[{NUMBER}, {NUMBER}\])?(?: (\w+))?")


def rows(first: str) -> list[list[str]]:
    """The cells of the rows of the table whose head begins with this word."""
    _, _, rest = README.partition(f"| {first} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# id -> the other cells of a claim's row; rows without an id are headings
SAID = {found[1]: cells for cells in rows("claim") if (found := re.search(r"`([a-z0-9-]+/[a-z0-9-]+)`", cells[0]))}


def rounds(text: str, value: float) -> bool:
    """Whether a number as it is written is this value, or is it rounded to two digits or more."""
    number = Decimal(text.replace("−", "-"))
    _, digits, exponent = number.as_tuple()
    return float(number) == value or (len(digits) >= 2 and abs(float(number) - value) <= 0.500001 * 10.0 ** int(exponent))


def parts(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """The groups of a pattern that the whole text must have."""
    found = pattern.fullmatch(text)
    assert found, f"{text!r} is not written as {pattern.pattern}"
    return found.groups()


def test_when_a_number_is_rounded():
    """Half a unit of the last digit, of two digits at least; a single digit must be exact."""
    assert rounds("2.25", 2.2508)
    assert rounds("−0.050", -0.04971)
    assert rounds("7.0e-6", 6.982e-6)
    assert rounds("0", 0.0)
    assert not rounds("2.26", 2.2508)
    assert not rounds("−42.2", -42.1)
    assert not rounds("0", 0.3)
    assert not rounds("0.1", 0.0993)


@pytest.mark.parametrize("id", SAID)
def test_a_claim_is_as_it_was_kept(id):
    """What was asked, what was measured with its interval and unit, whether it holds, and the command of its folder."""
    assert id in CLAIMS, f"no kept run has the claim {id}; leave its row out of the README, or name it anew."
    claim, folder = CLAIMS[id]
    text, asked, ours, holds, command = SAID[id]
    relation, expected, tolerance, unit = parts(ASKED, asked)
    assert RELATIONS[relation] == claim["relation"]
    assert rounds(expected, claim["expected"])
    assert rounds(tolerance or "0", claim["tolerance"])
    measured, low, high, same = parts(OURS, ours)
    assert unit == same == (claim["unit"] or None)
    assert rounds(measured, claim["measured"])
    assert (low is None) == (claim["interval"] is None)
    assert low is None or (rounds(low, claim["interval"][0]) and rounds(high, claim["interval"][1]))
    assert holds == ("yes" if claim["holds"] else "**no**")
    plain = folder.name == "quick" or folder.parent.name == "accelerator"
    assert command == f"`{folder.parent.name}{'' if plain else f' --preset {folder.name}'}`"
    assert all(number.replace("−", "-") in claim["claim"] for number in re.findall(r"published (−[\d.]+)", text))


def test_the_table_is_of_successes_and_of_failures():
    """Some twenty-five claims, and the share of those that fail is no smaller than among all that are kept."""
    assert 20 <= len(SAID) <= 30
    assert "Between a tenth and a fifth of all kept claims do not hold." in README
    failed = [not claim["holds"] for claim, _ in CLAIMS.values()]
    assert 0.1 < sum(failed) / len(failed) < 0.2
    assert sum(cells[3] == "**no**" for cells in SAID.values()) / len(SAID) >= sum(failed) / len(failed)


def row_of_model(name: str) -> list[str]:
    """What a card says of its model: its kind, d, lengths, and the first error that is measured as `recover` asks."""
    card = load_card(name)
    metric = next(metric for metric in card.metrics if "as `recover` asks" in metric.of)
    mean, low, high = (f"{value:#.2g}".rstrip(".") for value in (metric.value, metric.low, metric.high))
    (n,) = re.findall(r"(\d+) measurements", metric.of)
    return [f"`{name}`", str(card.model["is"]), str(card.d), card.lengths, f"{mean} [{low}, {high}] at {n}"]


def test_every_model_that_ships_has_its_row():
    """The table of models is what the cards say, in the order of their names."""
    said = rows("name")
    for name in NAMES:
        row = row_of_model(name)
        assert row in said, f"the README's table of models that ship needs the row: | {' | '.join(row)} |"
    assert said == [row_of_model(name) for name in NAMES], "the README's table names models that do not ship."


def test_the_python_runs_and_its_theorem_is_exact():
    """The one Python block has at most 20 lines, its gap is rounding, and it recovers the planted signal."""
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(block.strip().splitlines()) <= 20
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    instance = names["instance"]
    assert names["iterates"].shape == (13, 20)
    assert float(names["gap"](names["theorem"], instance.prompt)) < 1e-12
    recovered = names["recover"](names["x"], names["y"], method="lasso")
    solution = np.asarray(instance.solution)
    assert np.linalg.norm(recovered - solution) < 0.2 * np.linalg.norm(solution)


def printed_answer(text: str) -> tuple[list[list[str]], np.ndarray]:
    """Of what `jaxl2o solve` prints: of every row all but the gap and the seconds, and the coefficients."""
    table = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.strip().startswith("│")]
    return [[*cells[:3], cells[4]] for cells in table], np.array(re.findall(r"w\[(\d+)\] = (\S+?)(?:,|\s)", text), dtype=float)


def test_the_command_prints_what_it_says(tmp_path, monkeypatch):
    """The signal is made and recovered as written, with the answers shown."""
    monkeypatch.chdir(tmp_path)
    (source,) = re.findall(r'python -c "\n(.*?)"\n', README, flags=re.DOTALL)
    exec(compile(textwrap.dedent(source), "README.md", "exec"), {})
    (words,) = re.findall(r"^    jaxl2o (solve .*)$", README, flags=re.MULTILINE)
    out = io.StringIO()
    cli.main(words.split(), Console(file=out, width=120))
    found, coefficients = printed_answer(out.getvalue())
    shown, expected = printed_answer(README)
    assert found == shown
    assert found[-1][-1] == "yes"
    np.testing.assert_allclose(coefficients, expected, atol=1e-4)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Every link and image of a page is a file of the repository, by its place relative to the page, or an address."""
    path = ROOT / page
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (path.parent / target.partition("#")[0]).exists()]
    assert missing == []
