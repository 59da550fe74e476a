"""The fast setting of a command on a CPU: made before JAX starts, never against the user's, and never by the library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import machine

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("cores", "devices", "threads"),
    [(1, "1", "2"), (2, "2", "4"), (3, "2", "4"), (7, "4", "8"), (16, "8", "16"), (96, "8", "96")],
)
def test_every_core_is_a_device(monkeypatch, cores, devices, threads):
    """As a power of two, at most eight; with two threads each, and not fewer than there are cores."""
    monkeypatch.setattr(machine, "cores", lambda: cores)
    environment = {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    machine.prepare(environment)
    assert environment == {
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
        "JAX_NUM_CPU_DEVICES": devices,
        "NPROC": threads,
        "OPENBLAS_NUM_THREADS": "1",
    }


def test_devices_that_solve_do_not_wait_for_ever():
    """A training on two devices whose every task has linear solves comes to its end; with a thread a device it hung."""
    code = """
import jax, optax
from jaxl2o.solvers.in_context import in_context_alista, in_context_start
from jaxl2o.solvers.learned import learned
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.training import losses
from jaxl2o.training.loop import Recipe, start, train
task = sparse_recovery(exactly(20, 3), fresh(10, 20), n_queries=0)
learner = learned(lambda key, prompt: in_context_start(3), in_context_alista)
recipe = Recipe(learner.predict, lambda step: task, losses.all_steps(), optax.sgd(0.0), 512, devices=2)
print(int(train(recipe, start(recipe, in_context_start(3), jax.random.key(1)), 5, 5).step))
"""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS", "NPROC")
    }
    machine.prepare(environment)
    environment |= {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert answer.stdout.strip() == "5"


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 5), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 5)]
)
def test_a_containers_quota_counts(monkeypatch, tmp_path, quota, cores):
    """Whole cores of the quota, at least one, and no more than the process may run on."""
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)), raising=False)
    assert machine.cores() == cores


def test_the_users_threads_stay():
    """Numbers of threads that the user has set are left as they are."""
    environment = {"NPROC": "5", "OPENBLAS_NUM_THREADS": "3"}
    machine.prepare(environment)
    assert (environment["NPROC"], environment["OPENBLAS_NUM_THREADS"]) == ("5", "3")


@pytest.mark.parametrize("own", [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}])
def test_the_users_setting_stays(own):
    """A number of devices that the user has set is left as it is."""
    environment = {**own, "OPENBLAS_NUM_THREADS": "1"}
    machine.prepare(environment)
    assert environment == {**own, "OPENBLAS_NUM_THREADS": "1"}


def devices_after(code: str) -> str:
    """What a new process that has no setting of its own says."""
    environment = {name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    command = [sys.executable, "-c", code + "; import jax; print(jax.local_device_count())"]
    answer = subprocess.run(
        command, cwd=ROOT, env={**environment, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def test_the_command_has_a_device_a_core_and_the_library_sets_nothing():
    """`experiments.__main__` sets the number before JAX starts; importing jaxl2o leaves JAX's own, one."""
    expected = {}
    machine.prepare(expected)
    assert devices_after("import experiments.__main__") == expected["JAX_NUM_CPU_DEVICES"]
    assert devices_after("import jaxl2o") == "1"


def test_a_process_does_not_inherit_a_peak():
    """What a child says of its memory is its own, though the parent held 200 MiB more when it started it."""
    child = "from experiments.machine import peak_resident; print(peak_resident())"
    parent = f"import subprocess, sys; held = b'1' * (200 << 20); subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    alone, started = (
        int(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for code in (child, parent)
    )
    assert 2**20 < started < alone + (50 << 20)


def test_the_peak_is_the_most_that_was_held():
    """Memory that was held and given back still counts."""
    code = "from experiments.machine import peak_resident; held = b'1' * (200 << 20); del held; print(peak_resident())"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert int(said) >= 200 << 20


def test_memory_is_counted_where_there_is_no_status(monkeypatch, tmp_path):
    """Without Linux's file the system's own count is taken."""
    monkeypatch.setattr(machine, "STATUS", tmp_path / "status")
    assert machine.peak_resident() > 2**20
