"""Every card for download: published names and shapes, and a tiny checkpoint of the same layout."""

from __future__ import annotations

import functools
import json
import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_folders import FOLDER, byte_tokenizer, write_language, write_sam3
from tiny_models import SAM2_ARCHITECTURE, write_sam2

from geoseg_qgis.engine.models.clip import build_clip, load_clip
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.dino import build_dino, load_dino, to_timm_layout
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.sam2 import build_sam2, load_sam2
from geoseg_qgis.engine.models.segassess import SegAssess, SegAssessConfiguration
from geoseg_qgis.engine.models.segassess.component import parse_segassess
from geoseg_qgis.engine.models.unigeoseg.checkpoint import published_state
from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.zoo import registry
from geoseg_qgis.engine.zoo.card import ModelCard, WeightsFile, read_card
from geoseg_qgis.engine.zoo.receipts import converted_path
from geoseg_qgis.engine.zoo.registry import Origin, Preset

CARDS = [read_card(path) for path in sorted((Path(registry.__file__).parent / "cards").glob("*"))]
CPU = torch.device("cpu")


def part_of(card: ModelCard, component: str) -> Any:
    return card.others.get(component) or getattr(card, component, None)


def having(component: str) -> Any:
    """Parametrise a test by the cards that have a component, one for each that several share."""
    cards: list[ModelCard] = []
    for card in CARDS:
        if component not in card.components:
            continue
        if all(part_of(card, component) != part_of(other, component) for other in cards):
            cards.append(card)
    return pytest.mark.parametrize("card", cards, ids=lambda card: card.name)


@functools.cache
def unfilled_clip(name: str) -> Any:
    """Return a named CLIP on the meta device."""
    (component, *_) = (card.clip for card in CARDS if card.clip and card.clip.model == name)
    return build_clip(component)


def unchecked(weights: WeightsFile) -> WeightsFile:
    """Return a file's entry for another content: without its size and digest."""
    return replace(weights, size=None, sha256=None)


def prepared(folder: Path, weights: WeightsFile) -> Path:
    path = folder / weights.file
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# --- CLIP -------------------------------------------------------------------------------------

