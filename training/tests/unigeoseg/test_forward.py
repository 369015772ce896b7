"""The forward pass: the recorded training step, and images shared by requests."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from unigeoseg_facts import TINY, Golden

from geoseg_qgis.engine.models.unigeoseg.checkpoint import build_from_weights
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.sequence import Request, split_dialogue
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer, ByteTokenizer
from training.unigeoseg.forward import predict
from training.unigeoseg.losses import LossSettings, language_loss, mask_losses
from training.unigeoseg.training_step import point_losses


def test_recorded_training_step(
    golden: Golden, tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer
) -> None:
    run, recorded = golden("e2e_batch_reason_first"), golden("train_step")
    requests = [
        [Request(run["refer_ids.0"].tolist(), Task.REASONING, None, run["answer_ids.0"].tolist())],
        [
            Request(
                run["refer_ids.1"].tolist(),
                Task.INTERACTIVE,
                run["coords.1"],
                run["answer_ids.1"].tolist(),
            )
        ],
    ]
    pieces = split_dialogue(encode_template(UNIFIED, toy_tokenizer))
    predicted = predict(tiny_model, run["images"], pieces, requests, [0.2, 0.2])
    assert tiny_model.lm_head is not None
    language = language_loss(tiny_model.lm_head(predicted.states), predicted.labels)
    masks = point_losses(predicted, run["gt_mask"], LossSettings(), recorded["point_coords"])
    expected = {
        "loss_llm": language,
        "loss_mask_weighted_sum": masks["mask"],
        "loss_dice_weighted_sum": masks["dice"],
        "loss_total": language + masks["total"],
    }
    for name, value in expected.items():
        torch.testing.assert_close(value, recorded[name], rtol=1e-4, atol=0.0)


def test_gradients_reach_everything_but_the_tower(
    tiny_weights: dict[str, Tensor], golden: Golden, toy_tokenizer: ByteTokenizer
) -> None:
    model = build_from_weights(TINY, {name: value.clone() for name, value in tiny_weights.items()})
    model.model.vision_tower.requires_grad_(False)
    run = golden("e2e_batch_reason_first")
    words = run["refer_ids.0"].tolist()
    requests = [
        [Request(words, Task.REASONING, None, words)],
        [Request(words, Task.INTERACTIVE, run["coords.1"], words)],
        [Request(words, Task.REFERRING, None, words)],
    ]
    pieces = split_dialogue(encode_template(UNIFIED, toy_tokenizer))
    predicted = predict(model, run["images"][[0, 1, 1]], pieces, requests)
    assert model.lm_head is not None
    mask, dice = mask_losses(predicted.masks, run["gt_mask"][[0, 1, 1]], LossSettings(points=64))
    language = language_loss(model.lm_head(predicted.states), predicted.labels)
    torch.autograd.backward(mask + dice + language)
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        single_query = "transformer_self_attention_layers" in name and "in_proj" in name
        assert reached or single_query or "vision_tower" in name, name


def test_shared_images_predict_like_single_passes(tokenizer: BytePairTokenizer) -> None:
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
        shared = predict(model, pixels, pieces, requests)
        for image in range(2):
            for index, request in enumerate(requests[image]):
                single = model(pixels[image : image + 1], pieces, [request]).masks
                for one, several in zip(single, shared.masks, strict=True):
                    torch.testing.assert_close(
                        several[image, index], one[0, 0], rtol=1e-3, atol=1e-4
                    )
