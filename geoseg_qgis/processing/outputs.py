"""Destinations of a classification: checked before the long work, filled and dressed after it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Set

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingUtils,
    QgsProviderRegistry,
)

from ..layers.source import FrozenRaster
from ..layers.styling import LayerStyler, Style, finish_polygon_file, polygon_renderer
from ..protocol.errors import ErrorCode, JobError
from ..protocol.legend import LegendClass
from ..protocol.result import Result
from ..translation import tr
from .base import GeoSegAlgorithm
from .polygons import copy_polygons
from .values import Values

_DATABASES = ("memory:", "ogr:", "postgres:", "postgis:", "mssql:", "spatialite:", "oracle:")
_LAYERS = (
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterRasterLayer,
)


@dataclass(frozen=True)
class Destinations:
    """Where the engine writes; None for what nobody asked for.

    Attributes:
        folder: Folder of intermediate files.
        class_raster: Final file.
        scores: Final file.
        polygon_file: Intermediate GeoPackage, copied to the sink afterwards.
    """

    folder: Path
    class_raster: Optional[str] = None
    scores: Optional[str] = None
    polygon_file: Optional[str] = None

    @classmethod
    def of(cls, values: Values, folder: Path) -> Destinations:
        """Resolve the parameters OUTPUT, SCORES and POLYGONS; call once a run."""
        return cls(
            folder,
            values.raster_file("OUTPUT"),
            values.raster_file("SCORES") if _has(values, "SCORES") else None,
            str(folder / "polygons.gpkg") if values.is_given("POLYGONS") else None,
        )


@dataclass(frozen=True)
class OutputLayer:
    """How an output looks in the project.

    Attributes:
        name: Name of the output.
        title: Name of the layer.
        style: Makes the renderer of polygons; rasters bring their style in their files.
        hidden: Whether the layer starts unchecked.
    """

    name: str
    title: str
    style: Optional[Style] = None
    hidden: bool = False


@contextmanager
def work_folder() -> Iterator[Path]:
    """Give a folder for the intermediate files of one run, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="geoseg-", dir=QgsProcessingUtils.tempFolder()))
    try:
        yield folder
    finally:
        # A cancelled engine may still hold a file; QGIS removes its own folder at exit.
        shutil.rmtree(folder, ignore_errors=True)


def declare_numbers(algorithm: GeoSegAlgorithm) -> None:
    """Add the numbers that a classification returns."""
    for output in (
        QgsProcessingOutputNumber("CLASSES_FOUND", tr("Number of classes that were found")),
        QgsProcessingOutputNumber("POLYGON_COUNT", tr("Number of polygons")),
        QgsProcessingOutputNumber("CLASSIFIED_AREA", tr("Area of all classes in square metres")),
        QgsProcessingOutputString(
            "CLASS_AREAS", tr("Area of each class in square metres, as a JSON object")
        ),
    ):
        algorithm.addOutput(output)


def check_destinations(values: Values, names: Sequence[str]) -> None:
    """Refuse a run without outputs, other formats, its own inputs, and folders to read only.

    Raises:
        JobError: ``INVALID_JOB`` or ``OUTPUT_UNWRITABLE``.
    """
    if not any(values.is_given(name) for name in names):
        raise JobError(
            ErrorCode.INVALID_JOB,
            tr("No output is asked for."),
            tr("Give at least one of {}.").format(", ".join(names)),
        )
    taken = dict.fromkeys(_source_files(values), tr("an input"))
    for name in names:
        path = _plain_path(values.destination(name))
        if path is None:
            continue
        use = taken.setdefault(os.path.realpath(path), name)
        if use != name:
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                tr("{} is {} and cannot be {} as well.").format(path.name, use, name),
                tr("Choose another file for the result."),
            )
        if _is_raster(values, name) and path.suffix.lower() not in (".tif", ".tiff"):
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                tr("{} of {} is no name of a GeoTIFF.").format(path.name, name),
                tr("Let it end in .tif, the only format rasters are written in."),
            )
        if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                tr("The folder {} of {} cannot be written to.").format(path.parent, name),
                tr("Create it, or choose a folder of your own."),
            )
        if _is_held(path):
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                tr("{} of {} is open in a program, or protected.").format(path.name, name),
                tr("Remove its layer from the project, or choose another file."),
            )


