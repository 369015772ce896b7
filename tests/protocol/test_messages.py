"""Every line on the wire is taken or refused; none may end the reader."""

from __future__ import annotations

import json

import pytest

from geoseg_qgis.protocol import messages
from geoseg_qgis.protocol.errors import ErrorCode, JobError


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 10_000,
        b"[]",
        b'{"id": 1, "method": "run"}',
        b'{"jsonrpc": "2.0", "id": [1], "method": "run"}',
        b'{"jsonrpc": "2.0", "id": {}, "method": "run"}',
        b'{"jsonrpc": "2.0", "id": 1.5, "method": "run"}',
        b'{"jsonrpc": "2.0", "id": NaN, "method": "run"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "run", "params": [1, 2]}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "run", "params": "job"}',
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(JobError) as caught:
        messages.decode(line)
    assert caught.value.code is ErrorCode.PROTOCOL_MISMATCH


@pytest.mark.parametrize("text", ["\ud800", "航空写真", "a\nb", "\x00"])
def test_any_text_survives_as_one_line(text: str) -> None:
    line = messages.request(7, "run", {"uri": text})
    assert line.count(b"\n") == 1
    assert messages.decode(line)["params"]["uri"] == text
    assert json.loads(line)["id"] == 7
