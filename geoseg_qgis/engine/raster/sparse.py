"""Which blocks of a sparse GeoTIFF were written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Looking up a block takes some microseconds; files with more blocks count as complete.
_MOST_BLOCKS = 4_000_000


@dataclass(frozen=True)
class WrittenBlocks:
    """The blocks that hold data.

    Attributes:
        written: Bool of shape (block rows, block columns); None when all count as written.
        height: Rows of a block.
        width: Columns of a block.
    """

    written: NDArray[np.bool_] | None
    height: int = 1
    width: int = 1

    @property
    def complete(self) -> bool:
        """Whether no block is missing."""
        return self.written is None

    @classmethod
    def of(cls, dataset: Any, bands: tuple[int, ...]) -> WrittenBlocks:
        """Return the written blocks of a dataset; all of them in formats that cannot be sparse.

        Args:
            dataset: Open rasterio dataset.
            bands: Bands that are used; a block counts when any of them is written.
        """
        height, width = dataset.block_shapes[bands[0] - 1]
        rows, columns = -(-dataset.height // height), -(-dataset.width // width)
        if dataset.driver not in ("GTiff", "COG") or rows * columns > _MOST_BLOCKS:
            return cls(None)
        interleaved = str(dataset.profile.get("interleave", "")).lower() != "band"
        asked = bands[:1] if interleaved else bands
        written = np.zeros((rows, columns), dtype=np.bool_)
        for row in range(rows):
            for column in range(columns):
                name = f"BLOCK_OFFSET_{column}_{row}"
                written[row, column] = any(
                    dataset.get_tag_item(name, "TIFF", bidx=band) is not None for band in asked
                )
        return cls(None if written.all() else written, height, width)

    def any_in(self, top: int, bottom: int, left: int, right: int) -> bool:
        """Return whether any block of these rows and columns of pixels was written."""
        if self.written is None:
            return True
        rows = slice(top // self.height, -(-bottom // self.height))
        columns = slice(left // self.width, -(-right // self.width))
        return bool(self.written[rows, columns].any())

    def at(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the pixels at rows x columns lie in written blocks."""
        if self.written is None:
            return np.ones((len(rows), len(columns)), dtype=np.bool_)
        return self.written[np.ix_(rows // self.height, columns // self.width)]
