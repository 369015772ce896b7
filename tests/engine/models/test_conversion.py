import hashlib
import os
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from geoseg_qgis.engine.models.conversion import current_copy, write_copy
from geoseg_qgis.engine.models.weights import file_sha256, read_state
from geoseg_qgis.engine.zoo.card import WeightsFile
from geoseg_qgis.engine.zoo.receipts import converted_path
from geoseg_qgis.protocol.errors import ErrorCode, JobError

ENTRY = WeightsFile("x.pt", "open_clip")


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(5, 3, generator=generator).half(),
        "bias": torch.randn(5, generator=generator),
        "count": torch.tensor(7),
    }


def assert_equal(read: dict[str, torch.Tensor], saved: dict[str, torch.Tensor]) -> None:
    assert read.keys() == saved.keys()
    for name, tensor in saved.items():
        wide = tensor.float() if tensor.is_floating_point() else tensor
        assert torch.equal(read[name], wide)


def recorded(copy: Path) -> dict[str, str]:
    with safe_open(copy, framework="pt") as stored:
        return dict(stored.metadata())


def refuse_pickles(path: Path, **_: object) -> None:
    raise AssertionError(f"{path} was unpickled again")


def test_a_cards_pickle_is_turned_into_safetensors_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pt"
    torch.save({"state_dict": {f"module.{key}": value for key, value in tensors().items()}}, path)
    assert_equal(read_state(path, ENTRY), tensors())

    copy = converted_path(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.pt", "x.pt.safetensors"]
    facts = recorded(copy)
    assert facts["original_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["original_size"] == str(path.stat().st_size)
    with safe_open(copy, framework="pt") as stored:
        assert stored.get_tensor("weight").dtype == torch.float16

    monkeypatch.setattr(torch, "load", refuse_pickles)
    assert_equal(read_state(path, ENTRY), tensors())


def test_a_file_that_no_card_names_is_left_alone(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "x.pt")
    assert_equal(read_state(tmp_path / "x.pt"), tensors())
    assert not converted_path(tmp_path / "x.pt").exists()


def test_a_copied_original_keeps_its_copy_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pt"
    torch.save(tensors(), path)
    read_state(path, ENTRY)
    os.utime(path, ns=(5, 5))
    monkeypatch.setattr(torch, "load", refuse_pickles)
    assert_equal(read_state(path, ENTRY), tensors())


@pytest.mark.parametrize("same_size", [True, False])
def test_another_original_is_converted_anew(tmp_path: Path, same_size: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save(tensors(), path)
    read_state(path, ENTRY)
    second = tensors(1) if same_size else {**tensors(1), "more": torch.ones(9)}
    torch.save(second, path)
    os.utime(path, ns=(9, 9))
    assert current_copy(path, file_sha256) is None
    assert_equal(read_state(path, ENTRY), second)
    assert recorded(converted_path(path))["original_sha256"] == file_sha256(path)
    assert current_copy(path, file_sha256) == converted_path(path)


@pytest.mark.parametrize("kept", [0, 20, -8])
def test_a_damaged_copy_is_written_again(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.pt"
    torch.save(tensors(), path)
    read_state(path, ENTRY)
    copy = converted_path(path)
    whole = copy.read_bytes()
    copy.write_bytes(whole[:kept])
    assert current_copy(path, file_sha256) is None
    assert_equal(read_state(path, ENTRY), tensors())
    assert current_copy(path, file_sha256) == copy


def test_tensors_that_share_memory_are_parted(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    shared = {"whole": base, "alias": base, "part": base[1], "turned": base.T}
    torch.save(shared, tmp_path / "x.pt")
    assert_equal(read_state(tmp_path / "x.pt", ENTRY), shared)
    assert_equal(read_state(tmp_path / "x.pt", ENTRY), shared)
    assert converted_path(tmp_path / "x.pt").is_file()


def test_a_copy_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(tensors(), path)
    # A folder in the copy's place stands for any place that cannot be written.
    converted_path(path).mkdir()
    assert not write_copy(path, tensors(), "0" * 64)
    assert_equal(read_state(path, ENTRY), tensors())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.pt", "x.pt.safetensors"]


def test_a_wrong_original_leaves_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(tensors(), path)
    with pytest.raises(JobError, match="SHA-256 differs"):
        read_state(path, WeightsFile("x.pt", "open_clip", sha256="0" * 64))
    torch.save([1, 2], path)
    with pytest.raises(JobError, match="holds no tensors by name"):
        read_state(path, ENTRY)
    assert not converted_path(path).exists()


POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:60014e395d930a3f2963d1d89c8522bf4ad56775571e4356e866864789af85c4\n"
    "size 605208421\n"
)


@pytest.mark.parametrize(
    ("content", "sentence", "hint"),
    [
        (POINTER, "x.pt is a Git LFS pointer and not the file itself.", "git lfs pull"),
        ("<!DOCTYPE html>\n<html>Log in</html>", "x.pt is a web page", "request access"),
        ("\n  <HTML><body>Quota exceeded", "x.pt is a web page", "log in"),
        (
            "Access to model facebook/sam3 is restricted. You must be authenticated.",
            "is text and not weights: it begins with 'Access to model facebook/sam3",
            "download the model again",
        ),
        ('{"error": "Repository not found"}', "is text and not weights", "download"),
        ("", "The file x.pt is empty.", "download the model again"),
    ],
    ids=["pointer", "page", "PAGE", "refusal", "json", "empty"],
)
def test_what_is_no_file_of_weights_is_named(
    tmp_path: Path, content: str, sentence: str, hint: str
) -> None:
    path = tmp_path / "x.pt"
    path.write_text(content)
    with pytest.raises(JobError) as caught:
        read_state(path, ENTRY)
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert sentence in caught.value.message
    assert hint in caught.value.hint
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt"]


def test_a_placeholder_is_named_before_its_size_is_compared(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text(POINTER)
    with pytest.raises(JobError, match="Git LFS pointer"):
        read_state(tmp_path / "x.pt", WeightsFile("x.pt", "open_clip", 605_208_421, "6" * 64))


def test_an_incomplete_archive_differs_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(tensors(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(JobError, match="is incomplete: its end is missing"):
        read_state(path, ENTRY)
    path.write_bytes(whole[:80] + bytes(len(whole) - 180) + whole[-100:])
    with pytest.raises(JobError, match="is damaged"):
        read_state(path, ENTRY)


def test_a_torchscript_program_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(JobError) as caught:
        read_state(path, ENTRY)
    assert "is a TorchScript program, which is not opened" in caught.value.message
    assert "the model's card names" in caught.value.hint
