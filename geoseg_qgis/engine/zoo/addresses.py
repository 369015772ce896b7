"""Where the files of a card come from, and whether what arrives can be checked."""

from __future__ import annotations

from dataclasses import dataclass

from huggingface_hub import constants, hf_hub_url

from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .card import WeightsFile
from .trust import may_be_trusted

ADOPT_HINT = "download it yourself and set ADOPT_FROM to its folder"


@dataclass(frozen=True)
class Address:
    """Where one file is downloaded from.

    Attributes:
        url: What is asked for.
        page: Page for people about it.
        on_hub: Whether the user's Hugging Face token may be sent there.
    """

    url: str
    page: str
    on_hub: bool


def address_of(weights: WeightsFile) -> Address | None:
    """Return where a file comes from, None when its card names no place.

    Raises:
        JobError: ``MODEL_INVALID`` for what cannot be a repository.
    """
    hub = constants.ENDPOINT.rstrip("/")
    if weights.url is not None:
        on_hub = weights.url.startswith(f"{hub}/")
        return Address(weights.url, weights.gated or weights.url, on_hub)
    if weights.repository is None:
        return None
    name = weights.repository_file or weights.file
    try:
        url = hf_hub_url(
            weights.repository, name, revision=weights.revision or "main", endpoint=hub
        )
    except ValueError as error:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"{weights.repository!r} cannot be a repository of Hugging Face.",
            "Correct the model's card.",
            str(error),
        ) from error
    return Address(url, weights.gated or f"{hub}/{weights.repository}", on_hub=True)


def is_checkable(weights: WeightsFile) -> bool:
    """Return whether the content of a file is fixed beforehand.

    A SHA-256 in the card does so, and the commit of a Hugging Face repository, whose server states
    the SHA-256 of that commit's file.
    """
    at_commit = weights.url is None and None not in (weights.repository, weights.revision)
    return weights.sha256 is not None or at_commit


def checked_address(weights: WeightsFile) -> Address:
    """Return where a file may be downloaded from; other files the user has to download.

    Raises:
        JobError: ``MODEL_MISSING`` when the card names no place, or nothing to check the file by.
    """
    address = address_of(weights)
    if address is None:
        note = (weights.note or "Ask whoever made this model for it").rstrip(".")
        raise unavailable(
            f"{weights.file} cannot be downloaded automatically.",
            f"{note}. Then set ADOPT_FROM to its folder.",
        )
    if not is_checkable(weights) and not may_be_trusted(weights):
        raise unavailable(
            f"{weights.file} was not downloaded, because its card states neither a SHA-256 nor a "
            "commit to check it by.",
            f"If you trust {address.page}, {ADOPT_HINT}.",
        )
    return address


def unavailable(message: str, hint: str, detail: str = "") -> JobError:
    """Return the error for a file that cannot be had."""
    return JobError(ErrorCode.MODEL_MISSING, message, hint, detail)
