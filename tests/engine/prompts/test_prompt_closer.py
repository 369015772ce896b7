"""Closer looks: which part of a tile, what is asked there, and where its answer comes to lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import landscape, write_sam2
from torch.nn import functional

from geoseg_qgis.engine.methods.prompted.closer import Part, blended, part_round, seen_in
from geoseg_qgis.engine.methods.prompted.mirrors import FOUR, PLAIN
from geoseg_qgis.engine.methods.prompted.objects import ObjectPrompt
from geoseg_qgis.engine.methods.prompted.sam2_answers import Sam2Answerer
from geoseg_qgis.engine.models.sam2 import MaskChoice, Sam2Model, load_sam2

NONE = np.zeros((0, 2))


def points(*places: tuple[float, float], negative: np.ndarray = NONE) -> ObjectPrompt:
    return ObjectPrompt(0, 0, len(places), np.array(places), negative)


def test_an_object_lies_near_the_middle_of_its_part() -> None:
    for x, y in np.random.default_rng(0).uniform(128, 384, (50, 2)):
        part = part_round(points((x, y)), 512)
        assert part is not None
        assert part.side == 256
        assert part.left % 64 == part.top % 64 == 0
        assert abs(part.left + 128 - x) <= 32
        assert abs(part.top + 128 - y) <= 32


def test_parts_stay_on_the_tile_and_large_objects_have_none() -> None:
    assert part_round(points((1, 511)), 512) == Part(0, 256, 256)
    assert part_round(points((10, 100), (200, 100)), 512) is not None
    assert part_round(points((10, 100), (260, 100)), 512) is None
    box = ObjectPrompt(0, 0, 1, NONE, NONE, ((100.0, 100.0, 340.0, 120.0),))
    assert part_round(box, 512) is None


def test_only_what_lies_in_the_part_is_asked_there() -> None:
    asked = points((300, 200), negative=np.array([[310.0, 220.0], [20.0, 20.0]]))
    near = seen_in(asked, Part(192, 64, 256))
    assert near.positive.tolist() == [[108, 136]]
    assert near.negative.tolist() == [[118, 156]]


def test_answers_meet_where_the_part_lies_and_fade_out_at_its_edge() -> None:
    """One scene seen both ways: a ramp, which interpolation leaves as it is."""
    side = 512
    cells = (torch.arange(128) + 0.5) * 4
    ramp = (cells[None, :] + 3 * cells[:, None])[None, None]
    fine = (torch.arange(256) + 0.5) * 2
    expected = (fine[None, :] + 3 * fine[:, None])[None, None]
    part = Part(192, 64, 256)
    near = expected[..., 32:160, 96:224]
    found = blended(ramp, near, part, side)
    assert torch.allclose(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-3)
    higher = blended(ramp, near + 10, part, side) - found
    assert torch.allclose(higher[0, 0, 80:112, 144:176], torch.tensor(5.0), atol=1e-3)
    assert higher[0, 0, 32, 96] < 0.5
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
    model: Sam2Model, multimask: bool, boxed: bool
) -> None:
    side = model.image_size
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    box = (0.45 * side, 0.4 * side, 0.55 * side, 0.5 * side)
    middle = np.array([[0.5 * side, 0.45 * side]])
    asked = ObjectPrompt(0, 0, 1, NONE if boxed else middle, NONE, (box,) if boxed else ())
    part = part_round(asked, side)
    assert part is not None
    outputs = []
    crop = np.s_[:, part.top : part.top + part.side, part.left : part.left + part.side]
    for seen, at in ((pixels, np.zeros(2)), (pixels[crop], np.array([part.left, part.top]))):
        corners = torch.tensor([[*np.array(box[:2]) - at, *np.array(box[2:]) - at]])
        choice = MaskChoice.STABLE if boxed else MaskChoice.THREE
        outputs.append(
            model.predict(
                model.encode(torch.from_numpy(seen.copy())[None].float() / 255),
                points=None if boxed else torch.from_numpy((middle - at)[None] - 0.5).float(),
                labels=None if boxed else torch.ones(1, 1, dtype=torch.int32),
                boxes=corners.float() - 0.5 if boxed else None,
                choice=choice if multimask else MaskChoice.SINGLE,
            )
        )
    whole, near = outputs
    best = int(((whole.iou + near.iou) / 2).argmax())
    answerer = Sam2Answerer(model, multimask=multimask, closer=True)
    ((_, answer),) = answerer.answer(answerer.read(pixels), [asked])
    cells = whole.logits.shape[-1]
    assert answer.logits.shape == (2 * cells, 2 * cells)
    wide = functional.interpolate(whole.logits[:, best : best + 1], scale_factor=2, mode="bilinear")
    y = int(middle[0, 1] * 2 * cells / side)
    x = int(middle[0, 0] * 2 * cells / side)
    inner = near.logits[
        0, best, y - 2 * part.top * cells // side, x - 2 * part.left * cells // side
    ]
    assert answer.logits[y, x] == pytest.approx(
        (float(wide[0, 0, y, x]) + float(inner)) / 2, abs=1e-3
    )


def test_objects_share_what_is_encoded(model: Sam2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    side = model.image_size
    pixels = landscape(side, side, 2).transpose(2, 0, 1).copy()
    encoded = []
    encode = model.encode
    monkeypatch.setattr(
        Sam2Model, "encode", lambda _, image: encoded.append(image.shape) or encode(image)
    )
    near_middle = np.random.default_rng(1).uniform(0.45, 0.55, (12, 2)) * side
    asked = [points(tuple(place)) for place in near_middle]
    for mirrors in (PLAIN, FOUR):
        encoded.clear()
        answerer = Sam2Answerer(model, mirrors=mirrors, closer=True)
        found = list(answerer.answer(answerer.read(pixels), asked))
        assert len(found) == 12
        parts = {part_round(item, side) for item in asked}
        assert len(encoded) == len(mirrors) * (1 + len(parts)) <= len(mirrors) * 5
