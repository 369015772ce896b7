"""How far a transfer is and how fast it goes, told often enough but not too often."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

_FRACTION_EVERY = 0.2
_SENTENCE_EVERY = 10.0


class Watch(Protocol):
    """Who looks on: the context of a job, or a part of it."""

    def progress(self, fraction: float, phase: str) -> None:
        """Take the finished fraction in 0..1; raises ``CancelledError`` when cancelled."""

    def check_cancelled(self) -> None:
        """Raise ``CancelledError`` when the user cancelled."""

    def info(self, text: str) -> None:
        """Take a sentence."""

    def warn(self, text: str) -> None:
        """Take a sentence that must also stand in the result."""

    def span(self, start: float, end: float) -> Watch:
        """Return a watch whose 0..1 lies between ``start`` and ``end`` of this one."""


class Pace:
    """Tells a watch of the bytes that went by; the phase changes every ten seconds.

    Args:
        watch: Whom to tell.
        label: What is moved, for example ``Downloading sam2.pt``.
        total: Bytes in all, None when unknown.
        start: Bytes that were there before.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        watch: Watch,
        label: str,
        total: int | None,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch = watch
        self._label = label
        self._total = total
        self._clock = clock
        self._phase = f"{label} ({megabytes(total)})" if total else label
        self._told = self._said = clock()
        self._marked = start
        watch.progress(self._fraction(start), self._phase)

    def moved(self, done: int) -> None:
        """Take the bytes that are there now.

        Raises:
            CancelledError: When the user cancelled.
        """
        self._watch.check_cancelled()
        now = self._clock()
        if now - self._told < _FRACTION_EVERY:
            return
        self._told = now
        if now - self._said >= _SENTENCE_EVERY:
            speed = max(done - self._marked, 0) / (now - self._said)
            self._said, self._marked = now, done
            self._phase = f"{self._label}: {self._amount(done)}, {megabytes(round(speed))}/s"
        self._watch.progress(self._fraction(done), self._phase)

    def _amount(self, done: int) -> str:
        return f"{megabytes(done)} of {megabytes(self._total)}" if self._total else megabytes(done)

    def _fraction(self, done: int) -> float:
        return min(done / self._total, 1.0) if self._total else 0.0


def megabytes(size: int | None) -> str:
    """Return a size in words: ``156 MB``, ``3.94 GB``, ``0.2 MB``; empty for None."""
    if size is None:
        return ""
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
