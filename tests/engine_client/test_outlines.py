"""The client for outlines with the real engine: late answers, crashes, closing."""

from __future__ import annotations

import os
import queue
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_scenes import landscape, tiny
from waiting import wait_until

from geoseg_qgis.engine_client import Answer, EngineLocation, OutlineClient
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.outline import OutlineRequest, Place, Prompt, PromptKind
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind

__all__ = ["landscape", "tiny"]

LIMIT = 240.0


class Listener:
    """A client and what it tells."""

    def __init__(self, folder: Path) -> None:
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.restarts: queue.Queue[bool] = queue.Queue()
        self.client = OutlineClient(
            EngineLocation(sys.executable, "setting"),
            self.answers.put,
            lambda: self.restarts.put(True),
            log_file=folder / "outlines.log",
        )

    def answer(self) -> Answer:
        return self.answers.get(timeout=LIMIT)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(tmp_path)
    yield listener
    listener.client.close()


def request(image: Path, model: str, x: float = 400030.0) -> OutlineRequest:
    source = RasterSource(str(image), stretch=Stretch(StretchKind.NONE))
    prompt = Prompt(PromptKind.POINT, ((x, 4999975.0),))
    return OutlineRequest(Place(source, x, 4999975.0), (prompt,), model, "cpu")


@pytest.mark.slow
def test_only_the_newest_answer_comes(listener: Listener, landscape: Path, tiny: str) -> None:
    client = listener.client
    serials = [
        client.outline(lambda x=x: request(landscape, tiny, x))  # type: ignore[misc]
        for x in (400020.0, 400025.0, 400030.0)
    ]
    answer = listener.answer()
    assert answer.serial == serials[-1]
    assert answer.error is None
    assert answer.outline is not None
    again = client.outline(lambda: request(landscape, tiny))
    client.forget()
    last = client.prepare(lambda: request(landscape, tiny))
    assert again < last
    prepared = listener.answer()
    assert prepared.serial == last
    assert prepared.outline is not None
    assert prepared.outline.was_encoded
    assert listener.answers.empty()


@pytest.mark.slow
def test_errors_arrive_and_the_client_goes_on(
    listener: Listener, landscape: Path, tiny: str
) -> None:
    def fail() -> OutlineRequest:
        raise JobError(ErrorCode.EXTENT_OUTSIDE, "Nothing there.", "Go elsewhere.")

    listener.client.outline(fail)
    error = listener.answer().error
    assert error is not None
    assert error.code is ErrorCode.EXTENT_OUTSIDE
    listener.client.outline(lambda: request(landscape.with_name("gone.tif"), tiny))
    error = listener.answer().error
    assert error is not None
    assert error.code is ErrorCode.SOURCE_UNREADABLE
    listener.client.outline(lambda: request(landscape, tiny))
    assert listener.answer().outline is not None


@pytest.mark.slow
def test_a_killed_engine_is_replaced_and_asked_again(
    listener: Listener, landscape: Path, tiny: str
) -> None:
    client = listener.client
    client.prepare(lambda: OutlineRequest(model=tiny, device="cpu"))
    listener.answer()
    pid = client.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    serial = client.outline(lambda: request(landscape, tiny))
    os.kill(pid, signal.SIGKILL)
    answer = listener.answer()
    assert answer.serial == serial
    assert answer.outline is not None
    assert client.pid not in {None, pid}
    assert listener.restarts.qsize() == 1


@pytest.mark.slow
def test_an_engine_that_dies_while_nobody_waits_is_replaced_in_silence(
    listener: Listener, landscape: Path, tiny: str
) -> None:
    client = listener.client
    client.prepare(lambda: OutlineRequest(model=tiny, device="cpu"))
    listener.answer()
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    assert wait_until(lambda: client.pid is None)
    client.outline(lambda: request(landscape, tiny))
    assert listener.answer().outline is not None
    assert listener.restarts.empty()


@pytest.mark.slow
def test_closing_ends_the_engine_and_nothing_is_told(
    listener: Listener, landscape: Path, tiny: str
) -> None:
    client = listener.client
    client.outline(lambda: request(landscape, tiny))
    assert wait_until(lambda: client.pid is not None)
    pid = client.pid
    client.close()
    assert client.pid is None
    assert wait_until(lambda: not Path(f"/proc/{pid}").exists())
    client.outline(lambda: request(landscape, tiny))
    assert listener.answers.empty()


@pytest.mark.slow
def test_a_missing_interpreter_is_told(tmp_path: Path) -> None:
    answers: queue.Queue[Answer] = queue.Queue()
    location = EngineLocation(str(tmp_path / "nothing"), "setting")
    client = OutlineClient(location, answers.put, log_file=tmp_path / "log")
    client.prepare(OutlineRequest)
    error = answers.get(timeout=LIMIT).error
    client.close()
    assert error is not None
    assert error.code is ErrorCode.ENGINE_MISSING
