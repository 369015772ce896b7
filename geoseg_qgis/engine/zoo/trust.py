"""Trust on first use: what Hugging Face stated of a file when it was fetched first.

The cards of some public repositories name neither a commit nor a SHA-256, because their authors
publish none. The commit and the SHA-256 of the file are then recorded in ``trusted.json`` in the
folder of the preset when the file is fetched first, and required from then on, also after the file
was removed. Files of one repository come from one commit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.json_reader import STRICT, parse, read_bytes
from geoseg_qgis.engine.progress import JobContext

from .card import WeightsFile

RECORD = "trusted.json"
# An entry has about 200 bytes.
_LARGEST = 1_000_000

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]


@dataclass(frozen=True, config=STRICT)
class TrustedFile:
    """A file as it was fetched first: digest and bytes."""

    sha256: _Digest
    size: int


@dataclass(frozen=True, config=STRICT)
class TrustedRepository:
    """A repository as it was when its first file was fetched.

    Attributes:
        commit: Its commit.
        files: Files by their path in the repository.
    """

    commit: _Commit
    files: Mapping[str, TrustedFile] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class _Record:
    repositories: Mapping[str, TrustedRepository] = field(default_factory=dict)


def may_be_trusted(weights: WeightsFile) -> bool:
    """Return whether a file may be trusted on first use: one of a public hub repository."""
    known = (weights.sha256, weights.revision, weights.url, weights.gated)
    return weights.repository is not None and all(fact is None for fact in known)


def with_trust(weights: WeightsFile, folder: Path) -> WeightsFile:
    """Return what is known of a file: by its card, else by the record in ``folder``.

    Raises:
        JobError: ``MODEL_INVALID`` for a record that cannot be read.
    """
    if not may_be_trusted(weights):
        return weights
    found = read_record(folder).get(weights.repository or "")
    if found is None:
        return weights
    file = found.files.get(weights.repository_file or weights.file)
    if file is None:
        return dataclasses.replace(weights, revision=f"commit:{found.commit}")
    return dataclasses.replace(
        weights,
        revision=f"commit:{found.commit}",
        sha256=f"sha256:{file.sha256}",
        size=file.size,
    )


def read_record(folder: Path) -> Mapping[str, TrustedRepository]:
    """Return the repositories in the record of a folder, by name; none without a record.

    Raises:
        JobError: ``MODEL_INVALID`` for a record that cannot be read: nothing may be trusted anew.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    return parse(_Record, read_bytes(path, _LARGEST), str(path)).repositories


def record_trust(
    weights: WeightsFile, folder: Path, commit: str, measured: tuple[str, int], context: JobContext
) -> None:
    """Record a file that was fetched first, and tell the user.

    Args:
        weights: What its card says.
        folder: Folder of the preset.
        commit: Commit that the server stated.
        measured: SHA-256 and bytes of the file.
        context: Receives the sentence.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    repositories = dict(read_record(folder))
    repository = weights.repository or ""
    earlier = repositories.get(repository) or TrustedRepository(commit)
    files = {**earlier.files, weights.repository_file or weights.file: TrustedFile(*measured)}
    repositories[repository] = TrustedRepository(earlier.commit, files)
    text = json.dumps(dataclasses.asdict(_Record(repositories)), indent=1)
    with draft(folder / RECORD) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    context.info(
        f"{weights.file} was trusted on first use: its card names no SHA-256, so commit "
        f"{commit[:12]} of {repository} and the SHA-256 {measured[0]} were recorded in "
        f"{folder / RECORD} and are required from now on."
    )
