"""How a running job talks to whoever started it: progress, messages, cancelling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from geoseg_qgis.protocol.errors import CancelledError
from geoseg_qgis.protocol.redaction import redact

Progress = Callable[[float], None]
"""Takes the finished fraction in 0..1; raises `CancelledError` when the user cancelled."""


def share_of(progress: Progress, start: float, end: float) -> Progress:
    """Return a progress whose 0..1 lies between ``start`` and ``end`` of another one."""

    def report(fraction: float) -> None:
        progress(start + (end - start) * fraction)

    return report


def _ignore_progress(fraction: float, phase: str) -> None:
    """Drop a progress report."""


def _ignore_log(level: str, text: str) -> None:
    """Drop a log line."""


def _never() -> bool:
    return False


@dataclass
class JobContext:
    """The surroundings of one run.

    Attributes:
        report_progress: Called with the finished fraction in 0..1 and the name of the phase.
        report_log: Called with ``info`` or ``warning`` and a sentence.
        is_cancelled: Polled between tiles.
        warnings: Sentences that end up in the result; filled by `warn`.
    """

    report_progress: Callable[[float, str], None] = _ignore_progress
    report_log: Callable[[str, str], None] = _ignore_log
    is_cancelled: Callable[[], bool] = _never
    warnings: list[str] = field(default_factory=list)
    _start: float = 0.0
    _share: float = 1.0

    def progress(self, fraction: float, phase: str) -> None:
        """Report ``fraction`` (0..1) of the current span.

        Raises:
            CancelledError: When the user cancelled.
        """
        self.check_cancelled()
        self.report_progress(self._start + self._share * min(max(fraction, 0.0), 1.0), phase)

    def span(self, start: float, end: float) -> JobContext:
        """Return a context whose 0..1 lies between ``start`` and ``end`` of this one."""
        return JobContext(
            self.report_progress,
            self.report_log,
            self.is_cancelled,
            self.warnings,
            self._start + self._share * start,
            self._share * (end - start),
        )

    def info(self, text: str) -> None:
        """Show a message in the log."""
        self.report_log("info", text)

    def warn(self, text: str) -> None:
        """Show a message in the log and keep it in the result, without keys and passwords."""
        text = redact(text)
        if text not in self.warnings:
            self.warnings.append(text)
        self.report_log("warning", text)

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when the user cancelled."""
        if self.is_cancelled():
            raise CancelledError
