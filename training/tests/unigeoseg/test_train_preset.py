"""Training the built-in network: shared pictures, words, lessons and the exported preset."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from unigeoseg_facts import TINY

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.configuration import UniGeoSegConfig
from geoseg_qgis.engine.models.unigeoseg.mask_decoder import MaskDecoder, blocked_cells
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.pixel_decoder import PixelFeatures
from geoseg_qgis.engine.models.unigeoseg.position_encoding import FourierPositions
from geoseg_qgis.engine.models.unigeoseg.sequence import Request, split_dialogue
from geoseg_qgis.engine.models.unigeoseg.task_enhancement import place_coordinates
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer, load_tokenizer
from training.model_pages import put_section
from training.preset_folder import put_member
from training.trainer import Plan, Trainer
from training.unigeoseg.alignment import _fit, align_places
from training.unigeoseg.batches import Teacher
from training.unigeoseg.export_preset import (
    METHOD,
    card_part,
    known_words,
    page_section,
    write_checkpoint,
)
from training.unigeoseg.objectives import Pupil, cell_losses, dense_only_losses, lesson_losses
from training.unigeoseg.scores import SceneReader, questions_about, score_scenes
from training.unigeoseg.shared import answer_all
from training.unigeoseg.stored_scenes import SIDE, StoredScene, stored_scenes
from training.unigeoseg.train_preset import MUON_MATRICES, build_pupil, build_tokenizer
from training.unigeoseg.words import initial_embeddings


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[StoredScene]:
    return stored_scenes(tmp_path_factory.mktemp("scenes"), (5, 6))


@pytest.fixture(scope="module")
def tokenizer(
    scenes: list[StoredScene], tmp_path_factory: pytest.TempPathFactory
) -> BytePairTokenizer:
    return build_tokenizer(tmp_path_factory.mktemp("run"), scenes)


def test_taught_words_are_one_piece_each(tokenizer: BytePairTokenizer, tmp_path: Path) -> None:
    assert len(tokenizer.encode(" all buildings with a red roof")) == 6
    assert tokenizer.encode("All Buildings") == tokenizer.encode("all buildings")
    assert len(tokenizer.encode(" zeppelin")) > 1
    assert len(tokenizer.encode("[0.494,1]")) == 8
    assert tokenizer.encode("[SEG]") == [tokenizer.segmentation_id]
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    read = load_tokenizer(tmp_path)
    assert read.encode("the road [SEG]") == tokenizer.encode("the road [SEG]")


def test_digits_begin_as_the_positions_they_name(tokenizer: BytePairTokenizer) -> None:
    table = initial_embeddings(tokenizer, 64, torch.Generator().manual_seed(0))
    rows = [tokenizer.encode(text)[0] for text in ("25", "26", "75", "5", "50")]
    near, far = (table[rows[0]] - table[rows[index]] for index in (1, 2))
    assert near[:4].norm() < 0.2 * far[:4].norm()
    assert torch.equal(table[rows[3]][:12], table[rows[4]][:12])


def test_shared_pictures_answer_like_single_passes(tokenizer: BytePairTokenizer) -> None:
    torch.manual_seed(0)
    language = dataclasses.replace(TINY.language, vocab_size=tokenizer.vocabulary_size)
    config = dataclasses.replace(TINY, language=language)
    model = UniGeoSeg(config, with_language_head=False).eval()
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    side = config.vision.image_size
    pixels = torch.randn(2, 3, side, side)
    box = torch.tensor([[0.1, 0.2, 0.5, 0.9]])
    requests = [
        [Request([1, 2, 3], Task.REFERRING), Request([4, 5], Task.INTERACTIVE, box)],
        [Request([6] * 5, Task.REASONING), Request([7], Task.REFERRING)],
    ]
    with torch.no_grad():
        shared = answer_all(model, pixels, pieces, requests)
        for picture in range(2):
            for index, request in enumerate(requests[picture]):
                single = model(pixels[picture : picture + 1], pieces, [request]).masks
                for one, several in zip(single, shared.masks, strict=True):
                    torch.testing.assert_close(
                        several[picture, index], one[0, 0], rtol=1e-3, atol=1e-4
                    )


def test_positions_are_part_of_small_networks_alone() -> None:
    vision = dataclasses.replace(TINY.vision, position_frequencies=3)
    head = dataclasses.replace(TINY.segmentation, position_frequencies=3)
    config = dataclasses.replace(TINY, vision=vision, segmentation=head)
    assert UniGeoSegConfig.from_json(config.to_json()) == config
    names = set(UniGeoSeg(config).state_dict()) - set(UniGeoSeg(TINY).state_dict())
    assert names == {
        "model.vision_tower.patch_positions.mix.weight",
        "pixel_decoder.fine_positions.mix.weight",
        "pixel_decoder.mask_positions.mix.weight",
    }
    positions = FourierPositions(2, 8)
    with torch.no_grad():
        positions.mix.weight.copy_(torch.eye(8))
        grid = positions(4, 2)
    assert grid.shape == (4, 2, 8)
    assert grid[0, :, 0].tolist() == pytest.approx([np.sin(np.pi / 4), np.sin(3 * np.pi / 4)])
    assert grid[:, 0, 7].tolist() == pytest.approx(np.cos(np.pi * np.arange(1, 8, 2) / 4), abs=1e-6)


def test_open_layers_read_what_the_first_mask_leaves_out() -> None:
    maps = [torch.randn(1, 64, size, size) for size in (4, 8, 16)]
    fine = torch.randn(1, 64, 32, 32)
    query = torch.randn(1, 1, 64)
    changed = {}
    for layers in (0, 3):
        torch.manual_seed(0)
        head = dataclasses.replace(TINY.segmentation, decoder_layers=3, open_layers=layers)
        decoder = MaskDecoder(head).eval()
        first = decoder.predict(query, fine)
        # What lies outside the mask: one corner, which no level's average touches.
        corner = torch.zeros(1, 1, 32, 32)
        corner[..., :16, :16] = 1.0
        shown = torch.where(corner > 0, -fine * first.sign(), fine * first.sign())
        other = [level.clone() for level in maps]
        for level in other:
            level[..., : level.shape[-1] // 4, : level.shape[-1] // 4] += 5.0
        with torch.no_grad():
            masks = [decoder(PixelFeatures(shown, levels), query)[1] for levels in (maps, other)]
        changed[layers] = float((masks[0] - masks[1]).abs().max())
    assert changed[0] == 0.0
    assert changed[3] > 0.0


def test_small_answers_may_stay_in_sight_of_coarse_levels() -> None:
    logits = torch.full((1, 1, 32, 32), -5.0)
    logits[..., 0, 0] = 1.0
    logits[..., 16:, 16:] = 5.0
    size = torch.Size((4, 4))
    seen = ~blocked_cells(logits, size).view(4, 4)
    kept = ~blocked_cells(logits, size, keep_small=True).view(4, 4)
    large = torch.zeros(4, 4, dtype=torch.bool)
    large[2:, 2:] = True
    assert torch.equal(seen, large)
    large[0, 0] = True
    assert torch.equal(kept, large)


def test_coordinates_come_with_their_waves() -> None:
    projection = torch.nn.Linear(12, 12, bias=False)
    with torch.no_grad():
        projection.weight.copy_(torch.eye(12))
        points = place_coordinates(torch.tensor([[0.5, 0.25]]), projection, 3, frequencies=1)
    half = np.sqrt(0.5)
    expected = [0.5, 0.25, 0.0, 0.0, 1.0, 0.0, half, half, 0.0, 0.0, 0.0, 0.0]
    assert points[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert points[1:].abs().sum() == 0.0


def test_cell_losses_leave_out_what_is_unknown() -> None:
    answers = torch.zeros(1, 1, 2, 2)
    answers[..., 0] = 1.0
    known = torch.ones_like(answers)
    known[0, 0, 1, 1] = 0.0
    logits = torch.where(answers > 0, 30.0, -30.0)
    logits[0, 0, 1, 1] = 30.0
    cross_entropy, dice = cell_losses(logits, answers, known)
    assert float(cross_entropy) == pytest.approx(0.0, abs=1e-6)
    assert float(dice) == pytest.approx(0.0, abs=1e-6)
    cross_entropy, dice = cell_losses(-logits, answers, known)
    assert float(cross_entropy) == pytest.approx(30.0)
    assert float(dice) == pytest.approx(1 - 1 / 4)


def test_lessons_teach_and_a_run_becomes_a_preset(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer, tmp_path: Path
) -> None:
    """A few steps on two scenes lower the loss; the export is a checkpoint folder of its card."""
    run, preset = tmp_path / "run", tmp_path / "preset"
    pupil = build_pupil(tokenizer, 0, SIDE)
    teacher = Teacher(scenes, [], tokenizer, SIDE, 0)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    config = json.dumps(pupil.model.config.to_json())
    plan = Plan(run, 0.001, warmup_steps=2, blocks=MUON_MATRICES)
    trainer = Trainer(pupil, plan, {"config": config})
    lesson = teacher.lesson(1, 3, 1.0)
    trainer.run(lambda _: lesson_losses(pupil, lesson, pieces))
    again = build_pupil(tokenizer, 0, SIDE)
    first, last = (dense_only_losses(net, lesson)["total"].detach() for net in (again, pupil))
    assert float(last) < float(first)
    assert trainer.step >= 1

    (run / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    state = write_checkpoint(run, preset / "unigeoseg")
    assert state["step"] == trainer.step
    checkpoint = load_checkpoint(preset / "unigeoseg")
    expected = _averaged(pupil, trainer)
    for name, value in checkpoint.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0.02, atol=0.02)
    scores = score_scenes(SceneReader(checkpoint), scenes[:1])
    asked = questions_about(scenes[0], 0)
    assert scores["ref"].samples == sum(one.task is Task.REFERRING for one in asked) >= 4
    assert {"ref", "reason", "intera", "class", "attribute"} <= set(scores)

    words = {"words": known_words(scenes)}
    (preset / "unigeoseg" / "vocabulary.json").write_text(json.dumps(words), encoding="utf-8")
    assert {"buildings", "leftmost", "point"} <= set(words["words"])
    part = card_part(preset / "unigeoseg")
    for file in part["weights"]:
        content = (preset / file["file"]).read_bytes()
        assert file["size"] == len(content)
        assert file["sha256"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    card = '{"name": "x", "title": "X", "description": "text", "methods": ["sam2"]}'
    (preset / "card.json").write_text(card, encoding="utf-8")
    put_member(preset, METHOD, part)
    put_member(preset, METHOD, part)
    assert json.loads((preset / "card.json").read_text())["methods"] == ["sam2", "unigeoseg"]
    section = page_section(part, state, {"scenes": 3, "wide": 1, "validation": 1}, scores)
    for _ in range(2):
        put_section(preset, section)
    text = (preset / "MODEL.md").read_text(encoding="utf-8")
    assert text.startswith("# X\n\ntext\n\n## Training data\n")
    assert text.count("## UniGeoSeg") == 1
    assert f"| sentences | {scores['ref'].samples} | {scores['ref'].giou:.3f} |" in text


def _averaged(pupil: Pupil, trainer: Trainer) -> dict[str, torch.Tensor]:
    state = dict(pupil.state_dict())
    state.update(trainer.average)
    prefix = "model."
    return {name[len(prefix) :]: v for name, v in state.items() if name.startswith(prefix)}


def test_alignment_finds_the_waves_that_queries_tell() -> None:
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(2000, 6, generator=generator)
    mixing = torch.randn(6, 2, generator=generator)
    waves = torch.cat([known @ mixing, torch.randn(2000, 1, generator=generator)], dim=1)
    weights, told = _fit(known, waves)
    torch.testing.assert_close(weights[:, :2], mixing, rtol=0.03, atol=0.03)
    assert told[:2].min() > 0.99
    assert float(told[2]) < 0.05


def test_alignment_sets_the_positions_of_the_masks(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer
) -> None:
    pupil = build_pupil(tokenizer, 0, SIDE)
    teacher = Teacher(scenes, [], tokenizer, SIDE, 0)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    lessons = [teacher.lesson(1, 24, 1.0) for _ in range(2)]
    material = [(one.pixels, one.requests, one.meaning) for one in lessons]
    told = align_places(pupil.model, material, pieces)
    positions = pupil.model.pixel_decoder.mask_positions
    assert positions is not None
    assert len(told) == 24
    used = positions.mix.weight.abs().sum(dim=0) > 0
    assert used.tolist() == [share > 0.12 for share in told]
    assert pupil.training
