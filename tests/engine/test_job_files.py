"""Job files in the encodings that editors and shells write."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from geoseg_qgis.engine.cli import main

# Refused for its folder, after it was read and understood.
JOB = {
    "kind": "openvocabulary",
    "source": {"uri": "/nowhere/Straße.tif"},
    "task": {
        "classes": [{"class_id": 1, "synonyms": ["Straße"], "color": "#808080"}],
        "class_raster": "/nowhere/out.tif",
    },
    "model": "offline-small",
    "method": "fast",
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_job_files_in_any_unicode(
    encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(json.dumps(JOB, ensure_ascii=False).encode(encoding))
    assert main(["run", str(path)]) == 1
    assert "The folder /nowhere does not exist" in capsys.readouterr().err


def test_jobs_on_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.dumps(JOB).encode("utf-16")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert main(["run", "-"]) == 1
    assert "The folder /nowhere does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\x80\x81", b"{", b"nul", b"\xef\xbb\xbf"])
def test_what_is_no_job_is_said(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(content)
    assert main(["run", str(path)]) == 1
    assert "is not JSON" in capsys.readouterr().err
