"""Train the built-in UniGeoSeg on generated scenes and on real pictures with partial labels.

Run `python -m geoseg_qgis.engine.training.unigeoseg.train_preset --data DATA --scenes CACHE
--out RUN --minutes M`; a run that was stopped goes on where it was, and one that is given more
minutes goes on from its last weights. Each picture is read once for several requests.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from geoseg_qgis.engine.methods.unigeoseg.letterbox import normalise
from geoseg_qgis.engine.models.unigeoseg.configuration import (
    LanguageConfig,
    SegmentationConfig,
    UniGeoSegConfig,
    VisionConfig,
)
from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import Piece, Request, split_dialogue
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import (
    UNIFIED,
    encode_instruction,
    encode_template,
)
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer, load_tokenizer
from geoseg_qgis.engine.training.components import UNIGEOSEG
from geoseg_qgis.engine.training.crops import CropSampler, vary_colour
from geoseg_qgis.engine.training.datasets import load_scenes
from geoseg_qgis.engine.training.device import (
    add_device_option,
    as_products,
    device_of,
    half_precision,
)
from geoseg_qgis.engine.training.loop import Plan, Trainer
from geoseg_qgis.engine.training.model_pages import write_run_page
from geoseg_qgis.engine.training.prefetching import prefetch

from .alignment import align_places
from .dense import (
    STRIDE,
    DenseReading,
    DenseTargets,
    dense_loss,
    join_targets,
    partial_targets,
    scene_targets,
)
from .meaning import Meaning, MeaningReading, meaning_loss, meaning_of, unknown_meaning
from .real import allowed_classes, ask_of_labels
from .scenes import SIDE, StoredScene, stored_scenes
from .shared import answer_all
from .wishes import Asked, Asker, Mirror, draw_requests, reword
from .words import TOKENIZER_FILE, initial_embeddings, learn_tokenizer, save_tokenizer

VISION = VisionConfig(
    image_size=SIDE,
    embed_dim=32,
    depths=(1, 2, 4, 1),
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
    decoder_layers=3,
    decoder_ffn=256,
    num_queries=1,
    position_frequencies=6,
    coordinate_frequencies=5,
)
MUON_MATRICES = ("blocks.", "model.layers.", "transformer_", "d_layers.", "self_attn.value_proj")
REAL_SHARE = 0.2
VARIED_SHARE = 0.35
"""Share of generated pictures whose colours are varied."""
ALIGN_AT = 0.5
"""Progress at which the places of queries and of the fine map are tied together."""
_ALIGNING = 60
_ALIGNING_REQUESTS = 32
DENSE_UNTIL = 0.08
"""Progress up to which pictures are only read densely, without any request."""
DENSE_WEIGHT = 1.0
MEANING_WEIGHT = 0.5
MASK_WEIGHT = 5.0
DICE_WEIGHT = 5.0
RAREST_SHARE = 1 / 256
"""Share of the picture below which an answer's cells get no more weight."""
LOOKALIKE_WEIGHT = 2.0
"""Weight of cells that have a class of the answer without being meant."""
_NEAREST_PIXELS = 255


def built_in_config(vocabulary: int) -> UniGeoSegConfig:
    """Return the sizes of the built-in network for a vocabulary."""
    language = LanguageConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=512,
    )
    return UniGeoSegConfig(language, VISION, SEGMENTATION)


class Lesson(NamedTuple):
    """One step's material: B pictures with R requests each."""

    pixels: Tensor
    """(B, 3, S, S) float32, normalised."""
    requests: list[list[Request]]
    answers: Tensor
    """(B, R, S/4, S/4) float32, the share of each cell that is meant."""
    known: Tensor
    """(B, R, S/4, S/4) float32, weight of each cell, 0 where the answer is not known."""
    facts: DenseTargets
    meaning: Meaning

    def to(self, device: torch.device) -> Lesson:
        """Return the lesson on a device; requests are read where they are needed."""
        return Lesson(
            self.pixels.to(device),
            self.requests,
            self.answers.to(device),
            self.known.to(device),
            self.facts.to(device),
            self.meaning.to(device),
        )


class Pupil(nn.Module):
    """The network and the dense reading of its features."""

    def __init__(self, model: UniGeoSeg) -> None:
        super().__init__()
        self.model = model
        self.reading = DenseReading(model.config.segmentation.width)
        self.meaning = MeaningReading(model.config.segmentation.width)


