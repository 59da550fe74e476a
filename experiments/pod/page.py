"""The tables of the page on scale, written from the kept run: `python -m experiments.pod.page`."""

from pathlib import Path

from experiments.committed import committed
from experiments.common import write_atomically
from experiments.pod.tables import markdown

PAGE = Path(__file__).parent.parent.parent / "docs" / "scale.md"
BEGIN, END = "<!-- tables: python -m experiments.pod.page -->", "<!-- end of tables -->"


def written(page: str, tables: str) -> str:
    """The page with these tables between its two marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


if __name__ == "__main__":
    text = written(PAGE.read_text(encoding="utf-8"), markdown(committed("pod").results))
    write_atomically(PAGE, lambda path: path.write_text(text, encoding="utf-8"))
