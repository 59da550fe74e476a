"""Training that moves between devices, and that no kill harms: nothing is lost but the steps since the last save.

Claim. A training saved on 8 devices, restored on 1 and then on 2, has the curve of one that stayed on 1. Killed at 20 random
moments, also in starts and within saves, it ends with the same bytes as one that nobody killed, and goes on each time from the
last save. Two processes train as one does.
Source. Own measurement.
How. Every leg is a process of its own with so many CPU devices. elastic: Small TF of 4 layers and LISTA-VM of 12 on sparse
recovery, d = 20, n = 10, 3 non-zero, 64 tasks a step in groups of 8, which all device counts add in one order; the gap is the
largest relative difference of a loss. kills: LISTA-VM on two devices, saved after every chunk. By turns SIGKILL comes within a
second after a process has trained its first chunk, and at any time from its launch on, until 1.2 times the seconds that the
first one took to that chunk; so starts, restoring and first saves are killed too. A kill fell within a save if it left a folder
of its own under a temporary name. In the end parameters, optimiser, key and metrics are compared byte by byte. stalls: 100 MB
of parameters and moments; the seconds between two reports, of chunks that begin with a save in the background, with one that is
waited for, and with none. processes: two with a CPU device each over loopback, beside one with two; parameters whole on both
devices or cut between them; and without groups.
Expected. Gaps of rounding, 1e-6; all kills survived, one or more within a save; a save in the background stalls less, but on a
CPU takes cores of steps.
Command. python -m experiments scale --preset quick
"""

from dataclasses import dataclass
from importlib import import_module

from experiments.common import Results, Run
from experiments.scale.claims import claims as claims
from experiments.scale.figure import plot as plot
from experiments.scale.figure import table as table
from jaxl2o.checks import require

COST = {"smoke": "10 s", "quick": "8 min"}
PARTS = ("elastic", "kills", "stalls", "processes")  # each a file of this folder with a function of its name


@dataclass(frozen=True)
class Config:
    """What is measured, and its sizes."""

    parts: tuple[str, ...] = PARTS
    models: tuple[str, ...] = ("transformer", "lista-vm")  # that move between devices
    legs: tuple[int, ...] = (8, 1, 2)  # devices, one process after another
    leg_steps: int = 100  # of training in each of them
    chunk: int = 20  # steps in one call of the compiled program
    kills: int = 20
    killed_steps: int = 8000  # of the training that is killed
    window: float = 1.0  # seconds after its first chunk, in which a process is killed
    saves: int = 12  # that are timed, of each kind
    process_steps: int = 200  # of training in one process and in two

    def __post_init__(self) -> None:
        for name in ("leg_steps", "chunk", "kills", "killed_steps", "window", "saves", "process_steps"):
            require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; it must be positive.")
        unknown = ", ".join(sorted(set(self.parts) - set(PARTS)))
        require(not unknown and len(self.parts) > 0, f"parts are {self.parts}; choose among {', '.join(PARTS)}.")


PRESETS = {
    # one process: a training that moves nowhere is the one that stays
    "smoke": Config(parts=("elastic",), models=("lista-vm",), legs=(1,), leg_steps=4, chunk=2),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    for name in (name for name in PARTS if name in config.parts):
        results |= getattr(import_module(f"experiments.scale.{name}"), name)(config, run)
    return results
