"""Preemption: SIGTERM, by which a cluster takes a machine back, lets a training end its chunk and save before it stops."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxl2o.training.hosts import highest


class Preempted(Exception):
    """SIGTERM stopped a training; its state is saved, and the same call continues."""


@contextmanager
def preemption() -> Iterator[Callable[[], bool]]:
    """Gives `asked()`: whether SIGTERM has come to any process; all processes must ask equally often, so all learn it at once.

    Holds the first SIGTERM back from whatever handles it otherwise until the block ends; one that came too late for `Preempted`
    to be raised is then passed on. A second one is not held back. Outside the main thread, where Python handles no signals,
    SIGTERM is left alone.
    """
    came = False

    def note(*_: Any) -> None:
        nonlocal came
        if came:
            pass_on()
        came = True

    def pass_on() -> None:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None stands for a handler that is not Python's
        signal.raise_signal(signal.SIGTERM)

    def asked() -> bool:
        return bool(highest(int(came)))

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
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        if came:
            signal.raise_signal(signal.SIGTERM)
