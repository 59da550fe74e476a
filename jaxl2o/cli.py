"""The command `jaxl2o`: recover a signal of one's own from two files, by any method, with a certificate."""

import io
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.lasso import lasso
from jaxl2o.certified.problem import Fraction, check_problem, problem
from jaxl2o.checks import InputError, is_column, require
from jaxl2o.files import write_whole
from jaxl2o.methods import METHODS, method_of
from jaxl2o.methods.method import SHARE
from jaxl2o.recover import recover, root_mean_square

try:
    import tyro
    from rich.console import Console
    from rich.table import Column, Table
except ModuleNotFoundError as missing:
    raise SystemExit(f"the command jaxl2o needs {missing.name}; install it by: pip install 'jaxl2o[cli]'.") from missing

TOLERANCE = (
    1e-7  # of an answer's gap over the objective at zero, times the penalty's share, so that a small one is solved for too
)
SHOWN = 12  # coefficients that are printed
FORMATS = (".npy", ".csv")
COLUMNS = "misfit: |y - X w| / |y|. duality gap: of the Lasso's objective, over that of w = 0; converged where it is at most"


@dataclass(frozen=True)
class Solve:
    """Recover the coefficients w of y = X w, by any method.

    The answer of a method is the start of the certified Lasso, which proves its answer but shrinks it by its penalty: where the
    measurements have no noise, give a small one, such as 0.001, or --raw. With noise `jaxl2o.lasso_cv` chooses one, in Python.
    """

    x: Path  # (n, d) measurement matrix, .npy or .csv
    y: Path  # (n,) measurements, .npy or .csv
    method: str = "lasso"  # as `jaxl2o list` names it
    penalty: float = SHARE  # of the Lasso, as a share of the smallest penalty whose answer is zero
    out: Path | None = None  # where to write w, (d,), .npy or .csv
    raw: bool = False  # give the method's own answer, whose duality gap is that of the same Lasso


@dataclass(frozen=True)
class List:
    """Name the methods, with what they are and where they may be asked."""


class Answer(NamedTuple):
    """Coefficients (d,), their duality gap over the objective at zero, whether it is small enough, and seconds."""

    w: Float[np.ndarray, " d"]
    gap: float
    converged: bool
    seconds: float


def own_answer(x: np.ndarray, y: np.ndarray, method: str, penalty: float) -> Answer:
    """What a method answers, and its gap as an answer to the Lasso."""
    began = time.perf_counter()
    w = recover(x, y, method)
    seconds = time.perf_counter() - began
    with jax.enable_x64(True):
        given = problem(x, y, Fraction(penalty), weights=weights_of(x))
        gap, at_zero = float(duality_gap(given, jax.numpy.asarray(w)).bound), float(given.at_zero)
    relative = gap / at_zero if at_zero > 0.0 else gap
    return Answer(w, relative, relative <= TOLERANCE * penalty, seconds)


def certified_answer(x: np.ndarray, y: np.ndarray, penalty: float, start: Float[np.ndarray, " d"] | None = None) -> Answer:
    """The Lasso on columns of mean square 1, in the user's units, from a start."""
    began = time.perf_counter()
    found = lasso(x, y, Fraction(penalty), weights=weights_of(x), start=start, tolerance=TOLERANCE * penalty)
    at_zero = 0.5 * float(np.mean(y**2)) if len(y) else 0.0
    relative = float(found.gap) / at_zero if at_zero > 0.0 else float(found.gap)
    return Answer(np.asarray(found.solution), relative, bool(found.converged), time.perf_counter() - began)


def weights_of(x: np.ndarray) -> Float[np.ndarray, " d"]:
    """With these weights the Lasso penalises as on columns of mean square 1; a column of zeros is left out."""
    size = root_mean_square(x)
    return np.where(size > 0.0, size, np.inf)


def solve(asked: Solve, console: Console) -> None:
    """Read, recover, print a table, and write; raises `InputError` for what cannot be read or solved."""
    method, named, x, y = asked.method, method_of(asked.method), read(asked.x, 2), read(asked.y, 1)
    turned = "; transpose x" if len(y) == x.shape[1] else ""
    require(len(y) == len(x), f"y has shape {y.shape} and x {x.shape}, but y needs a number for each row of x{turned}.")
    check_problem(x, y, Fraction(asked.penalty), 0.0, None, "mean")
    require(asked.penalty <= 1.0, f"penalty is {asked.penalty:g}; it is a share, so give at most 1, where the answer is zero.")
    if asked.out is not None:
        require(asked.out.suffix in FORMATS, f"{asked.out} is neither .npy nor .csv; give --out such a name.")
        require(not asked.out.is_dir(), f"{asked.out} is a folder; give --out the name of a file.")
        require(asked.out.parent.is_dir(), f"there is no folder {asked.out.parent}; make it first, or write elsewhere.")
    outside = named.outside(*x.shape)
    if outside:
        console.print(f"{outside}; the certified Lasso answers.", soft_wrap=True)
        method = "lasso"
    answers: dict[str, Answer] = {}
    if method == "lasso":
        answers["lasso"] = certified_answer(x, y, asked.penalty)
    else:
        answers[f"{method}, its own answer"] = own_answer(x, y, method, asked.penalty)
        if not asked.raw:
            (own,) = answers.values()
            answers["lasso, from there"] = certified_answer(x, y, asked.penalty, own.w)
    last = list(answers.values())[-1]
    if asked.out is not None:
        write(asked.out, last.w)
    console.print(table_of(answers, x, y))
    console.print(f"{COLUMNS} {TOLERANCE * asked.penalty:.0e}", soft_wrap=True)
    console.print(f"the largest: {', '.join(largest(last.w)) or 'none, all are zero'}", soft_wrap=True)
    if asked.out is not None:
        console.print(f"w is in {asked.out}", soft_wrap=True)


