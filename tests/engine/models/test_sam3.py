from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folders import FOLDER, write_card, write_sam3

from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.meta_init import build_empty
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.sam3 import Sam3Model, build_sam3, detector_state, load_sam3
from geoseg_qgis.engine.zoo.registry import open_preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sam3Model, Any]:
    folder = tmp_path_factory.mktemp("sam3")
    component, reference = write_sam3(folder)
    return load_sam3(component, folder, CPU), reference


def picture(height: int = 56, width: int = 56) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_the_published_size_is_that_of_the_paper() -> None:
    backbone = {"model_type": "sam3_vit_model", "rope_theta": 10000.0, "hidden_size": 1024}
    detector = {"model_type": "sam3", "vision_config": {"backbone_config": backbone}}
    published = {"model_type": "sam3_video", "detector_config": detector, "tracker_config": {}}
    module = build_empty(lambda: build_sam3(published))
    rotary = module.vision_encoder.backbone.layers[0].rotary_emb
    assert rotary.inv_freq[:2].tolist() == pytest.approx([1.0, 10000.0 ** (-1 / 16)])
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert len(shapes) == 1468
    assert sum(tensor.numel() for tensor in module.parameters()) == 840_376_374
    assert module.config.vision_config.image_size == 1008
    assert shapes["vision_encoder.backbone.embeddings.position_embeddings"] == (1, 576, 1024)
    assert shapes["text_encoder.text_model.embeddings.position_embedding.weight"] == (32, 1024)
    # The published file holds a tracker besides, so it is larger than the image model.
    (weights,) = (
        weights
        for weights in open_preset("sam3").card.weights_of("sam3")
        if weights.layout == "sam3"
    )
    assert weights.size is not None
    assert 4 * 840_376_374 < weights.size < 4 * 900_000_000


@pytest.mark.slow
def test_lite_text_has_the_image_side_of_the_whole_model() -> None:
    whole = build_empty(lambda: build_sam3({"model_type": "sam3"})).state_dict()
    lite = build_empty(lambda: build_sam3({"model_type": "sam3_lite_text"})).state_dict()

    def beside_text(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(tensor.shape)
            for name, tensor in state.items()
            if not name.startswith(("text_encoder.", "text_projection."))
        }

    assert beside_text(lite) == beside_text(whole)
    assert len(beside_text(lite)) > 1000
    assert len(lite) != len(whole)


@pytest.mark.slow
def test_a_loaded_model_finds_what_the_library_finds(loaded: tuple[Sam3Model, Any]) -> None:
    model, reference = loaded
    assert (model.image_size, model.text_length) == (56, 12)
    numbers, mask = model.tokenize("road")
    assert numbers[0, [0, 5, 6, 11]].tolist() == [256, 257, 257, 257]
    assert mask[0].tolist() == [1] * 6 + [0] * 6
    with torch.inference_mode():
        expected = reference(
            pixel_values=(picture() - 0.5) / 0.5, input_ids=numbers, attention_mask=mask
        )
    scores = expected.pred_logits[0].sigmoid() * expected.presence_logits[0].sigmoid()
    order = scores.argsort(descending=True)

    found = model.find(model.encode(picture()), "road", threshold=0.0)

    assert len(found) == 5
    assert found.logits.shape == (5, 16, 16)
    assert torch.allclose(found.scores, scores[order], atol=1e-6)
    assert torch.allclose(found.logits, expected.pred_masks[0, order], atol=1e-5)
    assert torch.allclose(found.boxes, expected.pred_boxes[0, order] * 56, atol=1e-4)
    assert found.logits.std() > 0.01
    some = float(found.scores[1])
    assert len(model.find(model.encode(picture()), "road", threshold=some)) == 1


def test_boxes_are_relative_to_the_source(loaded: tuple[Sam3Model, Any]) -> None:
    model, reference = loaded
    image = picture(40, 80)
    embedding = model.encode(image)
    boxes = torch.tensor([[8.0, 10.0, 24.0, 30.0], [40.0, 0.0, 80.0, 40.0]])
    numbers, mask = model.tokenize("visual")
    small = torch.nn.functional.interpolate(image, (56, 56), mode="bilinear", antialias=True)
    with torch.inference_mode():
        expected = reference(
            pixel_values=(small - 0.5) / 0.5,
            input_ids=numbers,
            attention_mask=mask,
            input_boxes=torch.tensor([[[0.2, 0.5, 0.2, 0.5], [0.75, 0.5, 0.5, 1.0]]]),
            input_boxes_labels=torch.tensor([[1, 0]]),
        )
    scores = (expected.pred_logits[0].sigmoid() * expected.presence_logits[0].sigmoid()).sort(
        descending=True
    )
    found = model.find(embedding, boxes=boxes, labels=torch.tensor([1, 0]), threshold=0.0)
    assert torch.allclose(found.scores, scores.values, atol=1e-6)
    scale = torch.tensor([80, 40, 80, 40])
    assert torch.allclose(found.boxes, expected.pred_boxes[0, scores.indices] * scale, atol=1e-4)
    both = model.find(embedding, "road", boxes=boxes, threshold=0.0)
    assert not torch.allclose(both.scores, found.scores, atol=1e-4)


