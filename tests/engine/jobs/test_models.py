"""Jobs about models, end to end: a server with TLS on this computer, real folders, real cards."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, Offer, write_certificate

from geoseg_qgis.engine.cli import main
from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.models.memory import required_memory
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import catalogue
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.models import ModelAction, ModelsTask

SAM = b"sam" * 5000
DIGEST = hashlib.sha256(SAM).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server whose certificate is trusted, which offers ``/sam.pt``."""
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ModelServer(certificate) as server:
        server.offers["/sam.pt"] = Offer(SAM)
        yield server


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model folder that the environment names."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("GEOSEG_MODELS", str(folder))
    return folder


def write_card(folder: Path, **weights: Any) -> Path:
    entry = {"file": "sam.pt", "layout": "any", "size": len(SAM), "sha256": DIGEST, **weights}
    card = {
        "name": "mine", "title": "My own", "revision": "1", "licence": "CC0-1.0",
        "description": "For tests.", "methods": ["segassess"], "segassess": {"weights": entry},
    }  # fmt: skip
    place = folder / "mine"
    place.mkdir()
    (place / "card.json").write_text(json.dumps(card))
    return place


def do(action: ModelAction, *models: str, **members: Any) -> tuple[Result, JobContext]:
    context = JobContext()
    lines: list[str] = []
    context.report_log = lambda _level, text: lines.append(text)
    task = ModelsTask(action, models, **members)
    result = run_job(Job(None, task, device="cpu"), context)
    context.warnings[:] = lines
    return result, context


def test_list_shows_everything_about_every_model(models: Path, tmp_path: Path) -> None:
    result, _ = do(ModelAction.LIST, table=str(tmp_path / "models.csv"))
    known = catalogue().presets
    entries = {item.name: item for item in result.models}
    assert set(entries) == set(known)
    assert result.models[0].name == "offline-small"
    assert (entries["offline-small"].state, entries["offline-small"].fits) == ("built-in", True)
    tiny = entries["sam2.1-tiny"]
    assert (tiny.state, tiny.size, tiny.licence) == ("missing", 156_008_466, "Apache-2.0")
    assert tiny.memory == required_memory(known["sam2.1-tiny"], "sam2")
    assert 1.0e9 < tiny.memory < 2.5e9
    assert "https://huggingface.co/facebook/sam3" in entries["sam3"].note
    assert result.numbers == {"MODEL_COUNT": float(len(known)), "INSTALLED_COUNT": 1.0}
    rows = {row["name"]: row for row in csv.DictReader((tmp_path / "models.csv").open())}
    assert rows["sam2.1-tiny"]["size"] == "156008466"
    assert rows["openai-b16"]["methods"] == " ".join(entries["openai-b16"].methods)
    assert result.files == {"TABLE": str(tmp_path / "models.csv")}
    assert result.provenance["model_folders"] == str(models)


@pytest.mark.slow
def test_download_verify_and_remove_a_model(server: ModelServer, models: Path) -> None:
    place = write_card(models, url=server.url("/sam.pt"))
    result, context = do(ModelAction.DOWNLOAD, "mine")
    assert (place / "sam.pt").read_bytes() == SAM
    assert [item.state for item in result.models] == ["installed"]
    assert result.numbers == {
        "FETCHED_MB": 0.015, "MODEL_COUNT": 1.0, "INSTALLED_COUNT": 1.0,
    }  # fmt: skip
    assert context.warnings == [f"mine is ready in {place} (0.0 MB downloaded). Licence: CC0-1.0."]
    result, context = do(ModelAction.VERIFY, "mine")
    assert context.warnings == ["mine is in order."]
    (place / "sam.pt").write_bytes(SAM[::-1])
    result, context = do(ModelAction.VERIFY, "mine")
    assert result.numbers["DAMAGED_COUNT"] == 1.0
    assert [item.state for item in result.models] == ["damaged"]
    assert context.warnings[0].endswith("Download mine again to replace it.")
    result, _ = do(ModelAction.DOWNLOAD, "mine")
    assert (place / "sam.pt").read_bytes() == SAM
    result, _ = do(ModelAction.REMOVE, "mine")
    assert result.numbers["FREED_MB"] == 0.015
    assert {path.name for path in place.iterdir()} == {"card.json", ".locks"}
    assert [item.state for item in result.models] == ["missing"]


