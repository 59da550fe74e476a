"""Committed numbers are what the committed arrays say, and `holds` is what the numbers say."""

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import matplotlib.pyplot as plt
import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from experiments import common
from experiments.claims import Claim
from experiments.common import RESULTS
from experiments.intervals import geometric_mean, student
from experiments.placement import Placement

KEYS = [*Claim._fields, "holds"]
COMMITTED = sorted(str(path.parent.relative_to(RESULTS)) for path in RESULTS.glob("**/claims.json"))
# claims whose family is not the beginning of their experiments' names: where clocks are, or of networks that are kept
FAMILIES = {
    "scale": ("scale", "speed"),
    "lasso": "speed",
    "results": ("sparse-recovery.at-length", "sparse-recovery.gpt2"),
    "weights": ("sparse-recovery.weights", "l2o-benchmark.weights", "memformer.weights", "mixture.weights"),
    "prefixes": "sparse-recovery.prefixes",
}
NAN, INF = math.nan, math.inf


def claim_of(**changes) -> Claim:
    """A claim with some fields changed."""
    plain = Claim("made-up/mean", "a mean", "made up", "measured", "<=", 1.0, 0.0, 0.5, (0.4, 0.6), 8, (0, 1), "dB")
    return plain._replace(**changes)


# relation, expected, tolerance, measured: whether it holds
TRUTH = [
    ("<=", 1.0, 0.0, 0.5, True),
    ("<=", 1.0, 0.0, 1.0, True),
    ("<=", 1.0, 0.0, 1.5, False),
    ("<=", 1.0, 0.5, 1.5, True),
    ("<=", 1.0, 0.5, 1.75, False),
    ("<=", 1.0, 0.5, -9.0, True),
    (">=", 1.0, 0.0, 1.5, True),
    (">=", 1.0, 0.0, 1.0, True),
    (">=", 1.0, 0.0, 0.5, False),
    (">=", 1.0, 0.5, 0.5, True),
    (">=", 1.0, 0.5, 0.25, False),
    (">=", 1.0, 0.5, 9.0, True),
    ("=", 1.0, 0.0, 1.0, True),
    ("=", 1.0, 0.0, 1.25, False),
    ("=", 1.0, 0.5, 1.5, True),
    ("=", 1.0, 0.5, 0.5, True),
    ("=", 1.0, 0.5, 1.75, False),
    ("=", 1.0, 0.5, 0.25, False),
    ("<=", 1.0, 0.0, INF, False),
    ("<=", 1.0, 0.0, -INF, True),
    (">=", 1.0, 0.0, INF, True),
    (">=", 1.0, 0.0, -INF, False),
    ("=", 1.0, 0.5, INF, False),
    *[(relation, 1.0, 0.5, NAN, False) for relation in ("<=", ">=", "=")],
    *[(relation, NAN, 0.5, 1.0, False) for relation in ("<=", ">=", "=")],
]


@pytest.mark.parametrize(("relation", "expected", "tolerance", "measured", "holds"), TRUTH)
def test_when_a_claim_holds(relation, expected, tolerance, measured, holds):
    """measured <= expected + tolerance, >= expected - tolerance, or within the tolerance; NaN never holds."""
    claim = claim_of(relation=relation, expected=expected, tolerance=tolerance, measured=measured)
    assert claim.holds is holds
    assert claim._replace(measured=np.float64(measured)).holds is holds


def recomputed(claim: dict) -> bool:
    """`holds` from the stored numbers alone."""
    low, high = claim["expected"] - claim["tolerance"], claim["expected"] + claim["tolerance"]
    slack = 1e-12 * max(1.0, abs(claim["expected"]))
    above, below = claim["measured"] >= low - slack, claim["measured"] <= high + slack
    return {"<=": below, ">=": above, "=": above and below}[claim["relation"]]