# Vision width and layers, patch, side; text width and layers; shared width.
TOWERS = {
    "ViT-B-32": (768, 12, 32, 224, 512, 12, 512),
    "ViT-B-16": (768, 12, 16, 224, 512, 12, 512),
    "ViT-L-14": (1024, 24, 14, 224, 768, 12, 768),
    "ViT-L-14-336": (1024, 24, 14, 336, 768, 12, 768),
    "ViT-H-14": (1280, 32, 14, 224, 1024, 24, 1024),
}
BLOCK = {
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
# Where each checkpoint began its training: open_clip's name and tag know the normalisation and the
# activation. RemoteCLIP's page builds plain networks, but its authors start from OpenAI's weights.
TRAINED_AS = {
    "openai-b32": ("ViT-B-32-quickgelu", "openai"),
    "openai-b16": ("ViT-B-16-quickgelu", "openai"),
    "openai-l14": ("ViT-L-14-quickgelu", "openai"),
    "openai-l14-336": ("ViT-L-14-336-quickgelu", "openai"),
    "laion-b16": ("ViT-B-16", "laion2b_s34b_b88k"),
    "laion-l14": ("ViT-L-14", "laion2b_s32b_b82k"),
    "laion-h14": ("ViT-H-14", "laion2b_s32b_b79k"),
    "farslip1-b16": ("ViT-B-16-quickgelu", "openai"),
    "georsclip-b32": ("ViT-B-32-quickgelu", "openai"),
    "georsclip-l14": ("ViT-L-14-quickgelu", "openai"),
    "georsclip-l14-336": ("ViT-L-14-336-quickgelu", "openai"),
    "remoteclip-b32": ("ViT-B-32-quickgelu", "openai"),
    "remoteclip-l14": ("ViT-L-14-quickgelu", "openai"),
    "georsclip-h14": ("ViT-H-14", "laion2b_s32b_b79k"),
}


def clip_name(card: ModelCard) -> str:
    """Return the entry of `TRAINED_AS` for the CLIP of a GUMix-RS preset."""
    assert card.clip is not None
    size = re.search(r"RS5M_ViT-([LH]-14)", card.clip.weights.file)
    assert size is not None
    return f"georsclip-{size[1].replace('-', '').lower()}"


def published_clip(name: str) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a checkpoint of open_clip, written out from its sizes."""
    width, layers, patch, side, text, text_layers, shared = TOWERS[name]
    shapes: dict[str, tuple[int, ...]] = {
        "visual.conv1.weight": (width, 3, patch, patch),
        "visual.class_embedding": (width,),
        "visual.positional_embedding": ((side // patch) ** 2 + 1, width),
        "visual.proj": (width, shared),
        "token_embedding.weight": (49408, text),
        "positional_embedding": (77, text),
        "text_projection": (text, shared),
        "logit_scale": (),
    }
    for part, size in (("visual.ln_pre", width), ("visual.ln_post", width), ("ln_final", text)):
        shapes |= {f"{part}.weight": (size,), f"{part}.bias": (size,)}
    for prefix, size, count in (("visual.", width, layers), ("", text, text_layers)):
        for layer in range(count):
            for part, factors in BLOCK.items():
                shape = tuple(size * factor for factor in factors if factor)
                shapes[f"{prefix}transformer.resblocks.{layer}.{part}"] = shape
    return shapes


@having("clip")
def test_a_clip_has_the_published_tensors(card: ModelCard) -> None:
    assert card.clip is not None
    assert isinstance(card.clip.model, str)
    module = unfilled_clip(card.clip.model)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert shapes == published_clip(card.clip.model.removesuffix("-quickgelu"))
    # The files hold float32 values, their names and little else.
    values = sum(tensor.numel() for tensor in module.state_dict().values())
    size = card.clip.weights.size
    assert size is None or 0 < size - 4 * values < 200_000


@having("clip")
def test_a_clip_is_fed_as_it_was_trained(card: ModelCard) -> None:
    assert card.clip is not None
    name, tag = TRAINED_AS[card.name if not card.name.startswith("gumix") else clip_name(card)]
    facts = open_clip.pretrained.get_pretrained_cfg(name, tag)
    assert card.clip.model == name
    assert card.clip.mean == pytest.approx(facts["mean"])
    assert card.clip.std == pytest.approx(facts["std"])
    quick = bool(facts.get("quick_gelu", False))
    assert ("QuickGELU" in repr(unfilled_clip(name))) is quick


def shrunk_clip(card: ModelCard) -> dict[str, Any]:
    """Return the configuration of a card's CLIP, of two narrow blocks a tower."""
    assert card.clip is not None
    named = open_clip.get_model_config(str(card.clip.model))
    patch = named["vision_cfg"]["patch_size"]
    return {
        "embed_dim": 16,
        "quick_gelu": named.get("quick_gelu", False),
        "vision_cfg": {
            "image_size": 2 * patch,
            "patch_size": patch,
            "width": 32,
            "head_width": 16,
            "layers": 2,
        },
        "text_cfg": {**named["text_cfg"], "width": 24, "heads": 2, "layers": 2},
    }


@pytest.mark.slow
@having("clip")
def test_a_tiny_clip_in_the_cards_layout_is_read(card: ModelCard, tmp_path: Path) -> None:
    assert card.clip is not None
    component = replace(card.clip, model=shrunk_clip(card), weights=unchecked(card.clip.weights))
    torch.manual_seed(1)
    reference: Any = open_clip.CLIP(**shrunk_clip(card)).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path = prepared(tmp_path, component.weights)
    if path.suffix == ".pt":
        torch.save(OrderedDict(reference.state_dict()), path)
    else:
        save_file(reference.state_dict(), path)

    model = load_clip(component, tmp_path, CPU)

    assert converted_path(path).is_file() is (path.suffix == ".pt")
    numbers = model.tokenize(["a photo of a cat", "an aerial photo of a building"])
    assert numbers.shape == (2, 77)
    assert numbers[0, :8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]
    assert numbers[1, :9].tolist() == [49406, 550, 12440, 1125, 539, 320, 2307, 49407, 0]
    side = model.image_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(part).reshape(1, 3, 1, 1) for part in (card.clip.mean, card.clip.std))
    with torch.inference_mode():
        texts = torch.nn.functional.normalize(reference.encode_text(numbers), dim=-1)
        pictures = reference.encode_image((images - mean) / std)
    words = model.module.encode_text(numbers), reference.encode_text(numbers)
    assert torch.allclose(*words, atol=1e-6)
    assert torch.allclose(model.encode_text(["a photo of a cat"]), texts[:1], atol=1e-6)
    pictures = torch.nn.functional.normalize(pictures, dim=-1)
    assert torch.allclose(model.encode_image(images), pictures, atol=1e-6)

    other = {**shrunk_clip(card), "quick_gelu": not shrunk_clip(card)["quick_gelu"]}
    wrong = load_clip(replace(component, model=other), tmp_path, CPU)
    assert not torch.allclose(wrong.encode_image(images), pictures, atol=1e-4)


