"""The pages of docs/ run as they stand: blocks of at most 40 lines, in order, which find what their text says."""

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import jaxl2o

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def blocks(page):
    """The Python of a page: its fenced blocks, or the cells of a notebook."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if page.endswith(".ipynb"):
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def run(page):
    """The names that a page's blocks leave."""
    names: dict = {}
    for block in blocks(page):
        assert len(block.strip().splitlines()) <= 40
        exec(compile(block, page, "exec"), names)
    return names


def test_gradients():
    """Penalties for all features beat one on held-out data, atoms come nearer to the planted ones, P beats a step size."""
    names = run("gradients.md")
    np.testing.assert_allclose(names["losses"], [0.39, 0.23], atol=0.01)
    np.testing.assert_allclose(names["distances"], [0.54, 0.42], atol=0.01)
    np.testing.assert_allclose(names["likeness"], [0.85, 0.90], atol=0.01)
    np.testing.assert_allclose(names["errors"][0], 0.44, atol=0.01)
    assert names["errors"][1] < names["errors"][0] / 30.0


def test_lasso():
    """The planted support is found and certified; rules choose a penalty on their grids; all problems converge."""
    names = run("lasso.md")
    np.testing.assert_array_equal(np.flatnonzero(names["answer"].solution), np.arange(5))
    assert names["answer"].converged
    assert np.all(names["positive"].solution >= 0.0)
    assert names["path"].converged.all()
    assert names["chosen"].one_standard_error <= names["chosen"].minimum
    assert names["baseline"].solutions.shape == (8, 12, 2, 6)
    assert names["baseline"].converged.all()
    assert names["many"].converged.all()


def test_in_context_learning():
    """The theorem is exact; what is trained is below the limit of gradient descent, and runs the GD++ that its weights say."""
    names = run("tutorials/in_context_learning.md")
    assert names["exactness"] < 1e-12
    np.testing.assert_allclose(names["least"], [5.0, 1.154, 0.361], atol=1e-3)
    np.testing.assert_allclose(names["filled"][-1], 0.357, atol=0.001)
    np.testing.assert_allclose(names["reached"][1:], [1.17, 0.082], rtol=0.02)
    np.testing.assert_allclose(names["step_sizes"], [0.77, 2.86], atol=0.02)
    np.testing.assert_allclose(names["shrinkage"], [0.31, 0.0], atol=0.01)
    np.testing.assert_allclose(names["of_trained"], [0.94, -0.04], atol=0.02)
    np.testing.assert_allclose(names["of_random"], [-0.29, 0.78], atol=0.02)


# mean and median relative error after 12 steps, as the page has them
TABLE = {"FISTA, 12 steps": (0.423, 0.291), "ours, learned": (0.161, 0.0136), "in-context ALISTA": (0.040, 0.00058)}


def test_learned_solvers():
    """FISTA is behind and in-context ALISTA ahead, in the mean and in the median, as the page says; gradients hold."""
    names = run("tutorials/learned_solvers.md")
    assert names["iterates"].shape == (13, 20)
    rows = {name: [found.mean[-1], found.quantiles[0, -1]] for name, found in names["found"].items()}
    for name, (mean, median) in TABLE.items():
        np.testing.assert_allclose(rows[name], [mean, median], rtol=0.05, err_msg=name)
    assert names["missed"] < 1e-4


def test_sparse_signal(capsys):
    """The pretrained model is nearest, refuses three measurements, and starts what is proved; files give what Python gives."""
    names = run("tutorials/sparse_signal.ipynb")
    plt.close("all")
    planted = names["truth"] * names["scale"]
    misses = {name: np.linalg.norm(w * names["scale"] - planted) for name, w in names["answers"].items()}
    shares = {name: miss / np.linalg.norm(planted) for name, miss in misses.items()}
    assert shares["minimum_norm"] > 0.8
    assert shares["in-context-alista-branches-d20"] < 0.05 < shares["lasso"] < 0.3
    assert names["sentence"].startswith("in-context-alista-branches-d20 is for 20 coefficients from 6 to 40 measurements")
    assert names["proved"].converged
    assert names["share"] <= 1e-8
    np.testing.assert_array_equal(names["largest"], [2, 7, 11])
    kept = {rule: set(np.flatnonzero(names["chosen"].path.solutions[at])) for rule, at in names["picks"].items()}
    assert all({2, 7, 11} <= places for places in kept.values())
    assert len(kept["one standard error"]) <= len(kept["EBIC"]) <= len(kept["least error"])
    assert {2, 7, 11} <= set(np.flatnonzero(names["fitted"].coef_))
    assert "lasso, from there" in capsys.readouterr().out
    assert {2, 7, 11} <= set(np.flatnonzero(names["written"]))


