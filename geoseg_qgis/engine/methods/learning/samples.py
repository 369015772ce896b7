"""Features of labelled pixels, read window by window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.chips import Chip, RasterScene
from geoseg_qgis.engine.inference.windows import Tile
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .features import FeatureExtractor, plan_windows, to_images
from .labels import Labels

# Windows that the principal components are found from, and cells of each.
_FITTED_WINDOWS = 24
_CELLS_A_WINDOW = 800


def sample_features(
    scene: RasterScene,
    labels: Labels,
    extractor: FeatureExtractor,
    seed: int,
    progress: Progress,
) -> tuple[Labels, Tensor]:
    """Return the labels on pixels that hold data, and their features (n, F) float32 on the CPU.

    Each pixel gets its features from the window whose middle it is closest to, because windows see
    little beyond their edges.

    Args:
        scene: The raster; features are those of its base grid.
        labels: Pixels of the base grid.
        extractor: Makes the features; its principal components are found first.
        seed: Of the choice of windows and cells.
        progress: Called with the finished fraction; raises to stop.

    Raises:
        JobError: ``EXTENT_OUTSIDE`` when no labelled pixel holds data.
    """
    tiles = plan_windows(scene.base, extractor.recipe)
    owners = nearest_tiles(tiles, labels)
    used = np.unique(owners)
    rng = np.random.default_rng(seed)
    fitted = rng.permutation(used)[:_FITTED_WINDOWS]
    cells: dict[str, list[Tensor]] = {name: [] for name in extractor.recipe.networks}
    for number, tile in enumerate(fitted.tolist()):
        chip = _read(scene, tiles[tile], extractor.recipe.window)
        if chip is not None:
            for name, found in cells.items():
                flat = extractor.cells(name, to_images([chip], extractor.device))[0].flatten(1).T
                chosen = rng.permutation(len(flat))[:_CELLS_A_WINDOW]
                found.append(flat[torch.from_numpy(chosen).to(flat.device)].cpu())
        progress(0.2 * (number + 1) / len(fitted))
    if any(not found for found in cells.values()):
        raise _without_data()
    extractor.fit({name: torch.cat(found) for name, found in cells.items()})
    features = torch.zeros(len(labels), extractor.count)
    valid = np.zeros(len(labels), dtype=bool)
    for number, (members, chip, place) in enumerate(
        _chips(scene, tiles, owners, extractor.recipe.window)
    ):
        if chip is not None:
            rows = labels.rows[members] - int(place.row_off)
            columns = labels.columns[members] - int(place.col_off)
            valid[members] = chip.valid[rows, columns]
            pixels = extractor([chip])[0]
            features[members] = pixels[:, rows, columns].T.cpu()
        progress(0.2 + 0.8 * (number + 1) / len(used))
    if not valid.any():
        raise _without_data()
    return labels.take(valid), features[torch.from_numpy(valid)]


def nearest_tiles(tiles: list[Tile], labels: Labels) -> NDArray[np.int64]:
    """Return the index of the tile whose middle is closest to each pixel, along each axis."""
    columns = tiles[-1].column + 1
    across = _middles([tile.window for tile in tiles[:columns]], "col_off", "width")
    down = _middles([tile.window for tile in tiles[::columns]], "row_off", "height")
    column = np.abs(labels.columns[:, None] + 0.5 - across).argmin(axis=1)
    row = np.abs(labels.rows[:, None] + 0.5 - down).argmin(axis=1)
    return np.asarray(row * columns + column)


def _middles(windows: list[Window], start: str, length: str) -> NDArray[np.float64]:
    return np.array([getattr(one, start) + getattr(one, length) / 2 for one in windows])


def _chips(
    scene: RasterScene, tiles: list[Tile], owners: NDArray[np.int64], side: int
) -> Iterator[tuple[NDArray[np.int64], Chip | None, Window]]:
    """Yield the pixels of each window that has any, the window and its place."""
    for number in np.unique(owners).tolist():
        tile = tiles[number]
        yield np.flatnonzero(owners == number), _read(scene, tile, side), tile.window


def _read(scene: RasterScene, tile: Tile, side: int) -> Chip | None:
    """Return a window of the full side, as classification reads it; None without data."""
    place = Window(tile.window.col_off, tile.window.row_off, side, side)
    chip = scene.reader.read(scene.base, place)
    return chip if chip is not None and chip.valid.any() else None


def _without_data() -> JobError:
    return JobError(
        ErrorCode.EXTENT_OUTSIDE,
        "No labelled pixel of the imagery holds data.",
        "Draw labels where the imagery has data, or check its nodata values.",
    )
