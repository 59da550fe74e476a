"""The command line: it runs an experiment once, resumes it, keeps it; every mistake is one sentence and a status."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest

from experiments import __main__ as command
from experiments import common
from experiments.claims import Claim
from jaxl2o.checks import require
from jaxl2o.training import losses, metrics
from jaxl2o.training.loop import Recipe, start
from jaxl2o.training.run import train_in
from jaxl2o.types import Instance, Prompt, Task

REPOSITORY = Path(__file__).parent.parent
FILES = ["claims.json", "config.json", "figure.pdf", "figure.png", "results.npz"]
KEYS = [
    "id", "claim", "source", "kind", "relation", "expected", "tolerance", "measured", "interval", "n", "seeds", "unit", "holds",
]  # fmt: skip


@dataclass(frozen=True)
class Config:
    """The sizes of the made-up experiment."""

    steps: int = 6
    rate: float = 0.1
    entries: int = 3
    loud: bool = False

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps is {self.steps}; it must be at least 1.")


def numbers(key):
    """One label from N(0, 1), which is asked."""
    return Instance(Prompt(None, jnp.zeros(1), None, jnp.ones(1, dtype=bool)), jax.random.normal(key, (1,)), None)


class Tiny(SimpleNamespace):
    """A made-up experiment; `calls` counts its runs, `trains` says whether it trains, and `fault` may stop a training."""

    def run(self, config, run):
        """Numbers, and with `trains` a parameter trained in the run's own folder."""
        self.calls += 1
        values = np.random.default_rng(0).normal(size=config.entries)
        return {"values": values} | ({"trained": self.train(config, run)} if self.trains else {})

    def train(self, config, run):
        """Train one constant, a step a chunk."""
        task = Task(numbers, lambda w, prompt: jnp.zeros(()), lambda w, x: w)
        recipe = Recipe(
            lambda params, prompt: params * jnp.ones((2, 1)), lambda step: task, losses.last_step(), optax.sgd(config.rate), 4
        )
        with run.bar("a constant", config.steps, recipe.batch_size) as show:

            def report(chunk):
                show(chunk)
                self.reached.append(int(chunk.state.step))
                self.fault(chunk)

            state = start(recipe, jnp.asarray(3.0), jax.random.key(0))
            return train_in(run.folder / "training", recipe, state, config.steps, 1, asdict(config), report).params

    def plot(self, results):
        """An empty figure."""
        return plt.figure(figsize=(1, 1))

    def claims(self, results):
        """The mean is what it is."""
        mean = float(results["values"].mean())
        return [
            Claim("tiny/mean", "a mean", "made up", "measured", "<=", mean, 0.0, mean, None, len(results["values"]), (0,), "")
        ]