def test_every_module_is_on_one_page_of_the_api():
    """The lists of modules in docs/api hold every public module once, but those whose names `import jaxl2o` gives."""
    lists = [re.findall(r"```\{modules\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL) for page in API]
    listed = Counter(name for page in lists for block in page for name in block.split())
    assert set(listed.values()) == {1}
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "jaxl2o").rglob("*.py"))
    public = {".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "__main__"}
    folders = {name for name in public if (ROOT / name.replace(".", "/")).is_dir()}
    assert public - folders <= set(listed) <= public
    index = (DOCS / "api/index.md").read_text(encoding="utf-8")
    given = {name for name, value in vars(jaxl2o).items() if not name.startswith("_") and not hasattr(value, "__path__")}
    modules = {name.split(".")[1] for name in public - {"jaxl2o"}}
    assert given - modules - {"version"} <= set(re.findall(r"\{py:\w+\}`(\w+) ", index))


API = sorted((DOCS / "api").glob("*.md"))


def test_every_page_of_the_api_is_in_its_table_of_contents():
    """docs/api/index.md names each of the others."""
    (toctree,) = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "api/index.md").read_text(encoding="utf-8"), re.DOTALL)
    assert sorted(toctree.split()) == [page.stem for page in API if page.stem != "index"]


def test_the_notebook_has_no_outputs():
    """They are made when it is built."""
    cells = json.loads((DOCS / "tutorials/sparse_signal.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")


@pytest.fixture(scope="module")
def plain():
    """The module that writes docstrings and signatures for the site."""
    found = importlib.util.spec_from_file_location("plain", DOCS / "plain.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


# a paragraph of a docstring, and how Sphinx is told to show it
PARAGRAPHS = {
    "prose flows": ("One line\nand another.", [r"\ One line and another.", ""]),
    "what reST would read is plain": ("|x|_2 * y", [r"\ \|x\|\_2 \* y", ""]),
    "backticks are code": ("by `unroll` alone", [r"\ by \ ``unroll``\  alone", ""]),
    "names have entries": ("x: rows.  y: labels.", ["- \\ \\ ``x``\\ : \\ rows.", "", "- \\ \\ ``y``\\ : \\ labels.", ""]),
    "formulas keep their columns": ("    w = X^+ y\n      + e", ["::", "", "    w = X^+ y", "      + e", ""]),
    "tables keep their columns": (
        "math   code   shape\nX      x      (n, d)",
        ["::", "", "    math   code   shape", "    X      x      (n, d)", ""],
    ),
}


@pytest.mark.parametrize("name", PARAGRAPHS)
def test_a_docstring_is_shown_as_it_was_written(plain, name):
    """Prose flows, lists are lists, and what is set out by hand keeps its columns."""
    text, shown = PARAGRAPHS[name]
    assert plain.paragraph(text) == shown


def test_a_signature_is_the_source_s(plain):
    """Shapes as they were written; fields of a class; the first argument of a method, and of no function, is left out."""
    assert plain.signature(jaxl2o.recover) == (
        "(x: Any, y: Any, method: str | Method='lasso')",
        "Float[np.ndarray, 'd']",
    )
    arguments, returned = plain.signature(jaxl2o.Prompt)
    assert arguments.startswith("(x: ")
    assert returned is None
    assert plain.signature(jaxl2o.Prompt.of.__func__, bound=True)[0].startswith("(x")
