from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import MEAN, STD, write_dino

from geoseg_qgis.engine.models.dino import build_dino, load_dino, to_timm_layout
from geoseg_qgis.engine.zoo.card import DinoComponent, WeightsFile
from geoseg_qgis.protocol.errors import JobError

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden" / "gumix"
CPU = torch.device("cpu")
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the shared golden files are not beside the checkout"
)
GOLDEN_COMPONENT = DinoComponent(
    model="vit_small_patch16_dinov3_qkvb",
    arguments={"embed_dim": 64, "depth": 5, "num_heads": 4, "num_reg_tokens": 4},
    weights=WeightsFile("dino_tiny_state.safetensors", "meta"),
    mean=(0.430, 0.411, 0.296),
    std=(0.213, 0.156, 0.143),
)


def images(height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def meta_layout(width: int, depth: int, registers: int) -> dict[str, torch.Tensor]:
    """Return a state dictionary with the names and shapes of Meta's ViT checkpoints."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "storage_tokens": (1, registers, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "rope_embed.periods": (16,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "local_cls_norm.weight": (width,),
        "local_cls_norm.bias": (width,),
    }
    block = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.qkv.bias_mask": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "ls1.gamma": (width,),
        "ls2.gamma": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }
    for index in range(depth):
        shapes.update({f"blocks.{index}.{name}": shape for name, shape in block.items()})
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.slow
def test_the_paper_sized_model_takes_the_published_tensors() -> None:
    component = DinoComponent(
        "vit_large_patch16_dinov3_qkvb", {}, WeightsFile("x", "meta"), MEAN, STD
    )
    module = build_dino(component)
    converted = to_timm_layout(meta_layout(1024, 24, 4), "meta", module)
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == {
        name: tuple(tensor.shape) for name, tensor in module.state_dict().items()
    }
    assert sum(tensor.numel() for tensor in module.parameters()) == 303_128_576
    assert module.blocks[0].norm1.eps == 1e-5
    assert module.blocks[0].attn.num_heads == 16


@needs_golden
def test_metas_layout_reproduces_the_golden_features() -> None:
    golden = load_file(GOLDEN / "window_forward.safetensors")
    model = load_dino(GOLDEN_COMPONENT, GOLDEN, CPU)
    clip_mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).reshape(1, 3, 1, 1)
    clip_std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).reshape(1, 3, 1, 1)
    twice = torch.nn.functional.interpolate(golden["image"], scale_factor=2, mode="bilinear")
    normalised = model.normalise(twice * clip_std + clip_mean)
    assert (normalised[..., ::4, ::4] - golden["dino_input_sub4"]).abs().max() < 1e-5
    layers = torch.cat(model.last_layers(normalised))
    assert layers.shape == (4, 294, 64)
    assert (layers - golden["dino_layers"]).abs().max() < 1e-5


@needs_golden
def test_the_files_rotary_periods_are_kept_whatever_the_number_format() -> None:
    stored = load_file(GOLDEN / "dino_tiny_state.safetensors")["rope_embed.periods"]
    for dtype in (torch.float32, torch.bfloat16):
        model = load_dino(GOLDEN_COMPONENT, GOLDEN, CPU, dtype)
        assert model.module.rope.periods.dtype == torch.float32
        assert torch.equal(model.module.rope.periods, stored)
    own = model.module.rope._compute_periods()
    assert not torch.equal(own, stored)
    assert torch.equal(own.bfloat16().float(), stored)


@needs_golden
def test_query_and_value_biases_are_never_dropped_silently() -> None:
    plain = replace(GOLDEN_COMPONENT, model="vit_small_patch16_dinov3")
    with pytest.raises(JobError, match="use the model's name that ends in _qkvb"):
        load_dino(plain, GOLDEN, CPU)


@needs_golden
def test_zero_biases_may_be_left_out(tmp_path: Path) -> None:
    state = load_file(GOLDEN / "dino_tiny_state.safetensors")
    for name, tensor in state.items():
        if name.endswith("qkv.bias"):
            # The key third is masked in the original code and may hold anything.
            tensor.view(3, -1)[[0, 2]] = 0
    save_file(state, tmp_path / "dino_tiny_state.safetensors")
    plain = replace(GOLDEN_COMPONENT, model="vit_small_patch16_dinov3")
    left = load_dino(plain, tmp_path, CPU)
    right = load_dino(GOLDEN_COMPONENT, tmp_path, CPU)
    for one, other in zip(left.last_layers(images()), right.last_layers(images()), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_timms_layout_computes_what_was_saved(tmp_path: Path) -> None:
    component, reference = write_dino(tmp_path)
    model = load_dino(component, tmp_path, CPU)
    batch = model.normalise(images())
    with torch.inference_mode():
        expected = reference.forward_intermediates(
            batch, indices=[1, 3], norm=True, output_fmt="NLC", intermediates_only=True
        )
    layers = model.last_layers(batch, 3)
    assert [tuple(layer.shape) for layer in layers] == [(2, 6, 48)] * 3
    assert torch.equal(layers[0], expected[0])
    assert torch.equal(layers[2], expected[1])
    assert (model.patch_size, model.layers, model.embed_dim) == (16, 4, 48)


@pytest.mark.slow
def test_rounded_periods_are_a_choice_of_the_card(tmp_path: Path) -> None:
    component, reference = write_dino(tmp_path)
    exact = load_dino(component, tmp_path, CPU)
    rounded = load_dino(replace(component, round_rope_periods=True), tmp_path, CPU)
    assert torch.equal(exact.module.rope.periods, reference.rope.periods)
    assert torch.equal(rounded.module.rope.periods, reference.rope.periods.bfloat16().float())


def test_half_precision_stays_close(tmp_path: Path) -> None:
    component, _ = write_dino(tmp_path)
    whole = load_dino(component, tmp_path, CPU)
    half = load_dino(component, tmp_path, CPU, torch.bfloat16)
    left = whole.last_layers(whole.normalise(images()), 1)[0]
    right = half.last_layers(half.normalise(images()), 1)[0]
    assert right.dtype == torch.bfloat16
    cosine = torch.nn.functional.cosine_similarity(left, right.float(), dim=-1)
    assert cosine.min() > 0.995


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_hugging_faces_layout_agrees_with_its_own_library(
    tmp_path: Path, gated: bool, prefix: str
) -> None:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(5)
    configuration = DINOv3ViTConfig(
        patch_size=16,
        hidden_size=48,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_register_tokens=2,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        layer_norm_eps=1e-5,
    )
    reference = DINOv3ViTModel(configuration).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    state = {
        (prefix + name if name.removeprefix("model.").startswith("layer.") else name).replace(
            "model.model.", "model."
        ): value
        for name, value in reference.state_dict().items()
    }
    if not prefix:
        state = {name.removeprefix("model."): value for name, value in state.items()}
    save_file(state, tmp_path / "hf.safetensors")
    arguments: dict[str, Any] = {
        "embed_dim": 48,
        "depth": 4,
        "num_heads": 3,
        "num_reg_tokens": 2,
    }
    size = "small_plus" if gated else "small"
    component = DinoComponent(
        f"vit_{size}_patch16_dinov3_qkvb",
        arguments,
        WeightsFile("hf.safetensors", "huggingface"),
        MEAN,
        STD,
    )
    model = load_dino(component, tmp_path, CPU)
    batch = model.normalise(images())
    with torch.inference_mode():
        expected = reference(pixel_values=batch).last_hidden_state[:, 3:]
    assert (model.last_layers(batch, 1)[0] - expected).abs().max() < 2e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet18"}, "'resnet18' is no DINOv3 model of timm"),
        ({"model": "hf-hub:x/vit_dinov3"}, "is no DINOv3 model of timm"),
        ({"model": "vit_giant_patch16_dinov3"}, "is no DINOv3 model of timm"),
        ({"arguments": {"pretrained": True}}, "argument 'pretrained' is not one of"),
        ({"arguments": {"checkpoint_path": "x"}}, "argument 'checkpoint_path' is not one of"),
        ({"arguments": {"num_heads": 7}}, "arguments do not fit the model"),
    ],
)
def test_what_is_no_dinov3_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError) as caught:
        build_dino(replace(GOLDEN_COMPONENT, **change))
    assert message in caught.value.message