def test_matrix_products_may_be_in_half_precision(loaded: tuple[Sam3Model, Any]) -> None:
    model, _ = loaded
    half = replace(model, dtype=torch.bfloat16)
    one, other = (
        each.find(each.encode(picture()), "road", threshold=0.0) for each in (model, half)
    )
    assert other.logits.dtype == torch.float32
    assert (one.scores.sort().values - other.scores.sort().values).abs().max() < 0.05


def test_a_long_phrase_is_cut_and_still_ends(loaded: tuple[Sam3Model, Any]) -> None:
    numbers, mask = loaded[0].tokenize("swimming pool beside a house")
    assert numbers.shape == mask.shape == (1, 12)
    assert numbers[0, -1] == 257
    assert mask.all()


def test_prompts_must_fit(loaded: tuple[Sam3Model, Any]) -> None:
    model, _ = loaded
    embedding = model.encode(picture())
    with pytest.raises(JobError, match="neither a phrase nor a box") as caught:
        model.find(embedding, "  ")
    assert caught.value.code is ErrorCode.INVALID_JOB
    with pytest.raises(JobError, match="not as many labels as boxes"):
        model.find(embedding, boxes=torch.ones(2, 4), labels=torch.ones(1))


def test_the_detector_is_found_under_either_name_of_its_text_encoder() -> None:
    module = torch.nn.ModuleDict({"text_encoder": torch.nn.Linear(1, 1)})
    nested = {
        "detector_model.text_encoder.text_model.weight": torch.ones(1, 1),
        "tracker_model.weight": torch.ones(1),
    }
    assert set(detector_state(nested, module)) == {"text_encoder.weight"}


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    component, _ = write_sam3(tmp_path)
    place = tmp_path / FOLDER
    unknown = replace(component, settings={**component.settings, "size": 3})
    with pytest.raises(JobError, match=r"card\.sam3\.size is not a known member"):
        load_sam3(unknown, tmp_path, CPU)
    elsewhere = replace(component, settings={**component.settings, "folder": "somebody"})
    with pytest.raises(JobError, match="not directly in somebody"):
        load_sam3(elsewhere, tmp_path, CPU)
    config = (place / "config.json").read_text()
    (place / "config.json").write_text(config.replace('"num_queries": 5', '"num_queries": 6'))
    with pytest.raises(JobError, match="2 of another shape") as caught:
        load_sam3(component, tmp_path, CPU)
    assert caught.value.code is ErrorCode.MODEL_INVALID
    (place / "config.json").write_text(config.replace('"hidden_size": 32', '"hidden_size": "x"'))
    with pytest.raises(JobError, match="does not describe this kind of model"):
        load_sam3(component, tmp_path, CPU)
    (place / "config.json").write_text("<html>Access denied</html>")
    with pytest.raises(JobError, match=r"config\.json is a web page"):
        load_sam3(component, tmp_path, CPU)
    (place / "config.json").unlink()
    with pytest.raises(JobError) as caught:
        load_sam3(component, tmp_path, CPU)
    assert caught.value.code is ErrorCode.MODEL_MISSING


def test_a_later_release_is_refused_by_its_name(tmp_path: Path) -> None:
    component, _ = write_sam3(tmp_path)
    later = tuple(
        replace(entry, file=entry.file.replace("model.safetensors", "sam3.1_multiplex.pt"))
        for entry in component.weights
    )
    with pytest.raises(JobError, match=r"is SAM 3\.1, whose network differs") as caught:
        load_sam3(replace(component, weights=later), tmp_path, CPU)
    assert caught.value.code is ErrorCode.MODEL_INVALID


@pytest.mark.slow
def test_a_preset_loads_it_and_tells_where_it_came_from(tmp_path: Path) -> None:
    component, _ = write_sam3(tmp_path)
    write_card(tmp_path, "sam3", component, "sam3")
    preset = LoadedPreset(open_preset(str(tmp_path / "card.json")), choose_device("cpu"))
    assert preset.preset.is_ready("sam3")
    assert preset.sam3 is preset.sam3
    assert len(preset.sam3.find(preset.sam3.encode(picture()), "road", threshold=0.0)) == 5
    facts = preset.provenance()
    assert len(facts["sam3_sha256"].split()) == 3
    assert facts["sam3_dtype"] == "float32"
