"""Installs the missing files of a preset: from this computer if they are here, else downloaded.

They are looked for in this order: in other presets, in the folder that the user names (which then
replaces the network), in the cache of Hugging Face, at the address in the card. Nothing gets its
final name before it was checked, and damaged files are replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .addresses import (
    ADOPT_HINT,
    Address,
    address_of,
    checked_address,
    is_checkable,
    unavailable,
)
from .card import WeightsFile
from .http_client import TransferSettings
from .installed import PresetState, alone_with, file_state, part_path
from .local_files import adopt, found_in_folder, found_in_hub_cache, found_in_presets
from .partial import PartialFile, require_space
from .receipts import write_receipt
from .registry import PUBLISHED_FOLDER, Origin, Preset, catalogue
from .transfer import Transfer
from .trust import RECORD, may_be_trusted, read_record, record_trust, with_trust


@dataclass(frozen=True)
class DownloadOptions:
    """Where files may come from, and where they go.

    Attributes:
        folders: Model folders; files go to the first that may be written.
        adopt_from: Folder with files that the user downloaded; replaces the network.
        offline: Whether the network may not be used.
        transfer: Limits of each transfer.
    """

    folders: tuple[Path, ...]
    adopt_from: Path | None = None
    offline: bool = False
    transfer: TransferSettings = field(default_factory=TransferSettings)


@dataclass
class Installation:
    """What became of a preset's missing files.

    Attributes:
        preset: The preset, with the folder its files lie in now.
        downloaded: Bytes that came over the network.
        installed: Files that are there now.
        problems: Why others are not.
    """

    preset: Preset
    downloaded: int = 0
    installed: list[str] = field(default_factory=list)
    problems: list[JobError] = field(default_factory=list)

    def add(self, error: JobError) -> None:
        """Keep what prevents one file; what prevents all is raised."""
        if error.code not in (ErrorCode.MODEL_MISSING, ErrorCode.MODEL_INVALID):
            raise error
        self.problems.append(error)


def install_preset(preset: Preset, options: DownloadOptions, context: JobContext) -> Installation:
    """Install every file of a preset that is missing or damaged.

    A file that cannot be had does not prevent the others.

    Raises:
        CancelledError: When the user cancelled; what arrived so far is kept for the next call.
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    result = Installation(_in_writable_folder(preset, options.folders))
    wanted = _unfinished(result.preset)
    others = [
        other
        for folder in (options.folders if wanted else ())
        for other in catalogue([folder]).presets.values()
        if other.folder != result.preset.folder
    ]
    left: list[tuple[WeightsFile, Address]] = []
    for weights in wanted:
        try:
            source = _adopt(result.preset, weights, [*others, result.preset], options, context)
            if source is None:
                left.append((weights, _usable_address(result.preset, weights, options)))
                continue
        except JobError as error:
            result.add(error)
            continue
        context.info(f"{weights.file} was taken from {source}.")
        result.installed.append(weights.file)
    _download_all(result, left, options.transfer, context)
    return result


def _unfinished(preset: Preset) -> list[WeightsFile]:
    """Return the files that are missing or damaged, with what is known of them."""
    known = [with_trust(weights, preset.folder) for weights in preset.card.files]
    return [
        weights
        for weights in known
        if file_state(preset.path(weights.file), weights) is not PresetState.INSTALLED
    ]


def _in_writable_folder(preset: Preset, folders: Sequence[Path]) -> Preset:
    """Return the preset with the folder its files shall lie in.

    A shared folder that may only be read is used as long as it has everything.
    """
    complete = not _unfinished(preset)
    if complete or preset.origin is not Origin.DOWNLOAD or _may_write(preset.folder):
        return preset
    places = [folder / PUBLISHED_FOLDER for folder in folders]
    return replace(preset, folder=next(filter(_may_write, places), places[0]))


def _may_write(folder: Path) -> bool:
    place = next(each for each in (folder, *folder.parents) if each.exists())
    return place.is_dir() and os.access(place, os.W_OK)


