"""Train the built-in UniGeoSeg on generated scenes.

Run `python -m geoseg_qgis.engine.training.unigeoseg.train_preset --folder RUN --steps N`; a run
that was stopped goes on where it was. `RUN/weights` is the checkpoint folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.template import END_OF_TEXT, SEGMENTATION_WORD
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer

from .evaluate import evaluate
from .losses import LossSettings
from .scenes import generated_scenes
from .trainer import TrainingSettings, UniGeoSegTrainer

WORDS = {END_OF_TEXT: 256, SEGMENTATION_WORD: 257, "[PAD]": 258}
BUILT_IN = UniGeoSegConfig(
    language=LanguageConfig(
        vocab_size=259,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
    ),
    vision=VisionConfig(
        image_size=256, embed_dim=32, depths=(2, 2, 4, 2), num_heads=(1, 2, 4, 8), window_size=8
    ),
    segmentation=SegmentationConfig(
        head_width=128,
        head_heads=4,
        head_dim=32,
        width=64,
        num_heads=4,
        encoder_layers=2,
        encoder_ffn=256,
        decoder_layers=6,
        decoder_ffn=256,
        num_queries=1,
    ),
)
_VALIDATION_SEED = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, then score scenes that were not trained on; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description="Train the built-in UniGeoSeg.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True, help="length of the whole run")
    parser.add_argument("--until", type=int, help="stop after this step and keep the state")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--side", type=int, default=BUILT_IN.vision.image_size)
    parser.add_argument("--validation", type=int, default=60, help="scenes to score")
    options = parser.parse_args(arguments)

    settings = TrainingSettings(
        options.folder,
        options.steps,
        batch_size=options.batch_size,
        rate=options.rate,
        weight_decay=0.01,
        train_tower=True,
        checkpoint_steps=100,
        loss=LossSettings(points=1536),
        readers=1,
    )
    torch.manual_seed(settings.seed)
    scenes = generated_scenes(options.steps * options.batch_size, settings.seed, options.side)
    trainer = UniGeoSegTrainer(UniGeoSeg(BUILT_IN), ByteTokenizer(WORDS), scenes, settings)
    trainer.run(options.until)
    unseen = generated_scenes(options.validation, _VALIDATION_SEED, options.side)
    scores = evaluate(load_checkpoint(trainer.weights_folder), unseen)
    table = {name: task_scores.as_row() for name, task_scores in scores.items()}
    text = json.dumps({"step": trainer.step, "scores": table}, indent=1)
    (options.folder / "scores.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
