"""A contender in a process of its own, so that its threads, flags and memory are its own: `python -m experiments.speed.worker`.

It reads its job, one line of JSON, sets what must be set before JAX starts, warms up, and says what it is; then for every
number of steps that it reads it says the median seconds of a step, and its peak memory. It sleeps in between, while others run.
"""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from experiments import machine
from experiments.speed.shapes import Shape


def say(answer: object) -> None:
    """One line of JSON to whoever asked."""
    print(json.dumps(answer), flush=True)


class Turn:
    """Called with the seconds of every step, it holds the contender back until it is asked for more.

    warm_up: steps before the first answer, which is what the contender has to say of itself.
    """

    def __init__(self, warm_up: int, itself: dict[str, float]) -> None:
        self.wanted, self.taken, self.itself, self.warm = warm_up, [], itself, False

    def __call__(self, seconds: Iterable[float]) -> None:
        """Count these steps; when there are as many as wanted, say their median and wait. Ends the process when nobody asks."""
        self.taken += seconds
        if len(self.taken) < self.wanted:
            return
        median = sorted(self.taken)[len(self.taken) // 2]
        say({"seconds": median, "memory": machine.peak_resident()} if self.warm else self.itself)
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        self.wanted, self.taken, self.warm = int(line), [], True


def main() -> None:
    """Do the job of the first line."""
    job = json.loads(sys.stdin.readline())
    if job["side"] == "sweep":
        machine.prepare(os.environ)
        from experiments.speed import swept

        swept.run(job["model"], job["count"], job["prompts"], job["way"], job["at_once"], Turn(warm_up=1, itself={}))
    elif job["side"] == "evaluation":
        machine.prepare(os.environ)
        from experiments.speed import evaluated

        say({**evaluated.measure(job["model"], job["count"], job["chunk"]), "memory": machine.peak_resident()})
    elif job["side"] == "lasso":
        lasso(job)
    else:
        training(job)


def lasso(job: dict[str, Any]) -> None:
    """Run a contender of the Lasso on one core in float64, or what is timed of gradients; or the prefixes, on all cores."""
    os.environ["JAX_ENABLE_X64"] = "1"
    if job["part"] == "prefixes":
        machine.prepare(os.environ)
        from experiments.speed.lasso import prefixes

        say(prefixes.measure(job["prompts"], job["subset"], job["rounds"]))
        return
    machine.one_core(os.environ)
    from experiments.speed.lasso import timed, unrolled

    if job["part"] == "times":
        timed.run(job, lambda itself: Turn(warm_up=1, itself=itself))
    else:
        say(unrolled.measure(job["steps"], job["rounds"], job["peers"]))


def training(job: dict[str, Any]) -> None:
    """Run a contender of the training step, or state a cost, a curve or whether both sides are the same."""
    shape = Shape(**job["shape"])
    if job["side"] == "torch":
        from experiments.speed import theirs

        theirs.run(shape, job["model"], job["compiled"], machine.cores(), Turn(warm_up=3, itself={}))
    settings = job.get("settings", {})
    if "devices" in job:
        os.environ.update(machine.devices(max(job["devices"])))
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {settings.get('flags', '')}".strip()
    machine.prepare(os.environ)
    from experiments.speed import ours

    if job["side"] == "same":
        from experiments.speed import same

        say([same.gap(shape, model) for model in job["models"]])
    elif job["side"] == "cost":
        say(ours.cost(shape))
    elif job["side"] == "curve":
        say([[ours.curve(shape, d, at_once, job["steps"]) for d in job["devices"]] for at_once in job["at_once"]])
    else:
        made = ours.Settings(**settings)
        recipe, state = ours.prepare(shape, made)
        turn = Turn(warm_up=made.dispatch, itself=ours.plan(recipe, state, made.dispatch))
        ours.run(recipe, state, made.dispatch, turn)


if __name__ == "__main__":
    main()
