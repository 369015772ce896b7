"""Presets of small files, and a job context that remembers what was reported."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.card import ModelCard, WeightsFile, parse_card
from geoseg_qgis.engine.zoo.download import DownloadOptions, Installation, install_preset
from geoseg_qgis.engine.zoo.http_client import TransferSettings
from geoseg_qgis.engine.zoo.registry import Origin, Preset

SAM = b"sam" * 5000
CLIP = b"clip" * 4000
QUICK = TransferSettings(attempts=2, first_wait=0.0, silence_timeout=30.0)


class Recorder:
    """A job context and what was reported to it.

    Attributes:
        context: To be given to what is tested.
        cancelled: Asked whether the user cancelled.
        fractions: Progress.
        phases: Their phases.
        sentences: Log lines, warnings too.
    """

    def __init__(self) -> None:
        self.cancelled: Callable[[], bool] = lambda: False
        self.fractions: list[float] = []
        self.phases: list[str] = []
        self.sentences: list[str] = []
        self.context = JobContext(self._progress, self._log, self._is_cancelled)

    @property
    def warnings(self) -> list[str]:
        """What must also stand in the result."""
        return self.context.warnings

    def _progress(self, fraction: float, phase: str) -> None:
        assert 0.0 <= fraction <= 1.0 + 1e-9
        self.fractions.append(fraction)
        self.phases.append(phase)

    def _is_cancelled(self) -> bool:
        return self.cancelled()

    def _log(self, _level: str, text: str) -> None:
        self.sentences.append(text)


def digest(content: bytes) -> str:
    """Return the hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def described(file: str, content: bytes, **members: Any) -> WeightsFile:
    """Return what a card says of a file with this content."""
    facts = {"size": len(content), "sha256": digest(content), **members}
    return WeightsFile(file, "sam2", **facts)


def card_of(name: str, *files: WeightsFile) -> ModelCard:
    """Return a card whose files are those given, whatever they hold."""
    entry = {"file": "x", "layout": "sam2"}
    card = parse_card(
        {
            "name": name, "title": name, "revision": "1", "licence": "CC0-1.0",
            "description": "For tests.", "methods": ["segassess"],
            "segassess": {"weights": [entry]},
        }
    )  # fmt: skip
    assert card.segassess is not None
    return dataclasses.replace(card, segassess=dataclasses.replace(card.segassess, weights=files))


def preset(folder: Path, *files: WeightsFile, name: str = "tested") -> Preset:
    """Return a preset of the user with these files."""
    return Preset(card_of(name, *files), folder, Origin.USER)


def install(one: Preset, recorder: Recorder, *folders: Path, **options: Any) -> Installation:
    """Install a preset without long waits."""
    given = DownloadOptions(folders or (one.folder,), transfer=QUICK, **options)
    return install_preset(one, given, recorder.context)
