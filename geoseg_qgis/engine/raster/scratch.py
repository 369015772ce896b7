"""Arrays on disk, for scores and weights that would not fit into memory.

Files start sparse and are read and written window by window, so neither memory nor the disk holds
more than was written. They are not memory-mapped, because a full disk would then end the process
instead of raising an error.

Example:
    >>> with ScratchFolder(Path(".")) as folder:
    ...     sums = ScratchArray(folder, "sums", 2, 100, 80, np.float32)
    ...     sums.add(Window(10, 20, 3, 3), np.ones((2, 3, 3), np.float32))
    ...     float(sums.read(Window(10, 20, 4, 4)).sum())
    18.0
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.files import claim, disk_full, is_disk_full, unwritable
from geoseg_qgis.protocol.errors import ErrorCode, JobError

VARIABLE = "GEOSEG_SCRATCH"
_PREFIX = ".geoseg-scratch-"
_OWNER = "owner.lock"
# Free space to leave to others.
_MARGIN = 64 * 1024 * 1024


class ScratchFolder:
    """A folder for the scratch files of one run, deleted when the run ends.

    It is made in the folder of the variable ``GEOSEG_SCRATCH``, else in ``beside``. Folders that a
    crashed engine left there are deleted first.

    Args:
        beside: Folder of the results.
    """

    def __init__(self, beside: Path) -> None:
        named = os.environ.get(VARIABLE)
        self._parent = Path(named) if named else Path(beside)
        self._arrays: list[ScratchArray] = []
        self._owner: Any = None
        self.path = self._parent

    def __enter__(self) -> ScratchFolder:
        """Make the folder.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
        """
        try:
            for leftover in self._parent.glob(f"{_PREFIX}*"):
                if _is_abandoned(leftover):
                    shutil.rmtree(leftover, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
            self._owner = (self.path / _OWNER).open("wb")
            claim(self._owner)
        except OSError as error:
            raise unwritable(self._parent, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete the folder with everything in it."""
        for array in self._arrays:
            array.close()
        self._arrays.clear()
        if self._owner is not None:
            self._owner.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def adopt(self, array: ScratchArray) -> None:
        """Remember an array so that it is closed with the folder."""
        self._arrays.append(array)

    def require(self, size: int) -> None:
        """Check that ``size`` more bytes fit on the disk, beside the arrays that there are already.

        Raises:
            JobError: ``DISK_FULL``.
        """
        needed = size + self._promised + _MARGIN
        free = shutil.disk_usage(self.path).free
        if needed > free:
            raise disk_full(self.path, needed, free)

    def reserved(self, folder: Path) -> int:
        """Return the bytes that the arrays may still take on the disk of a folder."""
        if folder.stat().st_dev != self.path.stat().st_dev:
            return 0
        return self._promised + _MARGIN

    @property
    def _promised(self) -> int:
        return sum(array.unwritten for array in self._arrays)


class ScratchArray:
    """An array of shape (bands, height, width) in a file, filled with zeros at first.

    Args:
        folder: Folder of the run.
        name: Name of the file.
        bands: First dimension.
        height: Rows.
        width: Columns.
        dtype: numpy type of the values.

    Raises:
        JobError: ``DISK_FULL`` when there is no space for all of it.
    """

    def __init__(  # noqa: PLR0917
        self,
        folder: ScratchFolder,
        name: str,
        bands: int,
        height: int,
        width: int,
        dtype: DTypeLike,
    ) -> None:
        self.shape = (bands, height, width)
        self.dtype = np.dtype(dtype)
        self.size = bands * height * width * self.dtype.itemsize
        folder.require(self.size)
        self._path = folder.path / name
        self._lock = threading.Lock()
        try:
            self._file = self._path.open("w+b", buffering=0)
            self._file.truncate(self.size)
        except OSError as error:
            raise _failure(self._path, error) from error
        folder.adopt(self)

    @property
    def unwritten(self) -> int:
        """Bytes that the file may still grow by."""
        if self._file.closed:
            return 0
        blocks = getattr(os.fstat(self._file.fileno()), "st_blocks", 0)
        return max(self.size - blocks * 512, 0)

    def read(self, window: Window) -> NDArray[Any]:
        """Return a window as an array of shape (bands, h, w)."""
        with self._lock:
            return self._read(window)

    def write(self, window: Window, values: NDArray[Any]) -> None:
        """Replace a window by values of shape (bands, h, w).

        Raises:
            JobError: ``DISK_FULL`` when the disk ran full.
        """
        with self._lock:
            self._write(window, values)

    def add(self, window: Window, values: NDArray[Any]) -> None:
        """Add values of shape (bands, h, w) to a window.

        Raises:
            JobError: ``DISK_FULL`` when the disk ran full.
        """
        with self._lock:
            self._write(window, self._read(window) + values)

    def close(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _read(self, window: Window) -> NDArray[Any]:
        height, width = int(window.height), int(window.width)
        values = np.empty((self.shape[0], height, width), dtype=self.dtype)
        for offset, piece in self._pieces(window, values):
            self._file.seek(offset)
            view = piece.data.cast("B")
            while view.nbytes:
                count = self._file.readinto(view)
                if not count:
                    raise JobError(
                        ErrorCode.INTERNAL,
                        f"The scratch file {self._path} was cut short.",
                        "Run again, and keep other programs from that folder.",
                    )
                view = view[count:]
        return values

    def _write(self, window: Window, values: NDArray[Any]) -> None:
        full = np.ascontiguousarray(values, dtype=self.dtype)
        expected = (self.shape[0], int(window.height), int(window.width))
        if full.shape != expected:
            raise ValueError(f"Values of shape {full.shape} do not fill a window of {expected}.")
        try:
            for offset, piece in self._pieces(window, full):
                self._file.seek(offset)
                view = piece.data.cast("B")
                while view.nbytes:
                    view = view[self._file.write(view) :]
        except OSError as error:
            raise _failure(self._path, error) from error

    def _pieces(self, window: Window, values: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        _, height, width = self.shape
        top, left = int(window.row_off), int(window.col_off)
        rows, columns = values.shape[1:]
        if not values.size:
            return
        if top < 0 or left < 0 or top + rows > height or left + columns > width:
            raise ValueError(f"The window {window} reaches outside {height} x {width} pixels.")
        for band, plane in enumerate(values):
            start = band * height + top
            if columns == width:
                yield start * width * self.dtype.itemsize, plane
                continue
            for row, line in enumerate(plane):
                yield ((start + row) * width + left) * self.dtype.itemsize, line


def _failure(path: Path, error: OSError) -> JobError:
    if is_disk_full(error):
        return disk_full(path.parent, detail=str(error))
    return unwritable(path.parent, error)


def _is_abandoned(folder: Path) -> bool:
    owner = folder / _OWNER
    try:
        if os.name != "posix":
            # Windows refuses to delete a file that a living engine holds open.
            owner.unlink()
            return True
        with owner.open("rb") as file:
            return claim(file)
    except OSError:
        return False
