"""Many models in one program beside the same compiled program called for one after another, on this machine's CPU.

Claim. A sweep of 256 Memformers that see the same prompts, in one program, is at least five times as fast as the same program
called 256 times, and stays within the memory that it was given. Five is asked of this kind of prompts alone, and part of that
ratio is drawing: one program draws the prompts once for a whole group, and each call of the serial side draws them again.
Two other kinds stand beside it. Given prompts were drawn beforehand, outside the timing, and are an argument of both sides, so
that the ratio is of batching, and of sharing the models between devices where the serial side is fastest on one. Own prompts
are drawn by each model for itself, which is most of a small model's step and shared by nobody. A Transformer's step keeps the
cores busy by itself, and there is little to win; drawing is nothing beside it, so that given prompts would show what the same
show. Of these only that one program is not slower is asked.
Source. Own measurement. The Memformer of four layers, d = 5, n = 20 and a batch of 512 is that of Dutta and Sra 2024
(arXiv:2410.07263), as the solver that it equals; the Transformer of 3 layers, 2 heads and width 64 the smallest of Garg et al.
2022 (arXiv:2208.01066), on all prefixes of 20 examples, d = 5, a batch of 64.
How. N short trainings, of 5 steps and of 2, each from its own start and at its own rate. Serial: the compiled program of one
model is called N times. It is done in the fastest of three ways, found at 16 models: waiting for each, on one device or on all,
which share its prompts; or all queued at once. One program: the compiled program of `sweep` on its groups, all devices sharing
the models, in groups that fit a budget, 32 MiB a device for the Memformer and 256 MiB for the Transformer; `sweep` itself
compiles in every call, which is left out on both sides. Each side is a process of its own; they take turns. The median over six
rounds of a round's ratio is claimed; the least and the largest of six enclose the median ratio of these processes with a
probability of 97 %. The Transformer stops at 64 models: 1000 take minutes a turn. Planned memory is the compiler's, of a
device; resident is the most that the whole process held, Python and JAX among it.
Command. python -m experiments speed.sweep --preset quick
"""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.parts import kept
from experiments.speed.processes import Job, in_turns
from experiments.speed.sweep_shown import ASKED, PROMPTS_OF, WORDS, measured, ratios
from experiments.speed.sweep_shown import plot as plot
from experiments.speed.sweep_shown import table as table
from experiments.speed.swept import MODELS, PROMPTS, axes_of, given, training
from jaxl2o.checks import require
from jaxl2o.evaluation.grid import group_size
from jaxl2o.evaluation.memory import at_once_for, memory
from jaxl2o.types import Instance

COST = {"smoke": "10 s", "quick": "30 min"}
WAYS = ("waiting", "shared", "queued")
CLAIMED = {  # what was measured -> its claim, and the ratio that is asked
    ("memformer", "same", 256): ("scale/sweep-256", ASKED),
    ("memformer", "given", 256): ("scale/sweep-256-given-prompts", 1.0),
    ("memformer", "own", 256): ("scale/sweep-256-own-prompts", 1.0),
    ("transformer", "same", 64): ("scale/sweep-transformer-64", 1.0),
    ("transformer", "own", 64): ("scale/sweep-transformer-64-own-prompts", 1.0),
}


@dataclass(frozen=True)
class Config:
    """Which models, how many of them, and how long they are timed."""

    memformers: tuple[int, ...] = (1, 4, 16, 64, 256, 1000)
    transformers: tuple[int, ...] = (1, 4, 16, 64)
    prompts: tuple[str, ...] = tuple(WORDS)  # kinds of them
    ways: tuple[str, ...] = WAYS  # to train one after another, of which the fastest is taken
    rounds: int = 6  # turns of both sides
    seconds: float = 0.3  # of one turn, at least: small sweeps are repeated

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"rounds is {self.rounds}; it must be at least 1.")
        for name, known in (("prompts", WORDS), ("ways", WAYS)):
            unknown = ", ".join(sorted({*getattr(self, name)} - {*known}))
            require(not unknown, f"{name} has {unknown}; choose from {', '.join(known)}.")

    @property
    def counts(self) -> dict[str, tuple[int, ...]]:
        """The numbers of models, by model."""
        return {"memformer": self.memformers, "transformer": self.transformers}


