"""The command: files in, files out, one sentence for what is wrong; the finish is the Lasso's answer."""

import importlib
import io
import sys

import numpy as np
import pytest
from rich.console import Console

import jaxl2o
from jaxl2o import cli, lasso, recover
from jaxl2o.certified.problem import Fraction
from jaxl2o.checks import InputError
from jaxl2o.methods import METHODS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 20)) * RNG.uniform(0.5, 2.0, size=20)
BETA = np.where(np.arange(20) < 2, 2.0, 0.0)
Y = X @ BETA
MODEL = "in-context-alista-d20"


@pytest.fixture
def given(tmp_path):
    """X and y in both formats, in a folder."""
    for name, values in {"x": X, "y": Y, "short": Y[:5], "few": X[:3], "three": Y[:3]}.items():
        np.save(tmp_path / f"{name}.npy", values)
        np.savetxt(tmp_path / f"{name}.csv", values, delimiter=",")
    return tmp_path


def call(*words):
    """What the command prints."""
    out = io.StringIO()
    cli.main([str(word) for word in words], Console(file=out, width=200))
    return out.getvalue()


def solved(given, *words, x="x.npy", y="y.npy"):
    """What the command prints, and the coefficients that it wrote."""
    out = given / "w.npy"
    printed = call("solve", "--x", given / x, "--y", given / y, "--out", out, *words)
    return printed, np.load(out, allow_pickle=False)


