"""Batches of published records."""

from __future__ import annotations

import numpy as np
from small_unigeoseg import TOKENIZER

from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.unigeoseg.batches import collate
from training.unigeoseg.records import Sample


def test_collated_batch() -> None:
    image = np.full((20, 40, 3), 100, dtype=np.uint8)
    mask = np.ones((20, 40), dtype=np.uint8)
    text = "the box x0,y0=[0,0.5], x1,y1=[1,1]"
    batch = collate([Sample(image, mask, text, "yes", Task.INTERACTIVE)], TOKENIZER, 64)
    assert batch.pixels.shape == (1, 3, 64, 64)
    assert batch.masks.sum() == 64 * 32
    assert batch.masks[0, 0, 16:48].all()
    (request,) = batch.requests[0]
    assert bytes(request.answer_ids[:-1]) == b"yes"
    assert request.answer_ids[-1] == 257
    assert request.coordinates is not None
    assert request.coordinates.tolist() == [[0.0, 0.5, 1.0, 1.0]]