def test_a_cancelled_download_continues_later(server: ModelServer, models: Path) -> None:
    place = write_card(models, url=server.url("/sam.pt"))
    part = place / "sam.pt.part"
    task = ModelsTask(ModelAction.DOWNLOAD, ("mine",))
    context = JobContext(is_cancelled=lambda: part.is_file() and part.stat().st_size > 0)
    with pytest.raises(CancelledError):
        run_job(Job(None, task, device="cpu"), context)
    kept = part.stat().st_size
    assert 0 < kept <= len(SAM)
    result, _ = do(ModelAction.DOWNLOAD, "mine")
    assert result.numbers["FETCHED_MB"] == pytest.approx((len(SAM) - kept) / 1e6)
    assert (place / "sam.pt").read_bytes() == SAM


@pytest.mark.slow
def test_published_presets_go_to_the_folder_they_share(models: Path, tmp_path: Path) -> None:
    """A file of a preset's size but other bytes is not taken for the right one."""
    (tmp_path / "hand").mkdir()
    with (tmp_path / "hand" / "sam2.1_hiera_tiny.pt").open("wb") as stream:
        stream.truncate(156_008_466)
    with pytest.raises(JobError, match="does not hold the") as caught:
        do(ModelAction.DOWNLOAD, "sam2.1-tiny", adopt_from=str(tmp_path / "hand"))
    assert caught.value.code is ErrorCode.MODEL_MISSING
    assert [path for path in models.rglob("*") if path.suffix == ".pt"] == []


def test_verify_skips_what_is_not_here(models: Path) -> None:
    result, context = do(ModelAction.VERIFY)
    assert context.warnings == ["offline-small is in order."]
    assert result.numbers["DAMAGED_COUNT"] == 0.0
    _, context = do(ModelAction.VERIFY, "sam2.1-tiny")
    assert context.warnings == ["sam2.1-tiny is not on this computer. Download it first."]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "names", "members", "words"),
    [
        (ModelAction.DOWNLOAD, (), {}, "No model to download was named."),
        (ModelAction.REMOVE, (), {}, "No model to remove was named."),
        (ModelAction.REMOVE, ("offline-small",), {}, "is part of GeoSeg and cannot be removed"),
        (ModelAction.LIST, ("dinosaur",), {}, "There is no model called 'dinosaur'."),
        (ModelAction.DOWNLOAD, ("sam2.1-tiny",), {"offline": True}, "not on this computer"),
        (ModelAction.DOWNLOAD, ("sam2.1-tiny",), {"adopt_from": "/no/where"}, "There is no folder"),
        (ModelAction.LIST, (), {"table": "/no/where/models.csv"}, "does not exist"),
    ],
)
def test_mistakes_are_refused(models: Path, action, names, members, words: str) -> None:
    with pytest.raises(JobError) as caught:
        do(action, *names, **members)
    assert words in str(caught.value)
    assert caught.value.hint


def test_terminal_shows_a_table_and_reports_damage_by_its_status(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write_card(models)
    (place / "sam.pt").write_bytes(SAM)
    assert main(["models", "list", "mine", "offline-small", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "preset", "state", "MB", "memory", "GB", "fits", "methods", "licence",
    ]  # fmt: skip
    assert lines[1].split()[:2] == ["offline-small", "built-in"]
    assert lines[2].split() == ["mine", "installed", "0", "1.5", "yes", "segassess", "CC0-1.0"]
    assert main(["models", "verify", "mine"]) == 0
    (place / "sam.pt").write_bytes(SAM[::-1])
    assert main(["models", "verify", "mine"]) == 1
    assert "does not have the SHA-256 that it should have" in capsys.readouterr().err


def test_command_line_makes_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["models", "download", "sam2.1-tiny", "openai-b16", "--folder", str(tmp_path)]
    arguments += ["--adopt-from", str(tmp_path / "hand"), "--offline", "--print-job"]
    assert main(arguments) == 0
    job = Job.from_json(json.loads(capsys.readouterr().out))
    assert job.kind == "models"
    assert job.task == ModelsTask(
        ModelAction.DOWNLOAD,
        ("sam2.1-tiny", "openai-b16"),
        str(tmp_path),
        str(tmp_path / "hand"),
        offline=True,
    )
