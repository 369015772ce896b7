"""A finished run becomes a preset with its card and page."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.sequence import split_dialogue
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer
from training.model_pages import put_section
from training.preset_folder import put_member
from training.trainer import Plan, Trainer
from training.unigeoseg.built_in import build_network
from training.unigeoseg.evaluate import RequestPredictor, score_scenes, validation_requests
from training.unigeoseg.export_preset import (
    METHOD,
    card_member,
    known_words,
    page_section,
    write_checkpoint,
)
from training.unigeoseg.scene_batches import SceneBatches
from training.unigeoseg.stored_scenes import StoredScene
from training.unigeoseg.training_step import TrainedNetwork, map_losses, step_losses


def test_steps_lower_the_loss_and_a_run_becomes_a_preset(
    scenes: list[StoredScene], tokenizer: BytePairTokenizer, tmp_path: Path
) -> None:
    """A few steps on two scenes lower the loss; the export is a checkpoint folder of its card."""
    run, preset = tmp_path / "run", tmp_path / "preset"
    network = build_network(tokenizer, 0, 128)
    batches = SceneBatches(scenes, [], tokenizer, 128, 0)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    config = json.dumps(network.model.config.to_json())
    plan = Plan(run, steps=2, warmup_steps=2, blocks=())
    trainer = Trainer(network, plan, {"config": config})
    batch = batches.draw(1, 3, 1.0)
    trainer.run(lambda _: step_losses(network, batch, pieces))
    again = build_network(tokenizer, 0, 128)
    first, last = (map_losses(net, batch)["total"].detach() for net in (again, network))
    assert float(last) < float(first)
    assert trainer.step == 2

    (run / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    state = write_checkpoint(run, preset / "unigeoseg")
    assert state["step"] == trainer.step
    checkpoint = load_checkpoint(preset / "unigeoseg")
    expected = _averaged(network, trainer)
    for name, value in checkpoint.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0.02, atol=0.02)
    scores = score_scenes(RequestPredictor(checkpoint), scenes[:1])
    requests = validation_requests(scenes[0], 0)
    assert scores["ref"].samples == sum(one.task is Task.REFERRING for one in requests) >= 4
    assert {"ref", "reason", "intera", "class", "attribute"} <= set(scores)

    words = {"words": known_words(scenes)}
    (preset / "unigeoseg" / "vocabulary.json").write_text(json.dumps(words), encoding="utf-8")
    assert {"buildings", "leftmost", "point"} <= set(words["words"])
    member = card_member(preset / "unigeoseg")
    for file in member["weights"]:
        content = (preset / file["file"]).read_bytes()
        assert file["size"] == len(content)
        assert file["sha256"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    card = '{"name": "x", "title": "X", "description": "text", "methods": ["sam2"]}'
    (preset / "card.json").write_text(card, encoding="utf-8")
    put_member(preset, METHOD, member)
    put_member(preset, METHOD, member)
    assert json.loads((preset / "card.json").read_text())["methods"] == ["sam2", "unigeoseg"]
    section = page_section(member, state, {"scenes": 3, "wide": 1, "validation": 1}, scores)
    for _ in range(2):
        put_section(preset, section)
    text = (preset / "MODEL.md").read_text(encoding="utf-8")
    assert text.startswith("# X\n\ntext\n\n## Training data\n")
    assert text.count("## UniGeoSeg") == 1
    assert f"| sentences | {scores['ref'].samples} | {scores['ref'].giou:.3f} |" in text


def _averaged(network: TrainedNetwork, trainer: Trainer) -> dict[str, torch.Tensor]:
    state = dict(network.state_dict())
    state.update(trainer.average)
    prefix = "model."
    return {name[len(prefix) :]: v for name, v in state.items() if name.startswith(prefix)}
