"""A run of the built-in network is scored as it is exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training_runs import town

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer
from training.crops import CropSampler
from training.trainer import Plan, Trainer
from training.unigeoseg import evaluate
from training.unigeoseg.built_in import build_network
from training.unigeoseg.evaluate import (
    RequestPredictor,
    main,
    score_lines,
    score_run,
    score_scenes,
    score_weak,
    validation_requests,
)
from training.unigeoseg.stored_scenes import StoredScene


def test_a_run_is_scored_with_its_exported_weights(
    scenes: list[StoredScene],
    tokenizer: BytePairTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = build_network(tokenizer, 0, 64)
    facts = {"config": json.dumps(network.model.config.to_json())}
    trainer = Trainer(network, Plan(tmp_path, steps=1, blocks=()), facts)
    trainer.save()
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    monkeypatch.setattr(
        evaluate, "score_unseen", lambda predictor, *_: score_scenes(predictor, scenes[:1])
    )
    assert score_lines(tmp_path) == []
    scores = score_run(tmp_path, tmp_path, tmp_path, 1)
    requests = validation_requests(scenes[0], 0)
    assert scores["ref"].samples == sum(one.task is Task.REFERRING for one in requests) >= 4
    assert {"ref", "reason", "intera", "class", "attribute"} <= set(scores)
    lines = score_lines(tmp_path)
    assert f"| sentences | {scores['ref'].samples} | {scores['ref'].giou:.3f} |" in lines[4]
    expected = network.model.state_dict()
    for name, value in load_checkpoint(tmp_path / "weights").model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0.02, atol=0.02)


def test_labelled_images_score_classes_by_name_and_by_use(tokenizer: BytePairTokenizer) -> None:
    network = build_network(tokenizer, 0, 64).model.eval()
    predictor = RequestPredictor(evaluate.Checkpoint(network, tokenizer))
    scores = score_weak(predictor, CropSampler(town(), 64, 1), 8)
    assert set(scores) == {"real_ref", "real_reason"}
    assert 0.0 <= scores["real_ref"].giou <= 1.0


def test_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--device=cpu", f"--model={tmp_path}"]
    assert main([*base, "--records=somewhere"]) == 1
    assert "name:folder:split" in capsys.readouterr().err
    for options in (base, ["--device=cpu", f"--run={tmp_path}"]):
        with pytest.raises(SystemExit):
            main(options)
        assert " needs --" in capsys.readouterr().err
