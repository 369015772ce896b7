import json
import math

import pytest
import torch

from training.trainer import DivergedError, Plan, Trainer, mean_losses, read_checkpoint


def line_task(model):
    inputs = torch.linspace(-1, 1, 16)[:, None]

    def loss(step):
        del step
        return {"total": (model(inputs) - 2 * inputs - 1).square().mean()}

    return loss


@pytest.mark.slow
def test_training_fits_and_keeps_an_average(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    plan = Plan(tmp_path, minutes=0.02, rate=0.05, weight_decay=0.0, warmup_steps=5)
    trainer = Trainer(model, plan, {"seed": 0})
    trainer.run(line_task(model))
    state = trainer.average
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


def test_a_step_without_finite_gradients_is_left_out(tmp_path):
    model = torch.nn.Linear(1, 1)
    task = line_task(model)
    trainer = Trainer(model, Plan(tmp_path, minutes=0.005), {"seed": 7})
    trainer.run(lambda step: {"total": task(step)["total"] * (math.nan if step == 2 else 1)})
    assert trainer.step > 10
    assert all(value.isfinite().all() for value in trainer.average.values())
    assert all(value.isfinite().all() for value in model.parameters())


def test_a_run_whose_gradients_stay_undefined_ends(tmp_path):
    model = torch.nn.Linear(1, 1)
    trainer = Trainer(model, Plan(tmp_path, minutes=1), {"seed": 7})
    with pytest.raises(DivergedError, match="lower --rate"):
        trainer.run(lambda _: {"total": model.weight.sum() * math.nan})
    assert trainer.step < 100


def test_the_log_forgets_steps_that_are_trained_again(tmp_path):
    model = torch.nn.Linear(1, 1)
    trainer = Trainer(model, Plan(tmp_path, minutes=1), {"seed": 7})
    trainer.step = 100
    trainer.save()
    lines = [json.dumps({"step": step, "total": 1.0}) for step in (50, 100, 150)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    Trainer(torch.nn.Linear(1, 1), Plan(tmp_path, minutes=1), {"seed": 7})
    assert (tmp_path / "log.jsonl").read_text().splitlines() == lines[:2]


def test_a_finished_run_is_measured_with_its_average(tmp_path):
    model = torch.nn.Linear(1, 1)
    trainer = Trainer(model, Plan(tmp_path, minutes=0.005), {"seed": 7})
    trainer.run(line_task(model))
    trainer.finish()
    assert torch.equal(model.weight, trainer.average["weight"])
    assert not model.training
    steps = []
    assert mean_losses(lambda step: steps.append(step) or {"total": torch.tensor(step)}, 4) == {
        "total": 1.5
    }
    assert steps == [0, 1, 2, 3]


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
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint["step"] == 60
    assert checkpoint["facts"] == {
        "seed": "1 and 2",
        "device": "cpu and cuda",
        "started_from": "a",
    }


def test_a_run_that_goes_on_warms_up_again(tmp_path):
    def rates(minutes):
        trainer = Trainer(torch.nn.Linear(1, 1), Plan(tmp_path, minutes, warmup_steps=5), {})
        seen = []

        def losses(step):
            seen.append(trainer.optimizers[0].param_groups[0]["lr"])
            trainer.seconds = max(trainer.seconds, minutes * 60.0 if len(seen) == 9 else 0)
            return {"total": trainer.model.weight.sum() * 0}

        trainer.run(losses)
        return seen[1:]

    for found in (rates(1000), rates(3000)):
        assert found[0] == pytest.approx(found[4] / 5, rel=0.01)
        assert found[4] == pytest.approx(found[6], rel=0.01)
