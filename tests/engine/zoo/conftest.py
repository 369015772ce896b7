"""A server of models on this computer, and a watch that remembers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from model_server import ModelServer, write_certificate

from geoseg_qgis.protocol.errors import CancelledError


@dataclass
class Remembering:
    """A watch that keeps what it is told, and cancels after so many looks."""

    looks: int | None = None
    fractions: list[float] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def progress(self, fraction: float, phase: str) -> None:
        self.check_cancelled()
        self.fractions.append(fraction)
        self.phases.append(phase)

    def check_cancelled(self) -> None:
        if self.looks is not None:
            self.looks -= 1
            if self.looks < 0:
                raise CancelledError

    def info(self, text: str) -> None:
        self.sentences.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def span(self, start: float, end: float) -> Remembering:
        assert 0.0 <= start <= end <= 1.0 + 1e-9
        return self


@pytest.fixture
def watch() -> Remembering:
    return Remembering()


@pytest.fixture(autouse=True)
def no_account_and_no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the account, cache and proxy of whoever runs the tests out of them."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-account"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody trusts by itself, in one file."""
    return write_certificate(tmp_path_factory.mktemp("certificate"))
