"""From command-line arguments to the same `Job` that QGIS makes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job, JobKind
from geoseg_qgis.protocol.source import RasterSource, VectorSource
from geoseg_qgis.protocol.tasks import (
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

from .argument_values import (
    absolute,
    absolute_or_none,
    add_grid,
    add_imagery,
    grid_of,
    layer_of,
    source_of,
)
from .assess_arguments import add_assess, assess_job


def add_job_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add one subcommand for each kind of job."""
    openvocabulary = commands.add_parser(
        JobKind.OPEN_VOCABULARY.value,
        help="classes as text to a class raster, polygons and scores",
        description="Map classes that are given as text.",
    )
    add_imagery(openvocabulary)
    openvocabulary.add_argument(
        "--classes", required=True, help="for example: 'building, roof; road; water =#3060c0'"
    )
    openvocabulary.add_argument("--threshold", type=float, default=0.0, help="0..1")
    openvocabulary.add_argument(
        "--rivals",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let land cover that is not named compete unseen; what resembles it stays 0",
    )
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
    add_assess(commands)
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
    if kind is JobKind.ASSESS:
        return assess_job(options)
    if kind is JobKind.MODELS:
        return _models_job(options)
    if not (options.output or options.polygons or getattr(options, "scores", None)):
        flags = (
            "--output, --polygons or --scores"
            if "scores" in options
            else ("--output or --polygons")
        )
        raise JobError(ErrorCode.INVALID_JOB, "The job would write nothing.", f"Give {flags}.")
    if kind is JobKind.RECLASSIFY:
        source = RasterSource(absolute(options.input), Path(options.input).stem)
        task = ReclassifyTask(
            options.thresholds,
            _polygon_options(options),
            absolute_or_none(options.output),
            absolute_or_none(options.polygons),
        )
        return Job(kind, source, task)
    makers: dict[JobKind, Callable[[argparse.Namespace], Any]] = {
        JobKind.OPEN_VOCABULARY: _open_vocabulary_task,
        JobKind.REFER: _refer_task,
        JobKind.PROMPTS: _prompts_task,
    }
    return Job(
        kind,
        source_of(options),
        makers[kind](options),
        grid_of(options),
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
    add_imagery(parser, "unigeoseg", "unigeoseg")
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
        mask_raster=absolute_or_none(options.output),
        polygon_file=absolute_or_none(options.polygons),
        scores=absolute_or_none(options.scores),
    )


def _add_prompts(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        JobKind.PROMPTS.value,
        help="points, lines, boxes or polygons of a layer to one outline each",
        description="Outline the objects that the features of a layer point at.",
    )
    add_imagery(parser, "sam2 or unigeoseg", "sam2")
    parser.add_argument("--prompts", required=True, help="vector file of any CRS")
    parser.add_argument("--prompts-layer", default="", help="layer of that file, if it has several")
    parser.add_argument("--label-field", default="", help="1 is on the object, 0 is not")
    parser.add_argument("--group-field", default="", help="equal values make one object")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability, 0..1")
    parser.add_argument("--minimum-score", type=float, default=0.0, help="0..1")
    _add_outputs(parser)


def _prompts_task(options: argparse.Namespace) -> PromptsTask:
    return PromptsTask(
        prompts=VectorSource(absolute(options.prompts), options.prompts_layer),
        prompts_name=Path(options.prompts).stem,
        label_field=options.label_field,
        group_field=options.group_field,
        threshold=options.threshold,
        minimum_score=options.minimum_score,
        polygons=_polygon_options(options),
        polygon_file=absolute_or_none(options.polygons),
        mask_raster=absolute_or_none(options.output),
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
    add_grid(parser)


def _evaluate_job(options: argparse.Namespace) -> Job:
    if not (options.table or options.report):
        raise JobError(
            ErrorCode.INVALID_JOB, "The job would write nothing.", "Give --table or --report."
        )
    result_polygons, _ = layer_of(options.input)
    polygons, raster = layer_of(options.reference)
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
        table=absolute_or_none(options.table),
        report=absolute_or_none(options.report),
    )
    source = RasterSource(absolute(options.input), Path(options.input).stem)
    return Job(JobKind.EVALUATE, source, task, grid_of(options))


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
        absolute_or_none(options.folder) or "",
        absolute_or_none(options.adopt_from) or "",
        options.offline,
        absolute_or_none(options.table),
    )
    return Job(JobKind.MODELS, None, task, device=options.device)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", help="class GeoTIFF to write")
    parser.add_argument("--polygons", help="GeoPackage to write")
    parser.add_argument("--minimum-area", type=float, default=0.0, help="square metres")
    parser.add_argument("--minimum-hole", type=float, default=0.0, help="square metres")
    parser.add_argument("--simplify", type=float, default=1.0, help="pixels; 0 keeps pixel edges")
    parser.add_argument("--right-angles", nargs="+", default=[], help="classes to square")
    parser.add_argument("--print-job", action="store_true", help="print the job and do nothing")


def _open_vocabulary_task(options: argparse.Namespace) -> OpenVocabularyTask:
    regions, region_raster = layer_of(options.regions)
    return OpenVocabularyTask(
        classes=options.classes,
        threshold=options.threshold,
        rivals=options.rivals,
        regions=regions,
        region_raster=region_raster,
        points_per_side=options.points_per_side,
        polygons=_polygon_options(options),
        class_raster=absolute_or_none(options.output),
        polygon_file=absolute_or_none(options.polygons),
        scores=absolute_or_none(options.scores),
    )


def _polygon_options(options: argparse.Namespace) -> PolygonOptions:
    return PolygonOptions(
        options.minimum_area, options.minimum_hole, options.simplify, tuple(options.right_angles)
    )
