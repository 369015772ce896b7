import hashlib
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from geoseg_qgis.engine.models.weights import (
    dequantise,
    file_sha256,
    load_strictly,
    quantise_rows,
    read_state,
    refuse_meta_tensors,
)
from geoseg_qgis.engine.zoo.card import WeightsFile
from geoseg_qgis.protocol.errors import ErrorCode, JobError


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(5, 3, generator=generator),
        "bias": torch.randn(5, generator=generator),
        "index": torch.arange(4),
    }


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype
        assert torch.equal(tensor, right[name])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        OrderedDict,
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"epoch": 3, "model": {"state_dict": state}, "optimizer": {"lr": 0.1}},
    ],
    ids=["plain", "ordered", "model", "module", "nested"],
)
def test_checkpoints_are_unwrapped(tmp_path: Path, wrap: object) -> None:
    torch.save(wrap(tensors()), tmp_path / "x.pt")  # type: ignore[operator]
    assert_same(read_state(tmp_path / "x.pt"), tensors())
    torch.save(wrap(tensors()), tmp_path / "old.pt", _use_new_zipfile_serialization=False)  # type: ignore[operator]
    assert_same(read_state(tmp_path / "old.pt"), tensors())


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "x.pt")
    assert_same(read_state(tmp_path / "x.pt"), tensors())


def test_floating_tensors_become_float32(tmp_path: Path) -> None:
    state = tensors()
    save_file({"a": state["weight"].half(), "b": state["bias"].bfloat16()}, tmp_path / "x")
    read = read_state(tmp_path / "x")
    assert {name: tensor.dtype for name, tensor in read.items()} == dict.fromkeys(
        "ab", torch.float32
    )
    assert torch.equal(read["a"], state["weight"].half().float())


@pytest.mark.parametrize("shape", [(4, 7), (3, 2, 2, 2), (6,)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 300.0])
def test_quantised_rows_come_back_within_half_a_step(
    tmp_path: Path, shape: tuple[int, ...], size: float
) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * size
    tensor[0] = 0
    whole, scale = quantise_rows(tensor)
    assert (whole.dtype, scale.dtype, scale.shape) == (torch.int8, torch.float16, shape[:1])

    save_file({"w": whole, "w::scale": scale, "half": tensor.half()}, tmp_path / "x")
    read = read_state(tmp_path / "x")

    assert set(read) == {"w", "half"}
    step = scale.float().reshape(-1, *[1] * (len(shape) - 1))
    assert ((read["w"] - tensor).abs() <= step * 0.5001).all()
    # A row's scale wastes no more than the rounding of float16.
    largest = tensor.abs().flatten(1).amax(1) if len(shape) > 1 else tensor.abs()
    assert (scale.float()[1:] <= (largest[1:] / 127 * 1.002).clamp(min=6.2e-5)).all()


@pytest.mark.parametrize(
    "state",
    [
        {"w::scale": torch.ones(2)},
        {"w": torch.zeros(2, 2), "w::scale": torch.ones(2)},
        {"w": torch.zeros(2, 2, dtype=torch.int8), "w::scale": torch.ones(3)},
    ],
    ids=["alone", "floating", "length"],
)
def test_a_scale_without_its_tensor_is_refused(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(JobError, match="quantised tensor w does not fit its scale"):
        dequantise(state)


def test_size_and_digest_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(tensors(), path)
    size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    read_state(path, WeightsFile("x.safetensors", "timm", size, digest))
    with pytest.raises(JobError, match=f"has {size} bytes instead of {size + 1}"):
        read_state(path, WeightsFile("x.safetensors", "timm", size + 1, digest))
    with pytest.raises(JobError, match="SHA-256 differs") as caught:
        read_state(path, WeightsFile("x.safetensors", "timm", size, "0" * 64))
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert str(path) in caught.value.hint


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_an_absent_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        read_state(tmp_path / "x.pt")
    assert caught.value.code is ErrorCode.MODEL_MISSING
    assert str(tmp_path / "x.pt") in caught.value.hint


@pytest.mark.parametrize("kept", [0, 5, 100, -1, *range(-200, -230, -3)])
@pytest.mark.parametrize("container", ["safetensors", "zip", "legacy"])
def test_a_cut_file_is_called_damaged(tmp_path: Path, kept: int, container: str) -> None:
    path = tmp_path / "x"
    if container == "safetensors":
        save_file(tensors(), path)
    else:
        torch.save(tensors(), path, _use_new_zipfile_serialization=container == "zip")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(JobError) as caught:
        read_state(path)
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert caught.value.message.startswith("The file x ")


def test_a_web_page_is_no_file_of_weights(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(JobError, match=r"x\.pt"):
        read_state(tmp_path / "x.pt")


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_not_opened(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "ran"
    content = {"weight": torch.zeros(1), "x": Hostile(target)}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(JobError, match="holds more than tensors and was not opened"):
        read_state(tmp_path / "x.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile(target)))
    with pytest.raises(JobError):
        read_state(tmp_path / "plain.pt")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(1), "epoch": 3}, "holds other objects among its tensors"),
        ({}, "holds no tensors by name"),
        ([torch.zeros(1)], "holds no tensors by name"),
        (torch.zeros(1), "holds no tensors by name"),
        ({"model": {}}, "holds no tensors by name"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(JobError, match=message):
        read_state(tmp_path / "x.pt")


def test_strict_loading_reports_in_one_sentence() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.LayerNorm(4))
    state = {"0.weight": torch.zeros(3, 3), "2.weight": torch.zeros(4), "head": torch.zeros(1)}
    with pytest.raises(JobError) as caught:
        load_strictly(module, state, "x.pt")
    assert caught.value.message == (
        "The tensors in x.pt do not fit this architecture: "
        "4 missing (0.bias, 1.weight, 1.bias, ...); 1 unexpected (head); "
        "1 of another shape (0.weight [3, 3] for [3, 2])."
    )


def test_strict_loading_makes_a_meta_module_real() -> None:
    with torch.device("meta"):
        module = nn.BatchNorm1d(3)
        other = nn.Linear(2, 2)
    state = {name: torch.full(value.shape, 2.0) for name, value in module.state_dict().items()}
    load_strictly(module, state, "x.pt")
    refuse_meta_tensors(module, "x")
    assert not module.training
    assert not module.weight.requires_grad
    result = module(torch.tensor([[4.0, 2.0, 0.0]]))
    np.testing.assert_allclose(result[0], [2 + 4 / 2**0.5, 2, 2 - 4 / 2**0.5], rtol=1e-4)
    with pytest.raises(JobError, match="The tensor weight of y has no values"):
        refuse_meta_tensors(other, "y")
