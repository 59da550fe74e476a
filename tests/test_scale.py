"""Trainings that move, are killed, save and share processes: claims, panels and tables from made-up results, and who waits."""

import subprocess
import sys
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.scale import PARTS, Config, claims, plot, table
from experiments.scale.kills import Life, on_disk, resumed, same
from experiments.scale.workers import end_of, finish

CURVE = np.array([2.0, 1.0, 0.5, 0.25])
# the second is killed before it speaks, the third within a save
LIVES = [Life(0, True, 20, 40, False), Life(20, False, 20, 40, False), Life(20, True, 60, 80, True)]


def kills(lives=LIVES, last=60, equal=True):
    """The results of these lives, and of a last process that goes on from this step."""
    columns = {f"kills/{name}": np.array(column) for name, column in zip(Life._fields, zip(*lives, strict=True), strict=True)}
    return columns | {"kills/resumed": resumed(lives, last), "kills/same": np.array(equal), "kills/start": np.array(3.0)}


def made_up(**changes):
    """The results of all parts, where everything is as claimed; some of them changed."""
    plain = {
        "elastic/legs": np.array([2, 1]),
        "elastic/lista-vm/alone": CURVE,
        "elastic/lista-vm/moved": CURVE * (1.0 + 2e-6),
        **kills(),
        "stalls/bytes": np.array(100_000_000),
        "stalls/calls": np.array([0.1, 0.2]),
        "stalls/none": np.array([1.0, 1.2]),
        "stalls/background": np.array([1.3, 1.5]),
        "stalls/waited": np.array([1.6, 1.8]),
    }
    for layout, gap in (("groups", 0.0), ("groups, cut", 3e-6), ("shares", 4e-6)):
        plain[f"processes/lista-vm/{layout}/one"] = CURVE
        plain[f"processes/lista-vm/{layout}/two"] = np.stack([CURVE, CURVE * (1.0 + gap)])
    return plain | changes


MEASURED = {
    "scale/elastic-curve-gap": 2e-6,
    "scale/kills-survived": 3,
    "scale/kills-within-a-save": 1,
    "scale/two-process-gap": 3e-6,
    "scale/two-process-gap-shares": 4e-6,
}
WRONG = CURVE * np.array([1.0, 1.0, 1.0, 1.001])
# what makes one claim fail, and no other
FAULTS = {
    "scale/elastic-curve-gap": {"elastic/lista-vm/moved": WRONG},
    "scale/kills-survived": kills(last=40),
    "scale/kills-within-a-save": kills([life._replace(within=False) for life in LIVES]),
    "scale/two-process-gap": {"processes/lista-vm/groups, cut/two": np.stack([CURVE, WRONG])},
    "scale/two-process-gap-shares": {"processes/lista-vm/shares/two": np.stack([WRONG, CURVE])},
}


def test_claims_are_what_was_measured():
    """The largest gaps, over both processes and both layouts in groups; the kills that were survived, and those in a save."""
    found = {claim.id: claim for claim in claims(made_up())}
    assert list(found) == list(MEASURED)
    for id, measured in MEASURED.items():
        assert found[id].measured == pytest.approx(measured, rel=1e-6)
        assert found[id].holds


@pytest.mark.parametrize("id", FAULTS)
def test_every_claim_can_fail(id):
    """One fault, one claim that does not hold."""
    assert [claim.id for claim in claims(made_up(**FAULTS[id])) if not claim.holds] == [id]


def test_a_kill_is_survived_if_what_was_saved_is_what_the_next_goes_on_from():
    """A process that was killed in its start says nothing: the one behind it answers for both. Other bytes: none survived."""
    assert resumed(LIVES, last=60).tolist() == [20, 20, 60]
    lost = kills([LIVES[0], LIVES[1], LIVES[2]._replace(began=0)])
    for results, survived in ((kills(), 3), (lost, 1), (kills(equal=False), 0)):
        assert next(claim for claim in claims(results) if claim.id == "scale/kills-survived").measured == survived


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_its_panel(part):
    """Alone, and with the others: what was not run is not drawn, not claimed and not in the table."""
    own = {key: value for key, value in made_up().items() if key.startswith(part)}
    figures = plot(own), plot(made_up())
    titles = [[axes.get_title() for axes in figure.axes if axes.get_visible()] for figure in figures]
    assert [len(shown) for shown in titles] == [1, 4]
    assert titles[0][0] == titles[1][PARTS.index(part)]
    assert 1 <= table(own).row_count < table(made_up()).row_count
    assert {claim.id for claim in claims(own)} <= set(MEASURED)
    for figure in figures:
        plt.close(figure)


def test_the_kinds_of_kills_are_told_apart():
    """In the start, between saves and within one: each is counted in the legend, and of those in the start none has trained."""
    figure = plot(kills())
    [axes] = (axes for axes in figure.axes if axes.get_visible())
    legend = axes.get_legend()
    assert legend is not None
    words = [text.get_text() for text in legend.get_texts()]
    assert words[:3] == ["killed in the start (1)", "killed between saves (1)", "killed within a save (1)"]
    assert axes.get_title() == "3 of 3 kills survived"
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == [[20], [40], [80], [20, 20, 60]]
    plt.close(figure)


def test_what_is_on_the_disk(tmp_path):
    """The newest save that has its name; one that is written has another, and a new one is told from an old one."""
    assert on_disk(tmp_path) == (0, set())
    for name in ("20", "100", "120.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    saved, temporary = on_disk(tmp_path)
    assert (saved, [name for name, _ in temporary]) == (100, ["120.orbax-checkpoint-tmp"])


@pytest.mark.parametrize(
    ("other", "expected"),
    [(np.array([1.0, -0.0]), False), (np.array([1, 0]), False), (np.array([1.0, 0.0]), True)],
)
def test_the_same_is_the_same_byte_by_byte(tmp_path, other, expected):
    """Zero with a sign is another number here, and so is an integer."""
    for name, values in (("a", np.array([1.0, 0.0])), ("b", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("{}\n")
        np.savez(end_of(tmp_path / name), allow_pickle=False, params=values)
    assert same(tmp_path / "a", tmp_path / "b") == expected
    (tmp_path / "b" / "metrics.jsonl").write_text("")
    assert not same(tmp_path / "a", tmp_path / "b")


def python(program: str) -> subprocess.Popen[str]:
    """A process that runs a few words of Python."""
    return subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, text=True)


def test_the_last_answers_of_workers():
    """One each, in their order, whatever libraries print besides and whoever ends first."""
    slow = python("""import time; print('{"began": 0}'); time.sleep(0.2); print('{"who": 0}')""")
    quick = python("""print('{"who": 1}'); print('a warning')""")
    assert finish(slow, quick) == [{"who": 0}, {"who": 1}]


def test_a_worker_that_fails_ends_the_others():
    """Nobody waits for the partner of a process that is gone."""
    began = perf_counter()
    waiting = python("import time; time.sleep(60)")
    with pytest.raises(RuntimeError, match="status 3"):
        finish(waiting, python("raise SystemExit(3)"))
    assert waiting.returncode != 0
    assert perf_counter() - began < 30


def test_bad_input(refused):
    """An unknown part, no part and no kill are one sentence each."""
    refused(lambda: Config(parts=("moves",)), ("('moves',)", "elastic"))
    refused(lambda: Config(parts=()), ("parts are ()", "kills"))
    refused(lambda: Config(kills=0), ("kills is 0", "positive"))
