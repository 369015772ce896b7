import json

import pytest
import torch

from geoseg_qgis.engine.training.loop import Plan, Trainer


def line_task(model):
    inputs = torch.linspace(-1, 1, 16)[:, None]

    def loss(step):
        del step
        return {"total": (model(inputs) - 2 * inputs - 1).square().mean()}

    return loss


def test_training_fits_and_keeps_an_average(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    plan = Plan(tmp_path, minutes=0.02, rate=0.05, weight_decay=0.0, warmup_steps=5)
    trainer = Trainer(model, plan, {"seed": 0})
    trainer.run(line_task(model))
    state = trainer.averaged_state()
    assert trainer.step > 100
    assert float(state["weight"]) == pytest.approx(2, abs=0.05)
    assert float(state["bias"]) == pytest.approx(1, abs=0.05)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert entries[0]["step"] == 50
    assert entries[-1]["total"] < entries[0]["total"]


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    model = torch.nn.Linear(1, 1)
    plan = Plan(tmp_path, minutes=0.005)
    first = Trainer(model, plan, {"seed": 7})
    first.run(line_task(model))
    again = torch.nn.Linear(1, 1)
    second = Trainer(again, plan, {"seed": 7})
    assert second.step == first.step
    assert second.seconds == first.seconds
    assert torch.equal(again.weight, model.weight)
    assert second.stage_seed(7) == 7 + 1000 * first.step
    second.run(line_task(again))
    assert second.step == first.step
