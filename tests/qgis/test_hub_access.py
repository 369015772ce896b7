"""The access token: kept in the authentication database, sent by downloads, written nowhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import ModelServer, Offer, write_certificate
from qgis.core import QgsApplication, QgsProcessingFeedback, QgsSettings

from geoseg_qgis.engine_client import close_shared, engine_ready
from geoseg_qgis.processing import hub_access

READY, REASON = engine_ready()
WORD = "hubword7Zx2mK9vT4b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"  # pragma: allowlist secret
SAM = b"sam" * 5000


@pytest.fixture
def database(qgis_app) -> Iterator[None]:
    """An authentication database that is unlocked."""
    manager = QgsApplication.authManager()
    if manager.isDisabled():
        pytest.skip("this QGIS has no authentication database")
    if not manager.masterPasswordIsSet():
        manager.setMasterPassword("of the tests", True)
    yield
    hub_access.store("")


def test_token_is_stored_and_forgotten(database) -> None:
    assert hub_access.variables() == {}
    assert hub_access.store(WORD)
    assert hub_access.is_stored()
    assert hub_access.variables() == {"HF_TOKEN": WORD}
    assert WORD not in str({key: QgsSettings().value(key) for key in QgsSettings().allKeys()})
    content = Path(QgsApplication.qgisAuthDatabaseFilePath()).read_bytes()
    assert WORD.encode() not in content
    assert hub_access.store("")
    assert not hub_access.is_stored()
    assert hub_access.variables() == {}


def test_options_keep_the_token_in_the_database(database) -> None:
    from geoseg_qgis.gui.options import OptionsPage

    page = OptionsPage()
    assert page.token.placeholderText() == "none"
    page.token.setText(f" {WORD} ")
    page.apply()
    assert page.token.text() == ""
    assert page.token.placeholderText() == "stored"
    assert hub_access.variables() == {"HF_TOKEN": WORD}
    page.apply()
    assert hub_access.is_stored()
    page.forget.click()
    assert not hub_access.is_stored()
    assert not page.forget.isEnabled()


@pytest.mark.slow
@pytest.mark.skipif(not READY, reason=REASON)
def test_only_the_download_sends_it(provider, database, tmp_path, monkeypatch) -> None:
    import processing

    certificate = write_certificate(tmp_path)
    with ModelServer(certificate) as server:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        models = tmp_path / "models"
        for name, value in {
            "SSL_CERT_FILE": str(certificate),
            "GEOSEG_MODELS": str(models),
            "GEOSEG_DATA": str(tmp_path / "data"),
            "HF_HOME": str(tmp_path / "hub"),
            "HF_ENDPOINT": server.url(""),
        }.items():
            monkeypatch.setenv(name, value)
        close_shared()
        server.offers[f"/ann/sam/resolve/{COMMIT}/sam.pt"] = Offer(SAM)
        weights = {
            "file": "sam.pt", "layout": "any", "size": len(SAM),
            "sha256": hashlib.sha256(SAM).hexdigest(), "repository": "ann/sam", "revision": COMMIT,
        }  # fmt: skip
        card = {
            "name": "own", "title": "My own", "revision": "1", "licence": "CC0-1.0",
            "description": "For tests.", "methods": ["segassess"],
            "segassess": {"weights": weights},
        }  # fmt: skip
        (models / "own").mkdir(parents=True)
        (models / "own" / "card.json").write_text(json.dumps(card), encoding="utf-8")
        hub_access.store(WORD)
        feedback = QgsProcessingFeedback()
        values = {"ACTION": "download", "MODELS": "own"}
        processing.run("geoseg:models", values, feedback=feedback)
        assert (models / "own" / "sam.pt").read_bytes() == SAM
        assert server.asked[-1].headers["authorization"] == f"Bearer {WORD}"
        assert WORD not in feedback.textLog()
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert written
        assert not [path for path in written if WORD.encode() in path.read_bytes()]
        close_shared()