@pytest.fixture
def tiny(monkeypatch):
    """The made-up experiment, as the only one there is."""
    module = Tiny(
        __doc__="A made-up claim.\n\nMore of it.",
        COST={"smoke": "nothing", "quick": "little"},
        Config=Config,
        PRESETS={"smoke": Config(steps=2), "quick": Config()},
        calls=0,
        trains=False,
        reached=[],
        fault=lambda chunk: None,
    )
    monkeypatch.setattr(common, "EXPERIMENTS", ("tiny",))
    monkeypatch.setattr(common, "load", lambda name: module)
    return module


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """The command line with these words and a root of its own: its status, and what it said in out and err."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str):
        monkeypatch.setattr(sys, "argv", ["experiments", *words, "--root", str(tmp_path / "runs")])
        status = command.entry()
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_one_sentence(answer, *words: str) -> None:
    """The status is 1, and err is one line that begins with "error:" and has these words."""
    status, _, err = answer
    assert status == 1
    assert err.startswith("error: ")
    assert err.count("error:") == 1
    assert err.count("\n") == 1
    assert err.rstrip()[-1] in ".?"
    assert "Traceback" not in err
    for word in words:
        assert word in err


def test_list_shows_every_experiment(call):
    """Every experiment with the first line of its docstring, and every preset with its cost."""
    status, out, err = call("list")
    assert (status, err) == (0, "")
    for name in common.EXPERIMENTS:
        module = common.load(name)
        assert name in out
        assert " ".join(module.__doc__.splitlines()[0].split()[:4]) in out
        for preset in module.PRESETS:
            assert f"{preset}: {module.COST[preset]}" in out


def test_every_experiment_has_what_a_run_needs():
    """Config, PRESETS of it with a smoke preset and a cost each, run, plot, claims, and the command in the docstring."""
    for name in common.EXPERIMENTS:
        module = common.load(name)
        assert "smoke" in module.PRESETS
        assert set(module.COST) == set(module.PRESETS)
        assert all(isinstance(config, module.Config) for config in module.PRESETS.values())
        assert all(callable(getattr(module, part)) for part in ("run", "plot", "claims"))
        assert f"python -m experiments {name}" in module.__doc__


MISTAKES = {
    "experiment": (["tinny"], ["there is no experiment 'tinny'", "did you mean 'tiny'?"]),
    "nothing like it": (["zzzzzz"], ["there is no experiment 'zzzzzz'", "choose one of tiny, list, report."]),
    "preset": (["tiny", "--preset", "smokey"], ["there is no preset 'smokey'", "did you mean 'smoke'?"]),
    "preset of others": (["tiny", "--preset", "paper"], ["there is no preset 'paper'", "choose one of smoke, quick."]),
    "field": (["tiny", "--stepz", "3"], ["there is no field '--stepz'", "did you mean '--steps'?"]),
    "field with =": (["tiny", "--rates=0.3"], ["there is no field '--rates'", "did you mean '--rate'?"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_what_is_right(tiny, call, tmp_path, mistake):
    """What is unknown is answered with the nearest that is known; nothing runs, and no folder is made."""
    words, answer = MISTAKES[mistake]
    assert_one_sentence(call(*words), *answer)
    assert tiny.calls == 0
    assert not (tmp_path / "runs").exists()


UNREADABLE = {
    "of another kind": (["--steps", "many"], "many"),
    "no value": (["--preset"], "--preset"),
    "refused by the config": (["--steps", "0"], "steps is 0; it must be at least 1."),
}


@pytest.mark.parametrize("value", UNREADABLE)
def test_a_value_that_cannot_be_read_ends_the_program(tiny, call, tmp_path, capsys, value):
    """A value of the wrong kind, none, or one that the config refuses: status 2, and it is told which; nothing runs."""
    words, told = UNREADABLE[value]
    with pytest.raises(SystemExit) as caught:
        call("tiny", *words)
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert told in err
    assert "Traceback" not in err
    assert tiny.calls == 0
    assert not (tmp_path / "runs").exists()


def test_a_run_leaves_its_folder(tiny, call, tmp_path):
    """root/NAME/PRESET has the config, the arrays, the figure twice and the claims, whole, with the documented keys."""
    status, out, err = call("tiny")
    assert (status, err) == (0, "")
    assert "tiny/mean" in out
    folder = tmp_path / "runs" / "tiny" / "quick"
    assert sorted(os.listdir(folder)) == FILES
    written = json.loads((folder / "config.json").read_text())
    assert written["config"] == asdict(Config())
    assert sorted(written["environment"]) == ["device", "jax", "jaxl2o", "python", "revision"]
    [claim] = json.loads((folder / "claims.json").read_text())
    assert list(claim) == KEYS
    assert claim["holds"] is True
    with np.load(folder / "results.npz", allow_pickle=False) as results:
        np.testing.assert_array_equal(results["values"], np.random.default_rng(0).normal(size=3))


def test_a_finished_run_is_not_repeated(tiny, call, tmp_path):
    """The same command again runs nothing and leaves the same bytes; --fresh starts over, without what was there."""
    folder = tmp_path / "runs" / "tiny" / "quick"
    assert call("tiny")[0] == 0
    (folder / "leftover").write_text("from before")
    before = files(folder)
    assert b"CreationDate" not in before["figure.pdf"]  # so that the bytes do not depend on the clock
    status, out, _ = call("tiny")
    assert (status, tiny.calls) == (0, 1)
    assert "is finished" in out
    assert files(folder) == before
    assert call("tiny", "--fresh")[0] == 0
    assert tiny.calls == 2
    assert sorted(os.listdir(folder)) == FILES


def test_overrides_have_a_folder_of_their_own(tiny, call, tmp_path):
    """PRESET-<8 hex> for overridden values: the same ones the same folder, the preset's own values the preset's."""
    folder = tmp_path / "runs" / "tiny"
    seen = []
    for words in (["--steps", "4"], ["--steps=4"], ["--steps", "5"], ["--steps", "6"], ["--preset", "smoke", "--steps", "4"]):
        assert call("tiny", *words)[0] == 0
        seen.append({path.name for path in folder.iterdir()} - {name for names in seen for name in names})
    first, again, other, default, smoke = seen
    assert again == set()
    assert default == {"quick"}
    assert all(re.fullmatch(r"quick-[0-9a-f]{8}", name) for name in first | other)
    assert len(first | other) == 2
    assert re.fullmatch(r"smoke-[0-9a-f]{8}", smoke.pop())
    assert json.loads((folder / first.pop() / "config.json").read_text())["config"] == asdict(Config(steps=4))


def test_a_switch_goes_both_ways(tiny, call, tmp_path):
    """A field that is true or false is --field and --no-field; the preset's own value is the preset."""
    assert call("tiny", "--loud")[0] == 0
    assert {path.name[:6] for path in (tmp_path / "runs" / "tiny").iterdir()} == {"quick-"}
    assert call("tiny", "--no-loud")[0] == 0
    assert "quick" in {path.name for path in (tmp_path / "runs" / "tiny").iterdir()}
    assert_one_sentence(call("tiny", "--no-steps"), "there is no field '--no-steps'")


