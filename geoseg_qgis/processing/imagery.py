"""What all algorithms that read imagery share: source, grid, method, model and device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Tuple

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingParameterBand,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRectangle,
)

from ..layers.snapshot import plan_snapshot, write_snapshot
from ..layers.source import FrozenRaster, freeze_raster
from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.source import Extent, GridRequest, RasterSource, StretchKind
from ..translation import tr
from .base import GeoSegAlgorithm
from .settings import DEVICES, Settings
from .values import Values

DEFAULT_MODEL = "offline-small"


class ImageryAlgorithm(GeoSegAlgorithm):
    """Base of the algorithms that read imagery.

    `METHODS` are static strings that never change; the first is the default.
    """

    METHODS: Tuple[str, ...] = ()
    METHOD_HELP = ""

    frozen: FrozenRaster
    grid: GridRequest

    def declare_imagery(self) -> None:
        """Add the parameters that come first."""
        self.add(
            QgsProcessingParameterRasterLayer("INPUT", tr("Imagery")),
            "Any raster layer: orthophoto, satellite scene, virtual raster or web map. Web maps "
            "and other layers without a file are pictured first; give them an extent.",
        )

    def declare_method(self) -> None:
        """Add the choice of method and model."""
        self.add(
            QgsProcessingParameterEnum(
                "METHOD",
                tr("Method"),
                options=list(self.METHODS),
                defaultValue=self.METHODS[0],
                usesStaticStrings=True,
            ),
            self.METHOD_HELP,
        )
        self.add(
            QgsProcessingParameterString("MODEL", tr("Model"), DEFAULT_MODEL, optional=True),
            "Name of a model preset, or a folder with a card.json and its weights. offline-small "
            "ships with the plugin and is taken when empty, if it serves the method.",
        )

    def declare_grid(self) -> None:
        """Add where and how finely to work."""
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            "Part of the layer to work on; all of it when empty.",
        )
        self.add(
            QgsProcessingParameterNumber(
                "RESOLUTION",
                tr("Resolution (map units per pixel)"),
                QgsProcessingParameterNumber.Type.Double,
                optional=True,
                minValue=0.0,
            ),
            "Pixel size of the results in units of the layer's CRS; the layer's own pixels when "
            "empty. Coarser is faster and sees more surroundings.",
        )

    def declare_reading(self) -> None:
        """Add the advanced parameters on bands, stretch and device."""
        self.add(
            QgsProcessingParameterBand(
                "BANDS",
                tr("Bands (red, green, blue)"),
                parentLayerParameterName="INPUT",
                optional=True,
                allowMultiple=True,
            ),
            "Three bands in the order red, green, blue, or a single one; the bands that the "
            "layer shows when empty.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                "STRETCH",
                tr("Contrast stretch"),
                options=[kind.value for kind in StretchKind],
                defaultValue=StretchKind.LAYER.value,
                usesStaticStrings=True,
            ),
            "How values become the 8-bit ones that models know, once for the whole run. layer: "
            "the contrast limits of the layer's style, or percentiles where it has none; "
            "percentiles: the 2 % and 98 % quantiles; minmax: the extremes; none: 8-bit values "
            "as they are.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                "DEVICE",
                tr("Device"),
                options=list(DEVICES),
                defaultValue="auto",
                usesStaticStrings=True,
            ),
            "Where the model runs. auto: the device chosen in the GeoSeg options, or the fastest "
            "one at hand; cuda: an NVIDIA card; cuda:all: all NVIDIA cards, which share the tiles; "
            "mps: an Apple chip; cpu: the processor.",
            advanced=True,
        )

    def check_imagery(self, values: Values) -> None:
        """Raise `JobError` for imagery parameters that cannot work."""
        layer = values.raster("INPUT")
        frozen = freeze_raster(layer, values.integers("BANDS"))
        extent = self._extent(values, frozen)
        resolution = _resolution(values)
        if extent is not None and not extent.intersects(frozen.extent):
            raise JobError(
                ErrorCode.EXTENT_OUTSIDE,
                tr("The extent does not touch the layer {!r}.").format(frozen.name),
                tr("Choose an extent inside the layer, in its CRS or with [EPSG:code] behind."),
            )
        if frozen.needs_snapshot:
            plan_snapshot(frozen, extent, resolution)

    def prepare_imagery(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze the layer on the main thread."""
        layer = values.raster("INPUT")
        stretch = StretchKind(values.choice("STRETCH"))
        self.frozen = freeze_raster(layer, values.integers("BANDS"), stretch)
        extent = self._extent(values, self.frozen)
        self.grid = GridRequest(protocol_extent(extent), _resolution(values))
        for note in self.frozen.notes:
            feedback.pushInfo(note)

    def read_source(
        self, folder: Path, values: Values, feedback: QgsProcessingFeedback
    ) -> RasterSource:
        """Return what the engine reads, after a snapshot into ``folder`` where one is needed."""
        if not self.frozen.needs_snapshot:
            return self.frozen.source
        extent = self.grid.extent
        area = extent and QgsRectangle(extent.xmin, extent.ymin, extent.xmax, extent.ymax)
        plan = plan_snapshot(self.frozen, area, self.grid.resolution)
        feedback.pushInfo(plan.description)
        feedback.setProgressText(tr("Taking a picture of the layer"))
        path = folder / "imagery.tif"
        transforms = values.context.transformContext()
        snapshot = write_snapshot(self.frozen, plan, path, transforms, feedback)
        if snapshot.missing > 0:
            feedback.pushWarning(
                tr(
                    "The server sent nothing for {:.1%} of {!r}: these pixels stay nodata. "
                    "Run again later, or with a coarser resolution, to fill them."
                ).format(snapshot.missing, self.frozen.name)
            )
        return snapshot.source

    def interesting_extent(self, values: Values, frozen: FrozenRaster) -> Optional[QgsRectangle]:
        """Return the part that matters, in the CRS of the imagery; None where nothing tells.

        It is pictured when the imagery is a web map and the user gives no extent.
        """
        del values, frozen
        return None

    def _extent(self, values: Values, frozen: FrozenRaster) -> Optional[QgsRectangle]:
        extent = values.extent("EXTENT", frozen.crs)
        if extent is None and frozen.needs_snapshot:
            extent = self.interesting_extent(values, frozen)
        return extent

    def imagery_job(
        self,
        task: Any,
        folder: Path,
        values: Values,
        feedback: QgsProcessingFeedback,
    ) -> Job:
        """Return the job of a task on the frozen imagery; a snapshot of it goes into ``folder``."""
        return Job(
            self.read_source(folder, values, feedback),
            task,
            self.grid,
            values.choice("METHOD"),
            self.model(values),
            self.device(values),
        )

    @staticmethod
    def device(values: Values) -> str:
        """Return the device of a job; ``auto`` means the user's general choice."""
        device = values.choice("DEVICE")
        return Settings.read().device if device == "auto" else device

    @staticmethod
    def model(values: Values) -> str:
        """Return the preset's name, or its folder when it lies in the user's model folder."""
        name = values.text("MODEL")
        folder = Settings.read().model_folder
        if name and folder and (Path(folder) / name / "card.json").is_file():
            return str(Path(folder) / name)
        return name


def _resolution(values: Values) -> Optional[float]:
    resolution = values.optional_number("RESOLUTION")
    if resolution is not None and resolution <= 0:
        raise JobError(
            ErrorCode.RESOLUTION_UNUSABLE,
            tr("The resolution is {:g} map units per pixel.").format(resolution),
            tr("Write a number above 0, or leave it empty for the layer's own pixels."),
        )
    return resolution


def protocol_extent(extent: Optional[QgsRectangle]) -> Optional[Extent]:
    """Return an extent in the words of jobs, None for none."""
    if extent is None:
        return None
    return Extent(extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
