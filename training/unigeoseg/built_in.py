"""The built-in UniGeoSeg: its sizes, its tokenizer and its first weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from geoseg_qgis.engine.models.unigeoseg.checkpoint import CONFIG_FILE
from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer, load_tokenizer
from geoseg_qgis.engine.zoo.vocabulary import split_words
from training.preset_folder import write_bytes, write_text
from training.trainer import read_checkpoint

from .queries import OPENINGS
from .stored_scenes import StoredScene
from .training_step import TrainedNetwork
from .words import TOKENIZER_FILE, initial_embeddings, learn_tokenizer

VISION = VisionConfig(
    image_size=512,
    embed_dim=32,
    depths=(2, 2, 6, 1),
    num_heads=(1, 2, 4, 8),
    window_size=8,
    position_frequencies=6,
)
SEGMENTATION = SegmentationConfig(
    head_width=128,
    head_heads=4,
    head_dim=32,
    width=96,
    num_heads=4,
    encoder_layers=1,
    encoder_ffn=256,
    sampling_points=2,
    decoder_layers=6,
    decoder_ffn=256,
    num_queries=1,
    position_frequencies=6,
    coordinate_frequencies=5,
    open_layers=3,
    keep_small_answers=True,
)
CELL = 32
"""Pixels in a cell of the coarsest map; a side is a multiple of it."""
PIXEL_SIZE = {"preferred": 0.25, "finest": 0.08, "coarsest": 0.6}
"""Metres in a pixel of the network's squares of drawn scenes, of ordinary and wide ones."""
MUON_MATRICES = ("blocks.", "model.layers.", "transformer_", "d_layers.", "self_attn.value_proj")
VOCABULARY_FILE = "vocabulary.json"
_OTHER_TEXTS = (
    "segment find show map select mark every the all a of",
    "Please segment the targets at the points [0.1,0.2], [0.3,0.4] and [0.5,0.6].",
    "Please segment the target at the point inside the box x0,y0=[0.1,0.2], x1,y1=[0.5,1].",
)


def built_in_config(vocabulary: int, side: int = VISION.image_size) -> UniGeoSegConfig:
    """Return the sizes of the built-in network for a vocabulary and squares of ``side``."""
    language = LanguageConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=512,
    )
    vision = dataclasses.replace(VISION, image_size=side)
    return UniGeoSegConfig(language, vision, SEGMENTATION)


def build_tokenizer(
    folder: Path, scenes: Sequence[StoredScene], start: Path | None = None
) -> BytePairTokenizer:
    """Read the tokenizer of a run; a new run copies that of ``start`` or learns one."""
    if start is not None:
        write_bytes(folder / TOKENIZER_FILE, (start / TOKENIZER_FILE).read_bytes())
    if not (folder / TOKENIZER_FILE).is_file():
        texts = {query.text for scene in scenes for query in scene.queries}
        learnt = learn_tokenizer([*texts, *_OTHER_TEXTS])
        write_text(folder / TOKENIZER_FILE, learnt.to_json())
    tokenizer = load_tokenizer(folder)
    if not isinstance(tokenizer, BytePairTokenizer):
        raise TypeError(f"The tokenizer in {folder} is not one of byte pairs.")
    return tokenizer


def side_files(run: Path) -> dict[str, bytes]:
    """Return the files beside the weights of a run's checkpoint folder."""
    config = json.loads(read_checkpoint(run)["facts"]["config"])
    content = (json.dumps(config, indent=1) + "\n").encode()
    return {CONFIG_FILE: content, TOKENIZER_FILE: (run / TOKENIZER_FILE).read_bytes()}


def known_words(scenes: Sequence[StoredScene]) -> list[str]:
    """Return the words of all sentences and questions of scenes, sorted."""
    texts = [query.text for scene in scenes for query in scene.queries]
    texts += [*OPENINGS, "every the all please target targets at points point inside box and"]
    return sorted({word for text in texts for word in split_words(text)})


def build_network(
    tokenizer: BytePairTokenizer, seed: int, side: int = VISION.image_size
) -> TrainedNetwork:
    """Return a new network for squares of ``side``; the same seed gives the same weights."""
    torch.manual_seed(seed)
    config = built_in_config(tokenizer.vocabulary_size, side)
    network = TrainedNetwork(UniGeoSeg(config, with_language_head=False))
    positions = network.model.pixel_decoder.mask_positions
    if positions is not None:
        nn.init.normal_(positions.mix.weight, std=0.12)
    table = network.model.model.embed_tokens.weight
    drawn = initial_embeddings(tokenizer, table.shape[1], torch.Generator().manual_seed(seed))
    table.data.copy_(drawn)
    return network
