import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SAM2_ARCHITECTURE, landscape, write_sam2

from geoseg_qgis.engine.models import automatic_masks as automatic_masks_module
from geoseg_qgis.engine.models.automatic_masks import (
    AutomaticMaskSettings,
    automatic_masks,
    point_grid,
)
from geoseg_qgis.engine.models.sam2 import Sam2Embedding, Sam2Model, load_sam2
from geoseg_qgis.protocol.errors import CancelledError

HEIGHT, WIDTH = 90, 150


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray]:
    folder = tmp_path_factory.mktemp("sam2")
    component, reference = write_sam2(folder)
    model = load_sam2(component, folder, torch.device("cpu"))
    image = landscape(HEIGHT, WIDTH)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    return model, model.encode(batch), reference, image


def packages_masks(
    reference: torch.nn.Module, image: np.ndarray, settings: AutomaticMaskSettings
) -> list[dict[str, Any]]:
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.jit, "script", lambda module: module)
        generator = SAM2AutomaticMaskGenerator(
            reference,
            points_per_side=settings.points_per_side,
            pred_iou_thresh=settings.iou_threshold,
            stability_score_thresh=settings.stability_threshold,
            stability_score_offset=settings.stability_offset,
            box_nms_thresh=settings.overlap_threshold,
            multimask_output=settings.three_masks,
        )
    side = SAM2_ARCHITECTURE.image_size
    generator.predictor._bb_feat_sizes = [(side // stride,) * 2 for stride in (4, 8, 16)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: list[dict[str, Any]] = generator.generate(image)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        AutomaticMaskSettings(8, 0.1, 0.1, overlap_threshold=0.98, batch_size=5),
        AutomaticMaskSettings(8, 0.3, 0.5),
        AutomaticMaskSettings(8, 0.1, 0.4, stability_offset=2.0, overlap_threshold=0.8),
        AutomaticMaskSettings(8, 0.2, 0.4, overlap_threshold=0.995, three_masks=False),
        AutomaticMaskSettings(7, 0.4, 0.4, three_masks=False, batch_size=64),
    ],
    ids=["loose", "stable", "offset", "single", "sparse"],
)
def test_masks_are_those_of_the_packages_generator(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
    settings: AutomaticMaskSettings,
) -> None:
    model, embedding, reference, image = scene
    expected = packages_masks(reference, image, settings)
    found = automatic_masks(model, embedding, settings)

    assert len(found) == len(expected) > 0
    masks = found.masks()
    assert masks.shape == (len(expected), HEIGHT, WIDTH)
    for index, record in enumerate(expected):
        assert np.array_equal(masks[index].numpy(), record["segmentation"])
        assert found.iou[index] == pytest.approx(record["predicted_iou"], abs=1e-6)
        assert found.stability[index] == pytest.approx(record["stability_score"], abs=1e-6)
        assert found.areas[index] == record["area"]
        left, top, width, height = record["bbox"]
        assert found.boxes[index].tolist() == [left, top, left + width, top + height]
        assert found.points[index].tolist() == pytest.approx(record["point_coords"][0])


@pytest.mark.slow
def test_the_parity_covers_filters_and_duplicates(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
) -> None:
    """Guards the test above: each filter must drop something and keep something."""
    model, embedding, _, _ = scene
    counts = [
        len(automatic_masks(model, embedding, settings))
        for settings in (
            AutomaticMaskSettings(8, 0.0, 0.0, overlap_threshold=1.0),
            AutomaticMaskSettings(8, 0.0, 0.0),
            AutomaticMaskSettings(8, 0.3, 0.0),
            AutomaticMaskSettings(8, 0.3, 0.5),
        )
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4
    assert counts[0] == 3 * 64
    assert counts[3] > 3


@pytest.mark.slow
def test_large_sources_are_scored_in_batches(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, embedding, _, _ = scene
    settings = AutomaticMaskSettings(8, 0.1, 0.1, batch_size=64)
    whole = automatic_masks(model, embedding, settings)
    monkeypatch.setattr(automatic_masks_module, "PIXELS_AT_ONCE", 5 * HEIGHT * WIDTH)
    batches = automatic_masks(model, embedding, settings)
    assert torch.equal(whole.boxes, batches.boxes)
    assert torch.equal(whole.stability, batches.stability)
    assert torch.equal(whole.logits, batches.logits)


def test_small_masks_may_be_dropped(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
) -> None:
    model, embedding, _, _ = scene
    loose = AutomaticMaskSettings(4, 0.1, 0.1, overlap_threshold=1.0)
    everything = automatic_masks(model, embedding, loose)
    limit = int(everything.areas.median()) + 1
    large = automatic_masks(
        model,
        embedding,
        AutomaticMaskSettings(4, 0.1, 0.1, overlap_threshold=1.0, minimum_area=limit),
    )
    assert len(large) == int((everything.areas >= limit).sum())
    assert 0 < len(large) < len(everything)
    assert torch.equal(everything.masks().flatten(1).sum(1), everything.areas.long())


def test_scoring_at_the_decoders_size_is_close(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
) -> None:
    model, embedding, _, _ = scene
    fine = automatic_masks(
        model, embedding, AutomaticMaskSettings(4, 0.1, 0.0, overlap_threshold=1.0)
    )
    coarse = automatic_masks(
        model,
        embedding,
        AutomaticMaskSettings(4, 0.1, 0.0, overlap_threshold=1.0, at_source=False),
    )
    assert torch.equal(fine.logits, coarse.logits)
    assert (fine.stability - coarse.stability).abs().median() < 0.05
    assert (fine.areas / coarse.areas - 1).abs().median() < 0.05
    step = WIDTH / 32
    assert (fine.boxes - coarse.boxes).abs().median() <= step


def test_masks_can_be_had_at_another_size(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
) -> None:
    model, embedding, _, _ = scene
    found = automatic_masks(
        model, embedding, AutomaticMaskSettings(4, 0.1, 0.1, overlap_threshold=0.99)
    )
    fine = found.masks((2 * HEIGHT, 2 * WIDTH))
    assert fine.shape == (len(found), 2 * HEIGHT, 2 * WIDTH)
    batches = list(found.iterate(batch_size=2))
    assert torch.equal(torch.cat(batches), found.masks())
    none = found.select(torch.zeros(len(found), dtype=torch.bool))
    assert none.masks().shape == (0, HEIGHT, WIDTH)


def test_nothing_found_gives_no_masks(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
) -> None:
    model, embedding, _, _ = scene
    found = automatic_masks(model, embedding, AutomaticMaskSettings(3, iou_threshold=0.999999))
    assert len(found) == 0
    assert found.masks().shape == (0, HEIGHT, WIDTH)


def test_progress_is_reported_and_cancelling_ends_the_search(
    scene: tuple[Sam2Model, Sam2Embedding, torch.nn.Module, np.ndarray],
) -> None:
    model, embedding, _, _ = scene
    fractions: list[float] = []
    automatic_masks(
        model, embedding, AutomaticMaskSettings(4, batch_size=4), checkpoint=fractions.append
    )
    assert fractions == [0, 0.25, 0.5, 0.75]

    def cancel(fraction: float) -> None:
        if fraction > 0.3:
            raise CancelledError

    with pytest.raises(CancelledError):
        automatic_masks(model, embedding, AutomaticMaskSettings(4, batch_size=4), checkpoint=cancel)


def test_the_grid_lies_in_the_middle_of_its_cells() -> None:
    grid = point_grid(2, (100, 40))
    assert grid.tolist() == [[10, 25], [30, 25], [10, 75], [30, 75]]
