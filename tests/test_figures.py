"""The rule of the figures: an algorithm has one colour, and no two lines of one panel share colour and dashes."""

import importlib
import inspect
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from experiments import exactness, shipping
from experiments.compressed_sensing import figure as compressed_sensing
from experiments.figures import ALGORITHMS, COLOURS, DASHES, colour_of, shades, style_of
from experiments.l2o_benchmark.methods import PLAN
from experiments.mixture import panels
from experiments.mixture.trained import figure as trained
from experiments.newton import figure as newton
from experiments.sparse_recovery.prefixes import config as prefixes

EXPERIMENTS = Path(inspect.getfile(importlib.import_module("experiments.common"))).parent
TITLE = re.compile(r'(?:colour_of|style_of|shades)\("([^"]+)"')

# panel -> the styles of its lines
DRAWN: dict[str, list[dict[str, Any]]] = {
    **{f"l2o_benchmark, {name}": [style_of(title) for title in titles] for name, titles in PLAN.items()},
    **{f"exactness, row {place}": [style_of(title) for _, title in row.values()] for place, row in enumerate(exactness.ROWS)},
    "compressed_sensing": [style for style, _ in (*compressed_sensing.LINES.values(), *compressed_sensing.LEVELS.values())],
    "mixture": [style for style, _ in panels.LINES.values()],
    "mixture.trained": [style for style, _ in trained.LINES.values()],
    "newton, attention": [style for style, _ in newton.MODEL.values()],
    "sparse_recovery.prefixes": [style_of(title) for title in (*prefixes.METHODS, "GPT-2")],
    "l2o_benchmark.weights": [style_of(title) for title in ("ALISTA", "NA-ALISTA", "Lasso")],
    "memformer.weights": [style_of(title) for title in ("linear attention", "Memformer", "least squares", "ridge")],
    "mixture.weights": [style_of(title) for title in ("Transformer", "best linear in y", "EM, best of several")],
}


@pytest.mark.parametrize("panel", DRAWN)
def test_no_two_lines_of_a_panel_look_alike(panel: str) -> None:
    looks = [(style["color"], style["linestyle"]) for style in DRAWN[panel]]
    assert len(set(looks)) == len(looks)


def test_every_algorithm_that_a_figure_names_is_in_the_table() -> None:
    named = {title for path in EXPERIMENTS.rglob("*.py") for title in TITLE.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 30
    assert not {title for title in named | set(DASHES) if title not in ALGORITHMS and title.partition(",")[0] not in ALGORITHMS}
    assert set(ALGORITHMS.values()) <= set(COLOURS)


def test_models_that_ship_are_drawn_in_the_colours_of_their_algorithms() -> None:
    assert {name: colour_of(title) for name, title in shipping.ALGORITHM_OF.items()} == {
        "alista": COLOURS["solver"],
        "na-alista": COLOURS["transformer"],
        "linear-attention": COLOURS["brown"],
        "memformer": COLOURS["plum"],
        "mixture-encoder": COLOURS["transformer"],
        "linear": COLOURS["plum"],
        "restarted": COLOURS["solver"],
    }


def test_variants_share_the_colour_of_their_algorithm_and_shades_run_from_light_to_dark() -> None:
    assert colour_of("EM, annealed") == colour_of("EM, random start") == colour_of("EM")
    assert shades("EM", 0) == []
    assert shades("EM", 1) == [to_rgb(colour_of("EM"))]
    assert all(
        np.all(np.array(lighter) > darker) for lighter, darker in pairwise(shades("Transformer", 5)) if min(darker) > 0.0
    )
    np.testing.assert_allclose(shades("Transformer", 12)[6], to_rgb(colour_of("Transformer")), atol=0.1)


def test_an_algorithm_that_is_not_in_the_table_has_no_colour() -> None:
    with pytest.raises(KeyError):
        colour_of("no such method")