class Teacher:
    """Draws lessons, endless and seeded.

    Args:
        scenes: Generated scenes.
        crops: Sampler of real pictures, or None.
        tokenizer: Encodes the requests.
        seed: Seed of every choice.
    """

    def __init__(
        self,
        scenes: Sequence[StoredScene],
        crops: CropSampler | None,
        tokenizer: BytePairTokenizer,
        seed: int,
    ) -> None:
        self._scenes = list(scenes)
        self._askers = [Asker(scene) for scene in scenes]
        self._crops = crops
        self._tokenizer = tokenizer
        self._random = np.random.default_rng(seed)

    def lesson(self, pictures: int, count: int, progress: float) -> Lesson:
        """Draw ``pictures`` with ``count`` requests each, for a progress of 0..1."""
        drawn: list[Lesson] = []
        while len(drawn) < pictures:
            real = self._crops is not None and self._random.random() < REAL_SHARE
            made = self._real(count) if real else self._generated(count, progress)
            if made is not None:
                drawn.append(made)
        return Lesson(
            torch.cat([lesson.pixels for lesson in drawn]),
            [requests for lesson in drawn for requests in lesson.requests],
            torch.cat([lesson.answers for lesson in drawn]),
            torch.cat([lesson.known for lesson in drawn]),
            join_targets([lesson.facts for lesson in drawn]),
            Meaning(*(torch.cat(parts) for parts in zip(*(one.meaning for one in drawn)))),
        )

    def _generated(self, count: int, progress: float) -> Lesson:
        random = self._random
        index = int(random.integers(len(self._scenes)))
        scene, asker = self._scenes[index], self._askers[index]
        mirror = Mirror(bool(random.integers(2)), bool(random.integers(2)))
        # Sentences name the colours that were drawn, not what a variation made of them.
        varied = random.random() < VARIED_SHARE
        asked = draw_requests(asker, count, progress, random, mirror, attributes=not varied)
        image = np.ascontiguousarray(mirror.turn(scene.image).transpose(2, 0, 1))
        pixels = torch.from_numpy(image).float() / _NEAREST_PIXELS
        if varied:
            pixels = vary_colour(pixels, random)
        answers = torch.from_numpy(np.stack([one.mask for one in asked]).astype(np.float32))
        requests = [self._request(reword(one.text, random), one.task) for one in asked]
        cells = nn.functional.avg_pool2d(answers, STRIDE)
        return Lesson(
            _as_input(pixels),
            [requests],
            cells[None],
            _cell_weights(mirror.turn(scene.classes), asked, cells)[None],
            scene_targets(scene, mirror, coloured=not varied),
            meaning_of(scene, mirror, asked),
        )

    def _real(self, count: int) -> Lesson | None:
        if self._crops is None:
            return None
        batch = self._crops.batch(1)
        asked = ask_of_labels(batch.labels[0], count, self._random)
        if not asked:
            return None
        known = torch.stack([one.known for one in asked]).float()
        answers = torch.stack([one.answer for one in asked])
        return Lesson(
            _as_input(batch.pixels[0]),
            [[self._request(reword(one.text, self._random), one.task) for one in asked]],
            nn.functional.avg_pool2d(answers, STRIDE)[None],
            (nn.functional.avg_pool2d(known, STRIDE) == 1).float()[None],
            partial_targets(allowed_classes(batch.labels[0])),
            unknown_meaning(count),
        )

    def _request(self, text: str, task: Task) -> Request:
        return Request(encode_instruction(text, self._tokenizer), task, parse_coordinates(text))


