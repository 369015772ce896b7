"""Finished tiles of a run, kept on disk until it is done, so that a stopped run can go on.

What the networks made of a tile is appended to one file, named after the fingerprint of the job.
When the same job is started again, tiles found there are neither read nor computed. Everything
after the networks is done again, so results are those of a run that was never stopped.

A record is appended with one write and has checksums, so a process may be killed at any moment. The
file is deleted when the run is done; files of jobs that never come back are deleted after some
days, or sooner when together they grow large.

Example:
    >>> with Journal.open(fingerprint, room) as journal:  # doctest: +SKIP
    ...     stage = journal.stage("regions", "64 pixels", total=9)
    ...     (ids,) = stage.recall("0-0", lambda: [find_regions(tile)])
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.failures import is_out_of_memory
from geoseg_qgis.engine.files import claim
from geoseg_qgis.engine.raster.scratch import VARIABLE
from geoseg_qgis.protocol.errors import ErrorCode, JobError

Arrays = list[NDArray[Any]]

MOST_BYTES = 20 * 10**9
"""Bytes that the files of all unfinished jobs may have together."""
MOST_AGE = 14 * 86400.0
"""Seconds after which the file of an unfinished job is deleted."""
# Free space to leave: others need the disk, and so do the scratch files of the same run.
_LEAST_FREE = 2 * 10**9
_LEAST_FREE_SHARE = 0.05
_SUFFIX = ".tiles"
# Magic number, length of the JSON header, its CRC-32, bytes of the arrays, their CRC-32.
_PREFIX = struct.Struct("<4sIIQI")
_MAGIC = b"GSJ1"
_LONGEST_HEADER = 1 << 20
# numpy kinds: bool, integers, floating point. Others do not occur, and none may run code.
_KINDS = "biuf"
_COMPRESSED_KINDS = "biu"


def unfinished_folder() -> Path:
    """Return where the finished tiles of stopped runs lie.

    It is in the folder of the variable ``GEOSEG_SCRATCH``, else in the user's cache.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named) / ".geoseg-unfinished"
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library/Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "geoseg" / "unfinished"


def _no_failures() -> int:
    return 0


def _nothing(folder: Path) -> int:
    del folder
    return 0


def _ignore(text: str) -> None:
    """Drop a message."""


@dataclass(frozen=True)
class Surroundings:
    """What a journal asks of the run that it belongs to.

    Attributes:
        failures: Returns how many places of the raster could not be read so far; tiles that met
            one are not kept, as they may be readable next time.
        reserved: Returns the bytes on the disk of a folder that the run itself will still need.
        report: Takes the sentence about a run that goes on.
    """

    failures: Callable[[], int] = _no_failures
    reserved: Callable[[Path], int] = _nothing
    report: Callable[[str], None] = _ignore