def _adopt(
    preset: Preset,
    weights: WeightsFile,
    others: Sequence[Preset],
    options: DownloadOptions,
    context: JobContext,
) -> Path | None:
    """Take a file from this computer and return where it was; None when it is not here."""
    final, sha256 = preset.path(weights.file), weights.sha256
    candidates: list[tuple[Path, str | None, str]] = [
        (path, sha256, "") for path in found_in_presets(weights, others)
    ]
    if options.adopt_from is not None:
        candidates += [(path, sha256, "") for path in found_in_folder(weights, options.adopt_from)]
    if is_checkable(weights) or may_be_trusted(weights):
        candidates += found_in_hub_cache(weights)
    for path, expected, commit in candidates:
        if path.resolve() == final.resolve():
            continue
        with alone_with(preset.folder, weights.file, context):
            # The bar stays still meanwhile: how much is left to download is not known yet.
            digest = adopt(path, final, expected, context.span(0.0, 0.0))
            if digest is None:
                context.warn(f"{path} is not the {weights.file} that the card describes.")
                continue
            if commit:
                _keep_trust(preset, weights, commit, (digest, final.stat().st_size), context)
            write_receipt(final, digest, str(path))
        if expected is None:
            context.warn(
                f"{path} was taken unchecked, since the card states no SHA-256. It has {digest}."
            )
        return path
    return None


def _usable_address(preset: Preset, weights: WeightsFile, options: DownloadOptions) -> Address:
    if options.adopt_from is not None:
        address = address_of(weights)
        source = "" if address is None else f", from {address.page}"
        raise unavailable(
            f"{options.adopt_from} does not hold the {weights.file} of {preset.card.name}.",
            f"Put the file there{source}, or clear ADOPT_FROM to use the network.",
        )
    if options.offline:
        raise unavailable(
            f"{weights.file} of {preset.card.name} is not on this computer, and OFFLINE is set.",
            f"Run again without OFFLINE, or {ADOPT_HINT}.",
        )
    return checked_address(weights)


def _download_all(
    result: Installation,
    files: Sequence[tuple[WeightsFile, Address]],
    settings: TransferSettings,
    context: JobContext,
) -> None:
    sizes = [weights.size or 0 for weights, _ in files]
    parts = [part_path(result.preset.path(weights.file)) for weights, _ in files]
    needed = sum(
        max(size - (part.stat().st_size if part.is_file() else 0), 0)
        for size, part in zip(sizes, parts, strict=True)
    )
    require_space(result.preset.folder, needed, result.preset.card.name)
    done, every = 0.0, sum(sizes)
    for (weights, address), size in zip(files, sizes, strict=True):
        share = 1.0 / len(files) if 0 in sizes else size / every
        span = context.span(done, done + share)
        done += share
        try:
            result.downloaded += _download(result.preset, weights, address, settings, span)
            result.installed.append(weights.file)
        except JobError as error:
            result.add(error)


def _keep_trust(
    preset: Preset,
    weights: WeightsFile,
    commit: str,
    measured: tuple[str, int],
    context: JobContext,
) -> None:
    """Record digest and size of a file whose card says nothing to check it by; see `trust`."""
    recorded = weights.sha256 is None and weights.repository in read_record(preset.folder)
    if may_be_trusted(weights) or recorded:
        with alone_with(preset.folder, RECORD, context):
            record_trust(weights, preset.folder, commit, measured, context)


def _download(
    preset: Preset,
    weights: WeightsFile,
    address: Address,
    settings: TransferSettings,
    context: JobContext,
) -> int:
    """Download one file and return the bytes that this took."""
    final = preset.path(weights.file)
    with alone_with(preset.folder, weights.file, context):
        if file_state(final, weights) is PresetState.INSTALLED:
            return 0
        # Another file of the repository may have been trusted since.
        weights = with_trust(weights, preset.folder)
        address = checked_address(weights)
        partial = PartialFile(final, weights.sha256 or address.url)
        transfer = Transfer(address, weights, partial, context, settings)
        digest = transfer.run()
        commit = transfer.commit or weights.revision or ""
        _keep_trust(preset, weights, commit, (digest, partial.size), context)
        partial.finish()
        write_receipt(final, digest, address.url)
    return transfer.received
