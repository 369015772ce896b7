"""A finished run becomes part of a preset, and its numbers a table."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg_qgis.engine.metrics.quality import QualityCounts
from geoseg_qgis.engine.models.segassess import SegAssess
from geoseg_qgis.engine.models.segassess.component import load_component
from geoseg_qgis.engine.zoo.card import OtherComponent, parse_card
from training.exported_networks import SEGASSESS
from training.model_pages import put_section
from training.preset_folder import put_member
from training.segassess.evaluate import EVALUATION_FILE, report, scores, trusting
from training.segassess.export_preset import METHOD, main, page_section, score_lines, write_weights
from training.segassess.train import BUILT_IN, PresetNetwork, load_run
from training.segassess.whole_images import Judgement
from training.trainer import read_checkpoint

CARD = {
    "name": "small",
    "title": "Small",
    "revision": "1",
    "licence": "CC0-1.0",
    "description": "A test.",
    "methods": ["segassess"],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as the trainer leaves it, with random weights."""
    torch.manual_seed(4)
    folder = tmp_path / "run"
    folder.mkdir()
    network = PresetNetwork(SegAssess(BUILT_IN))
    facts = {"seed": 1, "batch": 8}
    state = {"average": network.state_dict(), "step": 10, "seconds": 120.0, "facts": facts}
    torch.save(state, folder / "checkpoint.pt")
    return folder


def test_weights_go_into_a_card(run: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    path = tmp_path / SEGASSESS.file
    part = write_weights(read_checkpoint(run), tmp_path)
    assert part["weights"]["size"] == path.stat().st_size < 3_400_000
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert part["weights"]["sha256"] == f"sha256:{digest}"
    card_file = tmp_path / "card.json"
    card_file.write_text(json.dumps(CARD | {"methods": []}))
    put_member(tmp_path, METHOD, part)
    put_member(tmp_path, METHOD, part)
    card = parse_card(json.loads(card_file.read_text()))
    assert card.methods == ("segassess",)
    component = card.others["segassess"]
    assert isinstance(component, OtherComponent)
    loaded = load_component(component, tmp_path, torch.device("cpu"), torch.float32)
    assert loaded.settings.tile == 256
    assert loaded.module.configuration == BUILT_IN
    images, masks = torch.rand(1, 3, 96, 96), torch.zeros(1, 1, 96, 96)
    masks[..., 20:60, 30:70] = 1
    with torch.inference_mode():
        stored = loaded.module(images, masks).logits.softmax(1)
        exact = load_run(run)(images, masks).logits.softmax(1)
    assert (stored - exact).abs().mean() < 0.01


def judgement() -> Judgement:
    counts = QualityCounts()
    counts.matrix = np.array([[60, 20, 0, 0], [5, 15, 0, 0], [0, 0, 80, 10], [0, 0, 6, 4.0]])
    return Judgement(counts, counts, [0.2, 0.8, 0.9], [0.1, 0.7, 1.0], masks=3)


def test_numbers_of_a_judgement() -> None:
    numbers = scores(judgement().constrained)
    assert numbers["TP_f1"] == pytest.approx(2 * 60 / (80 + 65), abs=1e-4)
    assert numbers["FN_f1"] == pytest.approx(2 * 4 / (10 + 14), abs=1e-4)
    blind_tp, blind_tn = 2 * 80 / (80 + 100), 2 * 90 / (90 + 100)
    assert trusting(judgement().constrained) == pytest.approx((blind_tp + blind_tn) / 4, abs=1e-4)
    objects = report(judgement())["objects"]
    assert objects["count"] == 3
    assert objects["iou_correlation"] == pytest.approx(0.9799, abs=1e-4)
    assert [one["true"] for one in objects["bins"]] == [0.1, 0.7, 1.0]


def test_page_takes_the_section_once(tmp_path: Path) -> None:
    page = tmp_path / "MODEL.md"
    page.write_text("# Model\n\n## SegAssess\n\nsuperseded\n\n## Limits\n\n- none\n")
    part = {"weights": {"file": "w", "size": 1234567, "sha256": "sha256:0"}, "tile": 256}
    checkpoint = {"step": 10, "seconds": 120.0, "facts": {"batch": 8, "seed": 1}}
    numbers = report(judgement())
    lines = score_lines({"unet": {"all": numbers, "road": numbers}})
    for _ in range(2):
        put_section(tmp_path, page_section(part, checkpoint, lines))
    text = page.read_text()
    assert text.count("## SegAssess") == text.count("\n## Limits") == 1
    assert "superseded" not in text
    assert "1,234,567 bytes" in text
    assert "- 10 steps of 8 crops of 256 pixels in 2 minutes, seed 1, from random values.\n" in text
    assert f"| 3 | {numbers['constrained']['mean_f1']:.2f} |" in text
    assert "&nbsp;&nbsp;road" in text


def test_another_run_without_scores_keeps_the_numbers(run: Path, tmp_path: Path) -> None:
    preset = tmp_path / "preset"
    evaluation = run / EVALUATION_FILE
    evaluation.write_text(json.dumps({"unet": {"all": report(judgement())}}))
    main(["--run", str(run), "--preset", str(preset)])
    page = (preset / "MODEL.md").read_text()
    card = json.loads((preset / "card.json").read_text())
    assert card["segassess"]["weights"]["sha256"] in page
    assert parse_card(card).methods == ("segassess",)
    assert "| U-Net, masks never seen in training | 3 |" in page
    evaluation.unlink()
    main(["--run", str(run), "--preset", str(preset)])
    assert (preset / "MODEL.md").read_text() == page
