"""Public hub repositories that publish no SHA-256: trusted once, strict afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from model_server import ModelServer, Offer
from zoo_cases import CLIP, SAM, described, digest, install, preset

from geoseg_qgis.engine.zoo.installed import remove_preset
from geoseg_qgis.engine.zoo.registry import catalogue
from geoseg_qgis.engine.zoo.trust import RECORD, may_be_trusted
from geoseg_qgis.protocol.errors import ErrorCode, JobError

FIRST = "0123456789abcdef0123456789abcdef01234567"  # pragma: allowlist secret
LATER = "89abcdef0123456789abcdef0123456789abcdef"  # pragma: allowlist secret
PUBLIC = {"repository": "ann/sam", "sha256": None, "size": None}


@pytest.fixture
def hub(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    """The server in the role of Hugging Face."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url(""))
    monkeypatch.setattr(constants, "ENDPOINT", server.url(""))
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    return server


def offer(hub: ModelServer, file: str, content: bytes, commit: str, lfs: bool = True) -> None:
    """Publish a file as a commit of the repository and as its newest version."""
    headers = {"X-Repo-Commit": commit}
    if lfs:
        headers["X-Linked-Etag"] = f'"{digest(content)}"'
    for revision in ("main", commit):
        hub.offers[f"/ann/sam/resolve/{revision}/{file}"] = Offer(content, headers=headers)


def test_first_download_is_recorded_and_required(hub: ModelServer, tmp_path, recorder) -> None:
    offer(hub, "sam.pt", SAM, FIRST)
    one = preset(tmp_path, described("sam.pt", SAM, **PUBLIC))
    result = install(one, recorder)
    assert (result.installed, result.problems) == (["sam.pt"], [])
    assert json.loads((tmp_path / RECORD).read_text(encoding="utf-8")) == {
        "repositories": {
            "ann/sam": {
                "commit": FIRST,
                "files": {"sam.pt": {"sha256": digest(SAM), "size": len(SAM)}},
            }
        }
    }
    assert any(
        text.startswith("sam.pt was trusted on first use") and digest(SAM) in text
        for text in recorder.sentences
    )
    assert recorder.warnings == []

    # The authors publish another file; what was recorded is asked for and required.
    offer(hub, "sam.pt", SAM[::-1], LATER)
    remove_preset(one, [one], recorder.context)
    assert install(one, recorder).problems == []
    assert (tmp_path / "sam.pt").read_bytes() == SAM
    assert hub.asked[-1].path == f"/ann/sam/resolve/{FIRST}/sam.pt"

    # Somebody replaces the file of that very commit.
    hub.offers[f"/ann/sam/resolve/{FIRST}/sam.pt"] = Offer(CLIP)
    (tmp_path / "sam.pt").unlink()
    (problem,) = install(one, recorder).problems
    assert problem.code is ErrorCode.MODEL_INVALID
    assert not (tmp_path / "sam.pt").exists()


def test_files_of_a_repository_come_from_one_commit(hub: ModelServer, tmp_path, recorder) -> None:
    offer(hub, "a.json", CLIP, FIRST, lfs=False)
    one = preset(tmp_path, described("a.json", CLIP, **PUBLIC))
    assert install(one, recorder).installed == ["a.json"]
    offer(hub, "b.pt", SAM, FIRST)
    offer(hub, "b.pt", SAM[::-1], LATER)
    hub.offers[f"/ann/sam/resolve/{FIRST}/b.pt"] = Offer(SAM, headers={"X-Repo-Commit": FIRST})
    both = preset(tmp_path, described("a.json", CLIP, **PUBLIC), described("b.pt", SAM, **PUBLIC))
    assert install(both, recorder).installed == ["b.pt"]
    assert (tmp_path / "b.pt").read_bytes() == SAM
    record = json.loads((tmp_path / RECORD).read_text(encoding="utf-8"))
    assert set(record["repositories"]["ann/sam"]["files"]) == {"a.json", "b.pt"}


def test_server_that_states_no_commit_is_not_trusted(hub: ModelServer, tmp_path, recorder) -> None:
    hub.offers["/ann/sam/resolve/main/sam.pt"] = Offer(SAM)
    (problem,) = install(preset(tmp_path, described("sam.pt", SAM, **PUBLIC)), recorder).problems
    assert "states neither a SHA-256 nor a commit" in problem.message
    assert not (tmp_path / "sam.pt").exists()
    assert not (tmp_path / RECORD).exists()


