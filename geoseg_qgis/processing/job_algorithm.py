"""Algorithms that are one job: their parameters, checks and job come from the task's fields."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFields,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsRectangle,
)

from ..layers.source import FrozenRaster
from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job, make_job, parameters_of
from ..protocol.parameters import Members, Parameter, Role
from ..protocol.registry import KINDS
from ..protocol.result import Result
from ..protocol.source import Extent, LayerSource, RasterSource, VectorSource
from ..translation import tr
from .base import GeoSegAlgorithm
from .definitions import definitions
from .layer_inputs import LayerInput, freeze_input
from .outputs import OutputLayer, check_destinations, style_outputs, work_folder
from .settings import Settings
from .sinks import copy_features
from .values import Values

_LAYERS = (RasterSource, VectorSource, LayerSource)
_DEVICE, _MODEL, _SOURCE = ("device",), ("model",), ("source",)


class JobAlgorithm(GeoSegAlgorithm):
    """Base of the algorithms that are one job, of the kind called `NAME`.

    `NUMBERS` names the numbers that a run returns. `OMITTED` lists parameters that only the command
    line offers.

    Attributes:
        offered: The parameters that Processing offers.
        inputs: The layers of a run by the members of the job that they lead to.
    """

    NUMBERS: Dict[str, str] = {}
    OMITTED: Tuple[str, ...] = ()

    offered: Tuple[Parameter, ...]
    inputs: Dict[Members, LayerInput]

    def checkParameterValues(
        self, parameters: Dict[str, Any], context: QgsProcessingContext
    ) -> Tuple[bool, str]:
        """Return whether the values can work, and a sentence if not."""
        try:
            return super().checkParameterValues(parameters, context)
        finally:
            # The object that QGIS keeps for its checks must not hold on to layers.
            self.inputs = {}

    def parameter(self, path: Members) -> Parameter:
        """Return the parameter that the members ``path`` of a job lead to."""
        return next(item for item in self.offered if item.path == path)

    def outputs(self) -> Tuple[Parameter, ...]:
        """Return the parameters that name files to write."""
        return tuple(item for item in self.offered if item.is_output)

    def declare(self) -> None:
        """Add parameters and numbers."""
        self.offered = tuple(
            item for item in parameters_of(self.NAME) if item.name and item.name not in self.OMITTED
        )
        for item in self.offered:
            for definition in definitions(item):
                self.addParameter(definition)
        for name, text in self.NUMBERS.items():
            self.declare_number(name, text)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work, by making the job without its files."""
        self.freeze(values)
        sources = {path: given.placeholder for path, given in self.inputs.items()}
        make_job(self.NAME, {**sources, **self.plain_values(values)})
        check_destinations(values, [item.name for item in self.outputs()], self.needs_output)

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze the layers on the main thread."""
        del feedback
        self.freeze(values)

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and deliver its files."""
        with work_folder() as folder:
            files = self.files(values, folder)
            result = self.run_job(self.job(values, files, folder, feedback), feedback)
            delivered = self.deliver(values, files, result, feedback)
            layers = self.layers(values, files, delivered, result)
        style_outputs(values, delivered, layers, result, self.source_name)
        return delivered

    def freeze(self, values: Values) -> None:
        """Remember the layers that were given, the job's source first; call on the main thread.

        Raises:
            JobError: For layers that cannot be used.
        """
        self.inputs = {}
        for item in self.offered:
            if item.kind in _LAYERS:
                given = self.freeze_layer(item, values)
                if given is not None:
                    self.inputs[item.path] = given

    def freeze_layer(self, item: Parameter, values: Values) -> Optional[LayerInput]:
        """Return the layer of one parameter, None when it was left out."""
        fields = [field for field in self.offered if field.layer == item.name]
        return freeze_input(item, values, values.text(fields[0].name) if fields else "")

    def plain_values(self, values: Values) -> Dict[Members, Any]:
        """Return the values that are no layers and no files, in their JSON form."""
        plain: Dict[Members, Any] = {}
        for item in self.offered:
            if item.kind in _LAYERS or item.is_output:
                continue
            if item.kind is Extent:
                value: Any = protocol_extent(values.extent(item.name, self.extent_crs()))
            elif item.role is Role.FIELD:
                value = self._field(item, values)
            else:
                value = values.plain(item)
            if value is not None:
                plain[item.path] = value
        settings = Settings.read()
        if "device" in KINDS[self.NAME].uses and plain.get(_DEVICE, "auto") == "auto":
            plain[_DEVICE] = settings.device
        if _MODEL in plain:
            plain[_MODEL] = settings.model_place(plain[_MODEL])
        return plain

    def extent_crs(self) -> QgsCoordinateReferenceSystem:
        """Return the CRS of the extent: that of the first raster, else of the first layer."""
        given = list(self.inputs.values())
        rasters = [one for one in given if isinstance(one.frozen, FrozenRaster)]
        return (rasters or given)[0].crs

    def files(self, values: Values, folder: Path) -> Dict[str, str]:
        """Return output name to the file that the engine writes; call once a run.

        Polygons go into ``folder`` first, as the engine knows no sinks.
        """
        named = {}
        for item in self.outputs():
            if not values.is_given(item.name):
                continue
            if item.role is Role.POLYGON_FILE:
                named[item.name] = str(folder / f"{item.name.lower()}.gpkg")
            elif item.role is Role.RASTER_FILE:
                named[item.name] = values.raster_file(item.name)
            else:
                named[item.name] = values.file(item.name)
        return named

    def job(
        self,
        values: Values,
        files: Dict[str, str],
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> Job:
        """Return the job; layers without a file are written into ``folder``."""
        self._copy_what_only_qgis_reads(feedback)
        members: Dict[Members, Any] = {
            path: self.write_layer(given, values, folder, feedback)
            for path, given in self.inputs.items()
        }
        members.update(self.plain_values(values))
        members.update(
            {item.path: files[item.name] for item in self.outputs() if item.name in files}
        )
        return make_job(self.NAME, members)

    def write_layer(
        self, given: LayerInput, values: Values, folder: Path, feedback: QgsProcessingFeedback
    ) -> LayerSource:
        """Return what the engine reads of one layer."""
        return given.write(values, folder, self.extent_crs(), feedback)

    def _copy_what_only_qgis_reads(self, feedback: QgsProcessingFeedback) -> None:
        """Have rasters copied by QGIS that the engine cannot open or would place elsewhere."""
        for path, given in self.inputs.items():
            frozen = given.frozen
            if not isinstance(frozen, FrozenRaster) or frozen.needs_snapshot:
                continue
            try:
                bounds = self.engine().bounds(frozen.source, feedback.isCanceled)
                reason = tr("the engine's libraries place it elsewhere than QGIS does")
            except JobError as error:
                if error.code is not ErrorCode.SOURCE_UNREADABLE:
                    raise
                bounds, reason = None, error.message
            if bounds is None or not frozen.lies_at(bounds):
                feedback.pushInfo(
                    tr("QGIS copies {!r} into a file first: {}.").format(
                        frozen.name, reason.rstrip(".")
                    )
                )
                self.inputs[path] = replace(given, frozen=frozen.without_file())

    def deliver(
        self,
        values: Values,
        files: Dict[str, str],
        result: Result,
        feedback: QgsProcessingFeedback,
    ) -> Dict[str, Any]:
        """Fill the sinks and return the outputs by name."""
        delivered: Dict[str, Any] = {
            name: value for name, value in result.numbers.items() if name in self.NUMBERS
        }
        roles = {item.name: item.role for item in self.outputs()}
        for name, path in files.items():
            delivered[name] = path
            if roles[name] is Role.POLYGON_FILE:
                fields, crs = self.sink_fields(values, name), self.sink_crs(values, name)
                delivered[name], _ = copy_features(
                    values, name, Path(path), crs, feedback, fields=fields
                )
        return delivered

    def sink_fields(self, values: Values, name: str) -> Optional[QgsFields]:
        """Return the fields of a sink; None takes those of the engine's file."""
        del values, name
        return None

    def sink_crs(self, values: Values, name: str) -> QgsCoordinateReferenceSystem:
        """Return the CRS of a sink."""
        del values, name
        return self.extent_crs()

    def layers(
        self,
        values: Values,
        files: Dict[str, str],
        delivered: Dict[str, Any],
        result: Result,
    ) -> Sequence[OutputLayer]:
        """Return how outputs are shown in the project, the lowest in the layer tree first."""
        del values, files, delivered, result
        return ()

    @property
    def needs_output(self) -> bool:
        """Whether a run that writes no file is refused."""
        return KINDS[self.NAME].needs_output

    @property
    def source_name(self) -> str:
        """What the layer group is named after."""
        source = self.inputs.get(_SOURCE)
        return source.frozen.name if source is not None and source.frozen is not None else ""

    def _field(self, item: Parameter, values: Values) -> str:
        for given in self.inputs.values():
            if item.layer in (given.item.name, given.item.polygons) and item.layer == given.name:
                return given.field(item.name, values)
        return ""


def protocol_extent(extent: Optional[QgsRectangle]) -> Optional[Extent]:
    """Return an extent as jobs hold it, None for none."""
    if extent is None:
        return None
    return Extent(extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
