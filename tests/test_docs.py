"""The pages of docs/ run as they stand: blocks of at most 40 lines, in order, which find what their text says."""

import re
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parent.parent / "docs"


def run(page):
    """The names that a page's blocks leave."""
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL):
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
