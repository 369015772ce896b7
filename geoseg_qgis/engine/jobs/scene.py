"""How every job on imagery begins: the raster, its grids, its stretch and a scratch folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg_qgis.engine.inference.chips import ChipReader, RasterScene
from geoseg_qgis.engine.inference.journal import Journal, Surroundings
from geoseg_qgis.engine.inference.messages import report_stretch
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import model_grid, output_grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.engine.zoo.card import PixelSize
from geoseg_qgis.protocol.job import Job

from .fingerprint import fingerprint


@contextmanager
def prepare_scene(
    job: Job, folder: Path, made_for: PixelSize | None, context: JobContext
) -> Iterator[RasterScene]:
    """Open the raster of a job; it is closed and the scratch files are removed in the end.

    Tiles that were finished when the same job stopped are found in the journal of the scene.

    Args:
        job: Names the raster, the part to process and the stretch.
        folder: Folder of the results, where scratch files may lie.
        made_for: Pixel sizes of the model; None lets it read the pixels of the result.
        context: Told of values that spoil the contrast stretch.

    Raises:
        JobError: ``SOURCE_UNREADABLE``, ``EXTENT_OUTSIDE``, ``OUTPUT_UNWRITABLE``, ``DISK_FULL``
            and whatever else is wrong with the raster or the part asked for.
    """
    with open_raster(job.raster) as raster:
        output = output_grid(raster.grid, job.grid)
        base = model_grid(output, raster.grid, made_for.preferred if made_for else None)
        with ScratchFolder(folder) as scratch:
            stretch = measure_stretch(raster, output, job.raster.stretch)
            report_stretch(raster, output, stretch, context)
            reader = ChipReader(raster, stretch)
            surroundings = Surroundings(
                lambda: len(reader.failures), scratch.reserved, context.info
            )
            with Journal.open(fingerprint(job), surroundings) as journal:
                yield RasterScene(reader, output, base, scratch, journal)
                journal.report()