# --- DINOv3 -----------------------------------------------------------------------------------

SAT_MEAN, SAT_STD = (0.430, 0.411, 0.296), (0.213, 0.156, 0.143)
TINY_DINO = {"embed_dim": 48, "depth": 4, "num_heads": 3, "num_reg_tokens": 2}


@pytest.mark.slow
@having("dino")
def test_dinov3_has_the_published_tensors(card: ModelCard) -> None:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    assert card.dino is not None
    assert (card.dino.mean, card.dino.std) == (SAT_MEAN, SAT_STD)
    module = build_dino(card.dino)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    layout = card.dino.weights.layout
    # Files of the original release hold rounded rotary periods, the others need the rounding.
    assert card.dino.round_rope_periods is (layout != "meta")
    if layout == "huggingface":
        sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
        with torch.device("meta"):
            large = DINOv3ViTConfig(**sizes, num_attention_heads=16, num_register_tokens=4)
            published = DINOv3ViTModel(large).state_dict()
        converted = to_timm_layout(dict(published), "huggingface", module)
        assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == shapes
    values = sum(tensor.numel() for tensor in module.state_dict().values())
    assert round(4 * values / 1e9, 2) == 1.21


def meta_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of timm's qkvb model under the names of the original release."""
    width = state["cls_token"].shape[-1]
    renamed = {"mask_token": torch.zeros(1, width), "rope_embed.periods": state["periods"]}
    for name, tensor in state.items():
        if name.endswith("attn.q_bias"):
            stem = name.removesuffix("q_bias")
            value = state[f"{stem}v_bias"]
            renamed[f"{stem}qkv.bias"] = torch.cat([tensor, torch.full_like(tensor, 9.0), value])
            renamed[f"{stem}qkv.bias_mask"] = torch.ones(3 * width)
        elif not name.endswith("v_bias") and name != "periods":
            renamed[
                name.replace("reg_token", "storage_tokens")
                .replace("gamma_1", "ls1.gamma")
                .replace("gamma_2", "ls2.gamma")
            ] = tensor
    return renamed


def hugging_face_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of timm's qkvb model under the names of the transformers library."""
    renamed = {"embeddings.mask_token": torch.zeros(1, 1, state["cls_token"].shape[-1])}
    pairs = {
        "attn.proj.": "attention.o_proj.",
        "attn.q_bias": "attention.q_proj.bias",
        "attn.v_bias": "attention.v_proj.bias",
        "gamma_1": "layer_scale1.lambda1",
        "gamma_2": "layer_scale2.lambda1",
        "mlp.fc1.": "mlp.up_proj.",
        "mlp.fc2.": "mlp.down_proj.",
        "reg_token": "embeddings.register_tokens",
        "cls_token": "embeddings.cls_token",
        "patch_embed.proj.": "embeddings.patch_embeddings.",
    }
    for name, tensor in state.items():
        if name == "periods":
            continue
        new = re.sub(r"^blocks\.", "layer.", name)
        for old, other in pairs.items():
            new = new.replace(old, other)
        if name.endswith("attn.qkv.weight"):
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                renamed[new.replace("attn.qkv", f"attention.{letter}_proj")] = part.contiguous()
        else:
            renamed[new] = tensor
    return renamed


def tiny_dino() -> tuple[Any, dict[str, torch.Tensor]]:
    """Return a random model with the rounded periods and no biases, and its tensors."""
    torch.manual_seed(2)
    reference = timm.create_model("vit_small_patch16_dinov3_qkvb", num_classes=0, **TINY_DINO)
    for name, parameter in reference.named_parameters():
        if name.endswith(("q_bias", "v_bias")):
            torch.nn.init.zeros_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.2)
    reference.rope.periods.copy_(reference.rope.periods.bfloat16().float())
    return reference.eval(), {**reference.state_dict(), "periods": reference.rope.periods}