@pytest.mark.parametrize(
    ("found", "words"), [({"steps": 7}, "other values of steps;"), ({"steps": 7, "depth": 1}, "other values of depth, steps;")]
)
def test_a_folder_of_another_config_is_refused(tiny, call, tmp_path, found, words):
    """The fields that differ are named, nothing is touched, and --fresh is the way out."""
    folder = tmp_path / "runs" / "tiny" / "quick"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"config": {**asdict(Config()), **found}}))
    before = files(folder)
    assert_one_sentence(call("tiny"), words, "--fresh")
    assert files(folder) == before
    assert tiny.calls == 0
    assert call("tiny", "--fresh")[0] == 0
    assert tiny.calls == 1


def test_results_are_kept(tiny, call, tmp_path, monkeypatch):
    """--keep copies config, arrays, figure and claims, the same bytes, of a run that may be finished already."""
    monkeypatch.setattr(common, "RESULTS", tmp_path / "kept")
    assert call("tiny", "--preset", "smoke")[0] == 0
    assert not (tmp_path / "kept").exists()
    assert call("tiny", "--preset", "smoke", "--keep")[0] == 0
    assert tiny.calls == 1
    kept, run = files(tmp_path / "kept" / "tiny" / "smoke"), files(tmp_path / "runs" / "tiny" / "smoke")
    assert sorted(kept) == [name for name in FILES if name != "figure.pdf"]
    assert all(run[name] == data for name, data in kept.items())


def test_an_experiment_may_name_what_is_kept(tiny, call, tmp_path, monkeypatch):
    """With `kept_as` the folder's name is what it makes of the run's and the results."""
    monkeypatch.setattr(common, "RESULTS", tmp_path / "kept")
    tiny.kept_as = lambda name, results: f"{name}-of-{results['values'].size}"
    assert call("tiny", "--keep")[0] == 0
    assert [path.name for path in (tmp_path / "kept" / "tiny").iterdir()] == ["quick-of-3"]


def test_large_results_are_not_kept(tiny, call, tmp_path, monkeypatch):
    """Results above 1 MiB are refused, and nothing is copied."""
    monkeypatch.setattr(common, "RESULTS", tmp_path / "kept")
    assert_one_sentence(call("tiny", "--entries", "200000", "--keep"), "at most 1 MiB")
    assert not (tmp_path / "kept").exists()


def fill_the_disk(monkeypatch, owner, name: str, matches) -> None:
    """A function writes some bytes to its path and then finds no space left, if the path matches."""
    plain = getattr(owner, name)

    def full(*arguments, **options):
        path = next((Path(word) for word in arguments if isinstance(word, (str, Path))), None)
        if path is None or not matches(path.name):
            return plain(*arguments, **options)
        with path.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(owner, name, full)


