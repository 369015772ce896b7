import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import CLIP_CONFIGURATION, MERGES, write_clip

from geoseg_qgis.engine.models.clip import build_clip, load_clip
from geoseg_qgis.engine.zoo.card import ClipComponent, TokenizerChoice, WeightsFile
from geoseg_qgis.engine.zoo.vocabulary import Vocabulary
from geoseg_qgis.protocol.errors import ErrorCode, JobError

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden" / "gumix"
CPU = torch.device("cpu")

# Names and shapes of RS5M_ViT-H-14.pt; numbers of blocks stand for a range.
PUBLISHED_H14 = {
    "visual.conv1.weight": (1280, 3, 14, 14),
    "visual.class_embedding": (1280,),
    "visual.positional_embedding": (257, 1280),
    "visual.ln_pre.weight": (1280,),
    "visual.ln_pre.bias": (1280,),
    "visual.ln_post.weight": (1280,),
    "visual.ln_post.bias": (1280,),
    "visual.proj": (1280, 1024),
    "token_embedding.weight": (49408, 1024),
    "positional_embedding": (77, 1024),
    "ln_final.weight": (1024,),
    "ln_final.bias": (1024,),
    "text_projection": (1024, 1024),
    "logit_scale": (),
}
PUBLISHED_BLOCK = {
    "ln_1.weight": (1, 0),
    "ln_1.bias": (1, 0),
    "attn.in_proj_weight": (3, 1),
    "attn.in_proj_bias": (3, 0),
    "attn.out_proj.weight": (1, 1),
    "attn.out_proj.bias": (1, 0),
    "ln_2.weight": (1, 0),
    "ln_2.bias": (1, 0),
    "mlp.c_fc.weight": (4, 1),
    "mlp.c_fc.bias": (4, 0),
    "mlp.c_proj.weight": (1, 4),
    "mlp.c_proj.bias": (1, 0),
}


def published_h14() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = dict(PUBLISHED_H14)
    for prefix, width, layers in (("visual.", 1280, 32), ("", 1024, 24)):
        for layer in range(layers):
            for name, factors in PUBLISHED_BLOCK.items():
                shape = tuple(width * factor for factor in factors if factor)
                shapes[f"{prefix}transformer.resblocks.{layer}.{name}"] = shape
    return shapes


@pytest.mark.slow
def test_the_paper_sized_model_has_the_published_tensors() -> None:
    weights = WeightsFile("RS5M_ViT-H-14.pt", "open_clip")
    normalisation = (0.5, 0.5, 0.5)
    component = ClipComponent(
        "ViT-H-14", weights, normalisation, normalisation, TokenizerChoice("clip")
    )
    module = build_clip(component)
    assert all(tensor.is_meta for tensor in module.parameters())
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert shapes == published_h14()
    assert sum(tensor.numel() for tensor in module.parameters()) == 986_109_441
    assert sum(tensor.numel() for tensor in module.visual.parameters()) == 632_076_800
    assert module.visual.transformer.resblocks[0].attn.num_heads == 16
    assert module.visual.ln_pre.eps == 1e-5
    assert "QuickGELU" not in repr(module)
    assert "QuickGELU" in repr(build_clip(replace(component, model="ViT-B-16-quickgelu")))