def test_the_finish_is_the_lassos_answer(given):
    """From a model's answer, or from nothing, the same certified answer: recover's Lasso, and `lasso` in the user's units."""
    size = np.sqrt(np.mean(X**2, axis=0))
    expected = lasso(X, Y, Fraction(0.05), weights=size).solution
    printed, w = solved(given, "--method", MODEL)
    assert "yes" in printed
    assert f"{np.count_nonzero(w)} of 20" in printed
    np.testing.assert_allclose(w, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(solved(given, x="x.csv", y="y.csv")[1], expected, atol=1e-3 * np.abs(expected).max())
    (given / "marked.csv").write_text((given / "x.csv").read_text(), encoding="utf-8-sig")
    np.testing.assert_array_equal(solved(given, x="marked.csv")[1], solved(given)[1])
    np.testing.assert_allclose(recover(X, Y), expected, atol=1e-3 * np.abs(expected).max())


def test_raw_is_the_models_own_answer(given):
    """--raw writes what `recover` gives, bit for bit, and does not call it converged."""
    printed, w = solved(given, "--method", MODEL, "--raw")
    np.testing.assert_array_equal(w, recover(X, Y, MODEL))
    assert "its own answer" in printed
    assert "yes" not in printed
    assert np.linalg.norm(w - BETA) < 0.3 * np.linalg.norm(BETA)


def test_outside_a_models_range_the_lasso_answers(given):
    """One sentence that says what the model is for, and the certified answer, --raw or not."""
    printed, w = solved(given, "--method", "small-tf-d20", "--raw", x="few.npy", y="three.npy")
    sentence = printed.splitlines()[0]
    assert sentence.startswith("small-tf-d20 is for 20 coefficients from 6 to 19 measurements, but x has shape (3, 20); ")
    assert sentence.endswith("the certified Lasso answers.")
    np.testing.assert_array_equal(w, solved(given, x="few.npy", y="three.npy")[1])


def test_a_tiny_penalty_is_not_taken_for_solved(given):
    """What is certified is certified for its penalty: where that is below what numbers can tell, the table says no."""
    assert " no " in solved(given, "--penalty", "1e-12")[0]
    printed, w = solved(given, "--penalty", "1e-4")
    assert " yes " in printed
    np.testing.assert_allclose(w, BETA, atol=1e-3)


def test_a_theorem_that_is_too_small_leaves_it_to_the_lasso(given):
    """Beyond its size the Transformer of a theorem is not built: a sentence, and the certified answer."""
    np.save(given / "wide.npy", np.tile(X, 6))
    for name, most in {"transformer_newton": (50, 200), "transformer_momentum": (100, 1000)}.items():
        printed, w = solved(given, "--method", name, x="wide.npy")
        sentence = f"{name} is for at most {most[0]} coefficients from at most {most[1]} measurements, but x has shape (10"
        assert printed.startswith(sentence)
        assert len(w) == 120


def test_it_writes_what_it_reads(given):
    """w as .csv has the numbers that w as .npy has, and the largest are printed all the same."""
    printed = call("solve", "--x", given / "x.csv", "--y", given / "y.csv", "--out", given / "w.csv")
    np.testing.assert_array_equal(np.loadtxt(given / "w.csv", delimiter=","), solved(given, x="x.csv", y="y.csv")[1])
    assert "the largest: w[" in printed


def test_it_says_its_version():
    """`jaxl2o --version` is the version of the package."""
    assert call("--version") == f"jaxl2o {jaxl2o.__version__}\n"


def test_a_stop_is_one_sentence(monkeypatch, capsys):
    """Ctrl-C: no traceback, and the status that shells expect."""

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", stopped)
    assert cli.entry() == 130
    assert capsys.readouterr().err == "stopped; nothing was written.\n"


def test_nothing_is_half_written(given, monkeypatch):
    """Where writing fails the old file stands and no other is left."""
    (given / "w.npy").write_bytes(b"old")
    before = sorted(path.name for path in given.iterdir())

    def save(path, values, allow_pickle):
        path.write_bytes(b"half")
        raise OSError("there is no space left")

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(InputError, match=r"w\.npy cannot be written \(there is no space left\); give --out another place\."):
        cli.write(given / "w.npy", BETA)
    assert (given / "w.npy").read_bytes() == b"old"
    assert sorted(path.name for path in given.iterdir()) == before


def test_the_list_names_every_method():
    """All of `METHODS`, each with its kind, its range and a line of what it answers."""
    printed = call("list")
    for name, method in METHODS.items():
        assert len(method.says.splitlines()) == 1
        (line,) = [line for line in printed.splitlines() if f"│ {name} " in line]
        assert all(word in line for word in (method.kind, method.d, method.n, method.says[:20]))


def test_a_terminal_of_few_characters_gets_the_list(monkeypatch):
    """Where the encoding is ASCII no character is an error, and every name is whole."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "argv", ["jaxl2o", "list"])
    assert cli.entry() == 0
    shown.seek(0)
    printed = shown.read()
    assert all(f" {name} " in printed for name in METHODS)


def bad(given):
    """What is wrong -> the words, and parts of the sentence."""
    np.save(given / "objects.npy", np.array([None, {}]), allow_pickle=True)
    (given / "words.csv").write_text("a,b\nc,d\n")
    (given / "empty.csv").write_text("")
    (given / "head.csv").write_text("first,second\n1,2\n")
    np.save(given / "column.npy", Y[:, None])
    np.save(given / "turned.npy", X.T)
    (given / "y.txt").write_text("1")
    np.save(given / "complex.npy", Y + 1j)
    (given / "taken.npy").mkdir()
    x, y = given / "x.npy", given / "y.npy"
    return {
        "no such file": (("--x", given / "z.npy", "--y", y), ("there is no file", "z.npy")),
        "another format": (("--x", x, "--y", given / "y.txt"), ("y.txt is neither .npy nor .csv",)),
        "a pickle": (("--x", x, "--y", given / "objects.npy"), ("objects.npy has no array of real numbers",)),
        "complex numbers": (("--x", x, "--y", given / "complex.npy"), ("complex.npy has no array of real numbers",)),
        "a folder to write": (("--x", x, "--y", y, "--out", given / "taken.npy"), ("taken.npy is a folder",)),
        "words": (("--x", given / "words.csv", "--y", y), ("words.csv has no array of real numbers",)),
        "an empty file": (("--x", given / "empty.csv", "--y", y), ("empty.csv has no array of real numbers",)),
        "a header": (
            ("--x", given / "head.csv", "--y", y),
            ("'first' to float64 at row 0, column 1)", "without a header"),
        ),
        "a matrix for y": (("--x", x, "--y", x), ("x.npy has shape (10, 20)", "1 axis.")),
        "a column for y": (("--x", x, "--y", given / "column.npy"), ("shape (10, 1)", "1 axis, so flatten it by .ravel().")),
        "too few labels": (("--x", x, "--y", given / "short.npy"), ("y has shape (5,) and x (10, 20)", "each row of x.")),
        "a transposed matrix": (("--x", given / "turned.npy", "--y", y), ("each row of x; transpose x.",)),
        "no such method": (("--x", x, "--y", y, "--method", "laso"), ("no method 'laso'", "did you mean 'lasso'?")),
        "half a name": (("--x", x, "--y", y, "--method", "LISTA_VM"), ("did you mean 'transformer_lista_vm'?",)),
        "a penalty that is no number": (("--x", x, "--y", y, "--penalty", "nan"), ("penalty is nan; give a finite number.",)),
        "no penalty": (("--x", x, "--y", y, "--penalty", "0"), ("penalty is 0", "greater than zero")),
        "a penalty beyond all": (("--x", x, "--y", y, "--penalty", "2"), ("penalty is 2", "at most 1")),
        "another format to write": (
            ("--x", x, "--y", y, "--out", given / "w.txt"),
            ("w.txt is neither .npy nor", "--out"),
        ),
        "no folder": (("--x", x, "--y", y, "--out", given / "none" / "w.npy"), ("there is no folder", "make it first")),
    }


def test_bad_input_is_one_sentence(given, monkeypatch, capsys):
    """One line on the error stream, status 1, nothing written."""
    for wrong, (words, parts) in bad(given).items():
        monkeypatch.setattr(sys, "argv", ["jaxl2o", "solve", *map(str, words)])
        assert cli.entry() == 1, wrong
        out, err = capsys.readouterr()
        assert out == "", wrong
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        assert all(part in err for part in parts), err
    assert not (given / "w.npy").exists()


def test_without_its_extra_the_command_says_so(monkeypatch):
    """Where Tyro is missing the command is one sentence, which the shell prints with status 1."""
    monkeypatch.setitem(sys.modules, "tyro", None)
    monkeypatch.delitem(sys.modules, "jaxl2o.cli")
    with pytest.raises(SystemExit, match=r"^the command jaxl2o needs tyro; install it by: pip install 'jaxl2o\[cli\]'\.$"):
        importlib.import_module("jaxl2o.cli")
