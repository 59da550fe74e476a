"""Several processes: when they start, what they agree on, and that two train as one does, to the last bit."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxl2o.checks import InputError
from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.training import losses, metrics
from jaxl2o.training.accounting import summarise
from jaxl2o.training.checkpoint import Checkpoints, CheckpointWarning, DamagedError
from jaxl2o.training.hosts import cluster, is_first_process, start_processes, told
from jaxl2o.training.loop import Recipe, start, train
from jaxl2o.training.parallel import devices_for, mesh_of
from jaxl2o.training.run import train_in
from jaxl2o.types import Instance, Prompt, Task

STEPS, CHUNK, WIDTH = 4, 2, 4
REPOSITORY = Path(__file__).parent.parent


def sample(key):
    """A linear problem of four unknowns."""
    rows = jax.random.normal(key, (6, WIDTH))
    prompt = Prompt(rows[:3], rows[:3] @ rows[5], rows[4:5], jnp.ones(3, dtype=bool))
    return Instance(prompt, rows[4:5] @ rows[5], rows[5])


def predict(params, prompt):
    """A start of nothing, and a step along a learned matrix."""
    iterate = params["matrix"] @ (prompt.x.T @ prompt.y) + params["offset"]
    return jnp.stack([jnp.zeros(1), prompt.x_query @ iterate])


def curve(sharding: str, steps: int, folder: Path | None = None, devices: int = 2) -> list[float]:
    """The losses of a training in groups of tasks, and the sum of what it has learned; in a folder it may go on."""
    task = Task(sample, least_squares, linear_prediction)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
    batch, at_once = (16, 2) if devices > 1 else (3, 1)
    recipe = Recipe(predict, lambda step: task, losses.last_step(), optimizer, batch)
    recipe = recipe._replace(devices=devices, at_once=at_once, sharding=sharding)
    state = start(recipe, {"matrix": 0.1 * jnp.eye(WIDTH), "offset": jnp.zeros(())}, jax.random.key(0))
    call, found = train if folder is None else partial(train_in, folder), []
    state = call(recipe, state, steps, CHUNK, report=lambda chunk: found.extend(chunk.losses.tolist()))
    return [*found, float(state.params["matrix"].sum() + state.params["offset"])]


def failing(error: Exception, at: int = STEPS):
    """As long as it lasts, the checkpoint of a step cannot be read in this process."""
    read = Checkpoints._read

    def fail(self, step, *others):
        if step == at:
            raise error
        return read(self, step, *others)

    return mock.patch.object(Checkpoints, "_read", fail)


def work(coordinator: str, process: int, folder: Path) -> None:
    """What one of two processes does, and writes down in one line."""
    start_processes(coordinator, 2, process)
    metrics.append(folder / f"metrics-{process}.jsonl", [{"step": 1}])
    answer: dict[str, Any] = {"replicated": curve("replicated", STEPS), "fsdp": curve("fsdp", STEPS, folder / "fsdp")}
    answer["odd"] = curve("replicated", CHUNK, folder / "odd", devices=devices_for(3))
    if process == 0:
        shutil.copytree(folder / "fsdp", folder / "fsdp, whole")
    with failing(DamagedError("is torn")) if process == 1 else nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        answer["passed over"] = curve("fsdp", CHUNK, folder / "fsdp")
    with failing(OSError(errno.EIO, "no disk"), CHUNK) if process == 1 else nullcontext():
        try:
            curve("fsdp", CHUNK, folder / "fsdp")
        except (InputError, OSError) as error:
            answer["unreadable"] = str(error)
    with mock.patch.object(Path, "rglob", return_value=[folder / "fsdp" / "timing.jsonl"] if process == 0 else []):
        answer["summary"] = [*summarise(folder)["trainings"]]
    answer |= {"first": is_first_process(), "told": told(lambda: process == 0), "devices": [devices_for(n) for n in (3, 4)]}
    for name, call in (("refused", lambda: mesh_of(3)), ("stopped", lambda: told(lambda: 1 // 0 == 1))):
        try:
            call()
        except (InputError, ZeroDivisionError) as error:
            answer[name] = str(error)
    (folder / f"answer-{process}.json").write_text(json.dumps(answer))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What two processes over loopback answered, each with one device, compiled as in this process; and what they wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("hosts")
    settings = {"PLATFORMS": "cpu", "NUM_CPU_DEVICES": "1", "ENABLE_X64": "1", "DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = {**os.environ, **{f"JAX_{name}": value for name, value in settings.items()}}
    command = [sys.executable, __file__, coordinator]
    options = {"cwd": REPOSITORY, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    processes = [subprocess.Popen([*command, str(process), str(folder)], **options) for process in range(2)]
    said = [process.communicate(timeout=120)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return [json.loads((folder / f"answer-{process}.json").read_text()) for process in range(2)], folder


def test_two_processes_train_as_one(answers):
    """The same losses and parameters on two devices, of one process or of two, to the last bit; each process has them all."""
    alone = curve("replicated", STEPS)
    assert [answer["replicated"] for answer in answers[0]] == [alone, alone]


def test_what_two_processes_have_saved_goes_on_in_one(answers):
    """Parameters and optimiser cut over two devices: every loss is that of a run in one process that nobody stopped."""
    longer, folder = curve("fsdp", 2 * STEPS), answers[1] / "fsdp, whole"
    assert curve("fsdp", 2 * STEPS, folder) == longer[STEPS:]
    assert [record["loss"] for record in metrics.read(folder / "metrics.jsonl")] == longer[:-1]
    assert [answer["fsdp"][:STEPS] for answer in answers[0]] == [longer[:STEPS]] * 2


def test_what_two_processes_do_not_share_is_saved(answers):
    """A batch of three tasks, of which both train all on a device of their own: one process's curve, and it goes on."""
    alone = curve("replicated", CHUNK, devices=1)
    assert [answer["odd"] for answer in answers[0]] == [alone, alone]
    assert curve("replicated", CHUNK, answers[1] / "odd", devices=1) == alone[-1:]


