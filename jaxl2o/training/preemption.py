"""Preemption: SIGTERM, by which a cluster takes a machine back, lets a training end its chunk and save before it stops."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


class Preempted(Exception):
    """SIGTERM stopped a training; its state is saved, and the same call continues."""


@contextmanager
def preemption() -> Iterator[Callable[[], bool]]:
    """Gives `asked()`: whether SIGTERM has come to any process; all processes must ask equally often, so all learn it at once.

    Holds SIGTERM back from whatever handles it otherwise until the block ends. One that came too late for `Preempted` to be
    raised is then passed on. Outside the main thread, where Python handles no signals, SIGTERM is left alone.
    """
    came = False

    def note(*_: Any) -> None:
        nonlocal came
        came = True

    def asked() -> bool:
        if jax.process_count() == 1:
            return came
        return bool(np.any(multihost_utils.process_allgather(np.array(came))))

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, note)
    try:
        yield asked
    except Preempted:
        came = False
        raise
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None stands for a handler that is not Python's
        if came:
            signal.raise_signal(signal.SIGTERM)
