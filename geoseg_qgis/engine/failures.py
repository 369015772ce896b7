"""Any exception as a `JobError`: one sentence on what happened, one on what to do."""

from __future__ import annotations

import errno
import traceback

from geoseg_qgis.protocol.errors import ErrorCode, JobError

_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "status_alloc_failed",
)


def as_job_error(error: BaseException) -> JobError:
    """Return ``error`` as a `JobError` with its traceback as detail."""
    if isinstance(error, JobError):
        return error
    detail = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        return JobError(
            ErrorCode.OUT_OF_MEMORY,
            "There was not enough memory for this run.",
            "Use a smaller extent, a coarser resolution or a smaller model, or the CPU.",
            detail,
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return JobError(
            ErrorCode.DISK_FULL,
            "The disk is full.",
            "Free some space or write the results to another disk.",
            detail,
        )
    if isinstance(error, ImportError):
        return JobError(
            ErrorCode.ENGINE_MISSING,
            f"The engine's environment is incomplete: {_first_line(error)}.",
            "Run the algorithm 'Set up the engine' (geoseg:setup), or 'make setup' in a checkout.",
            detail,
        )
    if isinstance(error, PermissionError):
        return JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"The file {error.filename or ''} may not be opened or written.",
            "Choose another folder, or close the programme that holds the file.",
            detail,
        )
    return JobError(
        ErrorCode.INTERNAL,
        f"The engine met an unexpected error: {type(error).__name__}: {_first_line(error)}.",
        "Run again; if it happens again, report it with the details below.",
        detail,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the memory of the computer or of a GPU ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no message"
