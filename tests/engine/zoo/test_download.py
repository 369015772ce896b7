"""Presets installed, verified and removed, from a server on this computer and from folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from model_server import ModelServer, Offer
from places import ROOT
from zoo_cases import CLIP, SAM, card_of, described, digest, install, preset

from geoseg_qgis.engine.zoo.installed import (
    PresetState,
    alone_with,
    preset_size,
    preset_state,
    remove_preset,
    verify_preset,
)
from geoseg_qgis.engine.zoo.receipts import read_receipt
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # pragma: allowlist secret


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_missing_files_are_downloaded_and_only_those(server: ModelServer, models, recorder) -> None:
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
    result = install(one, recorder)
    assert (result.downloaded, result.installed, result.problems) == (
        len(SAM), ["deep/sam.pt"], [],
    )  # fmt: skip
    assert preset_state(one) is PresetState.INSTALLED
    assert [asked.path for asked in server.asked] == ["/sam"]
    receipt = read_receipt(models / "deep" / "sam.pt")
    assert receipt is not None
    assert (receipt.sha256, receipt.size, receipt.source) == (
        digest(SAM), len(SAM), server.url("/sam"),
    )  # fmt: skip
    assert install(one, recorder).installed == []


def test_one_file_that_cannot_be_had_prevents_no_other(server, models, recorder) -> None:
    server.offers.update({"/sam": Offer(SAM), "/wrong": Offer(CLIP[::-1])})
    by_hand = described("hand.pt", CLIP, note="Ask Ann for it.")
    one = preset(
        models,
        by_hand,
        described("gone.pt", CLIP, url=server.url("/gone")),
        described("wrong.pt", CLIP, url=server.url("/wrong")),
        described("sam.pt", SAM, url=server.url("/sam")),
    )
    result = install(one, recorder)
    assert result.installed == ["sam.pt"]
    assert [problem.code for problem in result.problems] == [
        ErrorCode.MODEL_MISSING, ErrorCode.MODEL_MISSING, ErrorCode.MODEL_INVALID,
    ]  # fmt: skip
    assert str(result.problems[0]) == (
        "hand.pt cannot be downloaded automatically. Ask Ann for it. Then set ADOPT_FROM to its "
        "folder."
    )
    assert preset_state(one) is PresetState.PARTIAL


@pytest.mark.parametrize(
    "members",
    [
        {"url": "https://files.example/sam.pt"},
        {"repository": "ann/sam", "gated": "https://files.example/ask"},
    ],
)
def test_nothing_is_downloaded_that_could_not_be_checked(members, models, recorder) -> None:
    one = preset(models, described("sam.pt", SAM, sha256=None, **members))
    (problem,) = install(one, recorder).problems
    assert "states neither a SHA-256 nor a commit" in problem.message
    assert "ADOPT_FROM" in problem.hint


def test_a_branch_is_no_commit() -> None:
    with pytest.raises(ValueError, match="must be 40 lower-case hexadecimal digits"):
        described("sam.pt", SAM, sha256=None, repository="ann/sam", revision="main")


def test_a_commit_of_a_repository_is_enough(server, models, recorder, monkeypatch) -> None:
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
    assert install(one, recorder).problems == []
    (models / "sam.pt").unlink()
    server.offers[path] = Offer(SAM[::-1], headers=headers)
    (problem,) = install(one, recorder).problems
    assert "another SHA-256" in problem.message


def test_what_cannot_be_a_repository_is_reported(models, recorder) -> None:
    one = preset(models, described("sam.pt", SAM, repository="../ann//sam", revision=COMMIT))
    (problem,) = install(one, recorder).problems
    assert problem.code is ErrorCode.MODEL_INVALID
    assert "cannot be a repository of Hugging Face" in problem.message


def test_offline_nothing_is_asked(server, models, recorder) -> None:
    server.offers["/sam"] = Offer(SAM)
    one = preset(models, described("sam.pt", SAM, url=server.url("/sam")))
    (problem,) = install(one, recorder, offline=True).problems
    assert problem.message == ("sam.pt of tested is not on this computer, and OFFLINE is set.")
    assert server.asked == []


def test_what_does_not_fit_on_the_disk_is_not_begun(server, models, recorder) -> None:
    one = preset(models, described("sam.pt", SAM, size=10**17, url=server.url("/sam")))
    with pytest.raises(JobError, match=r"tested needs 100000000\.00 GB more in") as caught:
        install(one, recorder)
    assert caught.value.code is ErrorCode.DISK_FULL
    assert server.asked == []


def test_a_folder_that_is_a_file_is_reported(server, models, recorder) -> None:
    models.write_bytes(b"")
    one = preset(models / "below", described("sam.pt", SAM, url=server.url("/sam")))
    with pytest.raises(JobError) as caught:
        install(one, recorder)
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE


def test_files_downloaded_by_hand_are_adopted(models, tmp_path, recorder) -> None:
    given = tmp_path / "by hand" / "snapshots" / "abc"
    given.mkdir(parents=True)
    (given / "sam.pt").write_bytes(SAM)
    one = preset(
        models,
        described("published/sam.pt", SAM, url="https://files.example/sam.pt"),
        described("clip.pt", CLIP, url="https://files.example/clip.pt"),
    )
    result = install(one, recorder, adopt_from=tmp_path / "by hand")
    assert result.installed == ["published/sam.pt"]
    assert result.downloaded == 0
    assert (models / "published" / "sam.pt").samefile(given / "sam.pt")
    (problem,) = result.problems
    assert problem.message == f"{tmp_path / 'by hand'} does not hold the clip.pt of tested."
    remove_preset(result.preset, [], recorder.context)
    assert not (models / "published").exists()
    assert (given / "sam.pt").read_bytes() == SAM


def test_a_file_of_the_right_name_only_is_not_adopted(models, tmp_path, recorder) -> None:
    (tmp_path / "sam.pt").write_bytes(SAM[::-1])
    one = preset(models, described("sam.pt", SAM))
    assert len(install(one, recorder, adopt_from=tmp_path).problems) == 1
    assert recorder.warnings == [
        f"{tmp_path / 'sam.pt'} is not the sam.pt that the card describes."
    ]
    assert names(models) == set()


def test_an_unknown_digest_is_reported_when_adopted(models, tmp_path, recorder) -> None:
    (tmp_path / "sam.pt").write_bytes(SAM)
    one = preset(models, described("sam.pt", SAM, sha256=None, size=None))
    assert install(one, recorder, adopt_from=tmp_path).installed == ["sam.pt"]
    assert digest(SAM) in recorder.warnings[0]
    (models / "sam.pt").unlink()
    (models / "sam.pt").write_bytes(SAM[::-1])
    assert [what for _, what in verify_preset(one, recorder.context)] == [
        "does not have the SHA-256 that it should have"
    ]


def test_files_are_copied_where_links_do_not_reach(models, tmp_path, recorder, monkeypatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "sam.pt").write_bytes(SAM)
    one = preset(models, described("sam.pt", SAM))
    assert install(one, recorder, adopt_from=tmp_path).problems == []
    assert (models / "sam.pt").read_bytes() == SAM
    assert not (models / "sam.pt").samefile(tmp_path / "sam.pt")
    assert "Copying sam.pt (0.0 MB)" in recorder.phases


def test_the_cache_of_hugging_face_is_used(models, tmp_path, recorder) -> None:
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
        assert install(one, recorder, offline=True).installed == [weights.file]
        assert (models / weights.file).samefile(blob)
    blob.write_bytes(SAM[::-1])
    damaged = preset(models / "new", described("sam.pt", SAM, sha256=None, **at_commit))
    assert install(damaged, recorder, offline=True).installed == []


def test_presets_share_what_is_the_same(server, models, recorder) -> None:
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
    assert install(second, recorder, models).installed == ["other.pt"]
    assert server.asked == []
    assert (models / "second" / "other.pt").samefile(first / "sam.pt")


def test_a_shared_folder_is_read_and_not_written(models, tmp_path, recorder, monkeypatch) -> None:
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
    result = install(one, recorder, models, shared, adopt_from=tmp_path / "hand")
    assert result.preset.folder == models / "published"
    assert preset_state(result.preset) is PresetState.INSTALLED
    assert names(shared) == {"sam.pt"}
    (shared / "published" / "clip.pt").write_bytes(CLIP)
    assert install(one, recorder, models, shared).preset.folder == shared / "published"


def test_damaged_files_are_found_and_replaced(server, models, recorder) -> None:
    server.offers["/sam"] = Offer(SAM)
    one = preset(models, described("sam.pt", SAM, url=server.url("/sam")))
    install(one, recorder)
    assert list(verify_preset(one, recorder.context)) == []
    (models / "sam.pt").write_bytes(SAM[::-1])
    assert preset_state(one) is PresetState.INSTALLED
    ((weights, what),) = verify_preset(one, recorder.context)
    assert (weights.file, what) == ("sam.pt", "does not have the SHA-256 that it should have")
    assert preset_state(one) is PresetState.DAMAGED
    install(one, recorder)
    assert (models / "sam.pt").read_bytes() == SAM
    assert preset_state(one) is PresetState.INSTALLED
    (models / "sam.pt").write_bytes(SAM[:-1])
    assert preset_state(one) is PresetState.DAMAGED
    assert [what for _, what in verify_preset(one, recorder.context)] == [
        f"has {len(SAM) - 1} bytes instead of {len(SAM)}"
    ]


def test_removal_takes_what_was_installed_and_nothing_else(server, models, recorder) -> None:
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
    install(one, recorder)
    list(verify_preset(one, recorder.context))
    removal = remove_preset(one, [one, other], recorder.context)
    assert (removal.deleted, removal.freed) == (["clip.pt"], len(CLIP))
    assert removal.kept == [
        f"{models / 'sam.pt'} was kept, because other needs it too.",
        f"{models / 'mine.pt'} was kept, because GeoSeg did not put it there.",
    ]
    removal = remove_preset(one, [one], recorder.context)
    assert removal.deleted == ["sam.pt"]
    assert names(models) == {"mine.pt", "mine.pt.receipt.json", "unlisted.txt"}


def test_removal_drops_parts_of_files(server, models, recorder) -> None:
    server.offers["/sam"] = Offer(SAM, break_after=[5000] * 2)
    one = preset(models, described("sam.pt", SAM, url=server.url("/sam")))
    assert len(install(one, recorder).problems) == 1
    assert names(models) == {"sam.pt.part", "sam.pt.part.json"}
    assert preset_state(one) is PresetState.PARTIAL
    remove_preset(one, [], recorder.context)
    assert names(models) == set()


def test_built_in_models_cannot_be_removed(recorder) -> None:
    built_in = catalogue([Path("nowhere")]).presets["offline-small"]
    with pytest.raises(JobError, match="is part of GeoSeg and cannot be removed"):
        remove_preset(built_in, [], recorder.context)
    assert preset_state(built_in) is PresetState.BUILT_IN


INSTALL = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from zoo_cases import SAM, Recorder, described, install, preset
recorder = Recorder()
one = preset(Path(sys.argv[3]), described("sam.pt", SAM, url=sys.argv[4]))
print(install(one, recorder).downloaded, *recorder.sentences)
"""