class Journal:
    """The finished tiles of one job; without a file it keeps nothing.

    Args:
        path: File of the job, None to keep nothing.
        surroundings: See `Surroundings`.

    Attributes:
        kept: Tiles of all stages so far that an earlier run had finished.
        total: Tiles of all stages so far.
    """

    def __init__(self, path: Path | None = None, surroundings: Surroundings | None = None) -> None:
        self._path = path
        self.surroundings = surroundings or Surroundings()
        self._file: BinaryIO | None = None
        self._places: dict[str, tuple[int, dict[str, Any]]] = {}
        self._end = 0
        self._recording = path is not None
        self._reported = False
        self.kept = 0
        self.total = 0
        if path is not None and path.exists():
            self._take_up(path)

    @classmethod
    @contextmanager
    def open(cls, fingerprint: str, surroundings: Surroundings | None = None) -> Iterator[Journal]:
        """Yield the journal of a job; it is deleted when the block ends without an error.

        It is kept after an error, except after one that no other start of the job would be spared.

        Args:
            fingerprint: Of everything that the tiles depend on; empty to keep nothing.
            surroundings: See `Surroundings`.
        """
        path = None
        if fingerprint:
            folder = unfinished_folder()
            sweep(folder)
            path = folder / f"{fingerprint}{_SUFFIX}"
        journal = cls(path, surroundings)
        keep = False
        try:
            yield journal
        except JobError as error:
            keep = error.code is not ErrorCode.INTERNAL
            raise
        except (MemoryError, RuntimeError) as error:
            # Any other error may be due to what was kept, and would come again.
            keep = is_out_of_memory(error)
            raise
        except (KeyboardInterrupt, SystemExit):
            keep = True
            raise
        finally:
            journal.close(keep=keep)

    def stage(self, name: str, identity: object, total: int | None) -> Stage:
        """Return a part of the run, and report once when the run goes on with it.

        Args:
            name: Of the stage, for example ``regions``.
            identity: What its tiles depend on besides the job, such as their side; its text counts.
            total: Number of its tiles; None where that shows only as it goes on.
        """
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        prefix = f"{name}/{digest}/"
        kept = sum(
            header["tiles"] for key, (_, header) in self._places.items() if key.startswith(prefix)
        )
        self.kept += kept
        self.total += kept if total is None else total
        if total is None or kept < total:
            self.report()
        return Stage(self, prefix)

    def report(self) -> None:
        """Say that a run goes on, once and only if tiles of an earlier one were kept."""
        if self.kept and not self._reported:
            self._reported = True
            share = f" of {self.total}" if self.total > self.kept else ""
            self.surroundings.report(
                f"Continued a run that had stopped: {self.kept}{share} tiles were kept."
            )

    def read(self, key: str) -> Arrays | None:
        """Return what was kept under a key, None if nothing was or it is damaged."""
        place = self._places.get(key)
        if place is None or self._file is None:
            return None
        offset, header = place
        try:
            self._file.seek(offset)
            content = self._file.read(header["size"])
        except OSError:
            return None
        if len(content) != header["size"] or zlib.crc32(content) != header["checksum"]:
            return None
        try:
            return list(_unpacked(content, header["arrays"]))
        except (ValueError, TypeError, zlib.error):
            return None

    def append(self, key: str, arrays: Sequence[NDArray[Any]], tiles: int) -> None:
        """Keep arrays under a key; a disk without room ends the keeping, never the run."""
        if not self._recording:
            return
        parts, shapes = [], []
        for array in arrays:
            values = np.asarray(array, order="C")
            packed = values.tobytes()
            if values.dtype.kind in _COMPRESSED_KINDS:
                packed = zlib.compress(packed, 1)
            parts.append(packed)
            shapes.append([values.dtype.str, list(values.shape), len(packed)])
        content = b"".join(parts)
        header = {"key": key, "tiles": tiles, "arrays": shapes}
        head = json.dumps(header).encode()
        prefix = _PREFIX.pack(
            _MAGIC, len(head), zlib.crc32(head), len(content), zlib.crc32(content)
        )
        try:
            self._write(prefix + head + content)
        except OSError:
            self._recording = False

    def close(self, *, keep: bool) -> None:
        """Close the file, and delete it unless it is to be kept."""
        if self._file is None:
            return
        self._recording = False
        path, file = self._path, self._file
        self._file = None
        if path is not None and (not keep or not self._end) and os.name == "posix":
            path.unlink(missing_ok=True)
        file.close()
        if path is not None:
            if not keep or not self._end:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()

    def _take_up(self, path: Path) -> None:
        """Open the file and find its records; what was cut short at its end is cut off."""
        try:
            file = path.open("r+b", buffering=0)
        except OSError:
            self._recording = False
            return
        if not claim(file):
            # The same job is running in another process.
            file.close()
            self._recording = False
            return
        self._file = file
        with suppress(OSError, ValueError, KeyError):
            self._places, self._end = _records(file)
            file.truncate(self._end)

    def _create(self, path: Path) -> BinaryIO | None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, flags, 0o600)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        if not claim(file):
            file.close()
            return None
        return file

    def _write(self, record: bytes) -> None:
        if self._file is None and self._path is not None:
            self._file = self._create(self._path)
        if self._file is None or self._path is None:
            self._recording = False
            return
        if not self._has_room(self._path.parent, len(record)):
            self._recording = False
            return
        view = memoryview(record)
        try:
            self._file.seek(self._end)
            while view.nbytes:
                view = view[self._file.write(view) :]
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(record)

    def _has_room(self, folder: Path, size: int) -> bool:
        disk = shutil.disk_usage(folder)
        floor = min(_LEAST_FREE, int(_LEAST_FREE_SHARE * disk.total))
        needed = size + floor + self.surroundings.reserved(folder)
        return self._end + size <= MOST_BYTES and needed <= disk.free


