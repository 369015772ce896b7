"""Files that are on this computer already: linked or copied into the model folder, once checked.

A hard link takes no space, and deleting it leaves the original alone; where the original lies on
another disk it is copied.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .card import WeightsFile
from .installed import adopted_path, digest_of
from .partial import unwritable
from .registry import Preset

# Folders below the one that the user names in which files are looked for.
_DEPTH = 4
# Parts of a path that have to be right where only the folder tells a file from others.
_NAME_AND_FOLDER = 2
_BLOB = re.compile(r"[0-9a-f]{64}")


def found_in_folder(weights: WeightsFile, folder: Path) -> list[Path]:
    """Return files of the right name (and size, if known) in ``folder`` and a few levels below.

    The one whose path has most in common with where the file was published comes first: many
    models have a ``config.json``. Without a SHA-256 to choose by, only one file may fit; if its
    name is that of files of other models, the folder above must be the published one. Upper and
    lower case do not count.

    Raises:
        JobError: ``MODEL_INVALID`` when several files fit equally well.
    """
    ranked = sorted(
        (-_common_parts(path, weights), len(path.parts), path)
        for path in _same_name(weights, folder)
        if path.is_file() and weights.size in (None, path.stat().st_size)
    )
    if _is_told_by_its_folder(weights):
        ranked = [each for each in ranked if -each[0] >= _NAME_AND_FOLDER]
    if weights.sha256 is None and len(ranked) > 1 and ranked[0][:2] == ranked[1][:2]:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"{folder} holds several files that could be {weights.file}: {ranked[0][2]} and "
            f"{ranked[1][2]}.",
            "Set ADOPT_FROM to the folder of the right one.",
        )
    return [path for _, _, path in ranked]


def _is_told_by_its_folder(weights: WeightsFile) -> bool:
    """Return whether only the folder above tells a file from others of its name."""
    nowhere = weights.url is None and weights.repository is None
    return weights.sha256 is None and nowhere and len(Path(weights.file).parts) > 1


def _same_name(weights: WeightsFile, folder: Path) -> Iterator[Path]:
    names = {Path(file).name.casefold() for file in (weights.file, weights.repository_file) if file}
    for place, folders, files in os.walk(folder):
        if len(Path(place).relative_to(folder).parts) >= _DEPTH:
            folders.clear()
        yield from (Path(place, name) for name in files if name.casefold() in names)


def _common_parts(path: Path, weights: WeightsFile) -> int:
    """Return how many parts, from the end, a path shares with where a file was published."""
    published = Path(weights.repository or "", weights.repository_file or weights.file)
    return max(_common_end(path, Path(weights.file)), _common_end(path, published))


def _common_end(first: Path, second: Path) -> int:
    pairs = zip(reversed(first.parts), reversed(second.parts), strict=False)
    same = (one.casefold() == other.casefold() for one, other in pairs)
    return sum(1 for _ in itertools.takewhile(bool, same))


def found_in_presets(weights: WeightsFile, presets: Iterable[Preset]) -> Iterator[Path]:
    """Yield files of other presets that have the same SHA-256 according to their cards."""
    for preset in presets:
        for other in preset.card.files:
            same = weights.sha256 is not None and other.sha256 == weights.sha256
            if same and preset.path(other.file).is_file():
                yield preset.path(other.file)


def found_in_hub_cache(weights: WeightsFile) -> Iterator[tuple[Path, str | None, str]]:
    """Yield the file as other programs downloaded it from Hugging Face, its SHA-256 and commit.

    Without a SHA-256 in the card, the name of the cached file states it. Where the cache has no
    links, as on Windows, files lie in the folder of their commit and state none, which is enough
    if the commit is the right one.
    """
    if weights.repository is None:
        return
    name = weights.repository_file or weights.file
    with contextlib.suppress(ValueError, OSError):
        cached = try_to_load_from_cache(weights.repository, name, revision=weights.revision)
        if isinstance(cached, str) and Path(cached).is_file():
            path = Path(cached).resolve()
            folder = Path(cached).parents[len(Path(name).parts) - 1]
            commit = folder.name if folder.parent.name == "snapshots" else ""
            stated = path.parent.name == "blobs" and _BLOB.fullmatch(path.name)
            digest = weights.sha256 or (path.name if stated else None)
            unlinked = path.parent.name != "blobs" and commit == weights.revision
            if digest is not None or unlinked:
                yield path, digest, commit


def adopt(source: Path, final: Path, expected: str | None, context: JobContext) -> str | None:
    """Put ``source`` at ``final`` if it is what is expected.

    Args:
        source: File to link or copy; it is left alone.
        final: Where it will lie.
        expected: SHA-256; None takes whatever it is.
        context: Receives the progress.

    Returns:
        The SHA-256, or None when the file is another one and was not taken.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
        CancelledError: When the user cancelled.
    """
    source, draft = source.resolve(), adopted_path(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        linked = _link(source, draft)
        label = f"{'Checking' if linked else 'Copying'} {source.name}"
        given, copy = (draft, None) if linked else (source, draft)
        digest = digest_of(given, label, context, copy_to=copy).hexdigest()
        if expected is not None and digest != expected:
            return None
        draft.replace(final)
    except OSError as error:
        raise unwritable(final, error) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return digest


def _link(source: Path, draft: Path) -> bool:
    with contextlib.suppress(OSError):
        os.link(source, draft)
        return True
    return False
