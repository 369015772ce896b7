"""Files to write: checked before the long work, styled after it."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Set

from qgis.core import (
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingUtils,
    QgsProviderRegistry,
)

from ..layers.styling import LayerStyler, Style, finish_polygon_file
from ..protocol.errors import ErrorCode, JobError
from ..protocol.result import Result
from ..translation import tr
from .sinks import check_sink, plain_file
from .values import Values

_LAYERS = (
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterRasterLayer,
)


@dataclass(frozen=True)
class OutputLayer:
    """How an output is shown in the project.

    Attributes:
        name: Name of the output.
        title: What it shows; the layer is named after the imagery and this.
        style: Makes the renderer of polygons; rasters have their style in their files.
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


def check_destinations(values: Values, names: Sequence[str], needs_output: bool) -> None:
    """Refuse runs without outputs, other formats, the run's own inputs, and read-only folders.

    Args:
        values: Those of the run.
        names: Parameters of the outputs.
        needs_output: Whether one of them must be given.

    Raises:
        JobError: ``INVALID_JOB`` or ``OUTPUT_UNWRITABLE``.
    """
    if needs_output and not any(values.is_given(name) for name in names):
        labels = ", ".join(values.label(name) for name in names)
        raise JobError(
            ErrorCode.INVALID_JOB,
            tr("The run would write nothing."),
            tr("Choose at least one of these outputs: {}.").format(labels),
        )
    taken = dict.fromkeys(_source_files(values), tr("an input"))
    for name in names:
        if _is_sink(values, name):
            check_sink(values, name)
        path, label = plain_file(values.destination(name)), values.label(name)
        if path is None:
            continue
        use = taken.setdefault(os.path.realpath(path), label)
        if use != label:
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                tr("{}: {} is already used as {}.").format(label, path.name, use),
                tr("Choose another file for the result."),
            )
        _check_file(path, label, is_raster=_is_raster(values, name))


def _check_file(path: Path, label: str, *, is_raster: bool) -> None:
    if is_raster and path.suffix.lower() not in (".tif", ".tiff"):
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            tr("{}: {} is not the name of a GeoTIFF.").format(label, path.name),
            tr("Rasters are written as GeoTIFF only: choose a name that ends in .tif."),
        )
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            tr("{}: the folder {} cannot be written to.").format(label, path.parent),
            tr("Create it, or choose a folder of your own."),
        )
    if _is_held(path):
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            tr("{}: {} is open in a program, or write-protected.").format(label, path.name),
            tr("Remove its layer from the project, or choose another file."),
        )


def style_outputs(
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
        layers: How they are shown, the lowest in the layer tree first.
        result: The result, for the provenance.
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
        # Models name their outputs; elsewhere QGIS takes the description.
        is_unnamed = details.name in ("", values.label(layer.name))
        if is_unnamed:
            details.name = f"{source_name} - {layer.title}" if source_name else layer.title
        has_groups = hasattr(details, "groupName")
        if has_groups:
            details.groupName = group
            details.layerSortKey = rank
        styler = LayerStyler.create(
            layer.style,
            result.provenance,
            "" if has_groups else group,
            layer.hidden,
            numbered=is_unnamed,
        )
        details.setPostProcessor(styler)


def _is_raster(values: Values, name: str) -> bool:
    definition = values.algorithm.parameterDefinition(name)
    return isinstance(definition, QgsProcessingParameterRasterDestination)


def _is_sink(values: Values, name: str) -> bool:
    definition = values.algorithm.parameterDefinition(name)
    return isinstance(definition, QgsProcessingParameterFeatureSink)


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
    """Return whether Windows keeps a file from being replaced, as it does while QGIS shows it."""
    if not path.is_file():
        return False
    try:
        path.rename(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return False
