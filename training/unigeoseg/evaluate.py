"""Evaluation of a network on records: gIoU, cIoU and Pr@k for each task and together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox, normalise
from geoseg_qgis.engine.metrics.referring import Mask, ReferringMeter, ReferringScores
from geoseg_qgis.engine.models.unigeoseg.checkpoint import Checkpoint
from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.inference import ImagePredictor
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.template import (
    UNIFIED,
    Template,
    encode_instruction,
    encode_template,
)

from .samples import Record

ALL_TASKS = "all"


@torch.inference_mode()
def evaluate(
    checkpoint: Checkpoint,
    records: Iterable[Record],
    transform: Callable[[Mask], Mask] | None = None,
    template: Template = UNIFIED,
) -> dict[str, ReferringScores]:
    """Score a network as published: on the letterboxed square, padding included.

    Args:
        checkpoint: Network in evaluation mode and its tokenizer.
        records: What to ask and what to expect.
        transform: Applied to predictions first, see ``ReferringMeter``.
        template: The dialogue that the network was trained on, for its data set.

    Returns:
        Scores by task (``ref``, ``reason``, ``intera``) and of everything (``all``).
    """
    model, tokenizer = checkpoint
    reader = ImagePredictor(model, encode_template(template, tokenizer))
    side = model.config.vision.image_size
    meters = {ALL_TASKS: ReferringMeter(transform)}
    for record in records:
        sample = record.read()
        letterbox = Letterbox(sample.image.shape[0], sample.image.shape[1], side)
        image = reader.encode_image(normalise(letterbox.place_image(sample.image)))
        request = Request(
            encode_instruction(sample.instruction, tokenizer),
            sample.task,
            parse_coordinates(sample.instruction),
        )
        logits = torch.nn.functional.interpolate(
            reader.predict(image, [request])[:, None], size=(side, side), mode="bilinear"
        )
        predicted = (logits[0, 0] > 0).cpu().numpy()
        truth = letterbox.place_mask(sample.mask)
        for name in (ALL_TASKS, sample.task.value):
            meters.setdefault(name, ReferringMeter(transform)).add(predicted, truth)
    return {name: meter.scores() for name, meter in meters.items()}
