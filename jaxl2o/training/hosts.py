"""Many hosts: the same program runs in every process, and JAX's own runtime makes one mesh of all their devices.

Nothing is started unless flags or the environment ask for it, so a command without either stays one process and opens no
connection. The environments are those that JAX reads by itself: a step of SLURM, Open MPI, an indexed Kubernetes job (which
needs the package `kubernetes`) and pods of TPUs. On CPUs the processes add by gloo, which is JAX's default.

All processes take the same steps in the same order, and compute the same but for their share of the tasks. The first one
speaks and writes; the folder of a run is to be one that all of them see.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxl2o.checks import require

Result = TypeVar("Result")


def start_processes(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the other processes, before any device is touched; without arguments only where the environment asks for it.

    coordinator: host and port of the first process; JAX_COORDINATOR_ADDRESS may stand for it beside the other two, and starts
    nothing by itself.  processes: how many there are in all; 1 alone stays one process whatever the environment says.  process:
    which this is, from 0.

    Raises `ValueError` for arguments that are given by halves, or do not fit.
    """
    if processes == 1 and process in (None, 0):
        return
    if coordinator is None and processes is None and process is None:
        if cluster(os.environ):
            jax.distributed.initialize()
        return
    given = {
        "--coordinator": coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS"),
        "--processes": processes,
        "--process": process,
    }
    lacking = [name for name, value in given.items() if value is None]
    there = " and ".join(name for name in given if name not in lacking)
    require(
        not lacking,
        f"{there} came without {' and '.join(lacking)}; "
        "give --coordinator HOST:PORT, --processes N and --process I together, or none where the cluster says them.",
    )
    address, count, number = given.values()
    host, _, port = str(address).rpartition(":")
    require(host != "" and port.isdigit(), f"the coordinator is {address!r}; give its host and port, such as 10.0.0.1:1234.")
    require(count >= 1, f"processes is {count}; it must be at least 1.")
    require(0 <= number < count, f"process is {number}; of {count} processes it is one of 0 to {count - 1}.")
    jax.distributed.initialize(address, count, number)


def cluster(environment: Mapping[str, str]) -> str | None:
    """The kind of cluster, among those that JAX reads by itself, of whose several processes this is one; else None."""

    def several(name: str) -> bool:
        return environment.get(name, "").isdigit() and int(environment[name]) > 1

    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    # JAX names itself to TPUs where it finds some; their addresses are then in the variables above or asked for by JAX
    on_tpus = "TPU_ML_PLATFORM" in environment and "TPU_SKIP_MDS_QUERY" not in environment
    kinds = {
        "Open MPI": "OMPI_MCA_orte_hnp_uri" in environment and several("OMPI_COMM_WORLD_SIZE"),
        "SLURM": {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID"} <= {*environment}
        and several("SLURM_NTASKS"),
        "TPU": "," in hosts or "MEGASCALE_COORDINATOR_ADDRESS" in environment or (on_tpus and not hosts),
        "Kubernetes": {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= {*environment},
    }
    return next((kind for kind, found in kinds.items() if found), None)


def is_first_process() -> bool:
    """Whether this is the process that speaks and writes; a single one is."""
    return jax.process_index() == 0


def told(decide: Callable[[], bool]) -> bool:
    """What the first process decides, on all of them; the others wait for it. If it raises, none goes on."""
    if jax.process_count() == 1:
        return decide()
    answer, error = -1, None
    if is_first_process():
        try:
            answer = int(decide())
        except Exception as raised:  # the others must hear of it, or they wait for ever
            error = raised
    answer = int(multihost_utils.broadcast_one_to_all(np.int32(answer)))
    if error is not None:
        raise error
    require(answer >= 0, "the first process has stopped; what it said tells why.")
    return bool(answer)


def highest(value: int) -> int:
    """The highest of the numbers that all processes bring, on all of them."""
    return value if jax.process_count() == 1 else int(np.max(multihost_utils.process_allgather(np.int32(value))))


def together(attempt: Callable[[], Result], mild: type[Exception]) -> Result:
    """What an attempt gives that every process makes by itself: if it fails on one, it fails on all, and none is left waiting.

    Where it succeeded, or failed more mildly than elsewhere, the error is a `mild` one if all that came are of this kind, and
    else an `InputError`. The attempt must not wait for other processes.
    """
    result: Any = None
    error = None
    try:
        result = attempt()
    except Exception as raised:  # the others must hear of it, or they wait for ever
        error = raised
    gravity = 0 if error is None else 1 if isinstance(error, mild) else 2
    worst = highest(gravity)
    if error is not None and gravity == worst:
        raise error
    if worst == 1:
        raise mild("cannot be read by another process")
    require(worst == 0, "another process has stopped; what it said tells why.")
    return result
