"""Arguments of ``assess``, and the job that they make."""

from __future__ import annotations

import argparse
from pathlib import Path

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job, JobKind
from geoseg_qgis.protocol.source import RasterSource, VectorSource
from geoseg_qgis.protocol.tasks import AssessTask, AssessVariant, Orientations

from .argument_values import absolute, absolute_or_none, add_imagery, grid_of, layer_of, source_of

_METHOD = "segassess"
_OUTPUTS = ("output", "polygons", "missed", "repaired", "scores", "report")


def add_assess(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        JobKind.ASSESS.value,
        help="imagery and a mask of it to a map of where the mask is wrong",
        description="Judge a mask without ground truth.",
    )
    add_imagery(parser, methods=_METHOD, method=_METHOD)
    parser.add_argument("--mask", required=True, help="mask raster (0 is no object) or polygons")
    parser.add_argument("--mask-layer", default="", help="layer of the polygons' file")
    parser.add_argument("--class-field", default="", help="field of the polygons' class")
    parser.add_argument("--classes", default="", help="values or names to assess: '1, road'")
    parser.add_argument(
        "--variant",
        choices=[variant.value for variant in AssessVariant],
        default=AssessVariant.CONSTRAINED.value,
        help="whether TP and FP stay inside of the mask, TN and FN outside",
    )
    parser.add_argument("--shifted", action="store_true", help="three more runs, patches moved")
    parser.add_argument(
        "--orientations",
        choices=[orientation.value for orientation in Orientations],
        default=Orientations.ONE.value,
        help="turned and mirrored looks at each tile: one, four or eight",
    )
    parser.add_argument("--minimum-area", type=float, default=0.0, help="of polygons, in m²")
    parser.add_argument("--missed-area", type=float, default=0.0, help="of missed objects, in m²")
    parser.add_argument("--output", help="quality GeoTIFF to write: 1 TP, 2 FP, 3 TN, 4 FN")
    parser.add_argument("--polygons", help="GeoPackage of the assessed polygons to write")
    parser.add_argument("--missed", help="GeoPackage of likely missed objects to write")
    parser.add_argument("--repaired", help="GeoTIFF of the repaired mask to write")
    parser.add_argument("--scores", help="GeoTIFF of the four probabilities to write")
    parser.add_argument("--report", help="HTML to write")
    parser.add_argument("--print-job", action="store_true", help="print the job and do nothing")


def assess_job(options: argparse.Namespace) -> Job:
    """Return the job that parsed arguments describe.

    Raises:
        JobError: ``INVALID_JOB`` when nothing would be written.
    """
    if not any(getattr(options, name) for name in _OUTPUTS):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The job would write nothing.",
            f"Give one of {', '.join(f'--{name}' for name in _OUTPUTS)}.",
        )
    polygons, mask = _mask(options)
    task = AssessTask(
        mask=mask,
        mask_polygons=polygons,
        mask_name=Path(options.mask).stem,
        class_field=options.class_field,
        classes=options.classes,
        variant=AssessVariant(options.variant),
        shifted=options.shifted,
        orientations=Orientations(options.orientations),
        minimum_area=options.minimum_area,
        missed_area=options.missed_area,
        quality_raster=absolute_or_none(options.output),
        polygon_file=absolute_or_none(options.polygons),
        missed_file=absolute_or_none(options.missed),
        repaired_mask=absolute_or_none(options.repaired),
        scores=absolute_or_none(options.scores),
        report=absolute_or_none(options.report),
    )
    return Job(
        JobKind.ASSESS,
        source_of(options),
        task,
        grid_of(options),
        options.method,
        options.model,
        options.device,
    )


def _mask(options: argparse.Namespace) -> tuple[VectorSource | None, RasterSource | None]:
    if options.mask_layer:
        return VectorSource(absolute(options.mask), options.mask_layer), None
    return layer_of(options.mask)
