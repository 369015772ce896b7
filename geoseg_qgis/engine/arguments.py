"""From command-line arguments to the same `Job` that QGIS makes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job, JobKind
from ..protocol.source import Extent, GridRequest, RasterSource, Stretch, StretchKind, VectorSource
from ..protocol.tasks import (
    EvaluateTask,
    InstructionTask,
    LengthUnit,
    ModelAction,
    ModelsTask,
    OpenVocabularyTask,
    PolygonOptions,
    PromptsTask,
    ReclassifyTask,
    ReferTask,
)

_STRETCHES = [kind.value for kind in StretchKind if kind is not StretchKind.LAYER]


def add_job_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add one subcommand for each kind of job."""
    openvocabulary = commands.add_parser(
        JobKind.OPEN_VOCABULARY.value,
        help="classes as text to a class raster, polygons and scores",
        description="Map classes that are given as text.",
    )
    _add_imagery(openvocabulary)
    openvocabulary.add_argument(
        "--classes", required=True, help="for example: 'building, roof; road; water =#3060c0'"
    )
    openvocabulary.add_argument("--threshold", type=float, default=0.0, help="0..1")
    openvocabulary.add_argument("--regions", help="polygon layer or integer raster of regions")
    openvocabulary.add_argument("--points-per-side", type=int, help="SAM 2 grid a tile")
    openvocabulary.add_argument("--scores", help="GeoTIFF of probabilities to write")
    _add_outputs(openvocabulary)
    reclassify = commands.add_parser(
        JobKind.RECLASSIFY.value,
        help="new thresholds on a scores raster, without any model",
        description="Apply thresholds to a scores raster.",
    )
    reclassify.add_argument("--input", required=True, help="scores raster")
    reclassify.add_argument(
        "--thresholds", required=True, help="one number, or 'building: 0.4; road: 0.3'"
    )
    _add_outputs(reclassify)
    _add_refer(commands)
    _add_prompts(commands)
    _add_evaluate(commands)
    _add_models(commands)


def job_from_arguments(options: argparse.Namespace) -> Job:
    """Return the job that parsed arguments describe.

    Raises:
        JobError: ``INVALID_JOB`` when nothing would be written.
    """
    kind = JobKind(options.command)
    if kind is JobKind.EVALUATE:
        return _evaluate_job(options)
    if kind is JobKind.MODELS:
        return _models_job(options)
    if not (options.output or options.polygons or getattr(options, "scores", None)):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The job would write nothing.",
            "Give --output, --polygons or --scores.",
        )
    if kind is JobKind.RECLASSIFY:
        source = RasterSource(_absolute(options.input), Path(options.input).stem)
        task = ReclassifyTask(
            options.thresholds,
            _polygon_options(options),
            _absolute_or_none(options.output),
            _absolute_or_none(options.polygons),
        )
        return Job(kind, source, task)
    makers: dict[JobKind, Callable[[argparse.Namespace], Any]] = {
        JobKind.OPEN_VOCABULARY: _open_vocabulary_task,
        JobKind.REFER: _refer_task,
        JobKind.PROMPTS: _prompts_task,
    }
    return Job(
        kind,
        _source(options),
        makers[kind](options),
        _grid(options),
        options.method,
        options.model,
        options.device,
    )


def _add_refer(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        JobKind.REFER.value,
        help="one instruction in words to a mask, polygons and a probability",
        description="Map what an instruction speaks of.",
    )
    _add_imagery(parser, "unigeoseg", "unigeoseg")
    parser.add_argument(
        "--instruction", required=True, help="for example: 'the largest roof on the left'"
    )
    parser.add_argument(
        "--task",
        choices=[task.value for task in InstructionTask],
        default=InstructionTask.AUTO.value,
        help="how the instruction is meant",
    )
    parser.add_argument("--threshold", type=float, default=0.5, help="probability, 0..1")
    parser.add_argument("--scores", help="GeoTIFF of the probability to write")
    _add_outputs(parser)


