"""Outlines by the engine process: the newest wins, and jobs do not hold them up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_process import EngineProcess

from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.outline import Outline, OutlineRequest, Place, Prompt, PromptKind
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

PLACE = (400030.0, 4999975.0)


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    engine = EngineProcess()
    yield engine
    engine.close()


def params(image: Path, model: str, x: float = PLACE[0]) -> dict[str, Any]:
    source = RasterSource(str(image), stretch=Stretch(StretchKind.NONE))
    prompt = Prompt(PromptKind.POINT, ((x, PLACE[1]),))
    place = Place(source, x, PLACE[1])
    return OutlineRequest(place, (prompt,), model, "cpu").to_json()


@pytest.mark.slow
def test_only_the_newest_request_is_answered(
    engine: EngineProcess, landscape: Path, tiny: str
) -> None:
    for identifier in range(1, 9):
        engine.send(id=identifier, method="outline", params=params(landscape, tiny))
    responses: dict[int, dict[str, Any]] = {}
    while 8 not in responses:
        message = engine.receive()
        responses[message["id"]] = message
    assert "result" in responses.pop(8)
    codes = [message["error"]["data"]["code"] for message in responses.values()]
    assert len(codes) == 7
    assert set(codes) == {"superseded"}


@pytest.mark.slow
def test_a_request_can_be_cancelled(engine: EngineProcess, landscape: Path, tiny: str) -> None:
    engine.send(id=1, method="outline", params=params(landscape, tiny))
    engine.send(method="cancel", params={"id": 1})
    assert engine.answer(1)["error"]["data"]["code"] == "cancelled"
    engine.send(id=2, method="outline", params=params(landscape, tiny))
    assert "result" in engine.answer(2)


@pytest.mark.slow
def test_errors_leave_the_lane_open(engine: EngineProcess, landscape: Path, tiny: str) -> None:
    engine.send(id=1, method="outline", params={"prompts": 3})
    assert engine.answer(1)["error"]["data"]["code"] == "invalid_job"
    engine.send(id=2, method="outline", params=params(landscape.with_name("gone.tif"), tiny))
    assert engine.answer(2)["error"]["data"]["code"] == "source_unreadable"
    engine.send(id=3, method="prepare", params=OutlineRequest(model=tiny, device="cpu").to_json())
    assert engine.answer(3)["result"]["model"] == "tiny-clicks"


@pytest.mark.slow
def test_outlines_are_answered_while_a_job_runs(
    engine: EngineProcess, suburb: Path, landscape: Path, tiny: str, tmp_path: Path
) -> None:
    """The job of the test would go on for long after the answer; it is cancelled then."""
    engine.send(id=1, method="prepare", params=OutlineRequest(model=tiny, device="cpu").to_json())
    engine.answer(1)
    task = OpenVocabularyTask(
        parse_classes("building; road; tree; water"), class_raster=str(tmp_path / "classes.tif")
    )
    source = RasterSource(str(suburb), stretch=Stretch(StretchKind.NONE))
    job = Job(source, task, method="mask_selection", device="cpu")
    engine.send(id=2, method="run", params=job.to_json())
    while engine.receive().get("method") != "progress":
        pass
    engine.send(id=3, method="outline", params=params(landscape, tiny))
    found: list[Outline] = []
    while not found:
        message = engine.receive()
        assert message.get("id") != 2 or "method" in message
        if message.get("id") == 3:
            found.append(Outline.from_json(message["result"]))
    engine.send(method="cancel", params={"id": 2})
    assert engine.answer(2)["error"]["data"]["code"] == "cancelled"
