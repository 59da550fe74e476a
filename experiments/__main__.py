"""`python -m experiments list`, `report [--out PATH]`, and `NAME [--preset smoke|quick] [--fresh] [--keep] [overrides]`.

With `--coordinator HOST:PORT --processes N --process I`, or where the cluster says these, it is one of several processes, whose
devices are one mesh: all see one root, and the first one speaks and writes.
"""

import argparse
import dataclasses
import difflib
import errno
import os
import re
import sys
from pathlib import Path
from typing import get_args

from experiments import machine

machine.prepare(os.environ)  # JAX reads its settings when it is imported, so all imports that need it stand below

# ruff: noqa: E402
import tyro
from rich.console import Console
from rich.table import Table

from experiments import common, report
from experiments.placement import PLACED, Placement
from jaxl2o.checks import InputError, require
from jaxl2o.training.hosts import is_first_process, start_processes
from jaxl2o.training.loop import DivergedError
from jaxl2o.training.parallel import Sharding
from jaxl2o.training.preemption import Preempted

FLAGS = {"devices": {"type": int}, "sharding": {"choices": get_args(Sharding)}, "at_once": {"type": int}}


def nearest(kind: str, given: str, known: tuple[str, ...]) -> str:
    """One of `known`; `InputError` names the nearest one for anything else."""
    if given in known:
        return given
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(known)}."
    raise InputError(f"there is no {kind} {given!r}; {hint}")


def list_experiments(console: Console) -> None:
    """Every experiment with its claim, its presets and their measured cost."""
    table = Table("experiment", "claim", "presets and their cost on two cores", show_lines=True)
    for name in common.EXPERIMENTS:
        module = common.load(name)
        claim = (module.__doc__ or "").splitlines()[0]
        table.add_row(name, claim, "\n".join(f"{preset}: {module.COST[preset]}" for preset in module.PRESETS))
    console.print(table)


def placement_of(words: list[str], own: set[str]) -> tuple[Placement, list[str]]:
    """How the trainings are laid out by these words, and the other words; a name of the experiment's own is left to it."""
    parser = argparse.ArgumentParser(prog="python -m experiments", add_help=False, allow_abbrev=False)
    for name in FLAGS.keys() - own:
        parser.add_argument(f"--{name}".replace("_", "-"), **FLAGS[name])
    known, rest = parser.parse_known_args(words)
    return Placement(**vars(known)), rest


def main(arguments: list[str], console: Console) -> None:
    """Parse the command and run it; raises `InputError` for what is unknown."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Run an experiment, or list them all.",
        epilog="`python -m experiments NAME --help` shows the values of its presets, each of which is a flag. --devices N, "
        "--sharding replicated|fsdp and --at-once N (tasks of a device at one time) lay out the trainings of an experiment "
        "that has no value of that name itself.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "name", nargs="?", help="an experiment, 'list', or 'report', which writes all kept claims to one page, --out PATH"
    )
    parser.add_argument("--preset", default="quick", help="a preset of the experiment, as `list` shows them (default: quick)")
    parser.add_argument("--fresh", action="store_true", help="start over, even if the run is finished")
    parser.add_argument("--keep", action="store_true", help="copy the finished results to experiments/results")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="where runs live (default: runs)")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="the first of several processes")
    parser.add_argument("--processes", type=int, help="how many there are; 1: one, whatever the cluster says")
    parser.add_argument("--process", type=int, help="which of them this is, from 0")
    known, rest = parser.parse_known_args(arguments)
    if known.name is None:
        parser.print_help()
        return
    name = nearest("experiment", known.name.replace("-", "_"), (*common.EXPERIMENTS, "list", "report"))
    if name == "list":
        list_experiments(console)
        return
    if name == "report":
        report.make(rest, console)
        return
    start_processes(known.coordinator, known.processes, known.process)
    console.quiet = not is_first_process()
    module = common.load(name)
    placement, rest = placement_of(rest, {field.name for field in dataclasses.fields(module.Config)})
    require(
        placement == Placement() or name in PLACED,
        f"{name} lays out its own trainings, if it has any; leave out --devices, --sharding and --at-once, "
        f"or take one of {', '.join(sorted(PLACED))}.",
    )
    preset = nearest("preset", known.preset, tuple(module.PRESETS))
    fields = tuple(
        f"--{form}{field.name}".replace("_", "-")
        for field in dataclasses.fields(module.Config)
        for form in (("", "no-") if field.type is bool else ("",))
    )
    for flag in (re.split("[=.]", word)[0].replace("_", "-") for word in rest if word.startswith("--") and word != "--help"):
        nearest("field", flag, fields)
    config = tyro.cli(module.Config, default=module.PRESETS[preset], args=rest, prog=f"python -m experiments {name}")
    common.execute(name, preset, config, known.root, known.fresh, known.keep, console, placement)


def entry() -> int:
    """Run the command line; a mistake, a full disk or an interruption is one sentence and a non-zero status."""
    try:
        # a pipe has no width of its own: 80 columns would cut the tables
        main(sys.argv[1:], Console(width=None if sys.stdout.isatty() else 120))
    except (InputError, DivergedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "there is no space left" if full else str(error)
        print(
            f"error: {what} ({error.filename or 'while writing'}); what was written before is kept: "
            "free some space, or mend the path, and give the same command again.",
            file=sys.stderr,
        )
        return 1
    except Preempted as error:
        print(f"{error} The same command continues.", file=sys.stderr)
        return os.EX_TEMPFAIL  # 75: "try again later", which schedulers may be told to start anew
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(entry())
