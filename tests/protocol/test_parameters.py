"""Parameters are declared once, and whoever makes a job hears of values that do not fit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job, make_job, parameters_of, validate
from geoseg_qgis.protocol.legend import LegendClass, parse_classes
from geoseg_qgis.protocol.parameters import Parameter
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.registry import KINDS
from geoseg_qgis.protocol.source import Extent, GridRequest, RasterSource, VectorSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask
from geoseg_qgis.protocol.tasks.refer import ReferTask

RASTER = RasterSource("ortho.tif")
NEEDED: dict[str, dict[tuple[str, ...], Any]] = {
    "openvocabulary": {("source",): RASTER, ("task", "classes"): parse_classes("house; road")},
    "refer": {("source",): RASTER, ("task", "instruction"): "all houses"},
    "prompts": {("source",): RASTER, ("task", "prompts"): VectorSource("clicks.gpkg")},
    "assess": {("source",): RASTER, ("task", "mask"): RASTER},
    "reclassify": {("source",): RASTER, ("task", "thresholds"): "0.5"},
    "evaluate": {("task", "result"): RASTER, ("task", "reference"): RASTER},
    "models": {},
}
EVERY = [(kind, item) for kind in KINDS for item in parameters_of(kind)]


def make(kind: str, member: str, value: Any) -> Job:
    return make_job(kind, {**NEEDED[kind], tuple(member.split(".")): value})


@pytest.mark.parametrize(("kind", "item"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_every_parameter_explains_itself(kind: str, item: Parameter) -> None:
    assert item.label[0].isupper()
    assert item.help.endswith(".")
    assert item.name or item.flag
    assert all(meaning and not meaning.endswith(".") for meaning in item.words.values())


@pytest.mark.parametrize(("kind", "item"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_every_number_text_and_list_has_a_limit(kind: str, item: Parameter) -> None:
    is_number = item.kind in (int, float) or item.item_type is int
    assert is_number == math.isfinite(item.maximum) == math.isfinite(item.minimum)
    assert 0 < item.longest <= 100_000


def test_names_and_options_are_given_once_in_each_kind() -> None:
    for kind in KINDS:
        items = parameters_of(kind)
        for names in ([item.name for item in items if item.name], [item.option for item in items]):
            assert len(names) == len(set(names)), kind


def test_every_task_says_what_it_does() -> None:
    for kind in KINDS.values():
        assert kind.summary.endswith(".")
        assert kind.task.__module__ == f"geoseg_qgis.protocol.tasks.{kind.name}"


def test_a_job_of_needed_values_has_the_defaults() -> None:
    for kind, values in NEEDED.items():
        job = make_job(kind, values)
        assert job.kind == kind
        assert Job.from_json(job.to_json()) == job
    assert make_job("refer", NEEDED["refer"]).task == ReferTask("all houses")
    methods = {kind: make_job(kind, values).method for kind, values in NEEDED.items()}
    assert methods == {
        "openvocabulary": "auto", "refer": "auto", "prompts": "auto", "assess": "segassess",
        "reclassify": "", "evaluate": "", "models": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "member", "value", "sentence"),
    [
        ("refer", "task.threshold", 40, "Threshold must lie between 0 and 1; it is 40."),
        ("refer", "task.threshold", math.nan, "Threshold must lie between 0 and 1; it is nan."),
        ("refer", "task.threshold", math.inf, "Threshold must lie between 0 and 1; it is inf."),
        ("refer", "task.threshold", "high", "Threshold must be a number; it is 'high'."),
        ("refer", "task.threshold", True, "Threshold must be a number; it is True."),
        ("refer", "task.threshold", 10**400, "Threshold must be a number; it is too large."),
        ("refer", "task.view", "sideways", "View cannot be 'sideways'."),
        ("refer", "task.instruction", " \n", "The instruction is empty."),
        ("refer", "task.instruction", None, "Nothing was given for Instruction."),
        ("refer", "task.instruction", "a" * 10_001, "at most 10,000 characters, not 10,001."),
        ("refer", "method", "sam3", "Method cannot be 'sam3'."),
        ("refer", "device", "abacus", "Device cannot be 'abacus'."),
        ("refer", "device", 3, "Device cannot be 3."),
        ("refer", "grid.resolution", -1, "Resolution must be greater than 0 and at most 1,000,000"),
        ("refer", "grid.resolution", 0, "Resolution must be greater than 0"),
        ("refer", "grid.extent", [1, 2, 3, 4], "Extent must be an object; it is [1, 2, 3, 4]."),
        ("refer", "source", None, "Nothing was given for Imagery."),
        ("reclassify", "source", None, "Nothing was given for Scores."),
        ("refer", "source.bands", [1, 2], "2 bands were chosen."),
        ("refer", "source.bands", [0], "Bands must lie between 1 and 65,535; one of them is 0."),
        ("refer", "source.bands", [1, 2, 3, 4], "Bands may have at most 3 entries, not 4."),
        ("refer", "source.nodata", [math.inf], "Nodata values must be finite"),
        ("refer", "source.stretch.kind", "layer", "the job holds no contrast limits of a layer"),
        ("openvocabulary", "task.points_per_side", 10**9, "between 1 and 128; it is 1,000,000,000"),
        ("openvocabulary", "task.points_per_side", 8.5, "Points per side must be a whole number"),
        ("openvocabulary", "task.classes", "house", "Classes must be a list; it is 'house'."),
        ("openvocabulary", "task.classes", [], "No classes were given."),
        ("openvocabulary", "task.regions", {"uri": "a.tif"}, "Regions must be an object with the"),
        ("openvocabulary", "task.polygons.right_angles", ["barn"], "'barn', which is not a class"),
        ("openvocabulary", "task.polygons.minimum_area", -1, "Minimum area must lie between 0 and"),
        ("assess", "task.mask", None, "Nothing was given for Mask."),
        ("assess", "method", "auto", "Method cannot be 'auto'."),
        ("evaluate", "task.boundary_tolerance", 1e9, "Boundary tolerance must lie between 0 and"),
        ("models", "task.action", "download", "No model to download was named."),
        ("models", "task.models", ["a"] * 1001, "Models may have at most 1,000 entries"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_named_by_their_label(
    kind: str, member: str, value: Any, sentence: str
) -> None:
    with pytest.raises(JobError) as caught:
        make(kind, member, value)
    assert sentence in caught.value.message
    assert caught.value.hint.endswith(".")
    assert caught.value.code in (ErrorCode.INVALID_JOB, ErrorCode.INVALID_CLASSES)


def test_other_members_have_limits_too() -> None:
    for source, words in (
        (RasterSource("a" * 1_000_001), "Imagery: uri has 1,000,001 characters"),
        (RasterSource("a", class_names=dict.fromkeys(map(str, range(100_001)), "")), "entries"),
    ):
        with pytest.raises(JobError, match=words):
            validate(Job(source, ReferTask("all houses")))
    grid = GridRequest(Extent(math.nan, 0.0, 1.0, 1.0))
    with pytest.raises(JobError, match="Extent: xmin must be finite; it is nan"):
        validate(Job(RASTER, ReferTask("all houses"), grid))


def test_validate_checks_jobs_made_in_python() -> None:
    job = Job(RASTER, ReferTask("all houses", threshold=2.0))
    with pytest.raises(JobError, match="Threshold must lie between 0 and 1; it is 2"):
        validate(job)


def test_validate_spells_right_angles_as_the_legend_does() -> None:
    task = OpenVocabularyTask(
        parse_classes("House; road"), polygons=PolygonOptions(right_angles=("house",))
    )
    assert validate(Job(RASTER, task)).task.polygons.right_angles == ("House",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_id": 2}, "Class 1 has the number 2"),
        ({"color": "red"}, "The colour of class 1, 'red'"),
        ({"synonyms": ()}, "Class 1 has no name"),
        ({"synonyms": (" ",)}, "Class 1 has no name"),
        ({"synonyms": ("a" * 201,)}, "too long a name"),
    ],
)
def test_classes_that_no_text_gives_are_refused(change: dict[str, Any], words: str) -> None:
    item = dataclasses.replace(LegendClass(1, ("house",), "#ff0000"), **change)
    with pytest.raises(JobError, match=words) as caught:
        make("openvocabulary", "task.classes", (item,))
    assert caught.value.code is ErrorCode.INVALID_CLASSES


def test_a_method_of_a_folder_is_offered(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card = '{"name": "toy", "title": "Toy", "help": "Plays.", "order": 9}'
    (tmp_path / "toy.json").write_text(card, encoding="utf-8")
    monkeypatch.setenv("GEOSEG_METHODS", str(tmp_path))
    assert make("openvocabulary", "method", "toy").method == "toy"
    (method,) = (item for item in parameters_of("openvocabulary") if item.name == "METHOD")
    assert method.full_help().endswith("; toy: Plays.")
    monkeypatch.delenv("GEOSEG_METHODS")
    with pytest.raises(JobError, match="Method cannot be 'toy'"):
        make("openvocabulary", "method", "toy")


def test_layers_of_either_type_survive_json() -> None:
    for layer in (RasterSource("a.tif", class_names={"1": "house"}), VectorSource("a.gpkg", "b")):
        job = make("openvocabulary", "task.regions", layer)
        form = job.to_json()["task"]["regions"]
        assert form["type"] == {RasterSource: "raster", VectorSource: "vector"}[type(layer)]
        assert Job.from_json(job.to_json()) == job
