"""On whatever device is there: theorems hold in float32, trainings move, steps have a speed, sweeps cost less than their parts.

Claim. In float32 at highest precision the constructions' gaps are within ten times those of the kept CPU. A training that
goes on from its checkpoint on the machine's CPU, and then back, keeps to the losses of one that stays, to 1e-4. Steps of Small
TF and GPT-2 train more tasks a second than two CPU cores (on a CPU: half as many), at 5 % and 20 % of the peak of large
products. Of a thousand small trainings in one call each costs at most a tenth of one alone, which was set after an H100's first
run; on a CPU, no more than it. All of it takes at most eight minutes.
Found. On one H100 steps reach 1.7 to 1.8 % (Small TF) and 6.9 to 7.1 % (GPT-2) of the peak: the claims of 5 and 20 % fail.
Source. Own measurement; the theorems' sources stand in the experiment `exactness`, the shapes in `speed.training`.
How. One construction of each family on the prompts of `exactness`; by default accelerators round the factors of float32
products, which is shown beside. LISTA-VM is trained a leg here, a leg there and a leg here; without an accelerator two devices
of the CPU are here, and one of them there. Steps are medians over calls, the first left out, compiling apart, in the dtype that
the device is made for, with layers in a loop, since twelve one by one take long to compile; at 64 tasks, and on accelerators
also at the most tasks, a power of two, that have 2^17 tokens or fewer. The peak is measured in that dtype.
Command. python -m experiments accelerator --preset quick --keep (`make accelerator`); results are kept under the device's name.
"""

import re

import jax
import numpy as np

from experiments import machine
from experiments.accelerator.claims import claims as claims
from experiments.accelerator.clock import clocked, total
from experiments.accelerator.config import Config
from experiments.accelerator.crossing import carried
from experiments.accelerator.exact import gaps
from experiments.accelerator.figure import plot as plot
from experiments.accelerator.figure import table as table
from experiments.accelerator.models import costs
from experiments.accelerator.steps import timings
from experiments.common import Results, Run

COST = {"smoke": "10 s", "quick": "6 min"}
PRESETS = {
    "smoke": Config(
        theorems=("gradient-descent",),
        prompts=2,
        leg=2,
        shapes=("small-tf",),
        depth=1,
        steps=1,
        calls=2,
        counts=(1, 5),
        swept_steps=2,
        swept_batch=4,
    ),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """Four parts, each kept when it is whole."""
    found = {
        "device": np.array(device()),
        **clocked(run, "constructions in float32", lambda: gaps(config)),
        **clocked(run, "a training that moves and comes back", lambda: carried(config)),
        **timings(config, run),
        **clocked(run, f"{max(config.counts)} trainings in one call", lambda: costs(config)),
    }
    return found | {"seconds": total(found)}


def device() -> str:
    """The device in letters, digits and hyphens, as a folder's name; of a CPU, which does not tell its own, the cores."""
    found = jax.local_devices()[0]
    if found.platform == "cpu":
        return f"cpu-{machine.cores()}-cores"
    count = jax.local_device_count()
    words = re.sub(r"[^a-z0-9]+", "-", found.device_kind.lower()).strip("-")
    return words if count == 1 else f"{count}-{words}"


def kept_as(name: str, results: Results) -> str:
    """The name under which a run is kept: that of its device, and behind it the preset's, but for `quick`."""
    return str(results["device"]) if name == "quick" else f"{results['device']}-{name}"
