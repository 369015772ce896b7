"""Presets brought, verified and removed, from a server on this computer and from folders."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, Offer

from geoseg_qgis.engine.zoo.asking import TransferSettings
from geoseg_qgis.engine.zoo.card import ModelCard, WeightsFile, parse_card
from geoseg_qgis.engine.zoo.download import Delivery, DownloadOptions, bring_preset
from geoseg_qgis.engine.zoo.locks import alone_with
from geoseg_qgis.engine.zoo.receipts import read_receipt
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue
from geoseg_qgis.engine.zoo.removal import remove_preset
from geoseg_qgis.engine.zoo.states import PresetState, preset_size, preset_state, verify_preset
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError

ROOT = Path(__file__).parents[3]
SAM = b"sam" * 5000
CLIP = b"clip" * 4000
COMMIT = "0123456789abcdef0123456789abcdef01234567"  # pragma: allowlist secret
QUICK = TransferSettings(attempts=2, first_wait=0.0, timeout=30.0, allow_plain_http=True)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def described(file: str, content: bytes, **members: Any) -> WeightsFile:
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
    part = dataclasses.replace(card.others["segassess"], weights=files)
    return dataclasses.replace(card, segassess=part)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def preset(folder: Path, *files: WeightsFile, name: str = "tested") -> Preset:
    return Preset(card_of(name, *files), folder, Origin.USER)


def bring(one: Preset, watch, *folders: Path, **options: Any) -> Delivery:
    given = DownloadOptions(folders or (one.folder,), transfer=QUICK, **options)
    return bring_preset(one, given, watch)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_missing_files_are_fetched_and_only_those(server: ModelServer, models, watch) -> None:
    server.offers.update({"/sam": Offer(SAM), "/clip": Offer(CLIP)})
    one = preset(
        models,
        described("deep/sam.pt", SAM, url=server.url("/sam")),
        described("clip.pt", CLIP, url=server.url("/clip")),
    )
    assert preset_state(one) is PresetState.MISSING
    assert preset_size(one) == len(SAM) + len(CLIP)
    (models / "clip.pt").parent.mkdir()
    (models / "clip.pt").write_bytes(CLIP)
    assert preset_state(one) is PresetState.PARTIAL
    delivery = bring(one, watch)
    assert (delivery.fetched, delivery.brought, delivery.problems) == (
        len(SAM), ["deep/sam.pt"], [],
    )  # fmt: skip
    assert preset_state(one) is PresetState.INSTALLED
    assert [asked.path for asked in server.asked] == ["/sam"]
    receipt = read_receipt(models / "deep" / "sam.pt")
    assert receipt is not None
    assert (receipt.sha256, receipt.size, receipt.source) == (
        digest(SAM), len(SAM), server.url("/sam"),
    )  # fmt: skip
    assert bring(one, watch).brought == []


def test_one_file_that_cannot_be_had_hinders_no_other(server, models, watch) -> None:
    server.offers.update({"/sam": Offer(SAM), "/wrong": Offer(CLIP[::-1])})
    by_hand = described("hand.pt", CLIP, note="Ask Ann for it.")
    one = preset(
        models,
        by_hand,
        described("gone.pt", CLIP, url=server.url("/gone")),
        described("wrong.pt", CLIP, url=server.url("/wrong")),
        described("sam.pt", SAM, url=server.url("/sam")),
    )
    delivery = bring(one, watch)
    assert delivery.brought == ["sam.pt"]
    assert [problem.code for problem in delivery.problems] == [
        ErrorCode.MODEL_MISSING, ErrorCode.MODEL_MISSING, ErrorCode.MODEL_INVALID,
    ]  # fmt: skip
    assert str(delivery.problems[0]) == (
        "hand.pt cannot be fetched by itself. Ask Ann for it. Then give the folder it lies in as "
        "ADOPT_FROM."
    )
    assert preset_state(one) is PresetState.PARTIAL


@pytest.mark.parametrize(
    "members",
    [
        {"url": "https://files.example/sam.pt"},
        {"repository": "ann/sam"},
        {"repository": "ann/sam", "revision": "main"},
    ],
)
def test_nothing_is_fetched_that_could_not_be_checked(members, models, watch) -> None:
    one = preset(models, described("sam.pt", SAM, sha256=None, **members))
    (problem,) = bring(one, watch).problems
    assert "names neither its SHA-256 nor a commit" in problem.message
    assert "ADOPT_FROM" in problem.hint


def test_a_commit_of_a_repository_is_enough(server, models, watch, monkeypatch) -> None:
    from huggingface_hub import constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url(""))
    monkeypatch.setattr(constants, "ENDPOINT", server.url(""))
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    path = f"/ann/sam/resolve/{COMMIT}/weights/sam.pt"
    headers = {"X-Linked-Etag": f'"{digest(SAM)}"'}
    server.offers[path] = Offer(SAM, headers=headers)
    weights = described(
        "sam.pt", SAM, sha256=None, repository="ann/sam", revision=COMMIT,
        repository_file="weights/sam.pt",
    )  # fmt: skip
    one = preset(models, weights)
    assert bring(one, watch).problems == []
    (models / "sam.pt").unlink()
    server.offers[path] = Offer(SAM[::-1], headers=headers)
    (problem,) = bring(one, watch).problems
    assert "another SHA-256" in problem.message


def test_what_cannot_be_a_repository_is_said(models, watch) -> None:
    one = preset(models, described("sam.pt", SAM, repository="../ann//sam", revision=COMMIT))
    (problem,) = bring(one, watch).problems
    assert problem.code is ErrorCode.MODEL_INVALID
    assert "cannot be a repository of Hugging Face" in problem.message


def test_offline_nothing_is_asked(server, models, watch) -> None:
    server.offers["/sam"] = Offer(SAM)
    one = preset(models, described("sam.pt", SAM, url=server.url("/sam")))
    (problem,) = bring(one, watch, offline=True).problems
    assert problem.message == (
        "sam.pt of tested is not on this computer, and the network was not to be used."
    )
    assert server.asked == []


def test_what_does_not_fit_on_the_disk_is_not_begun(server, models, watch) -> None:
    one = preset(models, described("sam.pt", SAM, size=10**17, url=server.url("/sam")))
    with pytest.raises(JobError, match=r"tested needs 100000000\.00 GB more in") as caught:
        bring(one, watch)
    assert caught.value.code is ErrorCode.DISK_FULL
    assert server.asked == []


def test_a_folder_that_is_a_file_is_said(server, models, watch) -> None:
    models.write_bytes(b"")
    one = preset(models / "below", described("sam.pt", SAM, url=server.url("/sam")))
    with pytest.raises(JobError) as caught:
        bring(one, watch)
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE


def test_files_fetched_by_hand_are_adopted(models, tmp_path, watch) -> None:
    given = tmp_path / "by hand" / "snapshots" / "abc"
    given.mkdir(parents=True)
    (given / "sam.pt").write_bytes(SAM)
    one = preset(
        models,
        described("published/sam.pt", SAM, url="https://files.example/sam.pt"),
        described("clip.pt", CLIP, url="https://files.example/clip.pt"),
    )
    delivery = bring(one, watch, adopt_from=tmp_path / "by hand")
    assert delivery.brought == ["published/sam.pt"]
    assert delivery.fetched == 0
    assert (models / "published" / "sam.pt").samefile(given / "sam.pt")
    (problem,) = delivery.problems
    assert problem.message == f"{tmp_path / 'by hand'} does not hold the clip.pt of tested."
    remove_preset(delivery.preset, [], watch)
    assert not (models / "published").exists()
    assert (given / "sam.pt").read_bytes() == SAM


def test_a_file_of_the_right_name_only_is_not_adopted(models, tmp_path, watch) -> None:
    (tmp_path / "sam.pt").write_bytes(SAM[::-1])
    one = preset(models, described("sam.pt", SAM))
    assert len(bring(one, watch, adopt_from=tmp_path).problems) == 1
    assert watch.warnings == [f"{tmp_path / 'sam.pt'} is not the sam.pt that the card describes."]
    assert names(models) == set()


def test_an_unknown_digest_is_told_when_adopted(models, tmp_path, watch) -> None:
    (tmp_path / "sam.pt").write_bytes(SAM)
    one = preset(models, described("sam.pt", SAM, sha256=None, size=None))
    assert bring(one, watch, adopt_from=tmp_path).brought == ["sam.pt"]
    assert digest(SAM) in watch.warnings[0]
    (models / "sam.pt").unlink()
    (models / "sam.pt").write_bytes(SAM[::-1])
    assert [what for _, what in verify_preset(one, watch)] == [
        "has another SHA-256 than it should have"
    ]


def test_files_are_copied_where_links_do_not_reach(models, tmp_path, watch, monkeypatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "sam.pt").write_bytes(SAM)
    one = preset(models, described("sam.pt", SAM))
    assert bring(one, watch, adopt_from=tmp_path).problems == []
    assert (models / "sam.pt").read_bytes() == SAM
    assert not (models / "sam.pt").samefile(tmp_path / "sam.pt")
    assert "Copying sam.pt (0.0 MB)" in watch.phases


def test_the_cache_of_hugging_face_is_used(models, tmp_path, watch) -> None:
    folder = tmp_path / "hub-cache" / "models--ann--sam"
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    blob = folder / "blobs" / digest(SAM)
    blob.write_bytes(SAM)
    (folder / "snapshots" / COMMIT / "sam.pt").symlink_to(blob)
    at_commit = {"repository": "ann/sam", "revision": COMMIT}
    for weights in (
        described("sam.pt", SAM, **at_commit),
        described("other.pt", SAM, sha256=None, repository_file="sam.pt", **at_commit),
    ):
        one = preset(models, weights)
        assert bring(one, watch, offline=True).brought == [weights.file]
        assert (models / weights.file).samefile(blob)
    blob.write_bytes(SAM[::-1])
    spoilt = preset(models / "new", described("sam.pt", SAM, sha256=None, **at_commit))
    assert bring(spoilt, watch, offline=True).brought == []


def test_presets_share_what_is_the_same(server, models, watch) -> None:
    server.offers["/sam"] = Offer(SAM)
    first = models / "first"
    first.mkdir(parents=True)
    entry = {
        "file": "sam.pt", "layout": "any", "size": len(SAM), "sha256": digest(SAM),
        "url": "https://files.example/sam.pt",
    }  # fmt: skip
    card = {
        "name": "first", "title": "First", "revision": "1", "licence": "CC0-1.0",
        "description": "For tests.", "methods": ["segassess"], "segassess": {"weights": entry},
    }  # fmt: skip
    (first / "card.json").write_text(json.dumps(card))
    (first / "sam.pt").write_bytes(SAM)
    second = preset(models / "second", described("other.pt", SAM, url=server.url("/sam")))
    assert bring(second, watch, models).brought == ["other.pt"]
    assert server.asked == []
    assert (models / "second" / "other.pt").samefile(first / "sam.pt")


def test_a_shared_folder_is_read_and_not_written(models, tmp_path, watch, monkeypatch) -> None:
    shared = tmp_path / "shared"
    both = (described("sam.pt", SAM), described("clip.pt", CLIP))
    (shared / "published").mkdir(parents=True)
    (shared / "published" / "sam.pt").write_bytes(SAM)
    one = Preset(card_of("tested", *both), shared / "published", Origin.DOWNLOAD)
    real = os.access

    def may(path: Any, mode: int) -> bool:
        return shared not in (Path(path), *Path(path).parents) and real(path, mode)

    monkeypatch.setattr(os, "access", may)
    (tmp_path / "hand").mkdir()
    for name, content in (("sam.pt", SAM), ("clip.pt", CLIP)):
        (tmp_path / "hand" / name).write_bytes(content)
    delivery = bring(one, watch, models, shared, adopt_from=tmp_path / "hand")
    assert delivery.preset.folder == models / "published"
    assert preset_state(delivery.preset) is PresetState.INSTALLED
    assert names(shared) == {"sam.pt"}
    (shared / "published" / "clip.pt").write_bytes(CLIP)
    assert bring(one, watch, models, shared).preset.folder == shared / "published"


def test_spoilt_files_are_found_and_replaced(server, models, watch) -> None:
    server.offers["/sam"] = Offer(SAM)
    one = preset(models, described("sam.pt", SAM, url=server.url("/sam")))
    bring(one, watch)
    assert list(verify_preset(one, watch)) == []
    (models / "sam.pt").write_bytes(SAM[::-1])
    assert preset_state(one) is PresetState.INSTALLED
    ((weights, what),) = verify_preset(one, watch)
    assert (weights.file, what) == ("sam.pt", "has another SHA-256 than it should have")
    assert preset_state(one) is PresetState.DAMAGED
    bring(one, watch)
    assert (models / "sam.pt").read_bytes() == SAM
    assert preset_state(one) is PresetState.INSTALLED
    (models / "sam.pt").write_bytes(SAM[:-1])
    assert preset_state(one) is PresetState.DAMAGED
    assert [what for _, what in verify_preset(one, watch)] == [
        f"has {len(SAM) - 1} bytes in place of {len(SAM)}"
    ]


def test_removal_takes_what_was_brought_and_nothing_else(server, models, watch) -> None:
    server.offers.update({"/sam": Offer(SAM), "/clip": Offer(CLIP)})
    sam = described("sam.pt", SAM, url=server.url("/sam"))
    clip = described("clip.pt", CLIP, url=server.url("/clip"))
    mine = described("mine.pt", b"own")
    models.mkdir()
    (models / "mine.pt").write_bytes(b"own")
    (models / "unlisted.txt").write_text("a note")
    one = preset(models, sam, clip, mine)
    other = preset(models, sam, name="other")
    assert preset_state(other) is PresetState.MISSING
    bring(one, watch)
    list(verify_preset(one, watch))
    removal = remove_preset(one, [one, other], watch)
    assert (removal.deleted, removal.freed) == (["clip.pt"], len(CLIP))
    assert removal.kept == [
        f"{models / 'sam.pt'} stays: other needs it as well.",
        f"{models / 'mine.pt'} stays, because GeoSeg did not put it there.",
    ]
    removal = remove_preset(one, [one], watch)
    assert removal.deleted == ["sam.pt"]
    assert names(models) == {"mine.pt", "mine.pt.receipt.json", "unlisted.txt"}


def test_removal_drops_parts_of_files(server, models, watch) -> None:
    server.offers["/sam"] = Offer(SAM, break_after=[5000] * 2)
    one = preset(models, described("sam.pt", SAM, url=server.url("/sam")))
    assert len(bring(one, watch).problems) == 1
    assert names(models) == {"sam.pt.part", "sam.pt.part.json"}
    assert preset_state(one) is PresetState.PARTIAL
    remove_preset(one, [], watch)
    assert names(models) == set()


def test_built_in_models_cannot_be_removed(watch) -> None:
    built_in = catalogue([Path("nowhere")]).presets["offline-small"]
    with pytest.raises(JobError, match="is part of GeoSeg and cannot be removed"):
        remove_preset(built_in, [], watch)
    assert preset_state(built_in) is PresetState.BUILT_IN


FETCH = """
import sys
sys.path[:0] = sys.argv[1:3]
from test_zoo_download import SAM, bring, described, preset
from conftest import Remembering
from pathlib import Path
one = preset(Path(sys.argv[3]), described("sam.pt", SAM, url=sys.argv[4]))
watch = Remembering()
print(bring(one, watch).fetched, *watch.sentences)
"""


def test_two_programs_fetch_a_file_once(server, models, watch) -> None:
    server.offers["/sam"] = Offer(SAM)
    command = [sys.executable, "-c", FETCH, str(ROOT), str(Path(__file__).parent), str(models)]
    with alone_with(models, "sam.pt", watch):
        both = [
            subprocess.Popen([*command, server.url("/sam")], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        time.sleep(0.1)
        assert server.asked == []
    said = sorted(process.communicate(timeout=120)[0].split()[0] for process in both)
    assert said == ["0", str(len(SAM))]
    assert len(server.asked) == 1
    assert (models / "sam.pt").read_bytes() == SAM


def test_waiting_for_another_program_can_be_cancelled(models, watch) -> None:
    with alone_with(models, "sam.pt", watch):
        watch.looks = 1
        with pytest.raises(CancelledError), alone_with(models, "sam.pt", watch):
            pass
    assert watch.sentences == ["Another program is busy with sam.pt; waiting for it."]
