"""Jobs and results keep their meaning through JSON, and mistakes are named."""

import json
from typing import Any

import pytest

from geoseg_qgis.protocol import messages
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.result import ClassSummary, Result
from geoseg_qgis.protocol.source import Extent, GridRequest, RasterSource, Stretch, StretchKind
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask


def example_job() -> Job:
    return Job(
        RasterSource(
            "ortho.tif",
            "Ortho",
            "",
            (3, 2, 1),
            (0.0,),
            Stretch(StretchKind.LAYER, ((0.0, 255.0),) * 3),
        ),
        OpenVocabularyTask(
            parse_classes("road; water"), 0.3, polygons=PolygonOptions(4.0, 2.0, 1.5, ("road",))
        ),
        GridRequest(Extent(1.0, 2.0, 3.0, 4.0), 0.5),
        "gumix",
    )


def test_job_survives_json() -> None:
    job = example_job()
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_result_survives_json() -> None:
    result = Result(
        {"OUTPUT": "classes.tif"},
        {"AREA": 2.5},
        (ClassSummary(1, "road", "#808080", 10, 0.1, 2.5, 3),),
        ("One tile failed.",),
        {"method": "gumix"},
    )
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"kind": "paint"}, "paint"),
        ({"colour": 1}, "colour"),
        ({"device": 3}, "Device cannot be 3"),
        ({"source": {"uri": "a.tif", "bands": ["one"]}}, "Bands must be whole numbers; one"),
        ({"source": {"uri": "a.tif", "stretch": {"kind": "wild"}}}, "stretch cannot be 'wild'"),
        ({"task": {}}, "Nothing was given for Classes"),
        ({"grid": {"extent": [1, 2, 3, 4]}}, "Extent must be an object"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], name: str) -> None:
    with pytest.raises(JobError, match=name) as caught:
        Job.from_json({**example_job().to_json(), **change})
    assert caught.value.code is ErrorCode.INVALID_JOB


def test_wire_errors_keep_both_sentences() -> None:
    error = JobError(ErrorCode.DISK_FULL, "The disk is full.", "Free 2 GB.", "ENOSPC")
    message = messages.decode(messages.error_response(7, error))
    again = JobError.from_json(message["error"]["data"])
    assert (again.code, again.message, again.hint, again.detail) == (
        error.code,
        error.message,
        error.hint,
        error.detail,
    )


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n", b'{"id": 1}\n', b"\xff\n"])
def test_foreign_lines_are_refused(line: bytes) -> None:
    with pytest.raises(JobError) as caught:
        messages.decode(line)
    assert caught.value.code is ErrorCode.PROTOCOL_MISMATCH
