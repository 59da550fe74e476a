"""Where a run comes from: versions, git revision, device."""

import os
import platform
import subprocess
from pathlib import Path

import jax

import jaxl2o


def environment() -> dict[str, str]:
    """What a reader needs to make the run again: versions, git revision, device."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxl2o": jaxl2o.__version__,
        "revision": revision(),
        "device": f"{device.platform} {device.device_kind}, {os.cpu_count()} cores",
    }


def revision() -> str:
    """The git revision of the checkout; "unknown" where there is no git, or no repository."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
