"""``geoseg:models`` on the real QGIS with the real engine, and a server on this computer."""

from __future__ import annotations

import csv
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, Offer, write_certificate
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsSettings,
)

from geoseg_qgis.engine_client import close_shared, engine_ready
from geoseg_qgis.processing.models import model_lines
from geoseg_qgis.processing.settings import Settings, engine_variables
from geoseg_qgis.protocol.result import ModelSummary

READY, REASON = engine_ready()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not READY, reason=REASON)]

SAM = b"sam" * 5000
IDENTIFIER = "geoseg:models"


@dataclass
class Place:
    """A server that the engine trusts, and the model folder of the account."""

    server: ModelServer
    models: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One engine for this file, with one server and one folder."""
    folder = tmp_path_factory.mktemp("models")
    certificate = write_certificate(tmp_path_factory.mktemp("certificate"))
    close_shared()
    with pytest.MonkeyPatch.context() as patch, ModelServer(certificate) as server:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("SSL_CERT_FILE", str(certificate))
        patch.setenv("GEOSEG_MODELS", str(folder))
        patch.setenv("HF_HOME", str(folder / "hub"))
        server.offers["/sam.pt"] = Offer(SAM)
        yield Place(server, folder)
        close_shared()


@pytest.fixture
def settings(qgis_app) -> Iterator[QgsSettings]:
    """Settings that are taken back."""
    store = QgsSettings()
    yield store
    store.remove("proxy")
    store.remove("geoseg")


def write_card(folder: Path, name: str, **weights: Any) -> Path:
    digest = hashlib.sha256(SAM).hexdigest()
    entry = {"file": "sam.pt", "layout": "any", "size": len(SAM), "sha256": digest, **weights}
    card = {
        "name": name, "title": "My own", "revision": "1", "licence": "CC0-1.0",
        "description": "For tests.", "methods": ["segassess"], "segassess": {"weights": entry},
    }  # fmt: skip
    (folder / name).mkdir(parents=True)
    (folder / name / "card.json").write_text(json.dumps(card))
    return folder / name


def run(**values: Any) -> tuple[dict[str, Any], str]:
    """Return the results and the log."""
    import processing

    feedback = QgsProcessingFeedback(False)
    results = processing.run(IDENTIFIER, values, feedback=feedback)
    return results, feedback.textLog()


def refusal(**values: Any) -> str:
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(IDENTIFIER)
    return algorithm.checkParameterValues(values, QgsProcessingContext())[1]


def test_list_tells_what_there_is(provider, place: Place, tmp_path: Path) -> None:
    table = tmp_path / "models.csv"
    results, log = run(ACTION="list", TABLE=str(table))
    with table.open(newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert results["MODEL_COUNT"] == len(rows) > 6
    assert results["INSTALLED_COUNT"] == 1
    assert results["TABLE"] == str(table)
    assert rows["sam2.1-tiny"]["state"] == "missing"
    assert rows["sam2.1-tiny"]["size"] == "156008466"
    lines = log.splitlines()
    assert lines.index("Built in:") < lines.index("To be downloaded:")
    assert "SAM 2.1 tiny; 156 MB; takes about 1." in log
    assert "https://huggingface.co/facebook/sam3" in log


def test_download_verify_and_remove(provider, place: Place) -> None:
    mine = write_card(place.models, "mine", url=place.server.url("/sam.pt"))
    results, log = run(ACTION="download", MODELS=" mine ")
    assert (mine / "sam.pt").read_bytes() == SAM
    assert (results["MODEL_COUNT"], results["INSTALLED_COUNT"]) == (1, 1)
    assert f"mine is ready in {mine}" in log
    results, log = run(ACTION="verify", MODELS="mine; offline-small")
    assert results["DAMAGED_COUNT"] == 0
    assert "offline-small is in order." in log
    (mine / "sam.pt").write_bytes(SAM[::-1])
    results, log = run(ACTION="verify", MODELS="mine", OFFLINE=True)
    assert results["DAMAGED_COUNT"] == 1
    assert "does not have the SHA-256 that it should have. Download mine again" in log
    run(ACTION="download", MODELS="mine")
    assert (mine / "sam.pt").read_bytes() == SAM
    run(ACTION="remove", MODELS="mine")
    assert not (mine / "sam.pt").exists()


def test_a_cancel_is_quick_and_keeps_what_came(provider, place: Place) -> None:
    import processing

    stalled = threading.Event()
    path = "/slow.pt"
    place.server.offers[path] = Offer(SAM, pause=lambda: stalled.wait(60.0) and None)
    slow = write_card(place.models, "slow", url=place.server.url(path))
    part = slow / "sam.pt.part"
    feedback = QgsProcessingFeedback(False)

    def cancel_once_it_runs() -> None:
        while not (part.is_file() and part.stat().st_size):
            time.sleep(0.02)
        feedback.cancel()

    watcher = threading.Thread(target=cancel_once_it_runs, daemon=True)
    watcher.start()
    values = {"ACTION": "download", "MODELS": "slow"}
    with pytest.raises(QgsProcessingException, match="cancelled"):
        processing.run(IDENTIFIER, values, feedback=feedback)
    assert not stalled.is_set()
    assert part.stat().st_size == 4096
    stalled.set()
    run(**values)
    assert (slow / "sam.pt").read_bytes() == SAM
    asked = [request for request in place.server.asked if request.path == path]
    assert asked[1].headers["range"].startswith("bytes=")
    assert not part.exists()
    run(ACTION="remove", MODELS="slow")


def test_files_downloaded_by_hand_into_a_folder_of_choice(
    provider, place: Place, tmp_path: Path
) -> None:
    chosen, by_hand = tmp_path / "chosen", tmp_path / "by hand"
    by_hand.mkdir()
    (by_hand / "sam.pt").write_bytes(SAM)
    mine = write_card(chosen, "by-hand", note="Ask Ann.")
    values = {"ACTION": "download", "MODELS": "by-hand", "FOLDER": str(chosen)}
    with pytest.raises(QgsProcessingException, match=r"cannot be downloaded automatically\. Ask"):
        run(**values)
    _, log = run(**values, ADOPT_FROM=str(by_hand))
    assert (mine / "sam.pt").read_bytes() == SAM
    assert f"sam.pt was taken from {by_hand / 'sam.pt'}." in log


def test_failures_are_sentences(provider, place: Place) -> None:
    write_card(place.models, "gone", url=place.server.url("/gone.pt"))
    with pytest.raises(QgsProcessingException) as caught:
        run(ACTION="download", MODELS="gone")
    assert str(caught.value).startswith("127.0.0.1 has no sam.pt (status 404).")
    with pytest.raises(QgsProcessingException, match="and OFFLINE is set"):
        run(ACTION="download", MODELS="gone", OFFLINE=True)
    with pytest.raises(QgsProcessingException, match="is part of GeoSeg and cannot be removed"):
        run(ACTION="remove", MODELS="offline-small")


def test_values_that_cannot_work_are_refused(provider) -> None:
    assert refusal(ACTION="list") == ""
    assert refusal(ACTION="download", MODELS=" , ") == (
        "No model to download was named. Name one or several models. The action list shows their "
        "names."
    )
    assert "No model to remove" in refusal(ACTION="remove")
    assert "There is no folder /no/where." in refusal(
        ACTION="download", MODELS="sam2.1-tiny", ADOPT_FROM="/no/where"
    )


def test_settings_of_qgis_reach_the_engine(
    provider, place: Place, settings: QgsSettings, tmp_path: Path
) -> None:
    """Model folder and proxy: the engine asks the proxy, which lets nobody through."""
    write_card(tmp_path / "shelf", "far", url="https://files.example/sam.pt")
    Settings(model_folder=str(tmp_path / "shelf")).write()
    with ModelServer() as proxy:
        settings.setValue("proxy/proxyEnabled", True)
        settings.setValue("proxy/proxyType", "HttpProxy")
        settings.setValue("proxy/proxyHost", "127.0.0.1")
        settings.setValue("proxy/proxyPort", str(proxy.server_port))
        assert set(engine_variables()) == {"HTTP_PROXY", "HTTPS_PROXY", "GEOSEG_MODELS"}
        with pytest.raises(QgsProcessingException) as caught:
            run(ACTION="download", MODELS="far")
        assert [asked.path for asked in proxy.asked] == ["files.example:443"]
    assert str(caught.value) == (
        "The proxy could not be used to reach the server of the model. Check the proxy in QGIS "
        "under Settings, Options, Network, or HTTPS_PROXY with its user name and password."
    )


def test_models_become_lines_under_headings() -> None:
    models = (
        ModelSummary("a", "A", "MIT", ("fast", "sam2"), 5_000_000, "built-in"),
        ModelSummary("b", "B", "CC0", ("fast",), 2_600_000_000, "missing", 4_200_000_000, False,
                     "Ask Ann."),
    )  # fmt: skip
    assert model_lines(models) == (
        "Built in:",
        "  a: A; 5 MB; fast, sam2; licence: MIT",
        "To be downloaded:",
        "  b: B; 2.6 GB; takes about 4.2 GB of memory (more than is free); fast; licence: CC0. "
        "Ask Ann.",
    )