PRESETS = {
    "smoke": Config(memformers=(1,), transformers=(), prompts=("same",), ways=("queued",), rounds=2, seconds=0.0),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """Both sides of every number of models, smallest first; each is kept as soon as it is measured."""
    results: Results = {}
    for name, kinds in PROMPTS_OF.items():
        for prompts in kinds:
            counts = config.counts[name]
            if not counts or prompts not in config.prompts:
                continue
            key, job = f"{name}/{prompts}", {"side": "sweep", "model": name, "prompts": prompts}
            chosen = kept(run, f"ways {name} {prompts}", partial(ways, config, job, max(counts), run))
            serial, at_once = config.ways[np.argmin(np.median(chosen["seconds"], axis=0))], int(chosen["at_once"])
            found = []
            for count in counts:
                own = job | {"count": count}
                found.append(kept(run, f"{name} {prompts} {count}", partial(both, config, own, serial, at_once, run)))
            results |= {f"{key}/{part}": np.stack([one[part] for one in found]) for part in found[0]}
            results |= {
                f"{key}/counts": np.array(counts),
                f"{key}/budget": np.array(MODELS[name]().budget),
                f"{key}/ways": np.array(config.ways),
                f"{key}/ways seconds": chosen["seconds"],
            }
    return results


def ways(config: Config, job: Job, most: int, run: Run) -> Results:
    """How to train: the seconds of 16 models one after another, by round and way, and how many at once fit into the budget."""
    model = MODELS[job["model"]]()
    instances = given(model, job["prompts"])
    train, budget = partial(training(model, job["prompts"]), instances), model.budget - handed(instances)
    at_once = at_once_for(train, axes_of(most), budget, jax.local_device_count())
    seconds = np.zeros((1, 1))
    if len(config.ways) > 1:
        jobs = [job | {"count": 16, "way": way, "at_once": 0} for way in config.ways]
        seconds = in_turns(f"{job['model']}, one after another", jobs, config.rounds, config.seconds, run).seconds
    return {"seconds": seconds, "at_once": np.array(at_once)}


def both(config: Config, job: Job, serial: str, at_once: int, run: Run) -> Results:
    """Of both sides: seconds by round, bytes that the compiler plans for a device, and the most that the process held."""
    model, devices, axes = MODELS[job["model"]](), jax.local_device_count(), axes_of(job["count"])
    sides = [job | {"way": serial, "at_once": 0}, job | {"way": "one program", "at_once": at_once}]
    clock = in_turns(f"{job['count']} models", sides, config.rounds, config.seconds, run)
    instances = given(model, job["prompts"])
    alone = partial(training(model, job["prompts"], devices if serial == "shared" else 1), instances)
    together = partial(training(model, job["prompts"]), instances)
    planned = memory(alone, axes_of(1), 1), memory(together, axes, at_once, devices)
    return {
        "seconds": clock.seconds,
        "resident": clock.memory,
        "planned": np.array(planned) + handed(instances),
        "at_once": np.array(group_size(job["count"], at_once, devices) // devices),
    }


def handed(instances: Instance | None) -> int:
    """The bytes of given instances, which are on every device, and which a plan that closes over them leaves out."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(instances))


def claims(results: Results) -> list[Claim]:
    """How many times as fast one program is, and whether it kept its budget."""
    found = []
    for (name, prompts, count), (id, expected) in CLAIMED.items():
        counts = results.get(f"{name}/{prompts}/counts", np.array([]))
        for ratio in ratios(results, f"{name}/{prompts}")[counts == count] if count in counts else ():
            found.append(
                claim(
                    id,
                    f"{count} {name}s, one after another over one program, median and range of the rounds; {WORDS[prompts]}",
                    float(np.median(ratio)),
                    ">=",
                    expected,
                    n=len(ratio),
                    seeds=(PROMPTS,),
                    kind="ratio",
                    interval=(float(ratio.min()), float(ratio.max())),
                )
            )
    keys = [f"{name}/{prompts}" for name, prompts in measured(results)]
    shares = np.concatenate([results[f"{key}/planned"][:, 1] / results[f"{key}/budget"] for key in keys])
    text = "bytes that the compiler plans for a device, over the budget: the largest of all sweeps"
    return [*found, claim("scale/sweep-memory", text, float(shares.max()), "<=", 1.0, n=len(shares), seeds=(PROMPTS,))]
