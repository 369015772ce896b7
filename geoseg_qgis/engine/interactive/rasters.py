"""Rasters that stay open between requests, until their files change."""

from __future__ import annotations

import contextlib
import json
import os
from collections import OrderedDict
from dataclasses import dataclass

from geoseg_qgis.engine.inference.chips import ChipReader
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.source import Raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.protocol.codec import to_json
from geoseg_qgis.protocol.source import RasterSource

MOST_OPEN = 2

Fingerprint = tuple[str, int, int]
"""Description of a source, and size and time of change of its file; zeros where there is none."""


@dataclass(frozen=True)
class OpenRaster:
    """A raster that is ready to be read.

    Attributes:
        fingerprint: See `fingerprint_of`.
        reader: Gives stretched pixels.
        raster: The raster.
    """

    fingerprint: Fingerprint
    reader: ChipReader
    raster: Raster

    @property
    def grid(self) -> Grid:
        """Its own pixels."""
        return self.raster.grid


def fingerprint_of(source: RasterSource) -> Fingerprint:
    """Return what changes whenever the pixels of a source may have."""
    text = json.dumps(to_json(source), sort_keys=True)
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(source.uri)  # noqa: PTH116  what GDAL opens is not always a path
        return text, status.st_size, status.st_mtime_ns
    return text, 0, 0


class OpenRasters:
    """The rasters used last."""

    def __init__(self) -> None:
        self._open: OrderedDict[Fingerprint, OpenRaster] = OrderedDict()

    def get(self, source: RasterSource) -> OpenRaster:
        """Return a raster, opened and with its stretch measured the first time.

        Raises:
            JobError: ``SOURCE_UNREADABLE``, or ``INVALID_JOB`` for bands that it does not have.
        """
        fingerprint = fingerprint_of(source)
        if fingerprint not in self._open:
            self._open[fingerprint] = _open(source, fingerprint)
            while len(self._open) > MOST_OPEN:
                _, oldest = self._open.popitem(last=False)
                oldest.raster.close()
        self._open.move_to_end(fingerprint)
        return self._open[fingerprint]

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            _, opened = self._open.popitem()
            opened.raster.close()


def _open(source: RasterSource, fingerprint: Fingerprint) -> OpenRaster:
    raster = Raster(source)
    try:
        stretch = measure_stretch(raster, raster.grid, source.stretch)
    except BaseException:
        raster.close()
        raise
    return OpenRaster(fingerprint, ChipReader(raster, stretch), raster)