# what is being written when the disk is full, and what is there already
FULL = {
    "config": (lambda patch: fill_the_disk(patch, Path, "write_text", lambda name: "config" in name), []),
    "results": (lambda patch: fill_the_disk(patch, np, "savez_compressed", lambda name: True), ["config.json"]),
    "figure": (
        lambda patch: fill_the_disk(patch, plt.Figure, "savefig", lambda name: name.endswith("pdf")),
        ["config.json", "figure.png", "results.npz"],
    ),
    "claims": (
        lambda patch: fill_the_disk(patch, Path, "write_text", lambda name: "claims" in name),
        ["config.json", "figure.pdf", "figure.png", "results.npz"],
    ),
}


@pytest.mark.parametrize("where", FULL)
def test_a_full_disk_is_one_sentence(tiny, call, tmp_path, monkeypatch, where):
    """Wherever the space ends: status 1, no half-written file, what was there is whole, and the same command then finishes."""
    fill, left = FULL[where]
    folder = tmp_path / "runs" / "tiny" / "quick"
    with monkeypatch.context() as patch:
        fill(patch)
        assert_one_sentence(call("tiny"), "there is no space left", str(folder), "give the same command again")
    before = files(folder)
    assert sorted(before) == left
    assert call("tiny")[0] == 0
    assert sorted(os.listdir(folder)) == FILES
    assert files(folder).items() >= {name: data for name, data in before.items() if name == "config.json"}.items()


def test_another_fault_of_the_disk_is_told(tiny, call, tmp_path):
    """A root that is a file: status 1, and the path is named."""
    (tmp_path / "runs").write_text("not a folder")
    assert_one_sentence(call("tiny"), "Not a directory", str(tmp_path / "runs"))


