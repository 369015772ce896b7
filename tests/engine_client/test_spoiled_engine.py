"""An engine whose libraries were loaded half-way is not asked again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from geoseg_qgis.engine_client import EngineClient, EngineLocation
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job

# Ends as the libraries do where they find too little memory; the second start finds enough.
INTERPRETER = """#!{python} -I
import os, sys
from pathlib import Path
arguments, marker = sys.argv[1:], Path({marker!r})
if not marker.exists():
    marker.touch()
    place = arguments.index("-c") + 1
    arguments[place] = {prelude!r} + arguments[place]
os.execv(sys.executable, [sys.executable, *arguments])
"""
PRELUDE = """
import sys
class Failing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rasterio", "numpy"):
            raise {error}
sys.meta_path.insert(0, Failing())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("ImportError('failed to map segment from shared object')", ErrorCode.OUT_OF_MEMORY),
        ("MemoryError()", ErrorCode.OUT_OF_MEMORY),
        ("ImportError('DLL load failed')", ErrorCode.ENGINE_MISSING),
    ],
)
def test_the_next_run_has_an_engine_of_its_own(
    error: str, code: ErrorCode, tmp_path: Path, plain_job: Job
) -> None:
    python = tmp_path / "python"
    marker = str(tmp_path / "started")
    script = INTERPRETER.format(
        python=sys.executable, marker=marker, prelude=PRELUDE.format(error=error)
    )
    python.write_text(script, encoding="utf-8")
    python.chmod(0o700)
    client = EngineClient(EngineLocation(str(python), "setting"), tmp_path / "engine.log")
    try:
        with pytest.raises(JobError) as caught:
            client.run(plain_job)
        assert caught.value.code is code
        assert client.pid is None
        with pytest.raises(JobError) as caught:
            client.run(plain_job)
        assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
        assert client.pid is not None
    finally:
        client.close()
