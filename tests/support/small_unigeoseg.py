"""A UniGeoSeg small enough to train within a test."""

from __future__ import annotations

from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer({"<|endoftext|>": 256, "[SEG]": 257, "[PAD]": 258})
SMALL = UniGeoSegConfig(
    language=LanguageConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    ),
    vision=VisionConfig(
        image_size=64, embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), window_size=4
    ),
    segmentation=SegmentationConfig(
        head_width=32,
        head_heads=2,
        head_dim=16,
        width=32,
        num_heads=2,
        encoder_layers=1,
        encoder_ffn=64,
        decoder_layers=3,
        decoder_ffn=64,
        num_queries=1,
    ),
)