# what stops a run, its status, and what is said
INTERRUPTIONS = {
    signal.SIGINT: (130, r"interrupted; the same command resumes from the last checkpoint\.\n"),
    signal.SIGTERM: (75, r"SIGTERM stopped the training in .* after step 5, which is saved\. The same command continues\.\n"),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interrupted_run_resumes(tiny, call, tmp_path, interruption):
    """A status of its own; then the same command goes on from the last checkpoint, to the numbers of a run never stopped."""
    tiny.trains = True
    # a shell that starts a command in the background has it ignore SIGINT
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(chunk):
        if chunk.state.step == 4:
            signal.raise_signal(interruption)

    tiny.fault = interrupt
    status, _, err = call("tiny")
    expected, words = INTERRUPTIONS[interruption]
    assert status == expected
    assert re.fullmatch(words, err)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    folder = tmp_path / "runs" / "tiny" / "quick"
    assert sorted(os.listdir(folder)) == ["config.json", "training"]
    tiny.fault = lambda chunk: None
    assert call("tiny")[0] == 0
    assert tiny.reached == [1, 2, 3, 4, 5, 6]
    assert sorted(os.listdir(folder)) == sorted([*FILES, "summary.json", "training"])
    assert json.loads((folder / "summary.json").read_text())["trainings"]["training"]["steps"] == 6
    assert [record["step"] for record in metrics.read(folder / "training" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    with np.load(folder / "results.npz") as file:
        resumed = dict(file)
    assert call("tiny", "--fresh")[0] == 0
    with np.load(folder / "results.npz") as file:
        assert sorted(file.files) == sorted(resumed)
        for name in file.files:
            np.testing.assert_array_equal(file[name], resumed[name])


def test_divergence_is_one_sentence(tiny, call, tmp_path):
    """A training that diverges: status 1, the step named, its last checkpoint kept."""
    tiny.trains = True
    assert_one_sentence(call("tiny", "--rate", "1e80", "--steps", "50"), "the loss of step", "last good checkpoint is kept")
    [folder] = (tmp_path / "runs" / "tiny").iterdir()
    assert sorted(os.listdir(folder)) == ["config.json", "training"]
    assert any((folder / "training" / "checkpoints").iterdir())


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("name", ["config.json", "results.npz"])
def test_a_damaged_folder_is_refused(tiny, call, tmp_path, name, damage):
    """A finished run whose config or results cannot be read is one sentence with the file's name, and --fresh mends it."""
    assert call("tiny")[0] == 0
    (tmp_path / "runs" / "tiny" / "quick" / name).write_bytes(damage)
    assert_one_sentence(call("tiny"), name, "--fresh")
    assert call("tiny", "--fresh")[0] == 0


def test_claims_without_results_are_not_finished(tiny, call, tmp_path):
    """A folder whose results were deleted is run again."""
    assert call("tiny")[0] == 0
    (tmp_path / "runs" / "tiny" / "quick" / "results.npz").unlink()
    assert call("tiny")[0] == 0
    assert tiny.calls == 2


def test_no_git_is_needed(tiny, call, tmp_path, monkeypatch):
    """Where there is no git the revision is unknown, and the run goes on."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert call("tiny")[0] == 0
    written = json.loads((tmp_path / "runs" / "tiny" / "quick" / "config.json").read_text())
    assert written["environment"]["revision"] == "unknown"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--tuning-patches", "2000"), ("2000", "1297")),
        (("--test-patches", "3"), ("is 3", "at least 8")),
        (("--data", "photograph", "--test-patches", "50"), ("is 50", "at least 80")),
    ],
)
def test_patches_that_are_not_there_are_refused_before_training(call, tmp_path, words, parts):
    """Counts that the pictures do not have, or that the figure cannot show, are one sentence, and nothing was trained."""
    assert_one_sentence(call("compressed_sensing", "--preset", "smoke", *words), *parts)
    assert not list((tmp_path / "runs").rglob("training"))


# whose parts others' smoke runs have: trainings of sparse_recovery.transformers, l2o_benchmark, memformer.published and
# mixture.trained, cards of sparse_recovery.weights, workers of speed.training and speed.sweep
LEFT_OUT = {
    "sparse_recovery.at_length",
    "sparse_recovery.gpt2",
    "l2o_benchmark.weights",
    "memformer.weights",
    "mixture.weights",
    "speed.steps",
    "speed.devices",
}
# who measure what was made, and have no theorem to hold it to: speeds, scale, and the weights that ship
MEASURE_ALONE = ("speed.", "scale", "sparse_recovery.weights")
SMOKED = tuple(name for name in common.EXPERIMENTS if name not in LEFT_OUT)
SMOKE = """
import sys
from haste import hasten
from rich.console import Console
from experiments.__main__ import main

hasten()
root, *names = sys.argv[1:]
for name in names:
    with open(f"{root}/{name}.txt", "w") as out:
        main([name, "--preset", "smoke", "--root", root], Console(file=out, width=200))
"""


@pytest.fixture(scope="module")
def smoke_runs(tmp_path_factory):
    """What every smoke preset prints, and its folder: run in two processes side by side, compiled in haste."""
    root = tmp_path_factory.mktemp("runs")
    settings = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    environment = {**os.environ, **settings}
    command, options = [sys.executable, "-c", SMOKE, str(root)], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    shares = [SMOKED[place::2] for place in range(2)]
    processes = [subprocess.Popen([*command, *names], cwd=REPOSITORY, env=environment, **options) for names in shares]
    said = [process.communicate()[0].decode() for process in processes]
    assert all(process.returncode == 0 for process in processes), said
    assert not any("Traceback" in words for words in said), said
    return {name: ((root / f"{name}.txt").read_text(), root / name / "smoke") for name in SMOKED}


@pytest.mark.parametrize("name", SMOKED)
def test_the_smoke_preset_runs(smoke_runs, name):
    """It ends well and leaves its figure, its arrays and its claims, each with the documented keys; theorems hold."""
    out, folder = smoke_runs[name]
    assert set(FILES) <= set(os.listdir(folder))
    assert not [path for path in folder.rglob("*") if ".partial" in path.name]
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")
    with np.load(folder / "results.npz", allow_pickle=False) as results:
        assert all(np.all(np.isfinite(results[key])) for key in results.files if results[key].dtype.kind == "f")
    claims = json.loads((folder / "claims.json").read_text())
    assert claims
    for claim in claims:
        assert list(claim) == KEYS
        assert claim["id"] in out
        assert np.isfinite(claim["measured"])
        assert claim["holds"] or claim["kind"] != "theorem"
    if not name.startswith(MEASURE_ALONE):
        assert {claim["kind"] for claim in claims} >= {"theorem"}


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_is_left_out_is_drawn_and_claimed(name):
    """Of its kept results there is a figure with something in every panel, a table, and claims."""
    [path] = common.RESULTS.glob(f"{name}/*/results.npz")
    with np.load(path, allow_pickle=False) as file:
        results = dict(file)
    module = common.load(name)
    figure = module.plot(results)
    assert all(axes.has_data() for axes in figure.axes if axes.get_visible())
    plt.close(figure)
    assert module.table(results).row_count > 0
    assert module.claims(results)
