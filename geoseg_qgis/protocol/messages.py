"""JSON-RPC 2.0 over pipes, one message a line.

Requests to the engine: ``hello``, ``run`` (params: a job), ``status``, ``release``, ``shutdown``.
Notifications to the engine: ``cancel`` (params: ``{"id": request id}``).
Notifications from the engine: ``progress`` (``{"id", "fraction", "phase"}``), ``log``
(``{"id", "level", "text"}``) and ``heartbeat`` while a job runs.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Optional

from .errors import ErrorCode, JobError

MAXIMUM_LINE = 8 * 1024 * 1024


def encode(message: Dict[str, Any]) -> bytes:
    """Return one line of UTF-8 with its newline."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def decode(line: bytes) -> Dict[str, Any]:
    """Return the message in ``line``.

    Raises:
        JobError: ``PROTOCOL_MISMATCH`` when the line is no JSON-RPC 2.0 message.
    """
    try:
        message = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise JobError(
            ErrorCode.PROTOCOL_MISMATCH,
            "A line on the wire is not JSON.",
            "Restart the engine.",
            repr(line[:200]),
        ) from error
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise JobError(
            ErrorCode.PROTOCOL_MISMATCH,
            "A line on the wire is not a JSON-RPC 2.0 message.",
            "Restart the engine.",
            repr(line[:200]),
        )
    return message


def request(identifier: int, method: str, params: Optional[Dict[str, Any]] = None) -> bytes:
    """Return a request line."""
    return encode({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params or {}})


def notification(method: str, params: Optional[Dict[str, Any]] = None) -> bytes:
    """Return a notification line."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params or {}})


def response(identifier: Any, result: Dict[str, Any]) -> bytes:
    """Return a response line."""
    return encode({"jsonrpc": "2.0", "id": identifier, "result": result})


def error_response(identifier: Any, error: JobError) -> bytes:
    """Return an error line; ``data`` holds the code and the sentences."""
    return encode(
        {
            "jsonrpc": "2.0",
            "id": identifier,
            "error": {"code": -32000, "message": error.message, "data": error.to_json()},
        }
    )