def _refer_task(options: argparse.Namespace) -> ReferTask:
    return ReferTask(
        instruction=options.instruction,
        task=InstructionTask(options.task),
        threshold=options.threshold,
        polygons=_polygon_options(options),
        mask_raster=_absolute_or_none(options.output),
        polygon_file=_absolute_or_none(options.polygons),
        scores=_absolute_or_none(options.scores),
    )


def _add_prompts(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        JobKind.PROMPTS.value,
        help="points, lines, boxes or polygons of a layer to one outline each",
        description="Outline the objects that the features of a layer point at.",
    )
    _add_imagery(parser, "sam2 or unigeoseg", "sam2")
    parser.add_argument("--prompts", required=True, help="vector file of any CRS")
    parser.add_argument("--prompts-layer", default="", help="layer of that file, if it has several")
    parser.add_argument("--label-field", default="", help="1 is on the object, 0 is not")
    parser.add_argument("--group-field", default="", help="equal values make one object")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability, 0..1")
    parser.add_argument("--minimum-score", type=float, default=0.0, help="0..1")
    _add_outputs(parser)


def _prompts_task(options: argparse.Namespace) -> PromptsTask:
    return PromptsTask(
        prompts=VectorSource(_absolute(options.prompts), options.prompts_layer),
        prompts_name=Path(options.prompts).stem,
        label_field=options.label_field,
        group_field=options.group_field,
        threshold=options.threshold,
        minimum_score=options.minimum_score,
        polygons=_polygon_options(options),
        polygon_file=_absolute_or_none(options.polygons),
        mask_raster=_absolute_or_none(options.output),
    )


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        JobKind.EVALUATE.value,
        help="a result against a reference: metrics, table, report",
        description="Compare classes with a reference raster or reference polygons.",
    )
    parser.add_argument("--input", required=True, help="class raster or class polygons")
    parser.add_argument("--input-field", default="", help="field that holds the class")
    parser.add_argument("--reference", required=True, help="class raster or class polygons")
    parser.add_argument("--reference-field", default="", help="field that holds the class")
    parser.add_argument(
        "--mapping", default="", help="result = reference, as in 'building, house = 1; road = 2'"
    )
    parser.add_argument("--ignore", default="", help="reference values to leave out, or none")
    parser.add_argument("--boundary-tolerance", type=float, default=2.0)
    parser.add_argument(
        "--boundary-unit",
        choices=[unit.value for unit in LengthUnit],
        default=LengthUnit.PIXELS.value,
    )
    parser.add_argument("--table", help="CSV to write")
    parser.add_argument("--report", help="HTML to write")
    parser.add_argument("--print-job", action="store_true", help="print the job and do nothing")
    _add_grid(parser)


def _evaluate_job(options: argparse.Namespace) -> Job:
    if not (options.table or options.report):
        raise JobError(
            ErrorCode.INVALID_JOB, "The job would write nothing.", "Give --table or --report."
        )
    result_polygons, _ = _regions(options.input)
    polygons, raster = _regions(options.reference)
    task = EvaluateTask(
        reference=raster,
        reference_polygons=polygons,
        reference_field=options.reference_field,
        result_polygons=result_polygons,
        result_field=options.input_field,
        mapping=options.mapping,
        ignore=options.ignore,
        boundary_tolerance=options.boundary_tolerance,
        boundary_unit=LengthUnit(options.boundary_unit),
        table=_absolute_or_none(options.table),
        report=_absolute_or_none(options.report),
    )
    source = RasterSource(_absolute(options.input), Path(options.input).stem)
    return Job(JobKind.EVALUATE, source, task, _grid(options))


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        JobKind.MODELS.value,
        help="list, download, verify or remove model presets",
        description="List model presets, bring their files, verify or remove them.",
    )
    actions = [action.value for action in ModelAction]
    parser.add_argument("action", nargs="?", choices=actions, default=ModelAction.LIST.value)
    parser.add_argument("models", nargs="*", metavar="NAME", help="presets, or folders with a card")
    parser.add_argument("--folder", default="", help="model folder in place of GEOSEG_MODELS")
    parser.add_argument("--adopt-from", default="", help="folder with files fetched by hand")
    parser.add_argument("--offline", action="store_true", help="leave the network alone")
    parser.add_argument("--table", help="CSV to write")
    parser.add_argument("--device", default="auto", help="what memory is told for")
    parser.add_argument("--print-job", action="store_true", help="print the job and do nothing")


