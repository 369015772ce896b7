"""Predictions averaged over mirror images of a tile are the same in every mirror."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from prompt_cases import prompted
from tiny_models import landscape, write_sam2

from geoseg_qgis.engine.methods.prompted.mirrors import FOUR, PLAIN, Mirror
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt
from geoseg_qgis.engine.methods.prompted.sam2_predictor import Sam2Predictor
from geoseg_qgis.engine.models.sam2 import MaskChoice, Sam2Model, load_sam2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Sam2Model:
    folder = tmp_path_factory.mktemp("sam2")
    component, _ = write_sam2(folder)
    return load_sam2(component, folder, torch.device("cpu"))


def prompt(mirror: Mirror, side: int, clicks: int, *, box: bool) -> ObjectPrompt:
    points = np.array([[20.25, 11.5], [50.0, 40.75], [25.0, 30.0]])[:clicks]
    on_object = np.array([True, False, True])[:clicks]
    areas = (mirror.box((10.0, 5.0, 40.0, 33.0), side),) if box else ()
    return ObjectPrompt(0, 0, 1, mirror.points(points, side), on_object, areas)


def predict(
    predictor: Sam2Predictor, pixels: np.ndarray, item: ObjectPrompt
) -> tuple[torch.Tensor, float]:
    ((_, prediction),) = predictor.predict(predictor.encode(pixels), [item])
    return torch.from_numpy(prediction.logits), prediction.score


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("box", "clicks", "in_turn"),
    [(False, 1, False), (True, 2, False), (False, 3, True)],
)
def test_the_mean_over_mirrors_is_the_same_in_all(
    model: Sam2Model, box: bool, clicks: int, in_turn: bool
) -> None:
    side = model.image_size
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    for mirrors, same in ((FOUR, True), (PLAIN, False)):
        predictor = Sam2Predictor(model, multimask=False, mirrors=mirrors, in_turn=in_turn)
        logits, score = predict(predictor, pixels, prompt(Mirror(), side, clicks, box=box))
        for mirror in FOUR[1:]:
            turned = mirror.tensor(torch.from_numpy(pixels)).numpy().copy()
            found, rated = predict(predictor, turned, prompt(mirror, side, clicks, box=box))
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


@pytest.mark.slow
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
    logits, _ = predict(Sam2Predictor(model, multimask=False), pixels, asked)
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


@pytest.mark.slow
def test_points_in_turn_start_from_the_prediction_before(model: Sam2Model) -> None:
    side = model.image_size
    pixels = landscape(side, side, 3).transpose(2, 0, 1).copy()
    points = np.array([[50.5, 40.5], [20.5, 11.5], [60.5, 20.5], [25.5, 30.5]])
    asked = ObjectPrompt(0, 0, 4, points, np.array([False, True, False, True]))
    predictor = Sam2Predictor(model, multimask=False, in_turn=True)
    logits, _ = predict(predictor, pixels, asked)
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
    at_once, _ = predict(Sam2Predictor(model, multimask=False), pixels, asked)
    assert not torch.allclose(logits, at_once, atol=1e-2)
    single = prompted(points[:1])
    alone = [predict(Sam2Predictor(model, in_turn=turn), pixels, single)[0] for turn in (0, 1)]
    assert torch.equal(*alone)


@pytest.mark.slow
def test_every_turn_goes_on_from_the_mean_of_all_mirrors(model: Sam2Model) -> None:
    side = model.image_size
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    asked = prompt(Mirror(), side, 2, box=False)
    predictor = Sam2Predictor(model, multimask=False, mirrors=FOUR, in_turn=True)
    logits, _ = predict(predictor, pixels, asked)
    image = torch.from_numpy(pixels)[None].float() / 255
    mean = None
    for count in (1, 2):
        answers = []
        for mirror in FOUR:
            places = mirror.points(asked.points[:count], side)[None] - 0.5
            answer = model.predict(
                model.encode(mirror.tensor(image)),
                points=torch.from_numpy(places).float(),
                labels=torch.tensor([[1, 0][:count]], dtype=torch.int32),
                masks=None if mean is None else mirror.tensor(mean),
                choice=MaskChoice.SINGLE,
            )
            answers.append(mirror.tensor(answer.logits))
        mean = torch.stack(answers).mean(0)
    assert torch.allclose(logits, mean[0, 0], atol=1e-3)


@pytest.mark.slow
def test_objects_with_other_orders_of_clicks_are_predicted_as_if_alone(model: Sam2Model) -> None:
    side = model.image_size
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    points = np.array([[20.25, 11.5], [50.0, 40.75], [25.0, 30.0]])
    marks = ([False, True, False], [True, False, False], [True, True, False])
    asked = [ObjectPrompt(n, n, 3, points, np.array(mark)) for n, mark in enumerate(marks)]
    predictor = Sam2Predictor(model, multimask=False, in_turn=True)
    tile = predictor.encode(pixels)
    together = {item.number: found.logits for item, found in predictor.predict(tile, asked)}
    for item in asked:
        ((_, alone),) = predictor.predict(tile, [item])
        assert np.allclose(together[item.number], alone.logits, atol=0.1)
    assert not np.allclose(together[0], together[1], atol=1.0)


@pytest.mark.parametrize("on_object", [[True, False], [False, False]])
def test_clicks_beside_a_box_are_given_at_once(model: Sam2Model, on_object: list[bool]) -> None:
    side = model.image_size
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    points = np.array([[20.25, 11.5], [30.0, 25.0]])
    asked = ObjectPrompt(0, 0, 3, points, np.array(on_object), ((10.0, 5.0, 40.0, 33.0),))
    found = [
        predict(Sam2Predictor(model, multimask=False, in_turn=turn), pixels, asked)[0]
        for turn in (False, True)
    ]
    assert torch.equal(*found)
