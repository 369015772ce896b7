"""Waiting for something to happen, with a limit so that a failing test ends."""

from __future__ import annotations

import time
from typing import Callable


def wait_until(
    condition: Callable[[], bool],
    seconds: float = 60.0,
    meanwhile: Callable[[], object] = lambda: None,
) -> bool:
    """Wait until ``condition`` holds and return whether it did within ``seconds``.

    Args:
        condition: What to wait for.
        seconds: A limit far beyond what it takes.
        meanwhile: Called while waiting, for example to process the events of Qt.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        meanwhile()
        time.sleep(0.01)
    return True
