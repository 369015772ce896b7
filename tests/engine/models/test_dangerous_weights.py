"""Weights that would spoil every result, and pickles that an old PyTorch must not open."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from geoseg_qgis.engine.models.weights import read_state, read_tensors
from geoseg_qgis.engine.zoo.card import WeightsFile
from geoseg_qgis.protocol.errors import ErrorCode, JobError


def write(path: Path, tensor: torch.Tensor, name: str = "layer.weight") -> Path:
    safetensors.torch.save_file({"first": torch.ones(2), name: tensor}, path)
    return path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(
    value: float, dtype: torch.dtype, tmp_path: Path
) -> None:
    tensor = torch.zeros(3, 4, dtype=dtype)
    tensor[1, 2] = value
    path = write(tmp_path / "model.safetensors", tensor)
    for read in (
        lambda: read_state(path),
        lambda: read_tensors(path, WeightsFile(path.name, "openclip"), torch.float32),
    ):
        with pytest.raises(JobError) as caught:
            read()
        assert caught.value.code is ErrorCode.MODEL_INVALID
        assert "no finite numbers, in layer.weight" in caught.value.message


def test_large_weights_and_masks_are_accepted(tmp_path: Path) -> None:
    large = torch.full((4,), torch.finfo(torch.float32).max)
    assert read_state(write(tmp_path / "large.safetensors", large))["layer.weight"].equal(large)
    mask = torch.full((2, 2), float("-inf"))
    path = write(tmp_path / "mask.safetensors", mask, "attn_mask")
    assert read_state(path)["attn_mask"].equal(mask)


@pytest.mark.parametrize(
    ("version", "opened"),
    [("2.5.1", False), ("2.9.1+cu128", False), ("1.13.0", False),
     ("2.10.0", True), ("2.15.0+cpu", True), ("3.0.0a1", True)],
)  # fmt: skip
def test_pickles_need_a_torch_without_known_holes(
    version: str, opened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    torch.save({"layer.weight": torch.ones(2)}, path)
    monkeypatch.setattr(torch, "__version__", version)
    if opened:
        assert read_state(path)["layer.weight"].tolist() == [1.0, 1.0]
        return
    with pytest.raises(JobError) as caught:
        read_state(path)
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert f"could run code in PyTorch {version}." in caught.value.message
    assert "2.10 or newer" in caught.value.hint
    # Files that cannot hold code are read by any version.
    assert read_state(write(tmp_path / "model.safetensors", torch.ones(2)))
