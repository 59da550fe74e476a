"""The setting that makes training on a CPU fast, made before JAX starts; what the user has set is left alone.

XLA runs batched products and most loops on one thread a device, so a CPU that is one device leaves cores idle. Here every core
becomes a device, as far as a power of two goes, and trainings share a step's tasks among them. Accelerators are not affected.

XLA's pool has a thread a core. A device that waits for the others holds one, and so does a batch of linear solves that hands
its parts to the same pool; with no thread left for the parts, all wait for ever. So the pool gets two threads a device.

OpenBLAS, by which XLA solves small systems, would start threads of its own for each of them, which fight with the pool's: a
batch of solves took forty to two hundred times as long. It gets one thread.
"""

import os
import resource
import sys
from collections.abc import MutableMapping
from pathlib import Path

DEVICES = "JAX_NUM_CPU_DEVICES"
THREADS = "NPROC"  # of XLA's pool on a CPU
SOLVING = "OPENBLAS_NUM_THREADS"  # of each linear solve on a CPU
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of Linux: microseconds of all cores in a period of so many, or max
STATUS = Path("/proc/self/status")  # of Linux: VmHWM is the most memory that this program held, in KiB
FORCED = "--xla_force_host_platform_device_count"


def cores() -> int:
    """The number of cores that this process may use: those it may run on, and no more than a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (QUOTA.read_text() if QUOTA.exists() else "max").partition(" ")
    return allowed if quota.strip() == "max" else max(1, min(allowed, int(quota) // int(period)))


def prepare(environment: MutableMapping[str, str]) -> None:
    """One CPU device a core, but a power of two and at most eight, which batches divide by; unless the number is set already.

    And two threads a device, but not fewer than there are cores, unless their number is set; and one for each linear solve. To
    be called before JAX is imported.
    """
    environment.setdefault(SOLVING, "1")
    if DEVICES not in environment and FORCED not in environment.get("XLA_FLAGS", ""):
        own = devices(max(count for count in (1, 2, 4, 8) if count <= cores()))
        environment.update({**own, THREADS: environment.get(THREADS, own[THREADS])})


def devices(count: int) -> dict[str, str]:
    """The setting of so many CPU devices: two threads each, but not fewer than there are cores."""
    return {DEVICES: str(count), THREADS: str(max(2 * count, cores()))}


def one_core(environment: MutableMapping[str, str]) -> None:
    """All that this process does on one core and one thread, of NumPy's and others' products too.

    To be called before NumPy and JAX are imported. Where there is no affinity, as on macOS, threads alone are one.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    flags = f"{environment.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    environment.update(dict.fromkeys((SOLVING, "OMP_NUM_THREADS", DEVICES), "1"), XLA_FLAGS=flags, JAX_PLATFORMS="cpu")


def peak_resident() -> int:
    """The most bytes of memory that this process held, without what its parent held.

    Elsewhere than on Linux `getrusage` says it; on Linux that number starts at the peak of whoever started the process.
    """
    if STATUS.exists():
        for name, _, value in (line.partition(":") for line in STATUS.read_text().splitlines()):
            if name == "VmHWM":
                return 1024 * int(value.split()[0])
    # macOS counts in bytes, others in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
