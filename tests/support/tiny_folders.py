"""Tiny checkpoint folders in the form of the transformers library, with random values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from geoseg_qgis.engine.zoo.card import OtherComponent, WeightsFile

FOLDER = "somebody/tiny"
QWEN_PIECES = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def write_card(folder: Path, component: str, part: OtherComponent, method: str) -> None:
    """Write the card of a preset that has one component with a loader of its own."""
    weights = [{"file": entry.file, "layout": entry.layout} for entry in part.weights]
    card = {
        "name": "tiny",
        "title": "Tiny",
        "revision": "7",
        "licence": "CC0-1.0",
        "description": "For tests.",
        "methods": [method],
        component: {**part.settings, "weights": weights},
    }
    (folder / "card.json").write_text(json.dumps(card))


def byte_tokenizer(pieces: list[str]) -> Tokenizer:
    """Return a byte pair encoding without merges: one number a byte, then the special pieces."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(pieces)
    return tokenizer


def fill(module: Any, seed: int) -> None:
    """Give a network random values under which every layer matters."""
    torch.manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5)
        elif "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.2)


def qwen_configuration(tied: bool = True) -> dict[str, Any]:
    """Return the configuration of a Qwen3-VL of a quarter of a million values."""
    return {
        "model_type": "qwen3_vl",
        "image_token_id": 261,
        "video_token_id": 262,
        "vision_start_token_id": 259,
        "vision_end_token_id": 260,
        "tie_word_embeddings": tied,
        "text_config": {
            "model_type": "qwen3_vl_text",
            "vocab_size": 263,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        "vision_config": {
            "model_type": "qwen3_vl_vision",
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
    }


def write_language(
    folder: Path, tied: bool = True, shards: tuple[str, ...] = ("model.safetensors",)
) -> tuple[OtherComponent, Any, Tokenizer]:
    """Write a language model; return its component, the network and the tokenizer."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    place = folder / FOLDER
    place.mkdir(parents=True)
    data = qwen_configuration(tied)
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_dict(dict(data))).eval()
    fill(model, 4)
    state = {key: value for key, value in model.state_dict().items() if "lm_head" not in key}
    if not tied:
        state["lm_head.weight"] = model.lm_head.weight.detach()
    tokenizer = byte_tokenizer(QWEN_PIECES)
    texts = {
        "config.json": data,
        "generation_config.json": {"eos_token_id": [258, 256], "temperature": 0.7},
        "preprocessor_config.json": {
            "size": {"shortest_edge": 1024, "longest_edge": 16384},
            "patch_size": 16,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "image_processor_type": "Qwen2VLImageProcessorFast",
        },
    }
    for name, content in texts.items():
        (place / name).write_text(json.dumps(content))
    tokenizer.save(str(place / "tokenizer.json"))
    names = list(state)
    files = [*texts, "tokenizer.json", *shards]
    for index, shard in enumerate(shards):
        part = {name: state[name].contiguous() for name in names[index :: len(shards)]}
        save_file(part, place / shard)
    entries = tuple(WeightsFile(f"{FOLDER}/{name}", "language") for name in files)
    settings = {"model": "Qwen3VLForConditionalGeneration", "folder": FOLDER}
    return OtherComponent(entries, settings), model, tokenizer


def sam3_configuration() -> dict[str, Any]:
    """Return the configuration of a tiny SAM 3 detector of 56 pixels."""
    small = {"hidden_size": 32, "num_attention_heads": 2}
    deep = {**small, "num_layers": 2, "intermediate_size": 48}
    return {
        "model_type": "sam3",
        "vision_config": {
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 56,
                "patch_size": 14,
                "window_size": 2,
                "global_attn_indexes": [1],
                "pretrain_image_size": 28,
            },
        },
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": 258,
            "hidden_size": 32,
            "intermediate_size": 48,
            "projection_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 12,
            "hidden_act": "gelu",
            "bos_token_id": 256,
            "eos_token_id": 257,
            "pad_token_id": 257,
        },
        "geometry_encoder_config": {**deep, "roi_size": 3},
        "detr_encoder_config": deep,
        "detr_decoder_config": {**deep, "num_queries": 5},
        "mask_decoder_config": small,
    }


def sam3_lite_configuration() -> dict[str, Any]:
    """Return the configuration of a tiny SAM 3 LiteText of 56 pixels."""
    data = sam3_configuration()
    text = {
        key: value
        for key, value in data["text_config"].items()
        if key not in {"bos_token_id", "eos_token_id", "pad_token_id"}
    }
    parts = ("geometry_encoder", "detr_encoder", "detr_decoder", "mask_decoder")
    kinds = {
        f"{part}_config": {**data[f"{part}_config"], "model_type": f"sam3_lite_text_{part}"}
        for part in parts
    }
    lite = {**text, "model_type": "sam3_lite_text_text_model", "num_hidden_layers": 3}
    return {**data, **kinds, "model_type": "sam3_lite_text", "text_config": lite}


def write_sam3(folder: Path, lite: bool = False) -> tuple[OtherComponent, Any]:
    """Write a SAM 3 checkpoint as published, tracker included; return component and network.

    Args:
        folder: Where to write.
        lite: Whether it is a SAM 3 LiteText, which has no tracker.
    """
    from transformers import Sam3Config, Sam3LiteTextConfig, Sam3LiteTextModel, Sam3Model

    place = folder / FOLDER
    place.mkdir(parents=True)
    if lite:
        data = sam3_lite_configuration()
        model: Any = Sam3LiteTextModel(Sam3LiteTextConfig.from_dict(dict(data))).eval()
        fill(model, 5)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
    else:
        data = {"model_type": "sam3_video", "detector_config": sam3_configuration()}
        model = Sam3Model(Sam3Config.from_dict(sam3_configuration())).eval()
        fill(model, 5)
        state = {f"detector_model.{key}": value for key, value in model.state_dict().items()}
        state["tracker_model.memory_encoder.weight"] = torch.ones(3)
        state["tracker_neck.fpn_layers.0.proj1.bias"] = torch.ones(2)
    save_file(state, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(data))
    tokenizer = byte_tokenizer(["<|startoftext|>", "<|endoftext|>"])
    tokenizer.post_processor = TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", 256), ("<|endoftext|>", 257)],
    )
    tokenizer.save(str(place / "tokenizer.json"))
    names = ("config.json", "tokenizer.json", "model.safetensors")
    entries = tuple(WeightsFile(f"{FOLDER}/{name}", "sam3") for name in names)
    settings = {"folder": FOLDER, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    return OtherComponent(entries, settings), model
