"""Lessons on enlarged pictures, and networks that begin with the weights of smaller ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_unigeoseg import SMALL, TOKENIZER
from torch import nn
from unigeoseg_facts import REPOSITORY

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint, save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from training.crops import CropSampler
from training.datasets import LabelledImage
from training.land_cover import BIT
from training.scenes.legend import CLASS_ID
from training.trainer import Plan, Trainer
from training.unigeoseg import batches as lessons
from training.unigeoseg.batches import Teacher, shares_of_cells
from training.unigeoseg.objectives import Pupil
from training.unigeoseg.pixel_head import at_cells
from training.unigeoseg.queries import FEWEST_PIXELS, Asker
from training.unigeoseg.stored_scenes import SIDE, WIDE_SIDE, StoredScene, stored_scenes
from training.unigeoseg.train_preset import build_tokenizer, main
from training.unigeoseg.warm_start import begin_with

DATA = REPOSITORY.parent / "shared" / "data"
BUILT_IN = REPOSITORY / "geoseg_qgis/engine/zoo/builtin/offline-small/unigeoseg"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[StoredScene]:
    return stored_scenes(tmp_path_factory.mktemp("scenes"), (5, 6))


def test_cells_are_read_at_their_centres() -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert at_cells(values, 8).tolist() == values.tolist()
    # Two cells of 4 pixels: centres between 1 and 2, and between 5 and 6.
    assert at_cells(values, 2).tolist() == [[9, 14], [49, 54]]
    # Three cells of 8/3 pixels: centres at 1.33, 4 (between 3 and 4) and 6.67.
    assert at_cells(values, 3)[1].tolist() == [33, 36, 38]


def test_shares_of_cells_keep_the_area() -> None:
    masks = (torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    plain = torch.nn.functional.avg_pool2d(masks, 4)
    assert torch.allclose(shares_of_cells(masks, 64), plain, atol=1e-6)
    finer = shares_of_cells(masks, 96)
    assert finer.shape == (3, 96, 96)
    assert torch.allclose(finer.mean(dim=(1, 2)), masks.mean(dim=(1, 2)), atol=1e-5)
    half = torch.zeros(1, 256, 256)
    half[:, :, :4] = 1.0
    row = shares_of_cells(half, 96)[0, 0]
    assert row[:3].tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)


def test_enlarged_lessons_ask_and_answer_the_same(
    scenes: list[StoredScene], tmp_path: Path
) -> None:
    tokenizer = build_tokenizer(tmp_path, scenes)
    plain = Teacher(scenes, [], tokenizer, SIDE, 3).lesson(2, 6, 1.0)
    larger = Teacher(scenes, [], tokenizer, 384, 3).lesson(2, 6, 1.0)
    assert plain.pixels.shape == (2, 3, SIDE, SIDE)
    assert larger.pixels.shape == (2, 3, 384, 384)
    assert larger.answers.shape == larger.known.shape == (2, 6, 96, 96)
    assert larger.facts.facts["class_name"].shape == (2, 96, 96)
    # The coarse map tells the same of the same places.
    classes = larger.facts.facts["class_name"].float()[:, None]
    halved = nn.functional.interpolate(classes, size=(48, 48), mode="nearest")[:, 0]
    coarse = larger.coarse_facts.facts["class_name"]
    assert coarse.shape == (2, 48, 48)
    alike = float((coarse == halved).float().mean())
    assert alike > 0.85
    for axis in (1, 2):
        assert float((coarse.flip(axis) == halved).float().mean()) < alike - 0.1
    assert [one.instruction_ids for one in plain.requests[0]] == [
        one.instruction_ids for one in larger.requests[0]
    ]
    areas = plain.answers.mean(dim=(2, 3)), larger.answers.mean(dim=(2, 3))
    assert torch.allclose(*areas, atol=1e-5)
    shrunk = torch.nn.functional.interpolate(larger.pixels, size=(SIDE, SIDE), mode="bilinear")
    assert float((shrunk - plain.pixels).abs().mean()) < 0.1


def test_wide_scenes_show_four_times_the_ground(
    scenes: list[StoredScene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plain,) = stored_scenes(tmp_path, (5,))
    (wide,) = stored_scenes(tmp_path, (5,), WIDE_SIDE)
    assert (plain.image.shape, wide.image.shape) == ((SIDE, SIDE, 3), (512, 512, 3))
    assert len(list(tmp_path.iterdir())) == 2
    # The least answer is the same share of both pictures.
    for scene, fewest in ((plain, FEWEST_PIXELS), (wide, 4 * FEWEST_PIXELS)):
        sizes = np.bincount(scene.instances.ravel(), minlength=len(scene.things) + 1)
        wanted = [thing.instance for thing in scene.things if sizes[thing.instance] >= fewest]
        assert Asker(scene)._things == wanted
    monkeypatch.setattr(lessons, "WIDE_SHARE", 1.0)
    tokenizer = build_tokenizer(tmp_path / "words", scenes)
    lesson = Teacher(scenes, [], tokenizer, SIDE, 3, wide=[wide]).lesson(2, 6, 1.0)
    assert lesson.pixels.shape == (2, 3, SIDE, SIDE)
    assert lesson.answers.shape == (2, 6, 64, 64)
    assert int(lesson.objects.max()) > len(plain.things)


def pupil_of(side: int, depths: tuple[int, ...], decoder_layers: int = 3) -> Pupil:
    vision = dataclasses.replace(SMALL.vision, image_size=side, depths=depths)
    head = dataclasses.replace(SMALL.segmentation, decoder_layers=decoder_layers)
    torch.manual_seed(1)
    config = dataclasses.replace(SMALL, vision=vision, segmentation=head)
    return Pupil(UniGeoSeg(config, False)).eval()


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    save_checkpoint(UniGeoSeg(SMALL, False), TOKENIZER, tmp_path / "small")
    return tmp_path / "small"


def test_new_blocks_of_the_tower_change_nothing_at_first(small_folder: Path) -> None:
    small, grown = pupil_of(64, (1, 1, 1, 1)), pupil_of(64, (2, 1, 3, 1))
    begin_with(small, small_folder)
    new = [name for name in begin_with(grown, small_folder) if name.startswith("model.")]
    assert {tuple(name.split(".")[4:7]) for name in new} == {
        ("0", "blocks", "1"), ("2", "blocks", "1"), ("2", "blocks", "2"),
    }  # fmt: skip
    pixels = torch.randn(1, 3, 64, 64)
    expected, found = small.model.encode_image(pixels), grown.model.encode_image(pixels)
    assert torch.equal(found.pixels.mask_features, expected.pixels.mask_features)
    assert torch.equal(found.words, expected.words)


def test_new_layers_of_the_mask_decoder_change_nothing_at_first(small_folder: Path) -> None:
    small, grown = pupil_of(64, (1, 1, 1, 1)), pupil_of(64, (1, 1, 1, 1), decoder_layers=5)
    begin_with(small, small_folder)
    new = [name for name in begin_with(grown, small_folder) if name.startswith("model.")]
    assert {name.split("_layers.")[1][0] for name in new} == {"3", "4"}
    features = small.model.encode_image(torch.randn(1, 3, 64, 64)).pixels
    query = torch.randn(1, 2, 32)
    expected, found = small.model.predictor(features, query), grown.model.predictor(features, query)
    assert (len(expected), len(found)) == (4, 6)
    for one in found[3:]:
        torch.testing.assert_close(one, expected[-1], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(expected[-2], expected[-1], rtol=1e-3, atol=1e-3)


def test_a_larger_square_begins_with_resized_maps(small_folder: Path) -> None:
    small, larger = load_checkpoint(small_folder), pupil_of(96, (1, 1, 1, 1))
    with torch.no_grad():
        small.model.model.mm_projector.norm1.weight.copy_(torch.tensor([0.0, 1.0]))
    save_checkpoint(small.model, None, small_folder)
    begin_with(larger, small_folder)
    weight = larger.model.model.mm_projector.norm1.weight
    assert weight.shape == (32, 3, 3)
    assert torch.equal(weight, torch.tensor([0.0, 0.5, 1.0]).expand(32, 3, 3))
    assert larger.model.encode_image(torch.randn(1, 3, 96, 96)).words.shape == (1, 4, 32)


def test_a_run_begins_with_all_that_another_one_learnt(tmp_path: Path) -> None:
    first = pupil_of(64, (1, 1, 1, 1))
    Trainer(first, Plan(tmp_path, 0.0), {}).save()
    second = pupil_of(64, (2, 1, 1, 1))
    nn.init.zeros_(second.reading.reading.weight)
    new = begin_with(second, tmp_path)
    assert {name.split(".layers.")[1][:10] for name in new} == {"0.blocks.1"}
    assert torch.equal(second.reading.reading.weight, first.reading.reading.weight)


def test_real_pictures_are_enlarged_with_their_labels(tmp_path: Path) -> None:
    """What is known of a real crop stays known of the same ground, half a cell apart at most."""
    scenes = stored_scenes(tmp_path, (5,))
    tokenizer = build_tokenizer(tmp_path, scenes)
    labels = torch.full((SIDE, SIDE), BIT["grass"], dtype=torch.int32)
    labels[:, 100:160] = BIT["building"]
    labels[200:] = 0
    pixels = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    pixels[0, :, 100:160] = 250
    town = LabelledImage("oam_buildings", "town", pixels, labels, (1.0, 1.0))
    teacher = Teacher(scenes, [CropSampler([town], SIDE, 1)], tokenizer, 384, 1)
    for _ in range(20):
        lesson = teacher._real(4)
        if lesson is None:
            continue
        red = nn.functional.avg_pool2d(lesson.pixels[:, :1], 4)[0, 0] > 0
        roofs = lesson.facts.allowed[0, CLASS_ID["building"]]
        known = lesson.facts.allowed[0].any(dim=0)
        assert float((red == roofs)[known].float().mean()) > 0.93
        assert set(lesson.known.unique().tolist()) <= {0.0, 1.0}
        asked = lesson.answers[0][lesson.known[0] > 0]
        assert float(((asked == 0) | (asked == 1)).float().mean()) > 0.9
        return
    pytest.fail("nothing could be asked of the crop")


def test_another_width_is_refused(small_folder: Path) -> None:
    vision = dataclasses.replace(SMALL.vision, embed_dim=32)
    wider = Pupil(UniGeoSeg(dataclasses.replace(SMALL, vision=vision), False))
    with pytest.raises(ValueError, match=r"is .* here and .* in the weights"):
        begin_with(wider, small_folder)


def test_weights_without_a_place_are_refused(small_folder: Path) -> None:
    segmentation = dataclasses.replace(SMALL.segmentation, encoder_layers=2)
    deeper = Pupil(UniGeoSeg(dataclasses.replace(SMALL, segmentation=segmentation), False))
    with pytest.raises(ValueError, match="only in one of"):
        begin_with(deeper, small_folder)


def test_readings_of_other_facts_begin_anew(tmp_path: Path) -> None:
    first, second = pupil_of(64, (1, 1, 1, 1)), pupil_of(64, (1, 1, 1, 1))
    Trainer(first, Plan(tmp_path, 0.0), {}).save()
    second.reading.reading = nn.Conv2d(32, 3, 1)
    new = begin_with(second, tmp_path)
    assert new == ["reading.reading.weight", "reading.reading.bias"]


@pytest.mark.parametrize("wrong", ["--side=100", "--processes=0", "--first=999000", "--wide=-1"])
def test_impossible_options_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data=x", "--scenes=x", "--out=x", "--minutes=1", "--device=cpu", wrong])
    assert f"error: {wrong.split('=', maxsplit=1)[0]} " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "splits.json").is_file(), reason="the folder of labelled images is not here"
)
def test_two_processes_train_and_go_on(tmp_path: Path) -> None:
    """The command begins with the built-in weights, ends with a page, and goes on from there."""
    run = tmp_path / "run"
    command = [
        f"--data={DATA}", f"--scenes={tmp_path}", "--count=3", "--side=64", "--pictures=1",
        "--requests=3", "--processes=2", "--device=cpu", "--rate=1e-4", "--wide=1",
    ]  # fmt: skip
    main([*command, f"--out={run}", f"--start={BUILT_IN}", "--minutes=0.02"])
    first = torch.load(run / "checkpoint.pt", weights_only=True)
    assert first["step"] >= 1
    assert first["facts"]["started_from"] == "unigeoseg"
    assert first["facts"]["batch"] == 2
    assert (run / "tokenizer.json").read_bytes() == (BUILT_IN / "tokenizer.json").read_bytes()
    assert first["facts"]["wide_scenes"] == 1
    drawn = sorted(path.name.count("-512-") for path in tmp_path.glob("scene-*.npz"))
    assert drawn == [0, 0, 0, 1]
    assert "UniGeoSeg" in (run / "MODEL.md").read_text(encoding="utf-8")
    # Its readings are fresh, so they learn first, and all else stays as it was.
    name = "model.predictor.mask_embed.layers.0.weight"
    assert torch.equal(first["model"][name], first["average"][name])
    assert not torch.equal(
        first["model"]["reading.reading.weight"], first["average"]["reading.reading.weight"]
    )
    minutes = first["seconds"] / 60 + 0.02
    main([*command, f"--out={run}", f"--start={BUILT_IN}", f"--minutes={minutes}"])
    again = torch.load(run / "checkpoint.pt", weights_only=True)
    assert again["step"] > first["step"]
    assert again["facts"]["readings_until"] == first["facts"]["readings_until"] > 0
    main([*command, f"--out={tmp_path / 'next'}", f"--start={run}", "--minutes=0.02"])
    last = torch.load(tmp_path / "next" / "checkpoint.pt", weights_only=True)
    assert last["facts"]["started_from"] == "run"
    assert last["facts"]["progress"] == 1.0
    assert "readings_until" not in last["facts"]
    assert not torch.equal(last["model"][name], first["model"][name])
