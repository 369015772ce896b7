"""Losses, points and the task schedule."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor
from unigeoseg_facts import Golden, assert_near

from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import Request, split_dialogue
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from training.unigeoseg.losses import (
    LossSettings,
    language_loss,
    mask_losses,
    point_cross_entropy,
    point_dice,
    sample_points,
    uncertain_points,
)
from training.unigeoseg.schedule import ScheduledSampler, TaskSchedule


def test_recorded_point_losses(golden: Golden) -> None:
    recorded = golden("losses")
    logits, labels = recorded["point_logits"], recorded["point_labels"]
    assert_near(point_cross_entropy(logits, labels, 3.0), recorded["loss_mask"], 1e-6)
    assert_near(point_dice(logits, labels, 3.0), recorded["loss_dice"], 1e-6)


def test_recorded_point_samples(golden: Golden) -> None:
    recorded = golden("losses")
    points = recorded["point_coords"]
    assert_near(sample_points(recorded["lowres_logits"], points), recorded["sampled_logits"], 1e-6)
    assert_near(sample_points(recorded["target_masks"], points), recorded["sampled_labels"], 1e-6)


def test_recorded_training_step(
    golden: Golden, tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer
) -> None:
    run, recorded = golden("e2e_batch_reason_first"), golden("train_step")
    requests = [
        Request(run["refer_ids.0"].tolist(), Task.REASONING, None, run["answer_ids.0"].tolist()),
        Request(
            run["refer_ids.1"].tolist(),
            Task.INTERACTIVE,
            run["coords.1"],
            run["answer_ids.1"].tolist(),
        ),
    ]
    pieces = split_dialogue(encode_template(UNIFIED, toy_tokenizer))
    answer = tiny_model(run["images"], pieces, requests, [0.2, 0.2])
    assert tiny_model.lm_head is not None
    language = language_loss(tiny_model.lm_head(answer.states), answer.utterances.labels)
    mask, dice = mask_losses(
        answer.masks, run["gt_mask"], LossSettings(), points=recorded["point_coords"]
    )
    expected = {
        "loss_llm": language,
        "loss_mask_weighted_sum": mask,
        "loss_dice_weighted_sum": dice,
        "loss_total": language + mask + dice,
    }
    for name, value in expected.items():
        torch.testing.assert_close(value, recorded[name], rtol=1e-4, atol=0.0)


def test_points_gather_where_the_prediction_is_uncertain() -> None:
    """Logits grow from the left edge: three quarters of the points lie where they are small."""
    logits = torch.arange(64.0).expand(1, 1, 64, 64)
    generator = torch.Generator().manual_seed(1)
    points = uncertain_points(logits, LossSettings(points=400), generator)
    assert points.shape == (1, 400, 2)
    assert 0.0 <= points.min() <= points.max() <= 1.0
    x = points[0, :, 0]
    assert (x[:300] < 0.27).float().mean() > 0.97
    assert 0.4 < x[300:].mean() < 0.6
    repeated = uncertain_points(logits, LossSettings(points=400), torch.Generator().manual_seed(1))
    assert torch.equal(points, repeated)


def test_no_words_to_learn_cost_nothing() -> None:
    logits = torch.randn(1, 3, 5, requires_grad=True)
    loss = language_loss(logits, torch.full((1, 3), -100))
    assert loss.item() == 0.0
    torch.autograd.backward(loss)
    assert logits.grad is not None


def test_language_loss_predicts_the_next_word() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 1, 2] = 50.0
    assert language_loss(logits, torch.tensor([[-100, -100, 2]])).item() == pytest.approx(0.0)
    assert language_loss(logits, torch.tensor([[-100, -100, 1]])).item() == pytest.approx(50.0)


def test_schedule_moves_from_interactive_to_reasoning() -> None:
    schedule = TaskSchedule()
    assert set(schedule.weights(0.0).values()) == {1.0}
    assert schedule.weights(0.5)[Task.INTERACTIVE] == pytest.approx(0.85)
    end = schedule.weights(1.0)
    assert end[Task.INTERACTIVE] == pytest.approx(0.7)
    assert end[Task.REFERRING] == 1.0
    assert end[Task.REASONING] == pytest.approx(1.5)


def test_sampler_follows_the_schedule_and_covers_every_sample() -> None:
    tasks = [Task.INTERACTIVE] * 30 + [Task.REASONING] * 10
    drawn = list(ScheduledSampler(tasks, TaskSchedule(0.0, 1.0, 3.0), 4000, seed=5).draw())
    early = Counter(tasks[index] for index in drawn[:1000])
    late = Counter(tasks[index] for index in drawn[-1000:])
    assert 620 < early[Task.INTERACTIVE] < 780
    assert late[Task.INTERACTIVE] < 330
    counts = Counter(index for index in drawn if index >= 30)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_processes_share_one_order_that_can_be_resumed() -> None:
    tasks = [Task.REFERRING, Task.REASONING, Task.INTERACTIVE] * 5
    sampler = ScheduledSampler(tasks, TaskSchedule(), 60, seed=2)
    whole = list(sampler.draw())
    assert len(whole) == len(sampler) == 60
    assert list(sampler.draw(rank=0, processes=2)) == whole[::2]
    assert list(sampler.draw(rank=1, processes=2)) == whole[1::2]
    assert list(sampler.draw(start=40)) == whole[40:]


def test_gradients_reach_everything_but_the_tower(
    tiny_weights: dict[str, Tensor], golden: Golden, toy_tokenizer: ByteTokenizer
) -> None:
    from unigeoseg_facts import TINY

    from geoseg_qgis.engine.models.unigeoseg.checkpoint import build_from_weights

    model = build_from_weights(TINY, {name: value.clone() for name, value in tiny_weights.items()})
    model.model.vision_tower.requires_grad_(False)
    run = golden("e2e_batch_reason_first")
    words = run["refer_ids.0"].tolist()
    requests = [
        Request(words, Task.REASONING, None, words),
        Request(words, Task.INTERACTIVE, run["coords.1"], words),
        Request(words, Task.REFERRING, None, words),
    ]
    pieces = split_dialogue(encode_template(UNIFIED, toy_tokenizer))
    answer = model(run["images"][[0, 1, 1]], pieces, requests)
    assert model.lm_head is not None
    mask, dice = mask_losses(answer.masks, run["gt_mask"][[0, 1, 1]], LossSettings(points=64))
    language = language_loss(model.lm_head(answer.states), answer.utterances.labels)
    torch.autograd.backward(mask + dice + language)
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        single_query = "transformer_self_attention_layers" in name and "in_proj" in name
        assert reached or single_query or "vision_tower" in name, name
