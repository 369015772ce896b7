"""Closer looks: which part of a tile, what is asked there, and where its answer comes to lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affine import Affine
from prompt_cases import NO_POINTS, prompted
from tiny_models import landscape, write_sam2

from geoseg_qgis.engine.methods.prompted import sam2_predictor as sam2_answers
from geoseg_qgis.engine.methods.prompted.drawing import Drawing
from geoseg_qgis.engine.methods.prompted.masks import Placement
from geoseg_qgis.engine.methods.prompted.mirrors import FOUR, PLAIN
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt
from geoseg_qgis.engine.methods.prompted.sam2_predictor import Sam2Predictor
from geoseg_qgis.engine.methods.prompted.zoom_in import (
    Part,
    blended,
    part_round,
    part_to_see,
    seen_in,
)
from geoseg_qgis.engine.models.sam2 import MaskChoice, Sam2Model, load_sam2
from geoseg_qgis.engine.raster.grid import Grid


def points(*places: tuple[float, float], negative: np.ndarray = NO_POINTS) -> ObjectPrompt:
    return prompted(np.array(places), negative)


def test_an_object_lies_near_the_middle_of_its_part() -> None:
    for x, y in np.random.default_rng(0).uniform(128, 384, (50, 2)):
        part = part_round((x, y, x + 20, y + 10), 512)
        assert part is not None
        assert part.side == 256
        assert part.left % 128 == part.top % 128 == 0
        assert abs(part.left + 128 - x - 10) <= 64
        assert abs(part.top + 128 - y - 5) <= 64
        assert (part.right, part.bottom) == (part.left + 256, part.top + 256)


def test_parts_stay_on_the_tile_and_large_objects_have_none() -> None:
    assert part_round((1, 511, 1, 511), 512) == Part(0, 256, 256)
    assert part_round((10, 100, 130, 100), 512) is not None
    assert part_round((10, 100, 140, 100), 512) is None
    assert part_round((10, 100, 30, 240), 512) is None


def test_the_part_is_chosen_by_what_was_found() -> None:
    found = np.full((128, 128), -1.0, np.float32)
    found[40:60, 70:80] = 1.0
    found[100:110, 100:110] = 1.0  # no prompt touches it
    assert part_to_see(points((300, 170)), found, 512) == Part(128, 128, 256)
    found[40:80, 70:80] = 1.0
    assert part_to_see(points((300, 170)), found, 512) is None
    assert part_to_see(points((30, 30)), found, 512) == Part(0, 0, 256)
    box = prompted(areas=((100.0, 100.0, 340.0, 120.0),))
    assert part_to_see(box, found, 512) is None


def test_only_what_lies_in_the_part_is_asked_there() -> None:
    asked = points((300, 200), negative=np.array([[310.0, 220.0], [20.0, 20.0]]))
    near = seen_in(asked, Part(192, 64, 256))
    assert near.positive.tolist() == [[108, 136]]
    assert near.points.tolist() == [[108, 136], [118, 156]]


def test_answers_meet_where_the_part_lies_and_fade_out_at_its_edge() -> None:
    """One scene seen both ways: a ramp, which interpolation leaves as it is."""
    side = 512
    cells = (torch.arange(128) + 0.5) * 4
    ramp = (cells[None, :] + 3 * cells[:, None])[None]
    fine = (torch.arange(256) + 0.5) * 2
    expected = (fine[None, :] + 3 * fine[:, None])[None]
    part = Part(192, 64, 256)
    near = expected[..., 32:160, 96:224]
    found = blended(ramp, near, part, side)
    assert torch.allclose(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-3)
    higher = blended(ramp, near + 10, part, side) - found
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
def test_the_answer_is_the_mean_of_both_looks(
    model: Sam2Model, monkeypatch: pytest.MonkeyPatch, multimask: bool, boxed: bool
) -> None:
    side = model.image_size
    part = Part(side // 8, side // 4, side // 2)
    monkeypatch.setattr(sam2_answers, "part_to_see", lambda *_: part)
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    box = (0.3 * side, 0.4 * side, 0.4 * side, 0.5 * side)
    middle = np.array([[0.35 * side, 0.45 * side]])
    asked = prompted(areas=(box,)) if boxed else prompted(middle)
    outputs = []
    crop = np.s_[:, part.top : part.bottom, part.left : part.right]
    corner = np.array([part.left, part.top])
    # The closer look's pixels are half as large, and so is the way to their middles.
    for seen, at, half in ((pixels, np.zeros(2), 0.5), (pixels[crop], corner, 0.25)):
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
    answerer = Sam2Predictor(model, multimask=multimask, closer=True)
    ((_, answer),) = answerer.answer(answerer.read(pixels), [asked])
    expected = blended(whole.logits[0], near.logits[0], part, side)[best]
    assert torch.allclose(torch.from_numpy(answer.logits), expected, atol=1e-3)
    assert not torch.allclose(expected, blended(whole.logits[0], whole.logits[0], part, side)[best])


def test_objects_share_what_is_encoded(model: Sam2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    side = model.image_size
    places = [(0.3, 0.3), (0.31, 0.3), (0.7, 0.7), (0.71, 0.7)]
    monkeypatch.setattr(sam2_answers, "part_to_see", lambda item, *_: part_round(item.bounds, side))
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    encoded = []
    encode = model.encode
    monkeypatch.setattr(
        Sam2Model, "encode", lambda _, image: encoded.append(image.shape[-1]) or encode(image)
    )
    asked = [points((x * side, y * side)) for x, y in places]
    for mirrors in (PLAIN, FOUR):
        encoded.clear()
        answerer = Sam2Predictor(model, mirrors=mirrors, closer=True)
        found = [item for item, _ in answerer.answer(answerer.read(pixels), asked)]
        assert found == asked
        assert encoded == len(mirrors) * [side] + 2 * [side // 2]


def test_objects_with_other_clicks_in_sight_are_asked_apart(
    model: Sam2Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same clicks, of which a part shows two, one or none that are not on the object."""
    side = model.image_size
    part = Part(0, 0, side // 2)
    monkeypatch.setattr(sam2_answers, "part_to_see", lambda *_: part)
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    away = (np.array([[0.1, 0.1], [0.3, 0.4]]), np.array([[0.1, 0.1], [0.9, 0.4]]))
    asked = [
        prompted(np.array([[0.2, 0.2]]) * side, negative * side, number=number)
        for number, negative in enumerate((*away, away[0] + 0.5))
    ]
    answerer = Sam2Predictor(model, multimask=False, closer=True)
    tile = answerer.read(pixels)
    together = {item.number: answer.logits for item, answer in answerer.answer(tile, asked)}
    for item in asked:
        ((_, alone),) = answerer.answer(answerer.read(pixels), [item])
        assert np.allclose(together[item.number], alone.logits, atol=2e-3)


def test_a_point_beside_a_small_object_reaches_as_far_as_beside_a_large_one() -> None:
    """Cells of a closer look are half as wide, the distance in which a part counts is not."""
    grid = Grid(Affine(1, 0, 0, 0, -1, 0), 512, 512)
    found = np.full((128, 128), -1.0, np.float32)
    found[40:50, 53:70] = 1.0
    for fineness in (1, 2):
        cells = found.repeat(fineness, axis=0).repeat(fineness, axis=1)
        place = Placement(0, 0, 4 / fineness, 4 / fineness)
        valid = np.ones((512, 512), bool)
        drawing = Drawing(cells, valid, place, points((208.5, 180)), 0.0, grid, fineness)
        assert drawing.mask() is not None
        assert drawing.cells() is not None