@having("dino")
def test_a_tiny_dinov3_in_the_cards_layout_is_read(card: ModelCard, tmp_path: Path) -> None:
    assert card.dino is not None
    reference, state = tiny_dino()
    name = card.dino.model.replace("large", "small")
    weights = unchecked(card.dino.weights)
    component = replace(card.dino, model=name, arguments=TINY_DINO, weights=weights)
    path = prepared(tmp_path, weights)
    if weights.layout == "meta":
        torch.save(meta_names(state), path)
    elif weights.layout == "huggingface":
        save_file(hugging_face_names(state), path)
    else:
        without = ("periods", "q_bias", "v_bias")
        save_file({key: value for key, value in state.items() if not key.endswith(without)}, path)

    model = load_dino(component, tmp_path, CPU)

    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = (images - torch.tensor(SAT_MEAN).reshape(1, 3, 1, 1)) / torch.tensor(SAT_STD).reshape(
        1, 3, 1, 1
    )
    assert torch.allclose(model.normalise(images), batch)
    with torch.inference_mode():
        expected = reference.forward_intermediates(
            batch, indices=4, norm=True, output_fmt="NLC", intermediates_only=True
        )
    for left, right in zip(model.last_layers(batch), expected, strict=True):
        assert (left - right).abs().max() < 1e-5 * right.abs().max()


# --- SAM 2 ------------------------------------------------------------------------------------


@pytest.mark.slow
@having("sam2")
def test_a_sam2_file_holds_the_image_model_and_little_more(card: ModelCard) -> None:
    assert card.sam2 is not None
    values = sum(tensor.numel() for tensor in build_sam2(card.sam2.model).state_dict().values())
    size = card.sam2.weights.size
    assert card.sam2.model.image_size == 1024
    assert 31e6 < values < 217.5e6
    assert size is None or 4 * values < size < 4 * (values + 8_000_000)


@pytest.mark.slow
@having("sam2")
def test_a_tiny_sam2_in_the_cards_layout_is_read(card: ModelCard, tmp_path: Path) -> None:
    assert card.sam2 is not None
    _, reference = write_sam2(tmp_path)
    weights = unchecked(card.sam2.weights)
    path = prepared(tmp_path, weights)
    (tmp_path / "sam2.pt").rename(path)
    component = replace(card.sam2, model=SAM2_ARCHITECTURE, weights=weights)
    model = load_sam2(component, tmp_path, CPU)
    loaded = model.module.state_dict()
    assert all(torch.equal(tensor, reference.state_dict()[name]) for name, tensor in loaded.items())
    assert converted_path(path).is_file()
    assert card.sam2.mean == (0.485, 0.456, 0.406)
    assert card.sam2.std == (0.229, 0.224, 0.225)


# --- Checkpoints with loaders of their own ----------------------------------------------------


def opened(card: ModelCard, folder: Path) -> LoadedPreset:
    return LoadedPreset(Preset(card, folder, Origin.DOWNLOAD), choose_device("cpu"))


def with_component(card: ModelCard, name: str, **settings: Any) -> ModelCard:
    """Return the card with one component's files unchecked and some of its settings changed."""
    component = card.others[name]
    changed = replace(
        component,
        weights=tuple(unchecked(weights) for weights in component.weights),
        settings={**component.settings, **settings},
    )
    return replace(card, **{name: changed})