def keep_half_precision(model: UniGeoSeg) -> None:
    """Let the tower's sums stay in the products' precision, which saves most conversions."""

    def halve(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(as_products(value) for value in inputs)

    model.model.vision_tower.layers[0].register_forward_pre_hook(halve)


def lesson_losses(pupil: Pupil, lesson: Lesson, pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """Return the losses of one lesson, named; ``total`` is to be minimised."""
    device = device_of(pupil)
    lesson = lesson.to(device)
    with sdpa_kernel(SDPBackend.MATH), half_precision(device):
        answer = answer_all(pupil.model, lesson.pixels, pieces, lesson.requests)
        read = pupil.reading(answer.mask_features)
        meant = pupil.meaning(answer.queries)
    dense = dense_loss(read, lesson.facts)
    meaning = meaning_loss(meant, lesson.meaning)
    mask = dice = torch.zeros((), device=device)
    for logits in answer.masks:
        cross_entropy, overlap = cell_losses(logits.float(), lesson.answers, lesson.known)
        mask, dice = mask + cross_entropy, dice + overlap
    mask, dice = mask / len(answer.masks), dice / len(answer.masks)
    total = DENSE_WEIGHT * dense + MASK_WEIGHT * mask + DICE_WEIGHT * dice
    total = total + MEANING_WEIGHT * meaning
    return {
        "dense": dense,
        "meaning": meaning,
        "mask": mask,
        "dice": dice,
        "last_dice": overlap,
        "total": total,
    }


def dense_only_losses(pupil: Pupil, lesson: Lesson) -> dict[str, Tensor]:
    """Return the losses of a lesson whose requests are not asked."""
    device = device_of(pupil)
    lesson = lesson.to(device)
    with half_precision(device):
        features = pupil.model.encode_image(lesson.pixels)
        read = pupil.reading(features.pixels.mask_features)
    dense = dense_loss(read, lesson.facts)
    return {"dense": dense, "total": DENSE_WEIGHT * dense}


def cell_losses(logits: Tensor, answers: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Compare logits (B, R, h, w) with shares of cells, weighted by ``known``.

    Returns:
        Mean cross entropy and mean Dice loss.
    """
    wrong = nn.functional.binary_cross_entropy_with_logits(logits, answers, reduction="none")
    # Small answers would drown in their surroundings, and nothing is the easiest answer.
    total = known.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    share = (answers * known).sum(dim=(2, 3), keepdim=True) / total
    rare = share.clamp(min=RAREST_SHARE).rsqrt()
    weights = known * (1 + (rare - 1) * answers)
    amount = weights.sum(dim=(2, 3)).clamp(min=1)
    cross_entropy = ((wrong * weights).sum(dim=(2, 3)) / amount).mean()
    found = logits.sigmoid() * known
    wanted = answers * known
    overlap = 2 * (found * wanted).sum(dim=(2, 3)) + 1
    size = found.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) + 1
    return cross_entropy, (1 - overlap / size).mean()


def build_tokenizer(folder: Path, scenes: Sequence[StoredScene]) -> BytePairTokenizer:
    """Read the tokenizer of a run, or learn it from the sentences of scenes and keep it."""
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


def build_pupil(tokenizer: BytePairTokenizer, seed: int) -> Pupil:
    """Return a fresh network; the same seed gives the same weights."""
    torch.manual_seed(seed)
    config = built_in_config(tokenizer.vocabulary_size)
    pupil = Pupil(UniGeoSeg(config, with_language_head=False))
    positions = pupil.model.pixel_decoder.mask_positions
    if positions is not None:
        nn.init.normal_(positions.mix.weight, std=0.12)
    table = pupil.model.model.embed_tokens.weight
    drawn = initial_embeddings(tokenizer, table.shape[1], torch.Generator().manual_seed(seed))
    table.data.copy_(drawn)
    return pupil


def _cell_weights(classes: NDArray[np.uint8], asked: Sequence[Asked], cells: Tensor) -> Tensor:
    """Weigh what looks like the answer more than the rest, (R, h, w)."""
    small = classes[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    alike = np.stack([np.isin(small, np.unique(classes[one.mask])) for one in asked])
    missed = torch.from_numpy(alike) & (cells == 0)
    return 1.0 + (LOOKALIKE_WEIGHT - 1.0) * missed


def _as_input(pixels: Tensor) -> Tensor:
    """Normalise (3, S, S) in 0..1 as the method does: (1, 3, S, S)."""
    whole = (pixels.clamp(0, 1) * _NEAREST_PIXELS).round().to(torch.uint8)
    return normalise(whole.permute(1, 2, 0).numpy())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train until the minutes are used."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Train the built-in UniGeoSeg.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real pictures")
    parser.add_argument("--scenes", type=Path, required=True, help="where drawn scenes are kept")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log and tokenizer")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--count", type=int, default=2400, help="generated scenes")
    parser.add_argument("--pictures", type=int, default=4, help="pictures a step")
    parser.add_argument("--requests", type=int, default=12, help="requests a picture")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    add_device_option(parser)
    options = parser.parse_args(arguments)

    options.out.mkdir(parents=True, exist_ok=True)
    scenes = stored_scenes(options.scenes, range(options.count))
    tokenizer = build_tokenizer(options.out, scenes)
    pupil = build_pupil(tokenizer, options.seed)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    plan = Plan(
        options.out,
        options.minutes,
        options.rate,
        0.02,
        blocks=MUON_MATRICES,
        device=options.device,
    )
    facts = {
        "config": json.dumps(pupil.model.config.to_json()),
        "seed": options.seed,
        "batch": options.pictures,
        "device": options.device.type,
        "scenes": options.count,
    }
    trainer = Trainer(pupil, plan, facts)
    # A run that is given more minutes goes on where its course was.
    course = trainer.facts
    course.setdefault("progress", 0.0)
    course.setdefault("aligned", trainer.seconds > 0)
    seed = trainer.stage_seed(options.seed)
    real = load_scenes(options.data, "train")

    def source(seed: int) -> Callable[..., Lesson]:
        return Teacher(scenes, CropSampler(real, SIDE, seed + 1), tokenizer, seed).lesson

    teach = prefetch(source, seed, options.device)
    pupil.train()
    keep_half_precision(pupil.model)

    def losses(_step: int) -> dict[str, Tensor]:
        progress = max(course["progress"], trainer.seconds / (plan.minutes * 60))
        course["progress"] = progress
        if not course["aligned"] and progress >= ALIGN_AT:
            course["aligned"] = True
            lessons = (teach(1, _ALIGNING_REQUESTS, progress=1.0) for _ in range(_ALIGNING))
            material = ((one.pixels, one.requests, one.meaning) for one in lessons)
            align_places(pupil.model, material, pieces)
        if progress < DENSE_UNTIL:
            return dense_only_losses(pupil, teach(2 * options.pictures, 1, progress=0.0))
        asked = (progress - DENSE_UNTIL) / (1 - DENSE_UNTIL)
        lesson = teach(options.pictures, options.requests, progress=asked)
        return lesson_losses(pupil, lesson, pieces)

    trainer.run(losses)
    write_run_page(options.out, UNIGEOSEG)


if __name__ == "__main__":
    main()
