"""Files that are on this computer already: linked or copied into the model folder, once checked.

A hard link costs no space, and deleting it leaves the original alone; where the original lies on
another disk it is copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from geoseg_qgis.engine.files import is_disk_full, unwritable
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .card import WeightsFile
from .pace import Pace, Watch
from .partial import BLOCK
from .registry import Preset
from .states import hash_file

_DEPTH = 4
_BLOB = re.compile(r"[0-9a-f]{64}")


def found_in_folder(weights: WeightsFile, folder: Path) -> list[Path]:
    """Return files of the right name (and size, if known) in ``folder`` and a few levels below.

    The one whose path says most of where the file was published comes first: many models have a
    ``config.json``. Without a SHA-256 to choose by, there has to be one such file.

    Raises:
        JobError: ``MODEL_INVALID`` when several may be meant and nothing tells them apart.
    """
    ranked = sorted(
        (-_likeness(path, weights), len(path.parts), path)
        for path in _named_alike(weights, folder)
        if path.is_file() and weights.size in (None, path.stat().st_size)
    )
    if weights.sha256 is None and len(ranked) > 1 and ranked[0][:2] == ranked[1][:2]:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"{folder} holds several files that could be {weights.file}: {ranked[0][2]} and "
            f"{ranked[1][2]}.",
            "Give the folder of the one that is meant as ADOPT_FROM.",
        )
    return [path for _, _, path in ranked]


def _named_alike(weights: WeightsFile, folder: Path) -> Iterator[Path]:
    names = {Path(weights.file).name, Path(weights.repository_file or weights.file).name}
    for place, folders, files in os.walk(folder):
        if len(Path(place).relative_to(folder).parts) >= _DEPTH:
            folders.clear()
        yield from (Path(place, name) for name in names & set(files))


def _likeness(path: Path, weights: WeightsFile) -> int:
    """Return how many parts, from the end, a path has in common with where a file was published."""
    published = Path(weights.repository or "", weights.repository_file or weights.file)
    return max(_common_end(path, Path(weights.file)), _common_end(path, published))


def _common_end(first: Path, second: Path) -> int:
    pairs = zip(reversed(first.parts), reversed(second.parts), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def found_in_presets(weights: WeightsFile, presets: Iterable[Preset]) -> Iterator[Path]:
    """Yield files of other presets that their cards say are the same."""
    if weights.sha256 is None:
        return
    for preset in presets:
        for other in preset.card.files:
            path = preset.path(other.file)
            if other.sha256 == weights.sha256 and path.is_file():
                yield path


def found_in_hub_cache(weights: WeightsFile) -> Iterator[Path]:
    """Yield the file as other programs fetched it from Hugging Face, if they did."""
    if weights.repository is None:
        return
    name = weights.repository_file or weights.file
    with contextlib.suppress(ValueError, OSError):
        cached = try_to_load_from_cache(weights.repository, name, revision=weights.revision)
        if isinstance(cached, str) and Path(cached).is_file():
            yield Path(cached).resolve()


def hub_digest(path: Path) -> str | None:
    """Return the SHA-256 that the name of a file in the Hugging Face cache states."""
    return path.name if path.parent.name == "blobs" and _BLOB.fullmatch(path.name) else None


def take_in(source: Path, final: Path, expected: str | None, watch: Watch) -> str | None:
    """Put ``source`` at ``final`` if it is what is expected.

    Args:
        source: File to link or copy; it is left alone.
        final: Where it will lie.
        expected: SHA-256; None takes whatever it is.
        watch: Told of the progress.

    Returns:
        The SHA-256, or None when the file is another one and was not taken.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
        CancelledError: When the user cancelled.
    """
    draft = final.with_name(f"{final.name}.adopted.part")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        digest = _link_or_copy(source.resolve(), draft, watch)
        if expected is not None and digest != expected:
            return None
        draft.replace(final)
    except OSError as error:
        raise _failed(source, final, error) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return digest


def _link_or_copy(source: Path, draft: Path, watch: Watch) -> str:
    """Return the SHA-256 of what lies at ``draft`` then."""
    try:
        os.link(source, draft)
    except OSError:
        return _copy(source, draft, watch)
    return hash_file(draft, f"Checking {source.name}", watch)


def _copy(source: Path, draft: Path, watch: Watch) -> str:
    pace = Pace(watch, f"Copying {source.name}", source.stat().st_size)
    digest, done = hashlib.sha256(), 0
    with source.open("rb") as stream, draft.open("wb") as target:
        while block := stream.read(BLOCK):
            target.write(block)
            digest.update(block)
            done += len(block)
            pace.moved(done)
    return digest.hexdigest()


def _failed(source: Path, final: Path, error: OSError) -> JobError:
    if is_disk_full(error):
        return JobError(
            ErrorCode.DISK_FULL,
            f"The disk of {final.parent} is full, so {source} could not be copied there.",
            "Free some space, or choose a model folder on the disk of that file.",
            str(error),
        )
    return unwritable(final, error)
