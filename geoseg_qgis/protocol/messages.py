"""JSON-RPC 2.0 over pipes, one message a line.

Requests to the engine: ``hello``, ``run`` (params: a job), ``bounds``
(params: a raster source), ``outline`` and ``prepare`` (params: a place and its prompts),
``status``, ``release``, ``shutdown``.
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
    """Return one line of ASCII with its newline; half a surrogate pair in a text survives.

    Raises:
        ValueError: A number is not finite, or something has no JSON form.
    """
    text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def decode(line: bytes) -> Dict[str, Any]:
    """Return the message in ``line``.

    Raises:
        JobError: ``PROTOCOL_MISMATCH`` when the line is no JSON-RPC 2.0 message.
    """
    try:
        message = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _mismatch("A line on the wire is not JSON.", line) from error
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise _mismatch("A line on the wire is not a JSON-RPC 2.0 message.", line)
    if not isinstance(message.get("id"), (str, int, type(None))):
        raise _mismatch("The id of a message is neither a number nor a text.", line)
    if not isinstance(message.get("params", {}), (dict, type(None))):
        raise _mismatch("The parameters of a message are not an object.", line)
    return message


def _mismatch(sentence: str, line: bytes) -> JobError:
    return JobError(ErrorCode.PROTOCOL_MISMATCH, sentence, "Restart the engine.", repr(line[:200]))


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