def _models_job(options: argparse.Namespace) -> Job:
    task = ModelsTask(
        ModelAction(options.action),
        tuple(options.models),
        _absolute_or_none(options.folder) or "",
        _absolute_or_none(options.adopt_from) or "",
        options.offline,
        _absolute_or_none(options.table),
    )
    return Job(JobKind.MODELS, None, task, device=options.device)


def _grid(options: argparse.Namespace) -> GridRequest:
    return GridRequest(Extent(*options.extent) if options.extent else None, options.resolution)


def _add_grid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--extent", type=float, nargs=4, metavar=("XMIN", "YMIN", "XMAX", "YMAX"),
        help="part to process, in the raster's CRS",
    )  # fmt: skip
    parser.add_argument("--resolution", type=float, help="map units per pixel")


def _add_imagery(
    parser: argparse.ArgumentParser,
    methods: str = "gumix, mask_selection or fast",
    method: str = "",
) -> None:
    parser.add_argument("--input", required=True, help="raster: anything that GDAL opens")
    _add_grid(parser)
    parser.add_argument("--bands", type=int, nargs="+", default=[], help="red green blue, from 1")
    parser.add_argument("--nodata", type=float, nargs="+", default=[], help="further nodata values")
    parser.add_argument(
        "--stretch", choices=_STRETCHES, default=StretchKind.PERCENTILES.value, help="to 8 bits"
    )
    parser.add_argument("--method", default=method, help=methods)
    parser.add_argument("--model", default="", help="preset name or folder")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", help="class GeoTIFF to write")
    parser.add_argument("--polygons", help="GeoPackage to write")
    parser.add_argument("--minimum-area", type=float, default=0.0, help="square metres")
    parser.add_argument("--minimum-hole", type=float, default=0.0, help="square metres")
    parser.add_argument("--simplify", type=float, default=1.0, help="pixels; 0 keeps pixel edges")
    parser.add_argument("--right-angles", nargs="+", default=[], help="classes to square")
    parser.add_argument("--print-job", action="store_true", help="print the job and do nothing")


def _source(options: argparse.Namespace) -> RasterSource:
    return RasterSource(
        uri=_absolute(options.input),
        name=Path(options.input).stem,
        bands=tuple(options.bands),
        nodata=tuple(options.nodata),
        stretch=Stretch(StretchKind(options.stretch)),
    )


def _open_vocabulary_task(options: argparse.Namespace) -> OpenVocabularyTask:
    regions, region_raster = _regions(options.regions)
    return OpenVocabularyTask(
        classes=options.classes,
        threshold=options.threshold,
        regions=regions,
        region_raster=region_raster,
        points_per_side=options.points_per_side,
        polygons=_polygon_options(options),
        class_raster=_absolute_or_none(options.output),
        polygon_file=_absolute_or_none(options.polygons),
        scores=_absolute_or_none(options.scores),
    )


def _regions(path: str | None) -> tuple[VectorSource | None, RasterSource | None]:
    if path is None:
        return None, None
    rasters = (".tif", ".tiff", ".vrt", ".img", ".jp2", ".png")
    if path.lower().endswith(rasters):
        return None, RasterSource(_absolute(path), Path(path).stem)
    return VectorSource(_absolute(path)), None


def _polygon_options(options: argparse.Namespace) -> PolygonOptions:
    return PolygonOptions(
        options.minimum_area, options.minimum_hole, options.simplify, tuple(options.right_angles)
    )


def _absolute(path: str) -> str:
    """Return a file's absolute path; what GDAL reads otherwise (``/vsizip/``, URLs) stays."""
    return str(Path(path).resolve()) if os.path.exists(path) else path  # noqa: PTH110


def _absolute_or_none(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path else None
