from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tiny_models import SAM2_ARCHITECTURE, landscape, random_sam2, write_sam2

from geoseg_qgis.engine.models.meta_init import ParametersOnMeta
from geoseg_qgis.engine.models.sam2 import (
    MaskChoice,
    Sam2Model,
    build_sam2,
    load_sam2,
    stability,
    without_video_keys,
)
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear
from geoseg_qgis.engine.zoo.architecture import parse_sam2_architecture
from geoseg_qgis.protocol.errors import JobError

CPU = torch.device("cpu")
SIDE = SAM2_ARCHITECTURE.image_size
PUBLISHED_CONFIGURATIONS = {
    "sam2_hiera_t": ("sam2/sam2_hiera_t", "sam2.1/sam2.1_hiera_t"),
    "sam2_hiera_s": ("sam2/sam2_hiera_s", "sam2.1/sam2.1_hiera_s"),
    "sam2_hiera_b_plus": ("sam2/sam2_hiera_b+", "sam2.1/sam2.1_hiera_b+"),
    "sam2_hiera_l": ("sam2/sam2_hiera_l", "sam2.1/sam2.1_hiera_l"),
}
PARAMETERS = {
    "sam2_hiera_t": 31_440_721,
    "sam2_hiera_s": 38_538_577,
    "sam2_hiera_b_plus": 73_328_401,
    "sam2_hiera_l": 216_924_865,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Sam2Model:
    folder = tmp_path_factory.mktemp("sam2")
    component, _ = write_sam2(folder)
    return load_sam2(component, folder, CPU)


def predictor(reference: torch.nn.Module, image: np.ndarray) -> Any:
    """Return the package's predictor with the feature sizes of a small input."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.jit, "script", lambda module: module)
        result = SAM2ImagePredictor(reference)
    result._bb_feat_sizes = [(SIDE // stride,) * 2 for stride in (4, 8, 16)]
    result.set_image(image)
    return result


def as_batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED_CONFIGURATIONS)
@pytest.mark.parametrize("version", [0, 1], ids=["2.0", "2.1"])
def test_named_architectures_have_the_published_tensors(name: str, version: int) -> None:
    """The package's own configuration files say which tensors a checkpoint holds."""
    module = build_sam2(parse_sam2_architecture(name, "card"))
    on_meta = sum(parameter.numel() for parameter in module.parameters() if parameter.is_meta)
    assert on_meta > 0.98 * PARAMETERS[name], "no memory is taken for what a file replaces"
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[name]

    path = (
        Path(sam2.__file__).parent / "configs" / f"{PUBLISHED_CONFIGURATIONS[name][version]}.yaml"
    )
    with ParametersOnMeta():
        reference = instantiate(OmegaConf.load(path).model, _recursive_=True)
    published = without_video_keys(reference.state_dict())
    assert {key: tensor.shape for key, tensor in published.items()} == {
        key: tensor.shape for key, tensor in module.state_dict().items()
    }
    assert any(key.startswith("memory_attention.") for key in reference.state_dict())


@pytest.mark.slow
def test_a_missing_tensor_is_no_video_tensor(tmp_path: Path) -> None:
    component, reference = write_sam2(tmp_path)
    state = reference.state_dict()
    del state["no_mem_embed"]
    torch.save({"model": state}, tmp_path / "sam2.pt")
    with pytest.raises(JobError, match=r"1 missing \(no_mem_embed\)"):
        load_sam2(component, tmp_path, CPU)


@pytest.mark.slow
def test_the_embedding_is_the_packages(model: Sam2Model) -> None:
    image = landscape(90, 150)
    expected = predictor(random_sam2(), image)._features
    embedding = model.encode(as_batch(image))
    assert embedding.image.shape == (1, 64, 8, 8)
    assert torch.equal(embedding.image, expected["image_embed"])
    assert torch.equal(embedding.quarter, expected["high_res_feats"][0])
    assert torch.equal(embedding.eighth, expected["high_res_feats"][1])
    assert embedding.source_size == (90, 150)


def test_a_batch_is_its_images(model: Sam2Model) -> None:
    images = torch.cat([as_batch(landscape(64, 64, seed)) for seed in (1, 2)])
    batch = model.encode(images)
    assert len(batch) == 2
    for index in range(2):
        alone = model.encode(images[index : index + 1])
        assert torch.allclose(batch.select(index).image, alone.image, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "choice"),
    [
        ({"points": [[30.0, 40.0]], "labels": [1]}, MaskChoice.THREE),
        ({"points": [[30.0, 40.0], [100.0, 20.0]], "labels": [1, 0]}, MaskChoice.SINGLE),
        ({"points": [[30.0, 40.0], [100.0, 20.0]], "labels": [1, 0]}, MaskChoice.STABLE),
        ({"boxes": [10.0, 20.0, 70.0, 60.0]}, MaskChoice.SINGLE),
        ({"boxes": [10.0, 20.0, 70.0, 60.0]}, MaskChoice.STABLE),
        (
            {"boxes": [10.0, 20.0, 70.0, 60.0], "points": [[30.0, 40.0]], "labels": [0]},
            MaskChoice.THREE,
        ),
    ],
)
@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("with_mask", [False, True])
def test_masks_are_those_of_the_packages_predictor(
    tmp_path: Path, prompt: dict[str, Any], choice: MaskChoice, seed: int, with_mask: bool
) -> None:
    image = landscape(90, 150, seed)
    stable = {
        "dynamic_multimask_via_stability": choice is MaskChoice.STABLE,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    component, reference = write_sam2(tmp_path, seed, sam_mask_decoder_extra_args=stable)
    own = load_sam2(component, tmp_path, CPU)
    theirs = predictor(reference, image)
    mask = None
    if with_mask:
        generator = torch.Generator().manual_seed(seed)
        mask = torch.randn(1, SIDE // 4, SIDE // 4, generator=generator) * 20
    points, boxes = prompt.get("points"), prompt.get("boxes")
    logits, iou, low = theirs.predict(
        point_coords=None if points is None else np.array(points),
        point_labels=None if points is None else np.array(prompt["labels"]),
        box=None if boxes is None else np.array(boxes),
        mask_input=None if mask is None else mask.clamp(-32, 32).numpy(),
        multimask_output=choice is MaskChoice.THREE,
        return_logits=True,
    )

    output = own.predict(
        own.encode(as_batch(image)),
        points=None if points is None else torch.tensor([points]),
        labels=None if points is None else torch.tensor([prompt["labels"]]),
        boxes=None if boxes is None else torch.tensor([boxes]),
        masks=None if mask is None else mask[None],
        choice=choice,
    )

    assert output.logits.shape == (1, 3 if choice is MaskChoice.THREE else 1, 32, 32)
    np.testing.assert_allclose(output.iou[0], iou, atol=1e-6)
    np.testing.assert_allclose(resize_bilinear(output.logits, (90, 150))[0], logits, atol=1e-4)
    np.testing.assert_allclose(output.logits[0].clamp(-32, 32), low, atol=1e-4)
    assert 0 < (logits > 0).mean() < 1


@pytest.mark.slow
def test_both_outcomes_of_the_stable_choice_occur(tmp_path: Path) -> None:
    """Guards the parity test above: random masks must sometimes be stable, sometimes not."""
    chosen = set()
    for threshold in (0.0, 1.01):
        component, _ = write_sam2(tmp_path)
        architecture = replace(SAM2_ARCHITECTURE, stability_threshold=threshold)
        own = load_sam2(replace(component, model=architecture), tmp_path, CPU)
        embedding = own.encode(as_batch(landscape(64, 64)))
        prompt: dict[str, Any] = {"boxes": torch.tensor([[5.0, 5.0, 40.0, 40.0]])}
        stable = own.predict(embedding, choice=MaskChoice.STABLE, **prompt)
        single = own.predict(embedding, choice=MaskChoice.SINGLE, **prompt)
        three = own.predict(embedding, choice=MaskChoice.THREE, **prompt)
        best = three.logits[:, three.iou[0].argmax()][:, None]
        others = (single.logits, best)
        chosen.add(tuple(torch.allclose(stable.logits, other, atol=1e-4) for other in others))
    assert chosen == {(True, False), (False, True)}


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("points", [1, 3])
def test_the_shared_first_layer_changes_nothing(model: Sam2Model, count: int, points: int) -> None:
    generator = torch.Generator().manual_seed(count)
    embedding = model.encode(as_batch(landscape(80, 64)))
    places = torch.rand(count, points, 2, generator=generator) * 64
    labels = torch.randint(0, 2, (count, points), generator=generator)
    encoder, decoder = model.module.sam_prompt_encoder, model.module.sam_mask_decoder
    with torch.inference_mode():
        sparse = model.encode_prompts((80, 64), places, labels)
        _, dense = encoder(points=(places, labels), boxes=None, masks=None)
        logits, iou, _, score = decoder.predict_masks(
            image_embeddings=embedding.image,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=True,
            high_res_features=[embedding.quarter, embedding.eighth],
        )
    shared = model.share(embedding)
    for choice, part in ((MaskChoice.SINGLE, slice(0, 1)), (MaskChoice.THREE, slice(1, 4))):
        output = model.predict(
            embedding, points=places, labels=labels, choice=choice, shared=shared
        )
        assert (output.logits - logits[:, part]).abs().max() < 1e-5 * logits.abs().max()
        assert (output.iou - iou[:, part]).abs().max() < 1e-6
        assert (output.object_score - score[:, 0]).abs().max() < 1e-5


def test_many_prompts_give_the_masks_of_each_alone(model: Sam2Model) -> None:
    embedding = model.encode(as_batch(landscape(64, 64)))
    boxes = torch.tensor([[1.0, 2.0, 30.0, 40.0], [20.0, 20.0, 60.0, 50.0]])
    together = model.predict(embedding, boxes=boxes)
    for index in range(2):
        alone = model.predict(embedding, boxes=boxes[index : index + 1])
        assert torch.allclose(together.logits[index], alone.logits[0], atol=1e-4)


def test_bfloat16_runs_under_autocast_and_stays_close(model: Sam2Model) -> None:
    half = replace(model, dtype=torch.bfloat16)
    image = as_batch(landscape(64, 64))
    prompt: dict[str, Any] = {
        "points": torch.tensor([[[20.0, 30.0]]]),
        "labels": torch.tensor([[1]]),
    }
    left = model.predict(model.encode(image), **prompt).logits
    right = half.predict(half.encode(image), **prompt).logits
    assert right.dtype == torch.float32
    assert (left - right).abs().mean() < 0.1 * left.abs().mean()
    assert not torch.equal(left, right)


def test_prompts_that_do_not_fit_together_are_refused(model: Sam2Model) -> None:
    embedding = model.encode(as_batch(landscape(64, 64)))
    points, labels = torch.zeros(2, 1, 2), torch.ones(2, 1)
    misfits: list[dict[str, Any]] = [
        {},
        {"points": points},
        {"points": points, "labels": torch.ones(2, 2)},
        {"points": points, "labels": labels, "boxes": torch.zeros(1, 4)},
    ]
    for prompts in misfits:
        with pytest.raises(JobError):
            model.predict(embedding, **prompts)
    both = model.encode(torch.cat([as_batch(landscape(64, 64))] * 2))
    with pytest.raises(JobError, match="several images"):
        model.predict(both, points=points, labels=labels)


def test_stability_is_the_overlap_of_two_thresholds() -> None:
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -2.0]], [[-3.0, -3.0], [-3.0, -3.0]]])
    result = stability(logits, 1.0)
    assert result[0] == pytest.approx(1 / 3)
    assert result[1].isnan()
    assert stability(logits, 1.0, nan=0.0)[1] == 0
    assert stability(logits, 0.1, threshold=1.0)[0] == 1
