"""What of the arithmetic can be compared with the compiler, and with a state that exists."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.common import Results
from experiments.pod.devices import CHIPS
from experiments.pod.trainings import Training
from jaxl2o.training.accounting import model_flops
from jaxl2o.training.budget import bytes_sent, plan, work_of
from jaxl2o.training.loop import advance, mean_loss, task_keys
from jaxl2o.training.parallel import Sharding

# of a line of the compiled program: the arrays that come out, the kind, and the groups of devices
SENT = re.compile(
    r"= (\(.*?\)|\S+) (all-reduce|all-gather|reduce-scatter)(?:-start)?\(.*?replica_groups=(\{\{[\d,]*\}|\{\}|\[\d+,(\d+)\])"
)
# bytes that each of a group's g devices sends, over those that come out
SHARE = {"all-reduce": lambda g: 2 * (g - 1) / g, "all-gather": lambda g: (g - 1) / g, "reduce-scatter": lambda g: g - 1}
# the shapes of `accelerator` that are these trainings
SHAPES = {"Small TF": "small-tf-n40", "GPT-2, 9.5 M": "gpt2-n40"}
ARRAY = re.compile(r"([a-z]+)(\d+)\[([\d,]*)\]")


def flops_and_activation(training: Training) -> tuple[float, float]:
    """Over the compiler's: our model FLOP of forward and backward pass of two tasks, and our bytes of activations of a task.

    The compiler counts the body of a loop once, so layers are compiled one after another. Its bytes are what it plans for four
    tasks less those for two, by halves.
    """
    training = training._replace(config=replace(training.config, unroll=True), at_once=0)
    state, planned, flops = training.shapes(), {}, {}
    for tasks in (2, 4):
        recipe = training._replace(batch=tasks).recipe()
        keys = jax.eval_shape(partial(task_keys, recipe), state.step, state.key)
        gradient = jax.jit(jax.value_and_grad(partial(mean_loss, recipe))).lower(state.params, state.step, keys).compile()
        memory, cost = gradient.memory_analysis(), gradient.cost_analysis()
        assert memory is not None
        assert cost is not None
        planned[tasks], flops[tasks] = memory.temp_size_in_bytes, model_flops(recipe, state) / cost["flops"]
    return flops[2], work_of(training.recipe(), state).activation / ((planned[4] - planned[2]) / 2)


def state_bytes(training: Training) -> float:
    """Our bytes of parameters and of Adam's state, from shapes, over those of a state that is initialised."""
    work, state = work_of(training.recipe(), training.shapes()), jax.jit(training.state)(jax.random.key(0))
    held = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves((state.params, state.opt_state)))
    return (work.parameters + work.state) / held


def communication(training: Training, devices: int, at_once: int, sharding: Sharding = "replicated") -> float:
    """Our bytes that a device sends in a step, over those of the compiled step."""
    recipe = training._replace(batch=devices * (at_once or 1), at_once=at_once).recipe()
    recipe = recipe._replace(devices=devices, sharding=sharding)
    state = jax.eval_shape(training.state, jax.random.key(0))
    program = jax.jit(advance, static_argnums=(0, 2)).lower(recipe, state, 1).compile().as_text() or ""
    return bytes_sent(work_of(recipe, state), devices, sharding) / sent(program, devices)


def step_bytes(training: Training) -> float:
    """The compiler's bytes of a step on one device, state and all, over ours."""
    recipe, state = training.recipe(), training.shapes()
    # donated, as `train` does
    memory = jax.jit(advance, static_argnums=(0, 2), donate_argnums=1).lower(recipe, state, 1).compile().memory_analysis()
    assert memory is not None
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return held / plan(work_of(recipe, state), CHIPS["TPU v5e"].device, 1).memory


def beside(measured: Path, every: dict[str, Training], fraction: float) -> Results:
    """Seconds of a step on one H100, by training and batch: timed, in results that are kept, and planned, in bfloat16."""
    device, timed, planned, names = CHIPS["H100 SXM"].device, [], [], []
    with np.load(measured, allow_pickle=False) as kept:
        for name, training in every.items():
            shape = f"{SHAPES[name]}/"
            for batch in sorted(int(key.split("/")[1]) for key in kept if key.startswith(shape) and key.endswith("/seconds")):
                recipe = training._replace(batch=batch).recipe()
                names.append(f"{name}, {batch:,} tasks")
                timed.append(np.median(kept[f"{shape}{batch}/seconds"]))
                planned.append(plan(work_of(recipe, training.shapes()), device, 1, "replicated", fraction).most)
    return {"timed/names": np.array(names), "timed/seconds": np.array(timed), "timed/planned": np.array(planned)}


def sent(program: str, devices: int) -> float:
    """Bytes that a device sends in a compiled program, by ring algorithms over each group of devices."""
    total = 0.0
    for arrays, kind, groups, length in SENT.findall(program):
        count = int(length) if length else groups.count(",") + 1 if any(map(str.isdigit, groups)) else devices
        held = sum(
            int(bits) // 8 * int(np.prod([int(side) for side in shape.split(",") if side]))
            for _, bits, shape in ARRAY.findall(arrays)
        )
        total += SHARE[kind](count) * held
    return total
