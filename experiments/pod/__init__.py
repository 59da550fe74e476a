"""What the papers' trainings would need on a TPU pod: FLOP, memory of a device, communication and days, by arithmetic.

Claim. Work, memory and communication of a step follow from the config alone, and are what the compiler counts where it can be
asked; the papers' models are too small for a pod: an operation takes its own time however many chips share the tasks.

Source. `jaxl2o/training/budget.py` has the formulas; `devices.py` the published numbers of the devices. About the
fraction of peak: our step on two CPU cores reaches 0.45 to 0.67 of its matrix products' peak (`speed.training`), PaLM's on TPU
v4 0.46 (arXiv:2204.02311, as recalled). The default is 0.4.

How. A training's shapes, without any arrays, give its products, parameters, Adam's state, and the bytes that the forward pass
keeps. What the compiler can be asked it is asked: FLOP and planned memory of each paper's gradient at two and four tasks,
the sums over this machine's devices in a compiled step, and the memory of a step of 64 groups of a wide model in small. Each
paper's state is initialised and weighed. Nothing is trained; the steps that the experiment `accelerator` timed on one H100
stand beside their plan.

Expected. Ratios of one; FLOP a little less than the compiler's, which counts elementwise work too; activations between half and
twice those of the compiler, which keeps some of them twice and computes others again; the memory of groups within a quarter,
for copies that the compiler makes; on the H100 at most twice the planned time.

Command. `python -m experiments pod --preset quick`; with JAX_NUM_CPU_DEVICES=8 before it, the sums are over eight devices.
`python -m experiments.pod.page` writes the kept run's tables into `docs/scale.md`.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np

from experiments.common import RESULTS, Results, Run
from experiments.pod.checks import SHAPES, beside, communication, flops_and_activation, state_bytes, step_bytes
from experiments.pod.claims import claims as claims
from experiments.pod.devices import CHIPS
from experiments.pod.figure import plot as plot
from experiments.pod.tables import table as table
from experiments.pod.trainings import in_groups, trainings, wide_trainings
from jaxl2o.checks import require
from jaxl2o.training.budget import work_of

COST = {"smoke": "6 s", "quick": "3 min"}
WIDE = ("wide, 2048", "wide, 4096")
GROUPS = 64  # of the wide trainings on one device
DIVIDED = "GPT-2, 9.5 M"  # every array of it is cut by a power of two of devices; those of width 42 are not
MEASURED = "nvidia-h100-80gb-hbm3"  # whose steps were timed by the experiment `accelerator`
PAPERS = ("Small TF", "GPT-2, 9.5 M", "Memformer", "linear attention", "mixture encoder")


@dataclass(frozen=True)
class Config:
    """What is planned, for which device, and what is checked."""

    device: str = "TPU v5e"  # of the figure and of the tables that show one
    dtype: Literal["bfloat16", "float32"] = "bfloat16"  # of products; parameters, gradients and Adam are float32
    fraction: float = 0.4  # of peak, reached by products that fill the unit
    planned: tuple[str, ...] = (*PAPERS, *WIDE)
    checked: tuple[str, ...] = PAPERS  # trainings that the compiler is asked about
    depth: int = 0  # layers; 0: as many as the papers have

    def __post_init__(self) -> None:
        require(self.device in CHIPS, f"there is no device {self.device!r}; choose one of {', '.join(CHIPS)}.")
        require(0.0 < self.fraction <= 1.0, f"fraction is {self.fraction:g}; it must be above 0 and at most 1.")
        require(self.depth >= 0, f"depth is {self.depth}; it must be at least 1, or 0 for the papers'.")
        for field, known in (("planned", (*PAPERS, *WIDE)), ("checked", PAPERS)):
            unknown = "; ".join(sorted(set(getattr(self, field)) - set(known)))
            require(not unknown, f"{field} has {unknown}; choose among {'; '.join(known)}.")
        require(len(self.planned) > 0, "planned is empty; name a training.")


PRESETS = {"smoke": Config(planned=("Small TF", "Memformer"), checked=("Memformer",), depth=1), "quick": Config()}


def run(config: Config, run: Run) -> Results:
    """The work of every training, then what can be checked of it."""
    dtype = "bfloat16" if config.dtype == "bfloat16" else None
    every = trainings(dtype, config.depth) | wide_trainings(dtype, config.depth)
    results: Results = {
        "names": np.array(config.planned),
        "dtype": np.array(config.dtype),
        "device": np.array(config.device),
        "fraction": np.array(config.fraction),
        "checked": np.array(config.checked, dtype=str),
    }
    with run.stage("the work of every training"):
        for name in config.planned:
            work = work_of(every[name].recipe(), every[name].shapes())
            amounts = (work.parameters, work.gradient, work.state, work.activation)
            results[f"work/{name}"] = np.array((work.batch, work.at_once, *amounts, every[name].steps), dtype=np.int64)
            results[f"products/{name}"] = np.array(work.products, dtype=np.int64)
    # in float32, which is what this machine's compiler computes in
    own = trainings(None, config.depth)
    for name in config.checked:
        with run.stage(f"{name}: the compiler's count, and a state"):
            results[f"ratios/{name}"] = np.array([*flops_and_activation(own[name]), state_bytes(own[name])])
    if set(WIDE) & set(config.planned):
        with run.stage(f"the memory of {GROUPS} groups"):
            results["groups"] = np.array([GROUPS, step_bytes(in_groups(GROUPS))])
    devices = max(count for count in (1, 2, 4, 8) if count <= jax.local_device_count())
    if devices > 1 and config.checked:
        with run.stage(f"sums over {devices} devices"):
            training = own[config.checked[0]]
            results["communication"] = np.array([devices, *(communication(training, devices, group) for group in (0, 1))])
    if devices > 1 and DIVIDED in config.checked:
        with run.stage(f"parameters cut among {devices} devices"):
            found = (communication(own[DIVIDED], devices, group, "fsdp") for group in (0, 1))
            results["communication, cut"] = np.array([devices, *found])
    measured = RESULTS / "accelerator" / MEASURED / "results.npz"
    if measured.exists():
        results |= beside(measured, {name: every[name] for name in SHAPES if name in config.planned}, config.fraction)
    return results
