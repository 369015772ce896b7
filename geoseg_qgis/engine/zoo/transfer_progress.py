"""How far a transfer is and how fast it goes, reported often enough but not too often."""

from __future__ import annotations

import time
from collections.abc import Callable

from geoseg_qgis.engine.progress import JobContext

# Seconds between two reports of the fraction, and between two changes of the phase.
_FRACTION_EVERY = 0.2
_PHASE_EVERY = 10.0


class TransferProgress:
    """Reports the bytes that were moved; the phase changes every ten seconds.

    Args:
        context: Receives the progress, and says whether the user cancelled.
        label: What is moved, for example ``Downloading sam2.pt``.
        total: Bytes in all, None when unknown.
        start: Bytes that were there before.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        context: JobContext,
        label: str,
        total: int | None,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._label = label
        self._total = total
        self._clock = clock
        self._phase = f"{label} ({megabytes(total)})" if total else label
        self._reported = self._phase_since = clock()
        self._bytes_then = start
        context.progress(self._fraction(start), self._phase)

    def moved(self, done: int) -> None:
        """Take the bytes that are there now.

        Raises:
            CancelledError: When the user cancelled.
        """
        self._context.check_cancelled()
        now = self._clock()
        if now - self._reported < _FRACTION_EVERY:
            return
        self._reported = now
        if now - self._phase_since >= _PHASE_EVERY:
            speed = max(done - self._bytes_then, 0) / (now - self._phase_since)
            self._phase_since, self._bytes_then = now, done
            self._phase = f"{self._label}: {self._amount(done)}, {megabytes(round(speed))}/s"
        self._context.progress(self._fraction(done), self._phase)

    def _amount(self, done: int) -> str:
        return f"{megabytes(done)} of {megabytes(self._total)}" if self._total else megabytes(done)

    def _fraction(self, done: int) -> float:
        return min(done / self._total, 1.0) if self._total else 0.0


def megabytes(size: int) -> str:
    """Return a size in words: ``156 MB``, ``3.94 GB``, ``0.2 MB``."""
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
