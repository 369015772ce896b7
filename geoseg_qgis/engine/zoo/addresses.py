"""Where the files of a card come from, and whether what comes can be checked.

A file is fetched only if its content is fixed beforehand: by a SHA-256 in the card, or by the
40-digit commit of a Hugging Face repository, whose server states the SHA-256 of that commit's
file. Anything else has to be fetched by the user and adopted on purpose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from huggingface_hub import constants, hf_hub_url

from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .card import WeightsFile

_COMMIT = re.compile(r"[0-9a-f]{40}")
ADOPT_HINT = "fetch it by hand and give its folder as ADOPT_FROM"


@dataclass(frozen=True)
class Address:
    """Where one file is fetched from.

    Attributes:
        url: What is asked for.
        page: Page for people about it.
        on_hub: Whether the user's Hugging Face account may be named there.
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


def is_pinned(weights: WeightsFile) -> bool:
    """Tell whether the card names the one commit of a repository that the file is of."""
    at_commit = _COMMIT.fullmatch(weights.revision or "") is not None
    return weights.url is None and weights.repository is not None and at_commit


def checked_address(weights: WeightsFile) -> Address:
    """Return where a file may be fetched from.

    Raises:
        JobError: ``MODEL_MISSING`` when the card names no place, or nothing to check the file by.
    """
    address = address_of(weights)
    if address is None:
        note = (weights.note or "Ask whoever made this model for it").rstrip(".")
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"{weights.file} cannot be fetched by itself.",
            f"{note}. Then give the folder it lies in as ADOPT_FROM.",
        )
    if weights.sha256 is None and not is_pinned(weights):
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"{weights.file} was not fetched: its card names neither its SHA-256 nor a commit, "
            "so that nothing would tell a spoilt or exchanged file.",
            f"If you trust {address.page}, {ADOPT_HINT}.",
        )
    return address