def test_a_checkpoint_is_used_by_all_processes_or_by_none(answers):
    """One that the second cannot decode is passed over by both; if its disk fails, both stop. Nothing written is lost."""
    first, second = answers[0]
    assert first["passed over"] == second["passed over"] == curve("fsdp", CHUNK, answers[1] / "fsdp")
    assert first["passed over"] != first["fsdp"][-1:]
    assert first["unreadable"] == "another process has stopped; what it said tells why."
    assert "no disk" in second["unreadable"]
    steps = {path.name for path in (answers[1] / "fsdp" / "checkpoints").iterdir()}
    assert steps == {str(CHUNK), f"{STEPS}.damaged"}


def test_what_trainings_cost_is_measured_by_the_first(answers):
    """Whatever the others see of the folder, and without them."""
    assert [answer["summary"] for answer in answers[0]] == [["fsdp"], []]


def test_the_first_process_speaks_and_writes(answers):
    """And what it decides is what all of them hear, its failing included."""
    first, second = answers[0]
    assert (first["first"], second["first"]) == (True, False)
    assert (first["told"], second["told"]) == (True, True)
    assert first["stopped"] == "integer division or modulo by zero"
    assert second["stopped"] == "the first process has stopped; what it said tells why."
    assert [path.name for path in answers[1].glob("metrics*")] == ["metrics-0.jsonl"]


def test_every_process_has_as_many_devices(answers):
    """A mesh takes the same number from each, so two processes share an even number of tasks, or do not share."""
    for answer in answers[0]:
        assert answer["devices"] == [1, 2]
        assert (
            "devices is 3, but the 2 processes together have 2; ask for 1, or for a multiple of 2 up to 2" in answer["refused"]
        )


@pytest.fixture
def started(monkeypatch):
    """The arguments by which JAX's runtime was started, which here it is not; no cluster is in the environment."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(os, "environ", {})
    return calls


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NTASKS": "2",
}
CLUSTERS = [
    ({}, None),
    (SLURM, "SLURM"),
    (SLURM | {"SLURM_NTASKS": "1"}, None),
    ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}, None),  # a shell on a login node, not a step
    ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:2", "OMPI_COMM_WORLD_SIZE": "2"}, "Open MPI"),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "Kubernetes"),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a pod of its own
    ({"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU"),
    ({"TPU_WORKER_HOSTNAMES": "a", "TPU_ML_PLATFORM": "JAX"}, None),
    ({"TPU_ML_PLATFORM": "JAX"}, "TPU"),
    ({"TPU_SKIP_MDS_QUERY": "1"}, None),  # as JAX leaves the environment where there are no TPUs
]


@pytest.mark.parametrize(("environment", "kind"), CLUSTERS)
def test_only_a_cluster_starts_processes(started, environment, kind):
    """Without arguments JAX is asked to find the others where the environment is a cluster's, and else nothing starts."""
    os.environ.update(environment)
    start_processes()
    assert cluster(environment) == kind
    assert started == ([()] if kind else [])


def test_one_process_is_one_process(started):
    """Whatever the cluster says; and three arguments go to JAX as they are, the address if need be from the environment.

    The address by itself starts nothing.
    """
    os.environ.update(SLURM)
    start_processes(processes=1)
    assert started == []
    start_processes("10.0.0.1:1234", 3, 2)
    os.environ["JAX_COORDINATOR_ADDRESS"] = "10.0.0.2:99"
    start_processes(None, 2, 0)
    os.environ.pop("SLURM_JOB_ID")
    start_processes()
    assert started == [("10.0.0.1:1234", 3, 2), ("10.0.0.2:99", 2, 0)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("10.0.0.1:1234", None, None), ["--coordinator came without --processes and --process", "or none where"]),
        ((None, 2, 1), ["--processes and --process came without --coordinator"]),
        ((None, None, 1), ["--process came without --coordinator and --processes"]),
        (("10.0.0.1", 2, 1), ["the coordinator is '10.0.0.1'", "host and port"]),
        (("10.0.0.1:1234", 2, 2), ["process is 2", "of 2 processes", "0 to 1"]),
        (("10.0.0.1:1234", 0, 0), ["processes is 0", "at least 1"]),
    ],
)
def test_halves_are_refused(started, refused, arguments, parts):
    """One sentence, and nothing was started."""
    refused(lambda: start_processes(*arguments), parts)
    assert started == []


def test_the_command_line_says_the_processes_and_the_placement(started, refused):
    """Flags of processes are read before an experiment is; those of the placement change the recipe, but for fields."""
    from experiments import __main__ as command

    refused(lambda: command.main(["exactness", "--processes", "2"], None), ["--processes came without"])
    words = ["--devices", "2", "--sharding", "fsdp", "--at-once=4", "--depth", "3"]
    placement, rest = command.placement_of(words, {"depth"})
    assert (placement, rest) == ((2, "fsdp", 4), ["--depth", "3"])
    plain = Recipe(predict, lambda step: None, losses.last_step(), optax.sgd(1.0), 16, devices=8)
    assert placement.of(plain) == plain._replace(devices=2, sharding="fsdp", at_once=4)
    placement, rest = command.placement_of(words[:2], {"devices"})
    assert rest == words[:2]
    assert placement.of(plain) == plain


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
