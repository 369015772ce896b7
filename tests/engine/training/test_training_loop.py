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


def test_losses_are_means_of_the_steps_that_had_them_and_facts_add_up(tmp_path):
    def train(minutes, last, facts):
        model = torch.nn.Linear(1, 1)
        trainer = Trainer(model, Plan(tmp_path, minutes), facts)

        def losses(step):
            if step == last:
                trainer.seconds = 60.0 * minutes
            found = {"total": 0 * model.weight.sum() + 3}
            return {**found, "now and then": torch.tensor(4.0)} if step % 4 == 0 else found

        trainer.run(losses)

    train(100, 29, {"seed": 1, "device": "cpu", "started_from": "a"})
    train(200, 49, {"seed": 2, "device": "cuda"})
    train(300, 59, {"seed": 2, "device": "cpu"})
    (entry,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert (entry["step"], entry["total"], entry["now and then"]) == (50, 3.0, 4.0)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 60
    assert checkpoint["facts"] == {"seed": 2, "device": "cpu and cuda", "started_from": "a"}