@pytest.mark.slow
def test_two_programs_download_a_file_once(server, models, recorder) -> None:
    server.offers["/sam"] = Offer(SAM)
    support = ROOT / "tests" / "support"
    command = [sys.executable, "-c", INSTALL, str(ROOT), str(support), str(models)]
    with alone_with(models, "sam.pt", recorder.context):
        both = [
            subprocess.Popen([*command, server.url("/sam")], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        with pytest.raises(subprocess.TimeoutExpired):
            both[0].wait(1.0)
        assert server.asked == []
    said = sorted(process.communicate(timeout=120)[0].split()[0] for process in both)
    assert said == ["0", str(len(SAM))]
    assert len(server.asked) == 1
    assert (models / "sam.pt").read_bytes() == SAM


def test_waiting_for_another_program_can_be_cancelled(models, recorder) -> None:
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            with alone_with(models, "sam.pt", recorder.context):
                pass
        except CancelledError as error:
            caught.append(error)

    with alone_with(models, "sam.pt", recorder.context):
        recorder.cancelled = lambda: bool(recorder.sentences)
        other = threading.Thread(target=wait)
        other.start()
        other.join(60.0)
    assert len(caught) == 1
    assert recorder.sentences == ["Another program is busy with sam.pt; waiting for it."]
    recorder.cancelled = lambda: False
    with alone_with(models, "sam.pt", recorder.context):
        pass