def test_content_must_be_what_the_hub_states(hub: ModelServer, tmp_path, recorder) -> None:
    offer(hub, "sam.pt", SAM, FIRST)
    headers = {"X-Repo-Commit": FIRST, "X-Linked-Etag": f'"{digest(CLIP)}"'}
    hub.offers["/ann/sam/resolve/main/sam.pt"] = Offer(SAM, headers=headers)
    (problem,) = install(preset(tmp_path, described("sam.pt", SAM, **PUBLIC)), recorder).problems
    assert "another SHA-256" in problem.message
    assert not (tmp_path / RECORD).exists()


def test_record_that_cannot_be_read_trusts_nothing_anew(
    hub: ModelServer, tmp_path, recorder
) -> None:
    offer(hub, "sam.pt", SAM, FIRST)
    (tmp_path / RECORD).write_text("{", encoding="utf-8")
    with pytest.raises(JobError) as caught:
        install(preset(tmp_path, described("sam.pt", SAM, **PUBLIC)), recorder)
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert hub.asked == []


def test_cards_that_state_something_stay_strict() -> None:
    assert may_be_trusted(described("sam.pt", SAM, **PUBLIC))
    for known in (
        {"sha256": digest(SAM)},
        {"revision": FIRST},
        {"gated": "https://files.example/ask"},
        {"repository": None, "url": "https://files.example/sam.pt"},
    ):
        assert not may_be_trusted(described("sam.pt", SAM, **{**PUBLIC, **known}))


def test_cache_of_hugging_face_is_trusted_like_the_hub(tmp_path, recorder) -> None:
    folder = Path(constants.HF_HUB_CACHE) / "models--ann--sam"
    (folder / "blobs").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(FIRST, encoding="utf-8")
    (folder / "snapshots" / FIRST).mkdir(parents=True)
    blob = folder / "blobs" / digest(SAM)
    blob.write_bytes(SAM)
    (folder / "snapshots" / FIRST / "sam.pt").symlink_to(blob)
    one = preset(tmp_path / "models", described("sam.pt", SAM, **PUBLIC))
    assert install(one, recorder, offline=True).installed == ["sam.pt"]
    record = json.loads((tmp_path / "models" / RECORD).read_text(encoding="utf-8"))
    assert record["repositories"]["ann/sam"]["commit"] == FIRST


def test_cache_without_links_states_its_commit(tmp_path, recorder) -> None:
    place = Path(constants.HF_HUB_CACHE) / "models--ann--sam" / "snapshots" / FIRST
    place.mkdir(parents=True)
    (place / "sam.pt").write_bytes(SAM)
    known = {**PUBLIC, "revision": FIRST}
    one = preset(tmp_path / "models", described("sam.pt", SAM, **known))
    assert install(one, recorder, offline=True).installed == ["sam.pt"]
    other = preset(tmp_path / "others", described("sam.pt", SAM, **{**known, "revision": LATER}))
    assert install(other, recorder, offline=True).installed == []


@pytest.mark.parametrize("name", ["gumix-light", "gumix-timm", "unigeoseg"])
def test_published_presets_are_one_command(name: str, tmp_path) -> None:
    card = catalogue([tmp_path]).presets[name].card
    for weights in card.files:
        strict = weights.sha256 is not None or weights.revision is not None
        assert strict or may_be_trusted(weights), weights.file


def test_folders_of_authors_are_adopted_whatever_their_case(tmp_path, recorder) -> None:
    given = tmp_path / "given"
    for name, content in (("Inria", SAM), ("WAQS", CLIP)):
        (given / "SegAssess" / name).mkdir(parents=True)
        (given / "SegAssess" / name / "best.pkl").write_bytes(content)
    unknown = {"sha256": None, "size": None}
    one = preset(tmp_path / "models", described("SegAssess/inria/best.pkl", SAM, **unknown))
    assert install(one, recorder, adopt_from=given).installed == ["SegAssess/inria/best.pkl"]
    assert (tmp_path / "models" / "SegAssess" / "inria" / "best.pkl").read_bytes() == SAM


def test_lone_file_of_another_model_is_not_adopted(tmp_path, recorder) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "best.pkl").write_bytes(SAM)
    unknown = {"sha256": None, "size": None}
    one = preset(tmp_path / "models", described("SegAssess/inria/best.pkl", SAM, **unknown))
    (problem,) = install(one, recorder, adopt_from=tmp_path / "given").problems
    assert "does not hold the SegAssess/inria/best.pkl" in problem.message
