"""Scores of a network on scenes that it was not trained on: by task, and by kind of request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox, normalise
from geoseg_qgis.engine.metrics.referring import IGNORED_VALUE, ReferringMeter, ReferringScores
from geoseg_qgis.engine.models.unigeoseg.checkpoint import Checkpoint
from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.inference import ImagePredictor
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import (
    UNIFIED,
    encode_instruction,
    encode_template,
)
from training.crops import CropSampler
from training.datasets import load_images

from .letterbox_augmentation import between_bars, draw_band
from .queries import SENTENCE_KINDS, Asked, Asker
from .stored_scenes import SIDE, VALIDATION_SEED, WIDE_SIDE, StoredScene, stored_scenes
from .weak_labels import ask_of_labels

QUESTIONS_A_SCENE = 3
REAL_CROPS = 120
_SEED_OF_CROPS = 5
_SEED_OF_BANDS = 13
_THRESHOLD = 0.5
_FEWER = 4
"""Squares for each wide scene, which takes four times as long to draw."""
_REAL_REQUESTS = 3
_WHOLE = 255
TITLES = {
    "ref": "sentences",
    "class": "&nbsp;&nbsp;a class",
    "attribute": "&nbsp;&nbsp;a colour, roof or shape",
    "position": "&nbsp;&nbsp;a part of the image",
    "count": "&nbsp;&nbsp;a number",
    "extreme": "&nbsp;&nbsp;largest, leftmost and the like",
    "relation": "&nbsp;&nbsp;closest to something",
    "reason": "questions",
    "intera": "points and boxes",
    "points": "&nbsp;&nbsp;one to three points",
    "box": "&nbsp;&nbsp;a box",
    "wide_ref": "sentences, scenes of 512 x 512 pixels",
    "barred_ref": "sentences, parts of scenes that are no squares",
    "real_ref": "real pictures, classes by name",
    "real_reason": "real pictures, classes by use",
}
"""Names of what `score_unseen` scores, in the order of a table."""


class SceneReader:
    """A network that answers requests about pictures, fitted into its square.

    Args:
        checkpoint: Network in evaluation mode and its tokenizer.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model, self._tokenizer = checkpoint
        self._predictor = ImagePredictor(self._model, encode_template(UNIFIED, self._tokenizer))
        self._side = self._model.config.vision.image_size

    @torch.inference_mode()
    def answer(
        self, image: NDArray[np.uint8], asked: Sequence[tuple[str, Task]]
    ) -> NDArray[np.bool_]:
        """Return the network's masks for N requests about an image (H, W, 3): (N, H, W)."""
        letterbox = Letterbox(image.shape[0], image.shape[1], self._side)
        encoded = self._predictor.encode_image(normalise(letterbox.place_image(image)))
        requests = [
            Request(encode_instruction(text, self._tokenizer), task, parse_coordinates(text))
            for text, task in asked
        ]
        logits = letterbox.restore(self._predictor.predict(encoded, requests))
        above: NDArray[np.bool_] = logits.sigmoid().numpy() > np.float32(_THRESHOLD)
        return above


def questions_about(scene: StoredScene, seed: int) -> list[Asked]:
    """Ask one sentence of every kind, some questions, and for an object by points and a box."""
    random = np.random.default_rng([seed, 11])
    asker = Asker(scene)
    asked = [asker.ask(Task.REFERRING, random, {kind: 1.0}) for kind in SENTENCE_KINDS]
    asked += [asker.ask(Task.REASONING, random) for _ in range(QUESTIONS_A_SCENE)]
    asked += [asker.ask(Task.INTERACTIVE, random) for _ in range(2)]
    return list({one.text: one for one in asked if one is not None}.values())


def score_unseen(
    reader: SceneReader, scenes: Path, count: int, data: Path
) -> dict[str, ReferringScores]:
    """Score what no training saw: generated scenes of other seeds and crops of validation images.

    Args:
        reader: The network.
        scenes: Where drawn scenes are kept.
        count: Generated scenes.
        data: Folder of the labelled images.
    """
    unseen = range(VALIDATION_SEED, VALIDATION_SEED + count)
    squares = stored_scenes(scenes, unseen)
    wide = stored_scenes(scenes, unseen[: -(-count // _FEWER)], WIDE_SIDE)
    random = np.random.default_rng(_SEED_OF_BANDS)
    barred = (between_bars(scene, draw_band(SIDE, random)) for scene in squares)
    scores = score_scenes(reader, squares)
    for name, others in (("wide", wide), ("barred", barred)):
        scores[f"{name}_ref"] = score_scenes(reader, others)["ref"]
    crops = CropSampler(load_images(data, "validation"), SIDE, _SEED_OF_CROPS)
    return scores | score_real(reader, crops, REAL_CROPS)


def score_scenes(
    reader: SceneReader, scenes: Iterable[StoredScene], seed: int = 0
) -> dict[str, ReferringScores]:
    """Score generated scenes; names are tasks (``ref``, ...) and kinds of requests (``count``)."""
    meters: dict[str, ReferringMeter] = defaultdict(ReferringMeter)
    for number, scene in enumerate(scenes):
        asked = questions_about(scene, seed + number)
        answers = reader.answer(scene.image, [(one.text, one.task) for one in asked])
        for one, answer in zip(asked, answers, strict=True):
            for name in {one.task.value, one.kind if one.kind != "reasoning" else one.task.value}:
                meters[name].add(answer, one.mask)
    return {name: meter.scores() for name, meter in sorted(meters.items())}


def score_real(reader: SceneReader, crops: CropSampler, count: int) -> dict[str, ReferringScores]:
    """Score classes asked by name and use on crops of real pictures, where labels are certain."""
    meters: dict[str, ReferringMeter] = defaultdict(ReferringMeter)
    random = np.random.default_rng(12)
    for _ in range(count):
        batch = crops.batch(1)
        asked = ask_of_labels(batch.labels[0], _REAL_REQUESTS, random)
        if not asked:
            continue
        image = (batch.clean[0] * _WHOLE).round().to(torch.uint8).permute(1, 2, 0).numpy()
        answers = reader.answer(image, [(one.text, one.task) for one in asked])
        for one, answer in zip(asked, answers, strict=True):
            truth = np.where(one.known.numpy(), one.answer.numpy(), IGNORED_VALUE)
            meters[f"real_{one.task.value}"].add(answer, truth.astype(np.uint8))
    return {name: meter.scores() for name, meter in sorted(meters.items())}
