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
    code, message, hint = _explain(error)
    return JobError(code, message, hint, "".join(traceback.format_exception(error)))


def _explain(error: BaseException) -> tuple[ErrorCode, str, str]:
    """Return the code, what happened and what to do."""
    library = _of_a_library(error)
    if is_out_of_memory(error):
        explained = (
            ErrorCode.OUT_OF_MEMORY,
            "There was not enough memory for this run.",
            "Use a smaller extent, a coarser resolution or a smaller model, or the CPU.",
        )
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        explained = (
            ErrorCode.DISK_FULL,
            "The disk is full.",
            "Free some space or write the results to another disk.",
        )
    elif isinstance(error, ImportError):
        explained = (
            ErrorCode.ENGINE_MISSING,
            f"The engine's environment is incomplete: {_first_line(error)}.",
            "Run the algorithm 'Set up the engine' (geoseg:setup), or 'make setup' in a checkout.",
        )
    elif isinstance(error, PermissionError):
        explained = (
            ErrorCode.OUTPUT_UNWRITABLE,
            f"The file {error.filename or ''} may not be opened or written.",
            "Choose another folder, or close the program that holds the file.",
        )
    elif library:
        explained = (
            ErrorCode.SOURCE_UNREADABLE,
            f"{library} cannot work with this input: {_first_line(error)}.",
            "Check the coordinate reference systems and geometries of the layers, or save them "
            "in another format.",
        )
    else:
        explained = (
            ErrorCode.INTERNAL,
            f"The engine met an unexpected error: {type(error).__name__}: {_first_line(error)}.",
            "Run again; if it happens again, report it with the details below.",
        )
    return explained


def _of_a_library(error: BaseException) -> str:
    """Return which of the geospatial libraries an error comes from; empty for any other."""
    module = type(error).__module__.split(".")[0]
    return {
        "pyproj": "PROJ", "rasterio": "GDAL", "pyogrio": "GDAL", "shapely": "GEOS",
    }.get(module, "")  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the memory of the computer or of a GPU ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    if isinstance(error, ImportError):
        # A library that does not fit is not mapped; the place for thread variables is another.
        words = ("failed to map segment", "cannot allocate memory")
        return "static tls" not in text and any(word in text for word in words)
    return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no message"