NO_JOURNAL = Journal()
"""Keeps nothing."""


class Stage:
    """The tiles of one part of a run; made by `Journal.stage`."""

    def __init__(self, journal: Journal, prefix: str) -> None:
        self._journal = journal
        self._prefix = prefix

    @property
    def failures(self) -> int:
        """Places of the raster that could not be read so far."""
        return self._journal.surroundings.failures()

    def find(self, key: str) -> Arrays | None:
        """Return what an earlier run made of a tile, None if it did not finish it."""
        return self._journal.read(self._prefix + key)

    def keep(self, key: str, arrays: Sequence[NDArray[Any]], tiles: int = 1) -> None:
        """Keep what was made of a tile, or of several that are computed together."""
        self._journal.append(self._prefix + key, arrays, tiles)

    def recall(self, key: str, compute: Callable[[], Sequence[NDArray[Any]]]) -> Arrays:
        """Return what an earlier run made of a tile, else compute and keep it.

        It is not kept where the raster could not be read.
        """
        found = self.find(key)
        if found is not None:
            return found
        failures = self.failures
        made = list(compute())
        if self.failures == failures:
            self.keep(key, made)
        return made


def sweep(folder: Path) -> None:
    """Delete the files of jobs that never came back, and the oldest while all are too large."""
    files = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            facts = path.stat()
            files.append((facts.st_mtime, facts.st_size, path))
    files.sort(reverse=True)
    size = 0
    for changed, own, path in files:
        size += own
        if time.time() - changed > MOST_AGE or size > MOST_BYTES:
            with suppress(OSError), path.open("r+b") as file:
                if claim(file):
                    path.unlink()


def _records(file: BinaryIO) -> tuple[dict[str, tuple[int, dict[str, Any]]], int]:
    """Return the place and header of each complete record, and where the last one ends."""
    length = file.seek(0, os.SEEK_END)
    places: dict[str, tuple[int, dict[str, Any]]] = {}
    end = 0
    while end + _PREFIX.size <= length:
        file.seek(end)
        magic, head_size, head_checksum, size, checksum = _PREFIX.unpack(file.read(_PREFIX.size))
        start = end + _PREFIX.size + head_size
        if magic != _MAGIC or head_size > _LONGEST_HEADER or start + size > length:
            break
        head = file.read(head_size)
        if zlib.crc32(head) != head_checksum:
            break
        header = json.loads(head)
        places[header["key"]] = (start, {**header, "size": size, "checksum": checksum})
        end = start + size
    return places, end


def _unpacked(content: bytes, shapes: Sequence[Any]) -> Iterator[NDArray[Any]]:
    start = 0
    for name, shape, size in shapes:
        dtype = np.dtype(str(name))
        if dtype.kind not in _KINDS:
            raise ValueError(f"Arrays of type {name} are not kept.")
        packed = content[start : start + size]
        if dtype.kind in _COMPRESSED_KINDS:
            packed = zlib.decompress(packed)
        yield np.frombuffer(packed, dtype).reshape(shape).copy()
        start += size
