"""Errors that cross the wire: a code for programs, two sentences for people."""

from __future__ import annotations

from enum import Enum
from typing import Any, Dict

from .redaction import redact


class ErrorCode(str, Enum):
    """What went wrong, stable across versions."""

    INVALID_JOB = "invalid_job"
    INVALID_CLASSES = "invalid_classes"
    SOURCE_UNREADABLE = "source_unreadable"
    EXTENT_OUTSIDE = "extent_outside"
    RESOLUTION_UNUSABLE = "resolution_unusable"
    OUTPUT_UNWRITABLE = "output_unwritable"
    DISK_FULL = "disk_full"
    MODEL_MISSING = "model_missing"
    MODEL_INVALID = "model_invalid"
    DEVICE_UNAVAILABLE = "device_unavailable"
    OUT_OF_MEMORY = "out_of_memory"
    TILES_FAILED = "tiles_failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    ENGINE_MISSING = "engine_missing"
    ENGINE_STOPPED = "engine_stopped"
    PROTOCOL_MISMATCH = "protocol_mismatch"
    INTERNAL = "internal"


class JobError(Exception):
    """A job could not be done; keys and passwords in its texts are hidden.

    Args:
        code: What went wrong, for programs.
        message: One sentence on what happened.
        hint: One sentence on what to do.
        detail: Traceback or library message, for reports.
    """

    def __init__(self, code: ErrorCode, message: str, hint: str, detail: str = "") -> None:
        super().__init__(redact(message))
        self.code = code
        self.message = redact(message)
        self.hint = redact(hint)
        self.detail = redact(detail)

    def __str__(self) -> str:
        """Return both sentences."""
        return f"{self.message} {self.hint}".strip()

    def to_json(self) -> Dict[str, str]:
        """Return the ``data`` member of a JSON-RPC error."""
        return {
            "code": self.code.value,
            "message": self.message,
            "hint": self.hint,
            "detail": self.detail,
        }

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> JobError:
        """Rebuild an error from its JSON form; an unknown code becomes ``INTERNAL``."""
        try:
            code = ErrorCode(data.get("code"))
        except ValueError:
            code = ErrorCode.INTERNAL
        return cls(
            code,
            str(data.get("message", "The engine reported an error without a message.")),
            str(data.get("hint", "")),
            str(data.get("detail", "")),
        )


class CancelledError(JobError):
    """The user cancelled the job between two tiles."""

    def __init__(self, message: str = "The run was cancelled.", hint: str = "") -> None:
        super().__init__(ErrorCode.CANCELLED, message, hint)
