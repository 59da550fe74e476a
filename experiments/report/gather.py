"""What the kept results say: for every experiment the claims of its largest preset, never of `smoke`."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from experiments import common
from experiments.claims import Claim


class Kept(NamedTuple):
    """A kept run. `seconds`: of its trainings, where the run has kept them; `device`: whose name its folder has, if one's."""

    name: str
    preset: str
    device: str
    title: str
    cost: str
    seconds: float | None
    claims: tuple[Claim, ...]
    environment: dict[str, str]
    figure: Path

    @property
    def anchor(self) -> str:
        """The name of its place on the page."""
        return self.name + (f".{self.device}" if self.device else "")

    @property
    def command(self) -> str:
        """The command that makes the run again, and keeps it."""
        return f"python -m experiments {self.name} --preset {self.preset} --keep"


def gather(results: Path = common.RESULTS, names: tuple[str, ...] = common.EXPERIMENTS) -> list[Kept]:
    """The runs that count, in the order of the experiments; what has no kept run is left out."""
    runs = []
    for name in names:
        module = common.load(name)
        found = {path.parent.name for path in (results / name).glob("*/claims.json")}
        runs += [
            read(results / name / folder, name, module, preset, device) for folder, preset, device in chosen(module, found)
        ]
    return runs


def chosen(module: ModuleType, folders: set[str]) -> list[tuple[str, str, str]]:
    """(folder, preset, device) of the runs that count: the last preset of the experiment's that was kept, and of every device
    that one, where folders have the names of devices. Runs with other values than a preset's do not count.
    """
    presets = [preset for preset in module.PRESETS if preset != "smoke"]
    if not hasattr(module, "kept_as"):
        return [(preset, preset, "") for preset in presets if preset in folders][-1:]
    plain = {folder for folder in folders if not re.search(r"-[0-9a-f]{8}$", folder)}
    largest = {}
    for preset in presets:
        end = "" if preset == "quick" else f"-{preset}"
        others = tuple(f"-{other}" for other in module.PRESETS if other != "quick")
        named = [folder for folder in plain if (folder.endswith(end) if end else not folder.endswith(others))]
        largest |= {folder.removesuffix(end): (folder, preset, folder.removesuffix(end)) for folder in named}
    return [largest[device] for device in sorted(largest)]


def read(folder: Path, name: str, module: ModuleType, preset: str, device: str) -> Kept:
    """One kept run; `InputError` if a file of it is damaged."""
    with common.readable(folder / "claims.json"):
        claims = tuple(map(claim_of, json.loads((folder / "claims.json").read_text(encoding="utf-8"))))
    with common.readable(folder / "config.json"):
        environment = dict(json.loads((folder / "config.json").read_text(encoding="utf-8"))["environment"])
    title = (module.__doc__ or "").splitlines()[0]
    seconds = seconds_of(folder / "summary.json")
    return Kept(name, preset, device, title, module.COST[preset], seconds, claims, environment, folder / "figure.png")


def claim_of(found: dict) -> Claim:
    """A claim as it was written; whether it holds is computed anew."""
    interval = found["interval"] and (found["interval"][0], found["interval"][1])
    values = {field: found[field] for field in Claim._fields}
    return Claim(**{**values, "interval": interval, "seeds": tuple(found["seeds"])})


def seconds_of(path: Path) -> float | None:
    """What the trainings of a run took, from its summary; None where it kept none."""
    if not path.exists():
        return None
    with common.readable(path):
        trainings = json.loads(path.read_text(encoding="utf-8"))["trainings"]
        return sum(training["seconds"] for training in trainings.values())
