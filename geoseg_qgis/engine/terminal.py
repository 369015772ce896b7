"""What a person sees of a job in a terminal: a progress bar, sentences, a short table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.redaction import redact
from geoseg_qgis.protocol.result import ClassSummary, ModelSummary, Result

if TYPE_CHECKING:
    from tqdm import tqdm

_PLAIN_INTERVAL = 5.0
_MODEL_COLUMNS = ("preset", "state", "MB", "memory GB", "fits", "methods", "licence")


class TerminalReporter:
    """Shows progress as a bar on a terminal, and as a line every few seconds elsewhere.

    Args:
        stream: Where to write; results go to stdout, so this is stderr.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm[Any] | None = None
        self._phase = ""
        self._next = 0.0
        if self._stream.isatty():
            from tqdm import tqdm  # noqa: PLC0415  the table below does without it

            layout = "{desc:<32.32} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            self._bar = tqdm(total=1.0, file=self._stream, bar_format=layout, leave=False)

    def progress(self, fraction: float, phase: str) -> None:
        """Show the finished fraction in 0..1."""
        if self._bar is not None:
            self._bar.set_description_str(phase, refresh=False)
            self._bar.update(max(fraction - float(self._bar.n), 0.0))
            if phase != self._phase:
                self._phase = phase
                self._bar.refresh()
            return
        now = time.monotonic()
        if phase == self._phase and now < self._next:
            return
        self._phase, self._next = phase, now + _PLAIN_INTERVAL
        self._write(f"{fraction:4.0%} {phase}")

    def log(self, level: str, text: str) -> None:
        """Show a sentence; warnings are marked."""
        self._write(f"Warning: {text}" if level == "warning" else text)

    def fail(self, error: JobError) -> None:
        """Show what happened and what to do."""
        self.close()
        self._write(f"Error: {error.message}")
        if error.hint:
            self._write(f"       {error.hint}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, line: str) -> None:
        line = redact(line)
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            self._stream.write(line + "\n")
            self._stream.flush()


def format_result(result: Result) -> str:
    """Return a result as text: classes and models as tables, then numbers, then files."""
    lines: list[str] = []
    if result.classes:
        rows: list[tuple[str, ...]] = [("id", "class", "share", "area m2", "polygons")]
        rows += [_class_row(item) for item in result.classes]
        lines += format_table(rows)
    if result.models:
        lines += format_table([_MODEL_COLUMNS, *map(_model_row, result.models)])
    for name, number in result.numbers.items():
        lines.append(f"{name}: {number:g}")
    for name, path in result.files.items():
        lines.append(f"{name}: {path}")
    return "\n".join(lines)


def format_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows as lines, columns aligned: text to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numeric = [
        all(_is_number(row[column]) for row in rows[1:] if row[column])
        for column in range(len(rows[0]))
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def _is_number(text: str) -> bool:
    return text.rstrip("%").replace(",", "").replace(".", "").strip().isdigit()


def _class_row(item: ClassSummary) -> tuple[str, ...]:
    return (
        str(item.class_id),
        item.name,
        f"{item.share:.1%}",
        f"{item.area:,.0f}",
        str(item.polygons),
    )


def _model_row(item: ModelSummary) -> tuple[str, ...]:
    return (
        item.name,
        item.state,
        f"{item.size / 1e6:,.0f}" if item.size else "",
        f"{item.memory / 1e9:.1f}" if item.memory else "",
        "yes" if item.fits else "no",
        " ".join(item.methods),
        item.licence,
    )