@pytest.mark.slow
@having("segassess")
def test_a_tiny_segassess_in_the_cards_layout_is_read(card: ModelCard, tmp_path: Path) -> None:
    weights, settings = parse_segassess(card.others["segassess"])
    assert settings.configuration == SegAssessConfiguration()
    assert settings.objects in {("building",), ("road",), ("water",)}
    torch.manual_seed(3)
    sizes = SegAssessConfiguration(
        encoder_width=32,
        encoder_depth=4,
        encoder_heads=2,
        global_blocks=(0, 1, 2, 3),
        window=4,
        stored_grid=4,
        decoder_width=16,
        decoder_depth=2,
        decoder_heads=2,
        decoder_hidden=32,
        score_hidden=16,
    )
    reference = SegAssess(sizes).eval()
    state = reference.state_dict()
    published = {f"module.{name}": tensor for name, tensor in state.items()}
    # The published files hold the Segment Anything weights a second time.
    aliases = [name for name in state if name.startswith(("image_encoder.", "prompt_encoder."))]
    published |= {f"module.sam.{name}": state[name] for name in aliases}
    path = prepared(tmp_path, weights)
    torch.save(OrderedDict(published), path)

    tiny = with_component(card, "segassess", configuration=sizes.to_json())
    model = opened(tiny, tmp_path).segassess
    assert model.settings.tile == settings.tile
    loaded = model.module.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    # And again from the copy.
    assert converted_path(path).is_file()
    again = opened(tiny, tmp_path).segassess.module.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


@pytest.mark.slow
@having("unigeoseg")
def test_a_tiny_unigeoseg_in_the_cards_folder_is_read(card: ModelCard, tmp_path: Path) -> None:
    config = UniGeoSegConfig(
        language=LanguageConfig(
            vocab_size=261,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
        ),
        vision=VisionConfig(
            image_size=128, embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=3
        ),
        segmentation=SegmentationConfig(
            head_width=32,
            head_heads=4,
            head_dim=8,
            width=64,
            num_heads=4,
            encoder_layers=2,
            encoder_ffn=64,
            decoder_layers=3,
            decoder_ffn=64,
            num_queries=5,
        ),
    )
    torch.manual_seed(6)
    reference = UniGeoSeg(config, with_language_head=True).eval()
    assert card.unigeoseg is not None
    place = tmp_path / card.unigeoseg.folder
    place.mkdir(parents=True)
    vocabulary = byte_tokenizer([]).get_vocab()
    texts = {
        "config.json": json.dumps(config.to_json()),
        "vocab.json": json.dumps({**vocabulary, "th": 256, "<|endoftext|>": 257}),
        "merges.txt": "#version: 0.2\nt h\n",
        "added_tokens.json": json.dumps({"  ": 258, "[PAD]": 259, "[SEG]": 260}),
        "tokenizer_config.json": "{}",
    }
    for name, text in texts.items():
        (place / name).write_text(text)
    save_file(published_state(reference), place / "model.safetensors")
    tiny = replace(
        card,
        unigeoseg=replace(
            card.unigeoseg, weights=tuple(unchecked(each) for each in card.unigeoseg.weights)
        ),
    )
    checkpoint = opened(tiny, tmp_path).unigeoseg
    assert checkpoint.tokenizer.segmentation_id == 260
    loaded = checkpoint.model.state_dict()
    expected = reference.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())


@pytest.mark.slow
@having("sam3")
def test_a_tiny_sam3_in_the_cards_folder_is_read(card: ModelCard, tmp_path: Path) -> None:
    _, reference = write_sam3(tmp_path)
    place = tmp_path / str(card.others["sam3"].settings["folder"])
    place.parent.mkdir(parents=True)
    (tmp_path / FOLDER).rename(place)
    model = opened(with_component(card, "sam3"), tmp_path).sam3
    assert torch.equal(model.mean.flatten(), torch.full((3,), 0.5))
    loaded = model.module.state_dict()
    expected = reference.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())


@having("language")
def test_a_tiny_language_model_in_the_cards_folder_is_read(card: ModelCard, tmp_path: Path) -> None:
    component = card.others["language"]
    names = [Path(weights.file).name for weights in component.weights]
    shards = tuple(name for name in names if name.endswith(".safetensors"))
    _, reference, _ = write_language(tmp_path, tied=len(shards) < 3, shards=shards)
    place = tmp_path / str(component.settings["folder"])
    place.parent.mkdir(parents=True)
    (tmp_path / FOLDER).rename(place)
    model = opened(with_component(card, "language"), tmp_path).language
    expected = reference.state_dict()
    loaded = model.module.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())
    # Every file that the card names is there, and none besides is read.
    assert sorted(names) == sorted(path.name for path in place.iterdir())
    picture = np.zeros((64, 64, 3), np.uint8)
    assert isinstance(model.generate("What is it?", picture, max_new_tokens=2), str)
