"""The fast setting of a command on a CPU: made before JAX starts, never against the user's, and never by the library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import machine

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("cores", "devices"), [(1, "1"), (2, "2"), (3, "2"), (7, "4"), (16, "8"), (96, "8")])
def test_every_core_is_a_device(monkeypatch, cores, devices):
    """As a power of two, at most eight."""
    monkeypatch.setattr(machine, "cores", lambda: cores)
    environment = {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    machine.prepare(environment)
    assert environment == {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true", "JAX_NUM_CPU_DEVICES": devices}


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 5), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 5)]
)
def test_a_containers_quota_counts(monkeypatch, tmp_path, quota, cores):
    """Whole cores of the quota, at least one, and no more than the process may run on."""
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)), raising=False)
    assert machine.cores() == cores


@pytest.mark.parametrize("own", [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}])
def test_the_users_setting_stays(own):
    """A number of devices that the user has set is left as it is."""
    environment = dict(own)
    machine.prepare(environment)
    assert environment == own


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
