"""Brings the missing files of a preset: from this computer if they are here, else from the network.

Looked at in this order: other presets, the folder that the user names (which then takes the place
of the network), the cache of Hugging Face, the address in the card. Nothing gets its final name
before it was checked, and spoilt files are replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .addresses import ADOPT_HINT, Address, address_of, checked_address, is_pinned
from .adopt import found_in_folder, found_in_hub_cache, found_in_presets, hub_digest, take_in
from .asking import TransferSettings, open_client
from .card import WeightsFile
from .locks import alone_with
from .pace import Watch
from .partial import PartialFile
from .receipts import write_receipt
from .registry import PUBLISHED_FOLDER, Origin, Preset, catalogue
from .space import require_space
from .states import FileState, file_state
from .transfer import Transfer


@dataclass(frozen=True)
class DownloadOptions:
    """Where files may come from, and where they go.

    Attributes:
        folders: Model folders; files go to the first that may be written.
        adopt_from: Folder with files that the user fetched; used in place of the network.
        offline: Whether the network may not be used.
        transfer: How patient transfers are.
    """

    folders: tuple[Path, ...]
    adopt_from: Path | None = None
    offline: bool = False
    transfer: TransferSettings = field(default_factory=TransferSettings)


@dataclass
class Delivery:
    """What came of a preset's missing files.

    Attributes:
        preset: The preset, with the folder its files lie in now.
        fetched: Bytes that came over the network.
        brought: Files that are there now.
        problems: Why others are not.
    """

    preset: Preset
    fetched: int = 0
    brought: list[str] = field(default_factory=list)
    problems: list[JobError] = field(default_factory=list)


def bring_preset(preset: Preset, options: DownloadOptions, watch: Watch) -> Delivery:
    """Bring every file of a preset that is missing or spoilt.

    A file that cannot be had hinders no other.

    Raises:
        CancelledError: When the user cancelled; what came so far is kept for the next call.
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    delivery = Delivery(_in_writable_folder(preset, options.folders))
    wanted = _unfinished(delivery.preset)
    if not wanted:
        return delivery
    others = [
        other
        for folder in options.folders
        for other in catalogue([folder]).presets.values()
        if other.folder != delivery.preset.folder
    ]
    left: list[WeightsFile] = []
    for weights in wanted:
        try:
            source = _adopt(delivery.preset, weights, [*others, delivery.preset], options, watch)
        except JobError as error:
            _keep(error, delivery)
            continue
        if source is None:
            left.append(weights)
        else:
            watch.info(f"{weights.file} was taken from {source}.")
            delivery.brought.append(weights.file)
    if left:
        _fetch_all(delivery, left, options, watch)
    return delivery


def _unfinished(preset: Preset) -> list[WeightsFile]:
    states = {
        weights.file: file_state(preset.path(weights.file), weights)
        for weights in preset.card.files
    }
    return [item for item in preset.card.files if states[item.file] is not FileState.PRESENT]


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
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK)


def _adopt(
    preset: Preset,
    weights: WeightsFile,
    others: Sequence[Preset],
    options: DownloadOptions,
    watch: Watch,
) -> Path | None:
    """Take a file from this computer and return where it was; None when it is not here."""
    final = preset.path(weights.file)
    candidates = [(path, weights.sha256) for path in found_in_presets(weights, others)]
    if options.adopt_from is not None:
        found = found_in_folder(weights, options.adopt_from)
        candidates += [(path, weights.sha256) for path in found]
    if weights.sha256 is not None or is_pinned(weights):
        for path in found_in_hub_cache(weights):
            expected = weights.sha256 or hub_digest(path)
            candidates += [(path, expected)] if expected else []
    for path, expected in candidates:
        if path.resolve() == final.resolve():
            continue
        with alone_with(preset.folder, weights.file, watch):
            digest = take_in(path, final, expected, watch.span(0.0, 0.0))
            if digest is None:
                watch.warn(f"{path} is not the {weights.file} that the card describes.")
                continue
            write_receipt(final, digest, str(path))
        if expected is None:
            watch.warn(
                f"{path} was taken as it is, since the card states no SHA-256 of it. Its own is "
                f"{digest}."
            )
        return path
    return None


def _fetch_all(
    delivery: Delivery, files: Sequence[WeightsFile], options: DownloadOptions, watch: Watch
) -> None:
    reachable: list[tuple[WeightsFile, Address]] = []
    for weights in files:
        try:
            reachable.append((weights, _usable_address(delivery.preset, weights, options)))
        except JobError as error:
            delivery.problems.append(error)
    sizes = [weights.size or 0 for weights, _ in reachable]
    _check_space(delivery.preset, [weights for weights, _ in reachable])
    done = 0.0
    share = [1.0 / len(sizes)] * len(sizes) if 0 in sizes else [s / sum(sizes) for s in sizes]
    for (weights, address), part in zip(reachable, share, strict=True):
        span = watch.span(done, done + part)
        done += part
        try:
            delivery.fetched += _fetch(delivery.preset, weights, address, options.transfer, span)
            delivery.brought.append(weights.file)
        except JobError as error:
            _keep(error, delivery)


def _keep(error: JobError, delivery: Delivery) -> None:
    """Keep what stands in the way of one file; what stands in the way of all is raised."""
    if error.code not in (ErrorCode.MODEL_MISSING, ErrorCode.MODEL_INVALID):
        raise error
    delivery.problems.append(error)


def _usable_address(preset: Preset, weights: WeightsFile, options: DownloadOptions) -> Address:
    if options.adopt_from is not None:
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"{options.adopt_from} does not hold the {weights.file} of {preset.card.name}.",
            f"Put the file there{_from_page(weights)}, or clear ADOPT_FROM to use the network.",
        )
    if options.offline:
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"{weights.file} of {preset.card.name} is not on this computer, and the network was "
            "not to be used.",
            f"Run again without OFFLINE, or {ADOPT_HINT}.",
        )
    return checked_address(weights)


def _from_page(weights: WeightsFile) -> str:
    address = address_of(weights)
    return "" if address is None else f", from {address.page}"


def _fetch(
    preset: Preset,
    weights: WeightsFile,
    address: Address,
    settings: TransferSettings,
    watch: Watch,
) -> int:
    """Fetch one file and return the bytes that this took."""
    final = preset.path(weights.file)
    identity = weights.sha256 or address.url
    with alone_with(preset.folder, weights.file, watch):
        if file_state(final, weights) is FileState.PRESENT:
            return 0
        partial = PartialFile(final, identity)
        with open_client(settings) as client:
            transfer = Transfer(client, address, weights, partial, watch, settings)
            digest = transfer.run()
        partial.finish()
        write_receipt(final, digest, address.url)
    return transfer.received


def _check_space(preset: Preset, files: Sequence[WeightsFile]) -> None:
    needed = 0
    for weights in files:
        part = preset.path(f"{weights.file}.part")
        needed += max((weights.size or 0) - (part.stat().st_size if part.is_file() else 0), 0)
    require_space(preset.folder, needed, preset.card.name)
