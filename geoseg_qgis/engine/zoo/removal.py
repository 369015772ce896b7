"""Takes the files of a preset away again: those that GeoSeg brought and that nothing else needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from geoseg_qgis.engine.files import unwritable
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .locks import alone_with
from .pace import Watch
from .receipts import converted_path, read_receipt, receipt_path
from .registry import Origin, Preset
from .states import PresetState, preset_state


@dataclass
class Removal:
    """What came of a removal.

    Attributes:
        freed: Bytes of the files that were deleted.
        deleted: Those files.
        kept: A sentence for each file that stays.
    """

    freed: int = 0
    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def remove_preset(preset: Preset, others: Iterable[Preset], watch: Watch) -> Removal:
    """Delete what GeoSeg brought for a preset; files of the user and originals stay.

    Args:
        preset: Which one.
        others: All presets; the files of those that are installed stay.
        watch: Asked whether to go on waiting while another program fetches a file.

    Raises:
        JobError: ``INVALID_JOB`` for a built-in preset, ``OUTPUT_UNWRITABLE`` when a file cannot be
            deleted.
    """
    if preset.origin is Origin.BUILT_IN:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"{preset.card.name} is part of GeoSeg and cannot be removed.",
            "Remove a model that was downloaded.",
        )
    shared = _needed_elsewhere(preset, others)
    removal = Removal()
    for weights in preset.card.files:
        path = preset.path(weights.file)
        if path.resolve() in shared:
            removal.kept.append(f"{path} stays: {shared[path.resolve()]} needs it as well.")
            continue
        if not path.parent.is_dir():
            continue
        with alone_with(preset.folder, weights.file, watch):
            _remove_file(path, removal)
        _remove_empty_folders(path.parent, preset.folder)
    return removal


def _needed_elsewhere(preset: Preset, others: Iterable[Preset]) -> dict[Path, str]:
    """Return the files of other installed presets, and which they belong to."""
    needed: dict[Path, str] = {}
    for other in others:
        if other.card.name != preset.card.name and preset_state(other) is PresetState.INSTALLED:
            for weights in other.card.files:
                needed.setdefault(other.path(weights.file).resolve(), other.card.name)
    return needed


def _remove_file(path: Path, removal: Removal) -> None:
    for ending in ("part", "part.json", "adopted.part"):
        with contextlib.suppress(OSError):
            path.with_name(f"{path.name}.{ending}").unlink()
    if not path.is_file():
        return
    receipt = read_receipt(path)
    if receipt is None or not receipt.source:
        removal.kept.append(f"{path} stays, because GeoSeg did not put it there.")
        return
    for each in (converted_path(path), path):
        if not each.is_file():
            continue
        size = each.stat().st_size
        try:
            each.unlink()
        except OSError as error:
            raise unwritable(each, error) from error
        removal.freed += size
    with contextlib.suppress(OSError):
        receipt_path(path).unlink()
    removal.deleted.append(path.name)


def _remove_empty_folders(folder: Path, top: Path) -> None:
    with contextlib.suppress(OSError):
        while folder != top and top in folder.parents:
            folder.rmdir()
            folder = folder.parent
