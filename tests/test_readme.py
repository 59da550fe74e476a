"""The README's Python runs as it stands, and is as short as it says."""

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_code_runs_and_its_theorem_is_exact():
    """The one Python block has at most 20 lines, its gap is rounding, and it recovers the planted signal."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(block.strip().splitlines()) <= 20
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    instance = names["instance"]
    assert names["iterates"].shape == (13, 20)
    assert float(names["gap"](names["theorem"], instance.prompt)) < 1e-12
    recovered = names["recover"](names["x"], names["y"], method="lasso")
    solution = np.asarray(instance.solution)
    assert np.linalg.norm(recovered - solution) < 0.2 * np.linalg.norm(solution)