def deliver(
    values: Values,
    feedback: QgsProcessingFeedback,
    files: Destinations,
    result: Result,
    source: FrozenRaster,
) -> Dict[str, Any]:
    """Fill the sink, style everything, tell what was found and return the outputs.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``CANCELLED`` while polygons are copied.
    """
    delivered: Dict[str, Any] = {
        "CLASSES_FOUND": sum(1 for summary in result.classes if summary.pixels),
        "CLASSIFIED_AREA": sum(summary.area for summary in result.classes),
        "CLASS_AREAS": json.dumps(
            {summary.name: round(summary.area, 3) for summary in result.classes},
            ensure_ascii=False,
        ),
    }
    if files.class_raster:
        delivered["OUTPUT"] = files.class_raster
    if files.scores:
        delivered["SCORES"] = files.scores
    if files.polygon_file:
        delivered["POLYGONS"], delivered["POLYGON_COUNT"] = copy_polygons(
            values, Path(files.polygon_file), source.crs, feedback
        )
    for summary in result.classes:
        feedback.pushInfo(
            tr("{}: {:.1%} of the area, {:,.0f} m²").format(
                summary.name, summary.share, summary.area
            )
        )
    legend = [LegendClass(item.class_id, (item.name,), item.color) for item in result.classes]
    layers = (
        OutputLayer("SCORES", tr("Scores"), hidden=True),
        # Half-clear polygons tell more over the imagery than over the class raster.
        OutputLayer("OUTPUT", tr("Classes"), hidden="POLYGONS" in delivered),
        OutputLayer("POLYGONS", tr("Polygons"), partial(polygon_renderer, legend)),
    )
    dress(values, delivered, layers, result, source.name)
    return delivered


def dress(
    values: Values,
    delivered: Dict[str, Any],
    layers: Sequence[OutputLayer],
    result: Result,
    source_name: str,
) -> None:
    """Style the outputs: in their files now, in the project once they are loaded.

    Args:
        values: Those of the run.
        delivered: Outputs of the run by name.
        layers: How they look, the lowest in the layer tree first.
        result: Tells how they were made.
        source_name: What the layer group is named after.
    """
    context = values.context
    group = f"{source_name}: {values.algorithm.displayName()}"
    for rank, layer in enumerate(layers):
        destination = delivered.get(layer.name)
        if not destination:
            continue
        if layer.style is not None:
            finish_polygon_file(destination, layer.style(), result.provenance)
        if not context.willLoadLayerOnCompletion(destination):
            continue
        details = context.layerToLoadOnCompletionDetails(destination)
        definition = values.algorithm.parameterDefinition(layer.name)
        # Models name their outputs; elsewhere QGIS takes the description.
        if definition is None or details.name in ("", definition.description()):
            details.name = layer.title
        has_groups = hasattr(details, "groupName")
        if has_groups:
            details.groupName = group
            details.layerSortKey = rank
        styler = LayerStyler.create(
            layer.style, result.provenance, "" if has_groups else group, layer.hidden
        )
        details.setPostProcessor(styler)


def _has(values: Values, name: str) -> bool:
    """Return whether ``name`` is a destination of the algorithm; it may be an input elsewhere."""
    definition = values.algorithm.parameterDefinition(name)
    return definition is not None and definition.isDestination()


def _is_raster(values: Values, name: str) -> bool:
    definition = values.algorithm.parameterDefinition(name)
    return isinstance(definition, QgsProcessingParameterRasterDestination)


def _source_files(values: Values) -> Set[str]:
    """Return the files of the layers that are read."""
    registry, files = QgsProviderRegistry.instance(), set()
    for parameter in values.algorithm.parameterDefinitions():
        if not isinstance(parameter, _LAYERS) or not values.is_given(parameter.name()):
            continue
        layer = values.layer(parameter.name())
        if layer is not None:
            path = registry.decodeUri(layer.providerType(), layer.source()).get("path")
            files.add(os.path.realpath(path) if path else "")
    return files - {""}


def _is_held(path: Path) -> bool:
    """Return whether Windows keeps a file that is there, as it does while QGIS shows it."""
    if not path.is_file():
        return False
    try:
        path.rename(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _plain_path(destination: str) -> Optional[Path]:
    """Return the file of a destination, or None for temporary, memory and database outputs."""
    if destination in ("", "TEMPORARY_OUTPUT") or destination.startswith(_DATABASES):
        return None
    return Path(destination).absolute()