def list_methods(console: Console) -> None:
    """Every method: of what kind it is, its range, and what it answers."""
    name_column = Column("method", no_wrap=True)  # a name that is cut cannot be asked for
    table = Table(name_column, "kind", "d", "n", "what it is", show_lines=True)
    for name, method in METHODS.items():
        table.add_row(name, method.kind, method.d, method.n, method.says)
    console.print(table)


def table_of(answers: dict[str, Answer], x: np.ndarray, y: np.ndarray) -> Table:
    """A row an answer: entries that are not zero, |y - X w| / |y|, the gap over the objective at zero, and seconds."""
    table = Table("answer", "not zero", "misfit", "duality gap", "converged", "seconds")
    for name, (w, gap, converged, seconds) in answers.items():
        size = float(np.linalg.norm(y))
        misfit = float(np.linalg.norm(y - x @ w)) / (size if size > 0.0 else 1.0)
        count = f"{np.count_nonzero(w)} of {len(w)}"
        table.add_row(name, count, f"{misfit:.1e}", f"{gap:.1e}", "yes" if converged else "no", f"{seconds:.2f}")
    return table


def largest(w: Float[np.ndarray, " d"]) -> list[str]:
    """The largest entries that are not zero, with their places."""
    order = np.argsort(-np.abs(w), kind="stable")[:SHOWN]
    return [f"w[{place}] = {w[place]:.6g}" for place in order if w[place] != 0.0]


def read(path: Path, n_axes: Literal[1, 2]) -> np.ndarray:
    """The numbers in a .npy or .csv file as float64; `InputError` for what is no array of so many axes."""
    require(path.suffix in FORMATS, f"{path} is neither .npy nor .csv; give an array in one of these.")
    require(path.is_file(), f"there is no file {path}; give the path of an array.")
    try:
        with warnings.catch_warnings(action="error"):  # an empty file, or a complex number, is a warning to NumPy
            load: Callable[[], Any] = {
                ".npy": lambda: np.load(path, allow_pickle=False),
                ".csv": lambda: np.loadtxt(path, delimiter=",", ndmin=n_axes, encoding="utf-8-sig"),
            }[path.suffix]
            values = np.asarray(load(), dtype=np.float64)
    except (ValueError, TypeError, EOFError, Warning) as error:
        found = str(error).rstrip(".") if path.suffix == ".csv" and isinstance(error, ValueError) else type(error).__name__
        raise InputError(
            f"{path} has no array of real numbers ({found}); give numbers alone, between commas and without a header."
        ) from error
    axes = "1 axis" if n_axes == 1 else f"{n_axes} axes"
    hint = ", so flatten it by .ravel()" if n_axes == 1 and is_column(values.shape) else ""
    require(values.ndim == n_axes, f"{path} has shape {values.shape}; it must have {axes}{hint}.")
    return values


def write(path: Path, w: Float[np.ndarray, " d"]) -> None:
    """Save w as `path`, whole or not at all."""
    try:
        save: dict[str, Callable[[Path], None]] = {
            ".npy": lambda temporary: np.save(temporary, w, allow_pickle=False),
            ".csv": lambda temporary: np.savetxt(temporary, w, fmt="%.17g"),
        }
        write_whole(path, save[path.suffix])
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}); give --out another place.") from error


def main(words: list[str], console: Console) -> None:
    """Parse the command and run it."""
    if words == ["--version"]:
        console.print(f"jaxl2o {version('jaxl2o')}", highlight=False)
        return
    says = "Recover sparse signals by solvers, theorems and trained networks. jaxl2o --version says which version this is."
    asked = tyro.cli(Solve | List, args=words, prog="jaxl2o", description=says, config=(tyro.conf.FlagCreatePairsOff,))
    if isinstance(asked, Solve):
        solve(asked, console)
    else:
        list_methods(console)


def entry() -> int:
    """Run the command line; a mistake is one sentence and status 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of few characters shows a mark for the others
    try:
        main(sys.argv[1:], Console(width=None if sys.stdout.isatty() else 120))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(entry())
