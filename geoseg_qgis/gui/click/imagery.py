"""The imagery that the engine reads: the file of the layer, or a picture of what is visible.

Layers are frozen on the main thread. A picture of a web map is written in the thread that asks for
outlines, from clones.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Set

from qgis.core import QgsFeedback, QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle

from ...layers.snapshot import LARGEST_UNASKED, plan_snapshot, write_snapshot
from ...layers.source import FrozenRaster, freeze_raster
from ...protocol.errors import ErrorCode, JobError
from ...protocol.outline import Outline
from ...protocol.source import RasterSource
from ...translation import tr

# Views that differ less in scale share a picture.
_SAME_SCALE = 1.5
_MOST_PICTURES = 2

MakeSource = Callable[[], RasterSource]
"""Returns what the engine reads; called in the thread that asks."""


@dataclass(frozen=True)
class View:
    """What the canvas shows.

    Attributes:
        point: Where an outline is asked for, in the CRS of the layer.
        extent: Visible area in that CRS.
        pixel_size: Map units of that CRS in a pixel of the screen.
    """

    point: QgsPointXY
    extent: QgsRectangle
    pixel_size: float


class _Picture:
    """A picture of a view, written when it is first needed."""

    def __init__(self, frozen: FrozenRaster, view: View, path: Path, feedback: QgsFeedback) -> None:
        resolution = None if frozen.columns else view.pixel_size
        self._plan = plan_snapshot(frozen, view.extent, resolution)
        if self._plan.columns * self._plan.rows > LARGEST_UNASKED:
            raise JobError(
                ErrorCode.RESOLUTION_UNUSABLE,
                tr("Too much of the layer {!r} is visible to copy it.").format(frozen.name),
                tr("Zoom in and click again."),
            )
        self.layer_name = frozen.name
        self.path = path
        self._frozen = frozen
        self._view = view
        self._feedback = feedback
        self._transforms = QgsProject.instance().transformContext()
        self._lock = threading.Lock()
        self._source: Optional[RasterSource] = None

    def shows(self, view: View) -> bool:
        """Return whether another view needs no picture of its own."""
        ratio = view.pixel_size / self._view.pixel_size if self._view.pixel_size > 0 else 0.0
        visible = view.extent.intersect(self._frozen.extent)
        return 1 / _SAME_SCALE < ratio < _SAME_SCALE and self._plan.extent.contains(visible)

    def source(self) -> RasterSource:
        """Return the picture, written the first time."""
        with self._lock:
            if self._source is None:
                self._source = write_snapshot(
                    self._frozen, self._plan, self.path, self._transforms, self._feedback
                ).source
            return self._source


class Imagery:
    """Gives the sources of one layer at a time; main thread only, but for what it returns."""

    def __init__(self) -> None:
        self._layer_id = ""
        self._frozen: Optional[FrozenRaster] = None
        self._copied: Set[str] = set()
        self._pictures: List[_Picture] = []
        self._folder: Optional[Path] = None
        self._count = 0
        self._feedback = QgsFeedback()

    def source(self, layer: QgsRasterLayer, view: View) -> MakeSource:
        """Return what makes the source of a layer.

        Raises:
            JobError: The layer cannot be read, or too much of it would be copied.
        """
        if layer.id() != self._layer_id or self._frozen is None:
            self.forget()
            self._layer_id = layer.id()
            self._frozen = freeze_raster(layer)
        frozen = self._frozen
        if not frozen.needs_snapshot and self._layer_id not in self._copied:
            found = frozen.source
            return lambda: found
        return self._picture(frozen, view).source

    def is_misplaced(self, outline: Outline) -> bool:
        """Return whether the engine places the file elsewhere; it is copied from then on."""
        frozen = self._frozen
        if (
            frozen is None
            or frozen.needs_snapshot
            or outline.bounds is None
            or self._layer_id in self._copied
            or frozen.lies_at(outline.bounds)
        ):
            return False
        self._copied.add(self._layer_id)
        return True

    def copy_instead(self) -> bool:
        """Copy the layer from now on; return whether that is new, so that asking again helps."""
        frozen = self._frozen
        if frozen is None or frozen.needs_snapshot or self._layer_id in self._copied:
            return False
        self._copied.add(self._layer_id)
        return True

    def forget(self) -> None:
        """Forget the layer and its pictures."""
        self._frozen = None
        self._layer_id = ""
        self._pictures.clear()

    def cancel(self) -> None:
        """End the writing of a picture."""
        self._feedback.cancel()
        self._feedback = QgsFeedback()

    def close(self) -> None:
        """Remove the pictures, after the engine that reads them has ended."""
        self.forget()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _picture(self, frozen: FrozenRaster, view: View) -> _Picture:
        for picture in self._pictures:
            if picture.shows(view):
                return picture
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="geoseg-click-"))
        self._count += 1
        path = self._folder / f"view_{self._count}.tif"
        # A layer that the engine cannot place is written by QGIS like one that no file backs.
        picture = _Picture(frozen.without_file(), view, path, self._feedback)
        self._pictures.insert(0, picture)
        del self._pictures[_MOST_PICTURES:]
        return picture
