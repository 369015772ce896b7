"""Masks of whole images, judged against what is true."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from places import SHARED

from geoseg_qgis.engine.models.segassess import SegAssess
from training.datasets import load_images
from training.scenes.corruptions import corrupt
from training.segassess.built_in import BUILT_IN
from training.segassess.whole_images import cases, judge


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the shared data folder is absent")
def test_judging_a_real_image() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    one = load_images(SHARED / "data", "validation", ("spacenet_linz_buildings",))[0]
    found = {case.kind: case for case in cases(one)}
    case = found["building"]
    assert case.pixels.shape[1:] == case.truth.shape
    assert (case.truth <= case.valid).all()
    mask = corrupt(case.truth, 4, "shift", 1.0)
    judgement, probabilities = judge(SegAssess(BUILT_IN).eval(), case, mask)
    assert probabilities.shape == (4, *case.truth.shape)
    assert torch.allclose(probabilities.sum(0), torch.ones(case.truth.shape), atol=1e-4)
    counts = judgement.constrained.matrix
    assert counts.sum() == judgement.raw.matrix.sum() == case.valid.sum()
    assert counts[:2, 2:].sum() == counts[2:, :2].sum() == 0
    assert counts[0].sum() == (mask & case.truth).sum()
    assert len(judgement.predicted) == len(judgement.actual) > 0
    assert 0 <= np.nanmin(judgement.actual) <= np.nanmax(judgement.actual) <= 1
