"""Class texts, jobs and lines on the wire, whatever stands in them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_qgis.protocol import messages
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import check_classes, format_classes, parse_classes
from geoseg_qgis.protocol.plain_text import plain_text
from geoseg_qgis.protocol.source import Extent, GridRequest, RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

WORD = st.text(st.sampled_from("abcß屋🏠é "), min_size=1, max_size=12).filter(str.strip)
COORDINATE = st.floats(-1e9, 1e9, allow_nan=False)
ANY_TEXT = st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def attempt(call: Callable[[], Any]) -> tuple[Any, JobError | None]:
    """Return what a call returned, and the error that it raised; other errors go on."""
    try:
        return call(), None
    except JobError as error:
        return None, error


def through_xml(text: str) -> str:
    """Return a text after it was written as XML and read again."""
    element = ET.Element("name")
    element.text = text
    return ET.fromstring(ET.tostring(element, "utf-8")).text or ""  # noqa: S314  own text


@given(st.one_of(ANY_TEXT, st.text("ab;,=#0f\n\x00\x1f", max_size=40)))
def test_a_class_text_is_classes_or_a_sentence(text: str) -> None:
    classes, error = attempt(lambda: parse_classes(text))
    if error is not None:
        assert error.code is ErrorCode.INVALID_CLASSES
        assert error.message.endswith(".")
        assert error.hint
        return
    check_classes(classes)
    assert parse_classes(format_classes(classes)) == classes
    assert [item.class_id for item in classes] == list(range(1, len(classes) + 1))
    for item in classes:
        assert through_xml(item.name) == item.name


@given(st.text(max_size=80))
def test_plain_text_is_valid_xml_and_nothing_else_is_lost(text: str) -> None:
    plain = plain_text(text)
    assert plain_text(plain) == plain
    assert through_xml(plain) == plain.replace("\r\n", "\n").replace("\r", "\n")
    assert [c for c in text if c.isprintable() and c not in "\ufffe\uffff"] == [
        c for c in plain if c.isprintable()
    ]


@pytest.mark.slow
@given(
    st.lists(WORD, min_size=1, max_size=5, unique_by=lambda word: " ".join(word.lower().split())),
    st.one_of(st.none(), st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE)),
    st.floats(0.0, 1.0),
    st.text(min_size=1, max_size=30),
)
def test_jobs_come_back_from_json(
    words: list[str],
    extent: tuple[float, float, float, float] | None,
    threshold: float,
    path: str,
) -> None:
    task = OpenVocabularyTask(
        parse_classes("; ".join(words)), threshold=threshold, class_raster=path
    )
    grid = GridRequest(None if extent is None else Extent(*extent))
    job = Job(RasterSource(path), task, grid, "fast", "offline-small", "cpu")
    again, error = attempt(lambda: Job.from_json(json.loads(json.dumps(job.to_json()))))
    if error is not None:
        assert error.code is ErrorCode.INVALID_JOB
        return
    assert again == dataclasses.replace(job)


@pytest.mark.slow
@settings(max_examples=300)
@given(JSON)
def test_no_value_is_more_than_an_invalid_job(value: object) -> None:
    _, error = attempt(lambda: Job.from_json(value))
    assert error is None or error.code is ErrorCode.INVALID_JOB


@pytest.mark.slow
@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=80), JSON.map(lambda value: json.dumps(value).encode())))
def test_no_line_is_more_than_a_mismatch(line: bytes) -> None:
    message, error = attempt(lambda: messages.decode(line))
    if error is not None:
        assert error.code is ErrorCode.PROTOCOL_MISMATCH
        return
    assert message["jsonrpc"] == "2.0"


def test_no_text_of_a_job_holds_a_null_character() -> None:
    task = OpenVocabularyTask(parse_classes("building"), class_raster="out\0.tif")
    job = Job(RasterSource("a.tif"), task, method="fast")
    _, error = attempt(lambda: Job.from_json(job.to_json()))
    assert error is not None
    assert error.code is ErrorCode.INVALID_JOB
    assert "null character" in error.message
