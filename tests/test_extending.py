"""The pages of docs/extending/ run as they stand: at most 40 lines each, which do what their text says."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from scipy.optimize import minimize
from sklearn.linear_model import ElasticNet

from experiments import common
from experiments.__main__ import main
from jaxl2o import unroll

DOCS = Path(__file__).parent.parent / "docs" / "extending"
PAGES = ("task", "solver", "theorem", "experiment")


def code(page: str) -> str:
    """The Python of a page, all blocks in order."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), flags=re.DOTALL))


def names_of(page: str) -> dict:
    """The names that the Python of a page leaves."""
    names: dict = {}
    exec(compile(code(page), f"{page}.md", "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short(page):
    """At most 40 lines of Python, of at most 128 characters, and a part that says what the repository wants."""
    lines = code(page).strip().splitlines()
    assert 0 < len(lines) <= 40
    assert max(map(len, lines)) <= 128
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert "\n## In the repository\n" in text
    named = re.findall(r"`((?:jaxl2o|experiments|tests|docs)/[\w/]+\.\w+)`", text)
    assert all((DOCS.parent.parent / name).exists() for name in named if name != "experiments/minimum_norm.py")


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_that_a_page_names_are_there(page):
    """A name in capitals "of" a file, and a file that "has the table" of such a name: it is assigned in that file."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    named = re.findall(r"`([A-Z_]{2,})`(?: of|\s+in)\s+`([\w/]+\.py)`", text)
    named += [(name, file) for file, name in re.findall(r"`([\w/]+\.py)` has the table `([A-Z_]{2,})`", text)]
    assert len(named) >= {"task": 2, "solver": 3, "theorem": 4, "experiment": 4}[page]
    for name, file in named:
        source = (DOCS.parent.parent / file).read_text(encoding="utf-8")
        assert re.search(rf"^{name}\b.* = ", source, re.MULTILINE), f"{file} assigns no {name}"


def test_a_new_task():
    """Draws depend on the key alone, a fifth of the labels is wrong, and Adam finds SciPy's minimiser of the loss."""
    names = names_of("task")
    task, drawn = names["task"], names["instances"]
    again = task.sample(jax.random.split(jax.random.key(0), 100)[3])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[3], atol=1e-12), again, drawn)
    errors = np.asarray(drawn.prompt.y - jnp.einsum("bnd,bd->bn", drawn.prompt.x, drawn.solution))
    wrong = np.abs(errors) > 1e-9
    assert abs(wrong.mean() - 0.2) < 4.0 * (0.2 * 0.8 / wrong.size) ** 0.5
    assert abs(errors[wrong].std() / 10.0 - 1.0) < 4.0 / (2.0 * wrong.sum()) ** 0.5
    np.testing.assert_allclose(jnp.einsum("bmd,bd->bm", drawn.prompt.x_query, drawn.solution), drawn.y_query, atol=1e-12)
    for index in range(3):
        x, y = (np.asarray(part[index]) for part in drawn.prompt[:2])

        def loss(w, x=x, y=y):
            size = np.abs(y - x @ w)
            return np.where(size < 0.1, size**2 / 2.0, 0.1 * size - 0.005).mean()

        best = minimize(loss, drawn.solution[index], method="BFGS", options={"gtol": 1e-10})
        assert loss(np.asarray(names["found"][index])) <= best.fun + 1e-6
        np.testing.assert_allclose(names["found"][index], best.x, atol=5e-3)
    medians = {name: float(np.median(found)) for name, found in names["errors"].items()}
    np.testing.assert_allclose(medians["Huber"], 0.02, atol=0.005)
    np.testing.assert_allclose(medians["least squares"], 1.5, atol=0.1)


def test_a_new_solver():
    """It is scikit-learn's elastic net, in `recover` too; trained, it has less than half of its first loss."""
    names = names_of("solver")
    prompt = names["prompt"]
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    oracle = ElasticNet(alpha=0.15, l1_ratio=2.0 / 3.0, fit_intercept=False, tol=1e-14, max_iter=100_000)
    np.testing.assert_allclose(names["answer"], oracle.fit(x, y).coef_, atol=1e-10)
    column, label = (np.sqrt(np.mean(values**2, axis=0)) for values in (x, y))
    np.testing.assert_allclose(names["recovered"], oracle.fit(x / column, y / label).coef_ * label / column, atol=1e-10)
    assert len(names["reached"]) == 200
    assert np.mean(names["reached"][-20:]) < 0.5 * np.mean(names["reached"][:20])


def test_a_new_theorem():
    """The network is Richardson's method by NumPy, to rounding; perturbed it is not; and the error keeps Chebyshev's bound."""
    names = names_of("theorem")
    prompt, steps = names["prompt"], np.asarray(names["young"](0.2, 3.0, 6))
    x, y, asked = (np.asarray(part) for part in prompt[:3])
    w, iterates = np.zeros(5), [np.zeros(5)]
    for step in steps:
        w = w - step * x.T @ (x @ w - y) / len(y)
        iterates.append(w)
    np.testing.assert_allclose(names["answers"], np.array(iterates) @ asked.T, atol=1e-13)
    assert names["exact"] < 1e-14
    assert names["perturbed"] > 1e-5
    eigenvalues = np.linalg.eigvalsh(x.T @ x / len(y))
    low, high = eigenvalues[0], eigenvalues[-1]
    best = np.linalg.lstsq(x, y)[0]
    found = unroll(names["richardson"](names["young"](low, high, 6)), prompt, 6, keep="last")
    bound = np.linalg.norm(best) / np.cosh(6.0 * np.arccosh((high + low) / (high - low)))
    assert np.linalg.norm(found - best) <= bound * (1.0 + 1e-9)


def test_a_new_experiment(monkeypatch, tmp_path):
    """Saved and listed, its commands run; the claim holds, its number follows from the arrays, and n and d are flags."""
    module = ModuleType("experiments.minimum_norm")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code("experiment"), "minimum_norm.py", "exec"), module.__dict__)
    monkeypatch.setattr(common, "EXPERIMENTS", (*common.EXPERIMENTS, "minimum_norm"))
    commands = re.findall(
        r"^    python -m experiments (.*)$", (DOCS / "experiment.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    with (tmp_path / "said").open("w") as said:
        for command in commands:
            main([*command.split(), "--root", str(tmp_path)], Console(file=said, width=200))
    folders = sorted((tmp_path / "minimum_norm").iterdir())
    assert len(folders) == len(commands) == 2
    assert folders[1].name == "smoke"
    assert folders[0].name.startswith("quick-")
    for folder, share in zip(folders, (0.75, 0.5), strict=True):
        assert {file.name for file in folder.iterdir()} >= {"config.json", "results.npz", "figure.png", "claims.json"}
        (kept,) = json.loads((folder / "claims.json").read_text())
        with np.load(folder / "results.npz", allow_pickle=False) as arrays:
            lost = arrays["lost"]
        assert lost.shape == (4000,)
        np.testing.assert_allclose(kept["measured"], abs(lost.mean() - share) / (lost.std() / 4000**0.5), rtol=1e-9)
        assert kept["holds"] is True
        assert kept["id"] in (tmp_path / "said").read_text()
