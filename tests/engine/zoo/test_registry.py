import json
import os
from pathlib import Path
from typing import Any

import pytest

from geoseg_qgis.engine.zoo.registry import (
    Origin,
    catalogue,
    choose_preset,
    default_model_folder,
    model_folders,
    open_preset,
)
from geoseg_qgis.protocol.errors import ErrorCode, JobError


def write_preset(folder: Path, name: str, methods: tuple[str, ...] = ("sam2",)) -> Path:
    card: dict[str, Any] = {
        "name": name,
        "title": name,
        "revision": "1",
        "licence": "CC0-1.0",
        "description": "For tests.",
        "methods": list(methods),
        "sam2": {
            "model": "sam2_hiera_t",
            "weights": {"file": "sam.pt", "layout": "sam2", "note": "Ask Ann for it."},
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
    }
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_folders_come_from_the_argument_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEOSEG_MODELS", raising=False)
    assert model_folders() == [default_model_folder()]
    monkeypatch.setenv("GEOSEG_MODELS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert model_folders() == [tmp_path / "a", tmp_path / "b"]
    assert model_folders([tmp_path]) == [tmp_path]


def test_a_users_preset_is_found_by_name_folder_and_card(tmp_path: Path) -> None:
    folder = write_preset(tmp_path / "models" / "mine", "my-sam")
    for name in ("my-sam", str(folder), str(folder / "card.json")):
        preset = open_preset(name, [tmp_path / "models"])
        assert (preset.card.name, preset.folder, preset.origin) == ("my-sam", folder, Origin.USER)
    # The folder may itself be the preset.
    assert open_preset("my-sam", [folder]).folder == folder


def test_a_users_preset_hides_a_shipped_one_and_earlier_folders_win(tmp_path: Path) -> None:
    first = write_preset(tmp_path / "first" / "x", "sam2.1-tiny")
    write_preset(tmp_path / "second" / "y", "sam2.1-tiny")
    preset = open_preset("sam2.1-tiny", [tmp_path / "first", tmp_path / "second"])
    assert preset.folder == first


def test_a_broken_card_hides_no_other(tmp_path: Path) -> None:
    write_preset(tmp_path / "good", "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "card.json").write_text('{"name": "bad"}')
    found = catalogue([tmp_path])
    assert "good" in found.presets
    assert [problem.message for problem in found.problems] == ["bad.title is missing."]


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"name": 1' + "0" * 400 + "}", '{"name": "' + "x" * 5000 + '"}', "\0", "NaN"],
    ids=["nested", "long-number", "long-name", "binary", "nan"],
)
def test_a_hostile_card_is_skipped(tmp_path: Path, content: str) -> None:
    write_preset(tmp_path / "good", "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "card.json").write_text(content)
    found = catalogue([tmp_path])
    assert "good" in found.presets
    (problem,) = found.problems
    assert problem.code is ErrorCode.MODEL_INVALID
    assert problem.message.startswith("bad")
    assert choose_preset("", "fast", [tmp_path]).origin is Origin.BUILT_IN


def test_a_card_with_names_too_long_for_the_disk_is_skipped(tmp_path: Path) -> None:
    folder = write_preset(tmp_path / "bad", "bad")
    card = json.loads((folder / "card.json").read_text())
    card["sam2"]["weights"]["file"] = "x" * 5000
    (folder / "card.json").write_text(json.dumps(card))
    (problem,) = catalogue([tmp_path]).problems
    assert problem.message == "bad.sam2.weights.file must not have names of more than 200 bytes."


def test_an_unknown_name_lists_what_there_is(tmp_path: Path) -> None:
    write_preset(tmp_path / "good", "good")
    with pytest.raises(JobError) as caught:
        open_preset("goof", [tmp_path])
    assert caught.value.code is ErrorCode.MODEL_MISSING
    assert caught.value.message == "There is no model called 'goof'."
    assert "good" in caught.value.hint
    assert "gumix-paper" in caught.value.hint


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-of-that-name/x"])
def test_a_name_that_cannot_be_a_path_is_unknown(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="There is no model called"):
        open_preset(name, [tmp_path])


def test_a_missing_file_is_named_with_its_place(tmp_path: Path) -> None:
    folder = write_preset(tmp_path / "good", "good")
    with pytest.raises(JobError) as caught:
        choose_preset("good", "sam2", [tmp_path])
    assert caught.value.code is ErrorCode.MODEL_MISSING
    assert caught.value.message == "The model good lacks its file sam.pt."
    assert caught.value.hint == f"Ask Ann for it, or put it at {folder / 'sam.pt'}."


def test_a_download_is_expected_in_the_first_folder(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        choose_preset("sam2.1-tiny", "sam2", [tmp_path])
    expected = tmp_path / "published" / "segment_anything_2" / "sam2.1_hiera_tiny.pt"
    assert str(expected) in caught.value.hint
    assert "model manager" in caught.value.hint


def test_presets_for_download_share_the_files_they_have_in_common(tmp_path: Path) -> None:
    folders = [tmp_path / "own", tmp_path / "of-the-institute"]
    alone, combined = (open_preset(name, folders) for name in ("sam2.1-tiny", "openai-b16"))
    (file,) = (weights.file for weights in alone.card.weights_of("sam2"))
    assert alone.folder == combined.folder == tmp_path / "own" / "published"
    assert combined.path(combined.card.weights_of("sam2")[0].file) == alone.path(file)

    there = folders[1] / "published" / file
    there.parent.mkdir(parents=True)
    there.write_bytes(b"x")
    # Where some of its files lie already, the rest belongs too.
    alone, combined = (open_preset(name, folders) for name in ("sam2.1-tiny", "openai-b16"))
    assert alone.path(file) == there
    assert alone.missing_files() == []
    assert [weights.layout for weights in combined.missing_files()] == ["open_clip"]


def test_a_job_without_a_name_takes_a_ready_preset(tmp_path: Path) -> None:
    for name in ("b-ready", "a-lacking", "c-ready"):
        folder = write_preset(tmp_path / name, name)
        if "ready" in name:
            (folder / "sam.pt").write_bytes(b"x")
    preset = choose_preset("", "sam2", [tmp_path])
    assert preset.origin is Origin.BUILT_IN or preset.card.name == "b-ready"
    assert preset.is_ready("sam2")


def test_a_method_that_is_not_served_is_reported(tmp_path: Path) -> None:
    write_preset(tmp_path / "good", "good")
    with pytest.raises(JobError) as caught:
        choose_preset("good", "fast", [tmp_path])
    assert caught.value.message == "The model good does not serve the method fast."
    assert "openai-b16" in caught.value.hint
    with pytest.raises(JobError, match="no method called 'magic'"):
        choose_preset("good", "magic", [tmp_path])


def test_no_model_on_the_machine_is_reported(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="No model for the method clicks is on this machine"):
        choose_preset("", "clicks", [tmp_path])
