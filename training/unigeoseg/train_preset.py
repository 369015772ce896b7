"""Train the built-in UniGeoSeg on generated scenes and on real pictures with partial labels.

Run `python -m training.unigeoseg.train_preset --data DATA --scenes CACHE
--out RUN --minutes M`; a run that was stopped goes on where it was, and one that is given more
minutes goes on from its last weights. Each picture is read once for several requests.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import Piece, split_dialogue
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer, load_tokenizer
from training.crops import CropSampler
from training.datasets import load_images
from training.device import add_device_option
from training.distributed import Team, team_size, work_together
from training.exported_networks import UNIGEOSEG
from training.model_pages import write_run_page
from training.prefetching import prefetch
from training.preset_folder import read_checkpoint, write_bytes
from training.trainer import Plan, Trainer, has_begun

from .alignment import align_places
from .batches import Lesson, Teacher
from .objectives import (
    READINGS,
    Pupil,
    dense_only_losses,
    keep_half_precision,
    lesson_losses,
    reading_losses,
)
from .stored_scenes import SIDE, VALIDATION_SEED, WIDE_SIDE, StoredScene, stored_scenes
from .warm_start import begin_with
from .words import TOKENIZER_FILE, initial_embeddings, learn_tokenizer, save_tokenizer

logger = logging.getLogger(__name__)

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
SQUARES = 32
"""Pixels in a cell of the coarsest map; a side is a multiple of it."""
MUON_MATRICES = ("blocks.", "model.layers.", "transformer_", "d_layers.", "self_attn.value_proj")
ALIGN_AT = 0.5
"""Progress at which the places of queries and of the fine map are tied together."""
_ALIGNING = 60
_ALIGNING_REQUESTS = 32
WARM_UP = 100
"""Steps of linear rise of the rate, from when the network learns on."""
READINGS_ALONE = 150
"""Steps in which fresh readings of a network that has learnt before learn alone."""
DENSE_UNTIL = 0.08
"""Progress up to which pictures are only read densely, without any request."""


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
    """Read the tokenizer of a run; a new run takes that of ``start`` or learns and keeps one."""
    if start is not None:
        write_bytes(folder / TOKENIZER_FILE, (start / TOKENIZER_FILE).read_bytes())
    if not (folder / TOKENIZER_FILE).is_file():
        texts = {wish.text for scene in scenes for wish in scene.wishes}
        openings = ("segment find show map select mark every the all a of",)
        extra = (
            "Please segment the targets at the points [0.1,0.2], [0.3,0.4] and [0.5,0.6].",
            "Please segment the target at the point inside the box x0,y0=[0.1,0.2], x1,y1=[0.5,1].",
        )
        save_tokenizer(learn_tokenizer([*texts, *openings, *extra]), folder)
    tokenizer = load_tokenizer(folder)
    if not isinstance(tokenizer, BytePairTokenizer):
        raise TypeError(f"The tokenizer in {folder} is not one of byte pairs.")
    return tokenizer


def build_pupil(tokenizer: BytePairTokenizer, seed: int, side: int = VISION.image_size) -> Pupil:
    """Return a fresh network for squares of ``side``; the same seed gives the same weights."""
    torch.manual_seed(seed)
    config = built_in_config(tokenizer.vocabulary_size, side)
    pupil = Pupil(UniGeoSeg(config, with_language_head=False))
    positions = pupil.model.pixel_decoder.mask_positions
    if positions is not None:
        nn.init.normal_(positions.mix.weight, std=0.12)
    table = pupil.model.model.embed_tokens.weight
    drawn = initial_embeddings(tokenizer, table.shape[1], torch.Generator().manual_seed(seed))
    table.data.copy_(drawn)
    return pupil


def main(arguments: Sequence[str] | None = None) -> None:
    """Train until the minutes are used."""
    parser = argparse.ArgumentParser(description="Train the built-in UniGeoSeg.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real pictures")
    parser.add_argument("--scenes", type=Path, required=True, help="where drawn scenes are kept")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log and tokenizer")
    parser.add_argument(
        "--start", type=Path, help="run, or checkpoint folder, whose weights to begin with"
    )
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--count", type=int, default=2400, help="generated scenes")
    parser.add_argument(
        "--first", type=int, default=0, help="seed of the first one; others are new to a network"
    )
    parser.add_argument("--wide", type=int, default=0, help="generated scenes of more ground")
    parser.add_argument("--pictures", type=int, default=4, help="pictures a step and process")
    parser.add_argument("--requests", type=int, default=16, help="requests a picture")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--side", type=int, default=VISION.image_size, help="pixels that pictures are enlarged to"
    )
    parser.add_argument(
        "--processes",
        type=int,
        help="on a processor, each with some GB of memory; one a core, 2 at most, if untold",
    )
    add_device_option(parser)
    options = parser.parse_args(arguments)
    if options.side < 1 or options.side % SQUARES:
        parser.error(f"--side must be a multiple of {SQUARES}.")
    if options.first < 0 or options.first + options.count > VALIDATION_SEED:
        parser.error(f"--first and --count must stay below {VALIDATION_SEED}, where scores begin.")
    if not 0 <= options.wide <= VALIDATION_SEED:
        parser.error(f"--wide must stay below {VALIDATION_SEED}, where scores begin.")
    if options.processes is None:
        options.processes = team_size(options.device)
    if options.processes < 1 or (options.processes > 1 and options.device.type != "cpu"):
        parser.error("--processes must be 1, or more on a processor.")
    work_together(options.processes, train, options)


def train(team: Team, options: argparse.Namespace) -> None:
    """Train in one of the processes of a team; `main` tells the options."""
    logging.basicConfig(level=logging.INFO if team.leads else logging.WARNING, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    start = None if has_begun(options.out) else options.start
    seeds = range(options.first, options.first + options.count)
    # Each draws a share of the scenes, then all of them read all.
    stored_scenes(options.scenes, seeds[team.rank :: team.size])
    stored_scenes(options.scenes, range(options.wide)[team.rank :: team.size], WIDE_SIDE)
    team.wait()
    scenes = stored_scenes(options.scenes, seeds)
    wide = stored_scenes(options.scenes, range(options.wide), WIDE_SIDE)
    if team.leads:
        build_tokenizer(options.out, scenes, start)
    team.wait()
    tokenizer = build_tokenizer(options.out, scenes)
    pupil = build_pupil(tokenizer, options.seed, options.side)
    facts = {
        "config": json.dumps(pupil.model.config.to_json()),
        "seed": options.seed,
        "batch": options.pictures * team.size,
        "device": options.device.type,
        "scenes": options.count,
        "first_scene": options.first,
        "wide_scenes": options.wide,
    }
    _check_sizes(options.out, facts["config"])
    if start is not None:
        new = begin_with(pupil, start)
        logger.info("%d of the network's weights are not in %s", len(new), start)
        # The course of a run begins with what the one before it learnt last.
        facts |= {"started_from": start.resolve().name, "progress": 1.0, "aligned": True}
        if any(name.startswith(READINGS) for name in new):
            facts["readings_until"] = READINGS_ALONE
    plan = Plan(
        options.out,
        options.minutes,
        options.rate,
        0.02,
        WARM_UP + facts.get("readings_until", 0),
        blocks=MUON_MATRICES,
        device=options.device,
    )
    trainer = Trainer(pupil, plan, facts, team)
    # Otherwise all processes, and a run that goes on, would drop out the same values.
    torch.manual_seed(trainer.stage_seed(options.seed))
    real = load_images(options.data, "train")

    def source(seed: int) -> Callable[..., Lesson]:
        crops = [CropSampler(real, size, seed + size) for size in sorted({SIDE, options.side})]
        return Teacher(scenes, crops, tokenizer, options.side, seed, wide=wide).lesson

    teach = prefetch(source, trainer.stage_seed(options.seed), options.device)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    pupil.train()
    keep_half_precision(pupil.model)
    amount = options.pictures, options.requests
    trainer.run(Course(trainer, pupil, teach, pieces, amount))
    if team.leads:
        write_run_page(options.out, UNIGEOSEG)


def _check_sizes(run: Path, config: str) -> None:
    if has_begun(run) and read_checkpoint(run)["facts"]["config"] != config:
        raise ValueError(
            f"The run {run} trains a network of other sizes. Give another --out, with this one as "
            "its --start."
        )


class Course:
    """The losses of one step after another: first what is seen, then what is asked.

    Args:
        trainer: Tells how far the run is; its facts keep how far the course is, for a run that is
            given more minutes goes on where its course was.
        pupil: The network.
        teach: Draws lessons, see `Teacher.lesson`.
        pieces: The split dialogue.
        amount: Pictures of a lesson, and requests a picture.
    """

    def __init__(
        self,
        trainer: Trainer,
        pupil: Pupil,
        teach: Callable[..., Lesson],
        pieces: Sequence[Piece],
        amount: tuple[int, int],
    ) -> None:
        self._trainer = trainer
        self._pupil = pupil
        self._teach = teach
        self._pieces = pieces
        self._pictures, self._requests = amount
        self._kept = trainer.facts
        self._kept.setdefault("progress", 0.0)
        self._kept.setdefault("aligned", trainer.seconds > 0)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return the losses of a step, named; ``total`` is to be minimised."""
        run = self._trainer.seconds / (self._trainer.plan.minutes * 60)
        progress = self._kept["progress"] = max(self._kept["progress"], run)
        if not self._kept["aligned"] and progress >= ALIGN_AT:
            self._align()
        if progress < DENSE_UNTIL:
            lesson = self._teach(2 * self._pictures, 1, progress=0.0)
            return dense_only_losses(self._pupil, lesson)
        asked = (progress - DENSE_UNTIL) / (1 - DENSE_UNTIL)
        lesson = self._teach(self._pictures, self._requests, progress=asked)
        if step < self._kept.get("readings_until", 0):
            return reading_losses(self._pupil, lesson, self._pieces)
        return lesson_losses(self._pupil, lesson, self._pieces)

    def _align(self) -> None:
        self._kept["aligned"] = True
        lessons = (self._teach(1, _ALIGNING_REQUESTS, progress=1.0) for _ in range(_ALIGNING))
        material = ((one.pixels, one.requests, one.meaning) for one in lessons)
        align_places(self._pupil.model, material, self._pieces)
        self._trainer.team.share_weights(self._pupil)


if __name__ == "__main__":
    main()
