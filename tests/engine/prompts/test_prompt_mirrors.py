"""Answers averaged over mirror images of a tile are the same in every mirror."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from prompt_cases import prompted
from tiny_models import landscape, write_sam2

from geoseg_qgis.engine.methods.prompted.mirrors import FOUR, PLAIN, Mirror
from geoseg_qgis.engine.methods.prompted.objects import ObjectPrompt
from geoseg_qgis.engine.methods.prompted.sam2_answers import Sam2Answerer
from geoseg_qgis.engine.models.sam2 import MaskChoice, Sam2Model, load_sam2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Sam2Model:
    folder = tmp_path_factory.mktemp("sam2")
    component, _ = write_sam2(folder)
    return load_sam2(component, folder, torch.device("cpu"))


def prompt(mirror: Mirror, side: int, *, box: bool) -> ObjectPrompt:
    positive = mirror.points(np.array([[20.25, 11.5], [25.0, 30.0]])[: 1 + box], side)
    negative = mirror.points(np.array([[50.0, 40.75]])[: int(box)], side)
    areas = (mirror.box((10.0, 5.0, 40.0, 33.0), side),) if box else ()
    return prompted(positive, negative, areas)


def answered(
    answerer: Sam2Answerer, pixels: np.ndarray, asked: ObjectPrompt
) -> tuple[torch.Tensor, float]:
    ((_, answer),) = answerer.answer(answerer.read(pixels), [asked])
    return torch.from_numpy(answer.logits), answer.score


@pytest.mark.parametrize("mirror", FOUR[1:])
def test_a_mirror_undoes_itself(mirror: Mirror) -> None:
    values = torch.rand(2, 5, 7)
    assert not torch.equal(mirror.tensor(values), values)
    assert torch.equal(mirror.tensor(mirror.tensor(values)), values)
    points = np.random.default_rng(0).random((6, 2)) * 64
    assert np.allclose(mirror.points(mirror.points(points, 64), 64), points)
    assert mirror.box(mirror.box((3.0, 5.0, 20.0, 40.0), 64), 64) == (3.0, 5.0, 20.0, 40.0)


def test_points_stay_on_their_pixels() -> None:
    image = torch.zeros(8, 8)
    image[2, 5] = 1
    for mirror in FOUR:
        x, y = mirror.points(np.array([5.5, 2.5]), 8)
        assert mirror.tensor(image)[int(y), int(x)] == 1


@pytest.mark.parametrize("box", [False, True])
def test_the_mean_over_mirrors_is_the_same_in_all(model: Sam2Model, box: bool) -> None:
    side = model.image_size
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    for mirrors, same in ((FOUR, True), (PLAIN, False)):
        answerer = Sam2Answerer(model, multimask=False, mirrors=mirrors)
        logits, score = answered(answerer, pixels, prompt(Mirror(), side, box=box))
        for mirror in FOUR[1:]:
            turned = mirror.tensor(torch.from_numpy(pixels)).numpy().copy()
            found, rated = answered(answerer, turned, prompt(mirror, side, box=box))
            close = torch.allclose(mirror.tensor(found), logits, atol=1e-3)
            assert close is same
            assert not same or rated == pytest.approx(score, abs=1e-3)


@pytest.fixture(scope="module")
def unstable(tmp_path_factory: pytest.TempPathFactory) -> Sam2Model:
    """A model that holds each of its single masks for unstable."""
    folder = tmp_path_factory.mktemp("unstable")
    component, _ = write_sam2(folder)
    sizes = replace(component.model, stability_threshold=1.1)
    return load_sam2(replace(component, model=sizes), folder, torch.device("cpu"))


@pytest.mark.parametrize(
    ("points", "box", "choice"),
    [
        (1, False, MaskChoice.SINGLE),
        (2, False, MaskChoice.SINGLE),
        (0, True, MaskChoice.STABLE),
        (1, True, MaskChoice.STABLE),
    ],
)
def test_coarse_ratings_leave_one_mask_for_points(
    unstable: Sam2Model, points: int, box: bool, choice: MaskChoice
) -> None:
    model = unstable
    side = model.image_size
    pixels = landscape(side, side, 3).transpose(2, 0, 1).copy()
    places = np.array([[20.5, 11.5], [25.5, 30.5]])[:points]
    area = (10.5, 5.5, 40.5, 33.5)
    asked = prompted(places, areas=(area,) if box else ())
    logits, _ = answered(Sam2Answerer(model, multimask=False), pixels, asked)
    seen = model.encode(torch.from_numpy(pixels)[None].float() / 255)

    def predicted(choice: MaskChoice) -> torch.Tensor:
        return model.predict(
            seen,
            points=torch.from_numpy(places[None] - 0.5).float() if points else None,
            labels=torch.ones(1, points, dtype=torch.int32) if points else None,
            boxes=torch.tensor([area]) - 0.5 if box else None,
            choice=choice,
        ).logits[0, 0]

    assert torch.allclose(logits, predicted(choice), atol=1e-4)
    assert not torch.allclose(predicted(MaskChoice.SINGLE), predicted(MaskChoice.STABLE), atol=1e-2)


def test_points_asked_in_turn_take_the_answer_before_along(model: Sam2Model) -> None:
    side = model.image_size
    pixels = landscape(side, side, 3).transpose(2, 0, 1).copy()
    points = np.array([[50.5, 40.5], [20.5, 11.5], [60.5, 20.5], [25.5, 30.5]])
    asked = ObjectPrompt(0, 0, 4, points, np.array([False, True, False, True]))
    answerer = Sam2Answerer(model, multimask=False, in_turn=True)
    logits, _ = answered(answerer, pixels, asked)
    seen = model.encode(torch.from_numpy(pixels)[None].float() / 255)
    # The first is on the object; the others keep their order.
    places = torch.from_numpy(points[[1, 0, 2, 3]][None] - 0.5).float()
    labels = torch.tensor([[1, 0, 0, 1]], dtype=torch.int32)
    before = None
    for count in (1, 2, 3, 4):
        before = model.predict(
            seen,
            points=places[:, :count],
            labels=labels[:, :count],
            masks=before,
            choice=MaskChoice.SINGLE,
        ).logits
    assert torch.allclose(logits, before[0, 0], atol=1e-3)
    at_once, _ = answered(Sam2Answerer(model, multimask=False), pixels, asked)
    assert not torch.allclose(logits, at_once, atol=1e-2)
    single = prompted(points[:1])
    alone = [answered(Sam2Answerer(model, in_turn=turn), pixels, single)[0] for turn in (0, 1)]
    assert torch.equal(*alone)