def test_a_loaded_model_computes_what_was_saved(tmp_path: Path) -> None:
    component, reference = write_clip(tmp_path)
    model = load_clip(component, tmp_path, CPU)
    texts = ["road", "a roof by the road", "forest"]
    numbers = model.tokenize(texts)
    assert numbers.shape == (3, 12)
    # 512 bytes, merges of "ro", "roa", "road", then start and end.
    assert numbers[0, :4].tolist() == [517, 514, 518, 0]
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(reference.encode_text(numbers), dim=-1)
    # Equal weights at other places in memory are summed in another order on some processors.
    assert torch.allclose(model.encode_text(texts), expected, atol=2e-6)
    assert torch.allclose(model.encode_text(texts, batch_size=2), expected, atol=2e-6)

    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor(component.mean).reshape(1, 3, 1, 1)
    std = torch.tensor(component.std).reshape(1, 3, 1, 1)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(
            reference.encode_image((images - mean) / std), dim=-1
        )
    assert torch.allclose(model.encode_image(images), expected, atol=1e-6)
    assert (model.patch_size, model.image_size, model.layers, model.embed_dim) == (14, 28, 2, 16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_normalisation_layers_in_float32(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    component, _ = write_clip(tmp_path)
    whole = load_clip(component, tmp_path, CPU)
    half = load_clip(component, tmp_path, CPU, dtype)
    assert half.module.visual.conv1.weight.dtype == dtype
    assert half.module.visual.ln_post.weight.dtype == torch.float32
    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    for left, right in (
        (whole.encode_image(images), half.encode_image(images)),
        (whole.encode_text(["road"]), half.encode_text(["road"])),
    ):
        assert right.dtype == torch.float32
        assert (left * right).sum(-1).min() > 0.999


def test_weights_stored_in_half_come_out_as_float32(tmp_path: Path) -> None:
    component, reference = write_clip(tmp_path, torch.float16)
    model = load_clip(component, tmp_path, CPU)
    stored = reference.state_dict()["visual.proj"].half().float()
    assert torch.equal(model.module.visual.proj, stored)


@pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the shared golden files are not beside the checkout"
)
def test_the_golden_text_tower_is_loaded_and_agrees(tmp_path: Path) -> None:
    state = {
        **load_file(GOLDEN / "clip_tiny_visual_state.safetensors"),
        **load_file(GOLDEN / "clip_tiny_text_state.safetensors"),
    }
    save_file(state, tmp_path / "clip.safetensors")
    component = ClipComponent(
        model={
            "embed_dim": 32,
            "vision_cfg": {
                "image_size": 56,
                "patch_size": 14,
                "width": 64,
                "head_width": 16,
                "layers": 6,
            },
            "text_cfg": {"width": 8, "heads": 2, "layers": 2},
        },
        weights=WeightsFile("clip.safetensors", "open_clip"),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        tokenizer=TokenizerChoice("clip"),
    )
    model = load_clip(component, tmp_path, CPU)
    golden = load_file(GOLDEN / "text_ensemble.safetensors")
    with torch.inference_mode():
        features = model.module.encode_text(golden["tokens"][0].long())
    assert (features - golden["raw_text_features"][0]).abs().max() < 1e-5
    prompts = [f"{start} a building." for start in ("a photo of", "a bad photo of")]
    numbers = model.tokenize(prompts)
    assert numbers.shape == (2, 77)
    assert (numbers[0] == 0).sum() == 77 - 8
    assert (numbers[:, 0] == 49406).all()
    assert (numbers.amax(1) == 49407).all()


def test_unknown_words_and_truncated_texts_are_found(tmp_path: Path) -> None:
    component, _ = write_clip(tmp_path)
    model = load_clip(component, tmp_path, CPU)
    assert model.unknown_words("anything goes") == []
    closed = load_clip(component, tmp_path, CPU, vocabulary=Vocabulary(frozenset({"road", "roof"})))
    assert closed.unknown_words("Road, runway") == ["runway"]
    # Two marks and ten words of one number each fill the twelve places.
    assert not model.is_truncated("road " * 10)
    assert model.is_truncated("road " * 11)
    cut = model.tokenize(["road " * 11])[0]
    assert cut[-1] == 518


@pytest.mark.parametrize(
    ("merges", "tokenizer", "message"),
    [
        (MERGES, TokenizerChoice("clip"), "The tokenizer has 49408 tokens"),
        (MERGES + "\n", TokenizerChoice("bpe", "m.gz"), "The tokenizer has 520 tokens"),
        (MERGES, TokenizerChoice("bpe", "m.gz", 20), "a context of 20"),
        (MERGES, TokenizerChoice("bpe", "n.gz"), "n.gz of the tokenizer is missing"),
    ],
    ids=["stock", "newline", "length", "missing"],
)
def test_a_tokenizer_of_another_model_is_refused(
    tmp_path: Path, merges: str, tokenizer: TokenizerChoice, message: str
) -> None:
    component, _ = write_clip(tmp_path)
    (tmp_path / "m.gz").write_bytes(gzip.compress(merges.encode()))
    with pytest.raises(JobError) as caught:
        load_clip(replace(component, tokenizer=tokenizer), tmp_path, CPU)
    assert message in caught.value.message


def test_a_damaged_merges_file_is_refused(tmp_path: Path) -> None:
    component, _ = write_clip(tmp_path)
    (tmp_path / "merges.txt.gz").write_bytes(b"not gzip")
    with pytest.raises(JobError, match=r"merges\.txt\.gz of the tokenizer cannot be read"):
        load_clip(component, tmp_path, CPU)


@pytest.mark.parametrize(
    "model",
    [
        "ViT-X-99",
        "hf-hub:someone/something",
        {"embed_dim": 16},
        {**CLIP_CONFIGURATION, "pretrained": "openai"},
        {**CLIP_CONFIGURATION, "text_cfg": {"hf_model_name": "someone/something"}},
        {**CLIP_CONFIGURATION, "vision_cfg": {"timm_model_name": "resnet18"}},
        {**CLIP_CONFIGURATION, "vision_cfg": {"colour": 3}},
        {**CLIP_CONFIGURATION, "text_cfg": {"width": 25, "heads": 2}},
    ],
    ids=["name", "hub", "short", "extra", "text-hub", "timm", "unknown", "impossible"],
)
def test_a_configuration_that_is_no_plain_clip_is_refused(tmp_path: Path, model: object) -> None:
    component, _ = write_clip(tmp_path)
    with pytest.raises(JobError) as caught:
        load_clip(replace(component, model=model), tmp_path, CPU)  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert "clip.model" in caught.value.message
