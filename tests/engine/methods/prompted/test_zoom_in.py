"""Zoom-ins: which crop of a tile, its prompts, and where its prediction comes to lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affine import Affine
from prompt_cases import NO_POINTS, prompted
from tiny_models import landscape, write_sam2

from geoseg_qgis.engine.methods.prompted import sam2_predictor as sam2_predictors
from geoseg_qgis.engine.methods.prompted.drawing import Drawing
from geoseg_qgis.engine.methods.prompted.masks import Placement
from geoseg_qgis.engine.methods.prompted.mirrors import FOUR, PLAIN
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt
from geoseg_qgis.engine.methods.prompted.sam2_predictor import Sam2Predictor
from geoseg_qgis.engine.methods.prompted.zoom_in import (
    Crop,
    blend_crop,
    crop_around,
    crop_of_object,
    prompt_in_crop,
)
from geoseg_qgis.engine.models.sam2 import MaskChoice, Sam2Model, load_sam2
from geoseg_qgis.engine.raster.grid import Grid


def points(*places: tuple[float, float], negative: np.ndarray = NO_POINTS) -> ObjectPrompt:
    return prompted(np.array(places), negative)


def test_an_object_lies_near_the_middle_of_its_crop() -> None:
    for x, y in np.random.default_rng(0).uniform(128, 384, (50, 2)):
        crop = crop_around((x, y, x + 20, y + 10), 512)
        assert crop is not None
        assert crop.side == 256
        assert crop.left % 128 == crop.top % 128 == 0
        assert abs(crop.left + 128 - x - 10) <= 64
        assert abs(crop.top + 128 - y - 5) <= 64
        assert (crop.right, crop.bottom) == (crop.left + 256, crop.top + 256)


def test_crops_stay_on_the_tile_and_large_objects_have_none() -> None:
    assert crop_around((1, 511, 1, 511), 512) == Crop(0, 256, 256)
    assert crop_around((10, 100, 130, 100), 512) is not None
    assert crop_around((10, 100, 140, 100), 512) is None
    assert crop_around((10, 100, 30, 240), 512) is None


def test_the_crop_is_chosen_by_the_mask() -> None:
    found = np.full((128, 128), -1.0, np.float32)
    found[40:60, 70:80] = 1.0
    found[100:110, 100:110] = 1.0  # no prompt touches it
    assert crop_of_object(points((300, 170)), found, 512) == Crop(128, 128, 256)
    found[40:80, 70:80] = 1.0
    assert crop_of_object(points((300, 170)), found, 512) is None
    assert crop_of_object(points((30, 30)), found, 512) == Crop(0, 0, 256)
    box = prompted(areas=((100.0, 100.0, 340.0, 120.0),))
    assert crop_of_object(box, found, 512) is None


def test_only_prompts_in_the_crop_are_used_there() -> None:
    asked = points((300, 200), negative=np.array([[310.0, 220.0], [20.0, 20.0]]))
    near = prompt_in_crop(asked, Crop(192, 64, 256))
    assert near.positive.tolist() == [[108, 136]]
    assert near.points.tolist() == [[108, 136], [118, 156]]


def test_predictions_meet_where_the_crop_lies_and_fade_out_at_its_edge() -> None:
    """One scene seen both ways: a ramp, which interpolation leaves as it is."""
    side = 512
    cells = (torch.arange(128) + 0.5) * 4
    ramp = (cells[None, :] + 3 * cells[:, None])[None]
    fine = (torch.arange(256) + 0.5) * 2
    expected = (fine[None, :] + 3 * fine[:, None])[None]
    crop = Crop(192, 64, 256)
    near = expected[..., 32:160, 96:224]
    found = blend_crop(ramp, near, crop, side)
    assert torch.allclose(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-3)
    higher = blend_crop(ramp, near + 10, crop, side) - found
    assert torch.allclose(higher[0, 80:112, 144:176], torch.tensor(5.0), atol=1e-3)
    assert higher[0, 32, 96] < 0.5
    assert higher[..., :32, :].abs().max() == higher[..., 160:, :].abs().max() == 0
    assert higher[..., :96].abs().max() == higher[..., 224:].abs().max() == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Sam2Model:
    folder = tmp_path_factory.mktemp("sam2")
    component, _ = write_sam2(folder)
    return load_sam2(component, folder, torch.device("cpu"))


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_prediction_is_the_mean_of_both(
    model: Sam2Model, monkeypatch: pytest.MonkeyPatch, multimask: bool, boxed: bool
) -> None:
    side = model.image_size
    crop = Crop(side // 8, side // 4, side // 2)
    monkeypatch.setattr(sam2_predictors, "crop_of_object", lambda *_: crop)
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    box = (0.3 * side, 0.4 * side, 0.4 * side, 0.5 * side)
    middle = np.array([[0.35 * side, 0.45 * side]])
    asked = prompted(areas=(box,)) if boxed else prompted(middle)
    outputs = []
    window = np.s_[:, crop.top : crop.bottom, crop.left : crop.right]
    corner = np.array([crop.left, crop.top])
    # The crop's pixels are half as large, and so is the way to their middles.
    for seen, at, half in ((pixels, np.zeros(2), 0.5), (pixels[window], corner, 0.25)):
        corners = np.array([[*np.array(box[:2]) - at, *np.array(box[2:]) - at]]) - half
        of_points = MaskChoice.THREE if multimask else MaskChoice.SINGLE
        outputs.append(
            model.predict(
                model.encode(torch.from_numpy(seen.copy())[None].float() / 255),
                points=None if boxed else torch.from_numpy((middle - at)[None] - half).float(),
                labels=None if boxed else torch.ones(1, 1, dtype=torch.int32),
                boxes=torch.from_numpy(corners).float() if boxed else None,
                choice=MaskChoice.STABLE if boxed else of_points,
            )
        )
    whole, near = outputs
    best = int(((whole.iou + near.iou) / 2).argmax())
    predictor = Sam2Predictor(model, multimask=multimask, zoom_in=True)
    ((_, prediction),) = predictor.predict(predictor.encode(pixels), [asked])
    expected = blend_crop(whole.logits[0], near.logits[0], crop, side)[best]
    assert torch.allclose(torch.from_numpy(prediction.logits), expected, atol=1e-3)
    assert not torch.allclose(
        expected, blend_crop(whole.logits[0], whole.logits[0], crop, side)[best]
    )


def test_objects_share_what_is_encoded(model: Sam2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    side = model.image_size
    places = [(0.3, 0.3), (0.31, 0.3), (0.7, 0.7), (0.71, 0.7)]
    monkeypatch.setattr(
        sam2_predictors, "crop_of_object", lambda item, *_: crop_around(item.bounds, side)
    )
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    encoded = []
    encode = model.encode
    monkeypatch.setattr(
        Sam2Model, "encode", lambda _, image: encoded.append(image.shape[-1]) or encode(image)
    )
    asked = [points((x * side, y * side)) for x, y in places]
    for mirrors in (PLAIN, FOUR):
        encoded.clear()
        predictor = Sam2Predictor(model, mirrors=mirrors, zoom_in=True)
        found = [item for item, _ in predictor.predict(predictor.encode(pixels), asked)]
        assert found == asked
        assert encoded == len(mirrors) * [side] + 2 * [side // 2]


def test_objects_with_other_clicks_in_the_crop_are_predicted_apart(
    model: Sam2Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same clicks, of which a crop holds two, one or none that are not on the object."""
    side = model.image_size
    crop = Crop(0, 0, side // 2)
    monkeypatch.setattr(sam2_predictors, "crop_of_object", lambda *_: crop)
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    away = (np.array([[0.1, 0.1], [0.3, 0.4]]), np.array([[0.1, 0.1], [0.9, 0.4]]))
    asked = [
        prompted(np.array([[0.2, 0.2]]) * side, negative * side, number=number)
        for number, negative in enumerate((*away, away[0] + 0.5))
    ]
    predictor = Sam2Predictor(model, multimask=False, zoom_in=True)
    tile = predictor.encode(pixels)
    together = {item.number: found.logits for item, found in predictor.predict(tile, asked)}
    for item in asked:
        ((_, alone),) = predictor.predict(predictor.encode(pixels), [item])
        assert np.allclose(together[item.number], alone.logits, atol=2e-3)


def test_a_point_beside_a_small_object_reaches_as_far_as_beside_a_large_one() -> None:
    """Cells of a zoom-in are half as wide, but the distance in which an area counts is not."""
    grid = Grid(Affine(1, 0, 0, 0, -1, 0), 512, 512)
    found = np.full((128, 128), -1.0, np.float32)
    found[40:50, 53:70] = 1.0
    for zoom in (1, 2):
        cells = found.repeat(zoom, axis=0).repeat(zoom, axis=1)
        place = Placement(0, 0, 4 / zoom, 4 / zoom)
        valid = np.ones((512, 512), bool)
        drawing = Drawing(cells, valid, place, points((208.5, 180)), 0.0, grid, zoom)
        assert drawing.mask() is not None
        assert drawing.cells() is not None