def plain_number(value) -> bool:
    """Whether a value read from JSON is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def assert_well_formed(name: str, claims: list[dict]) -> None:
    """Claims as they stand in a file: keys, kinds, plain numbers, ids of their own, and `holds` as the numbers say."""
    assert claims
    for claim in claims:
        assert list(claim) == KEYS
        family = claim["id"].partition("/")[0]
        assert name.replace("_", "-").startswith(FAMILIES.get(family, family))
        assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", claim["id"])
        assert claim["kind"] in get_args(get_type_hints(Claim)["kind"])
        assert claim["relation"] in get_args(get_type_hints(Claim)["relation"])
        assert all(plain_number(claim[key]) for key in ("measured", "expected", "tolerance", "n"))
        assert claim["tolerance"] >= 0.0
        assert claim["n"] >= 1
        assert claim["seeds"] or claim["kind"] in ("theorem", "published")  # what is exact needs none
        assert all(isinstance(seed, int) for seed in claim["seeds"])
        assert claim["interval"] is None or all(plain_number(end) for end in claim["interval"])
        assert claim["interval"] is None or claim["interval"][0] <= claim["measured"] <= claim["interval"][1]
        assert claim["claim"]
        assert claim["source"]
        assert claim["holds"] is recomputed(claim)
    assert len({claim["id"] for claim in claims}) == len(claims)


def assert_same(found: dict, stored: dict) -> None:
    """Two claims are the same, numbers that were computed to rounding."""
    for key in KEYS:
        if key in ("measured", "interval", "expected") and stored[key] is not None:
            np.testing.assert_allclose(found[key], stored[key], rtol=1e-7, atol=1e-15)
        else:
            assert found[key] == stored[key]


@dataclass(frozen=True)
class Config:
    """The size of the made-up experiment."""

    count: int = 8


def claims_of_values(results):
    """The mean, with an interval, and the largest."""
    values = results["values"]
    mean, half = float(values.mean()), 1.96 * float(values.std()) / math.sqrt(len(values))
    return [
        claim_of(measured=mean, interval=(mean - half, mean + half), n=len(values)),
        claim_of(id="made-up/largest", relation=">=", measured=float(values.max()), interval=None, expected=7.0),
    ]


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """The folder of a made-up experiment that was run and kept, and its name."""
    module = SimpleNamespace(
        Config=Config,
        PRESETS={"quick": Config()},
        run=lambda config, run: {"values": np.random.default_rng(0).random(config.count)},
        plot=lambda results: plt.figure(figsize=(1, 1)),
        claims=claims_of_values,
    )
    monkeypatch.setattr(common, "load", lambda name: module)
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    with (tmp_path / "said").open("w") as said:
        common.execute("made_up", "quick", Config(), tmp_path / "runs", False, True, Console(file=said), Placement())
    return tmp_path / "results" / "made_up" / "quick"


def assert_kept_well(folder: Path) -> None:
    """A folder of results: well formed, of a preset's own config, small, plain arrays, and its claims follow from them."""
    name = folder.parent.name
    module = common.load(name)
    stored = json.loads((folder / "claims.json").read_text())
    assert_well_formed(name, stored)
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "results.npz").stat().st_size <= 2**20
    with np.load(folder / "results.npz", allow_pickle=False) as file:
        results = dict(file)
    presets = {common.kept_name(module, preset, results): config for preset, config in module.PRESETS.items()}
    written = json.loads((folder / "config.json").read_text())["config"]
    assert written == json.loads(json.dumps(asdict(presets[folder.name])))
    found = [json.loads(json.dumps({**claim._asdict(), "holds": claim.holds})) for claim in module.claims(results)]
    assert [claim["id"] for claim in found] == [claim["id"] for claim in stored]
    for a, b in zip(found, stored, strict=True):
        assert_same(a, b)


def test_what_was_just_kept_is_kept_well(made_up):
    """A run that is kept passes what committed results must pass."""
    assert_kept_well(made_up)


@pytest.mark.parametrize("where", [*COMMITTED, "all"])
def test_what_is_committed_is_kept_well(where):
    """Every committed folder's claims follow from its arrays, and no folder of results has none."""
    if where != "all":
        assert_kept_well(RESULTS / where)
    kept = sorted(str(path.parent.relative_to(RESULTS)) for path in RESULTS.glob("*/*/config.json"))
    assert kept == COMMITTED


# what can go wrong in a committed file
SPOILT = {
    "holds is wrong": {"holds": False},
    "holds is no boolean": {"holds": 1},
    "measured is no number": {"measured": "0.5"},
    "measured is NaN": {"measured": NAN},
    "measured is outside the interval": {"measured": -5.0},
    "another number": {"measured": 0.55},
    "another experiment's id": {"id": "other/mean"},
    "an id twice": {"id": "made-up/largest"},
    "another kind": {"kind": "guess"},
    "another relation": {"relation": "<"},
    "no seeds": {"seeds": []},
    "another claim": {"claim": "a median"},
    "a field more": {"note": ""},
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_spoilt_is_found(made_up, spoilt):
    """A committed file that was changed by hand does not pass."""
    path = made_up / "claims.json"
    claims = json.loads(path.read_text())
    assert claims[0]["holds"] is True
    claims[0] |= SPOILT[spoilt]
    path.write_text(json.dumps(claims))
    with pytest.raises(AssertionError):
        assert_kept_well(made_up)


def test_intervals_of_few_values():
    """Student's are SciPy's; of ratios the logarithm's, alike if they are turned round; a single value has none."""
    values = np.array([1.0, 2.0, 4.0, 7.0])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose(2.0 * student(values), high - low, rtol=1e-12)
    ratio, (low, high) = geometric_mean(values)
    turned, (less, more) = geometric_mean(1.0 / values)
    np.testing.assert_allclose((ratio, low, high), (56.0**0.25, 1.0 / more, 1.0 / less), rtol=1e-12)
    np.testing.assert_allclose(ratio * turned, 1.0, rtol=1e-12)
    assert math.isnan(student(values[:1]))
    assert geometric_mean(values[1:2]) == (2.0, None)
