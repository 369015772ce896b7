"""What requests are about, and the losses of the heads that predict it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from geoseg_qgis.engine.models.unigeoseg.position_encoding import fourier_features
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.scenes.legend import CLASS_NAMES
from training.unigeoseg.pixel_head import CENTRE_FREQUENCIES
from training.unigeoseg.queries import Mirror, SceneRequest
from training.unigeoseg.query_head import (
    NO_LANDMARK,
    QueryTargets,
    landmark_loss,
    query_loss,
    query_targets,
    unknown_query_targets,
)
from training.unigeoseg.stored_scenes import SIDE, StoredScene


def test_targets_are_classes_and_the_place_of_single_objects(scenes: list[StoredScene]) -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[64:128, 0:32] = True
    requests = [
        SceneRequest("the field", Task.REFERRING, "extreme", mask, single=True),
        SceneRequest("the point", Task.INTERACTIVE, "points", mask, single=True),
        SceneRequest("all fields", Task.REFERRING, "class", mask),
        SceneRequest("all seas", Task.REFERRING, "absent", np.zeros_like(mask)),
        SceneRequest(
            "the car closest to the field", Task.REFERRING, "relation", mask.T, True, mask
        ),
    ]
    targets = query_targets(scenes[1], Mirror(), requests)
    assert targets.classes.shape == (1, 5, len(CLASS_NAMES))
    shares = np.bincount(scenes[1].classes[mask], minlength=len(CLASS_NAMES)) / mask.sum()
    assert targets.classes[0, 0].tolist() == pytest.approx(shares.tolist(), abs=1e-6)
    assert float(targets.classes[0, 3].sum()) == 0.0
    place = [1 / 16, 3 / 8, 1 / 8, 1 / 4]
    assert targets.places[0, 0].tolist() == pytest.approx(place)
    assert targets.places[0, 2:4].isnan().all()
    assert targets.places[0, 4].tolist() == pytest.approx([3 / 8, 1 / 16, 1 / 4, 1 / 8])
    assert targets.stated.tolist() == [[False, True, False, False, False]]
    assert targets.landmarks[0, :4].isnan().all()
    assert targets.landmarks[0, 4].tolist() == pytest.approx(place)
    assert targets.landmark_classes.tolist() == [[NO_LANDMARK] * 4 + [int(shares.argmax())]]


def test_losses_are_zero_for_the_targets() -> None:
    place = torch.tensor([[0.25, 0.5, 0.1, 0.2]])
    classes = nn.functional.one_hot(torch.tensor([[3]]), len(CLASS_NAMES)).float()
    unnamed = torch.full((1, 1, 4), torch.nan)
    nothing = torch.tensor([[NO_LANDMARK]])
    targets = QueryTargets(classes, place[None], torch.tensor([[True]]), unnamed, nothing)
    waves = [fourier_features(place[:, axis], CENTRE_FREQUENCIES) for axis in (0, 1)]
    right = torch.cat([50.0 * classes[0], *waves, place[:, 2:]], dim=1)[None]
    assert float(query_loss([right, right], targets)) == pytest.approx(0.0, abs=1e-6)
    wrong = right.clone()
    wrong[..., -1] += 1.0
    expected = 5.0 / (4 * CENTRE_FREQUENCIES + 2)
    assert float(query_loss([right, wrong], targets)) == pytest.approx(expected)
    unstated = targets._replace(stated=torch.tensor([[False]]))
    assert float(query_loss([wrong, right], unstated)) == pytest.approx(0.0, abs=1e-6)
    assert float(query_loss([right, right], unknown_query_targets(1))) == 0.0
    places = slice(len(CLASS_NAMES), None)
    kinds = 50.0 * classes
    assert float(landmark_loss(kinds, wrong[..., places], targets)) == 0.0
    named = targets._replace(landmarks=place[None], landmark_classes=torch.tensor([[3]]))
    assert float(landmark_loss(kinds, right[..., places], named)) == pytest.approx(0.0, abs=1e-6)
    assert float(landmark_loss(kinds, wrong[..., places], named)) == pytest.approx(expected)
    other = named._replace(landmark_classes=torch.tensor([[4]]))
    assert float(landmark_loss(kinds, right[..., places], other)) == pytest.approx(50.0)
