"""Mask sources, data folders and the training run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg_qgis.engine.models.segassess import SegAssess, SegAssessConfiguration, load_segassess
from training.segassess import (
    CorruptedTruth,
    FrozenNetwork,
    LossOptions,
    SegAssessTrainer,
    TrainingOptions,
    mixed_batch,
    segassess_losses,
    train_step,
    validate,
)
from training.segassess.corruption import CORRUPTIONS
from training.segassess.datasets import PROFILES, DatasetLayoutError, QualityTiles, list_samples
from training.segassess.sampling import draw_views, make_views
from training.segassess.trainer import PlateauSchedule

SMALL = SegAssessConfiguration(
    encoder_width=32,
    encoder_depth=4,
    encoder_heads=2,
    global_blocks=(0, 1, 2, 3),
    stored_grid=4,
    decoder_width=32,
    decoder_heads=4,
    decoder_hidden=64,
    score_hidden=32,
    prompt_resampling="average",
)


def test_views(read_case: Callable[[str], dict[str, Tensor]]) -> None:
    case = read_case("ams_views")
    assert torch.equal(make_views(case["image"], case["params_k_flip"]), case["views_image"])
    assert torch.equal(make_views(case["mask"], case["params_k_flip"]), case["views_mask"])


def test_drawn_views_are_uniform_and_repeatable() -> None:
    first = draw_views(300, 4, torch.Generator().manual_seed(5))
    assert torch.equal(first, draw_views(300, 4, torch.Generator().manual_seed(5)))
    turns = torch.bincount(first[..., 0].flatten(), minlength=4)
    flips = torch.bincount(first[..., 1].flatten(), minlength=3)
    assert turns.shape == (4,)
    assert flips.shape == (3,)
    assert turns.min() > 240
    assert flips.min() > 330


def threshold_network(bias: float) -> nn.Module:
    """Network that calls pixels object whose first band is above -bias / 10."""
    layer = nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0] = 10
        layer.bias.fill_(bias)  # type: ignore[union-attr]
    return layer


def test_each_view_has_its_own_source() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 8, 8)
    truth = (images[:, [0]] > 0.5).float()
    sources = [FrozenNetwork(threshold_network(bias)) for bias in (-5, -2, -8)]
    batch = mixed_batch(images, truth, sources, 4, torch.Generator().manual_seed(1))
    assert batch.images.shape == (8, 3, 8, 8)
    assert torch.equal(batch.truth, (batch.images[:, [0]] > 0.5).float())
    used = []
    for image, mask in zip(batch.images, batch.masks):
        matches = [torch.equal(mask, (image[[0]] > cut).float()) for cut in (0.5, 0.2, 0.8)]
        used.append(matches.index(True))
    assert sorted(used) == [0, 0, 0, 0, 1, 1, 2, 2]
    assert used != sorted(used)
    with pytest.raises(ValueError, match="at least one source"):
        mixed_batch(images, truth, [])


def squares() -> NDArray[np.bool_]:
    mask = np.zeros((96, 96), dtype=bool)
    for row in (10, 40, 70):
        for column in (10, 40, 70):
            mask[row : row + 18, column : column + 18] = True
    return mask


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.__name__)
def test_corruptions_change_masks(
    corruption: Callable[[NDArray[np.bool_], np.random.Generator], NDArray[np.bool_]],
) -> None:
    mask = squares()
    results = [corruption(mask, np.random.default_rng(seed)) for seed in range(5)]
    shares = [(result & mask).sum() / (result | mask).sum() for result in results]
    assert all(result.dtype == bool and result.shape == mask.shape for result in results)
    assert min(shares) < 0.9
    assert not np.array_equal(results[0], results[1])
    assert np.array_equal(mask, squares())


def test_corrupted_truth_is_mixed() -> None:
    truth = torch.from_numpy(squares()[None, None].astype(np.float32)).repeat(200, 1, 1, 1)
    masks = CorruptedTruth(seed=3)(torch.zeros(200, 3, 96, 96), truth)
    assert masks.shape == truth.shape
    assert ((masks == 0) | (masks == 1)).all()
    clean = sum(torch.equal(one, other) for one, other in zip(masks, truth))
    empty = int((masks.sum((1, 2, 3)) == 0).sum())
    assert 8 <= clean <= 40
    assert 3 <= empty <= 30


def write_image(path: Path, values: NDArray[np.uint8], driver: str = "GTiff") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver=driver, count=bands, height=height, width=width, dtype="uint8"
    ) as target:
        target.write(values)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_published_folders(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    truth = (generator.random((1, 32, 32)) < 0.5).astype(np.uint8) * 255
    valid = tmp_path / "valid"
    write_image(valid / "image" / "b.tif", image)
    write_image(valid / "image" / "a.jpg", np.full((3, 32, 32), 128, np.uint8), "JPEG")
    write_image(valid / "binary_map" / "b.tif", truth)
    write_image(valid / "binary_map" / "a.mask.tif", truth)
    write_image(valid / "seg_preds" / "ocrnet" / "a.tif", 255 - truth)
    write_image(valid / "seg_preds" / "ocrnet" / "b.tif", 255 - truth)
    samples = list_samples(tmp_path, "valid", "ocrnet")
    assert [sample.image.name for sample in samples] == ["a.jpg", "b.tif"]
    tiles = QualityTiles(samples, 32)
    assert len(tiles) == 2
    torch.testing.assert_close(tiles[1]["image"], torch.from_numpy(image).float() / 255)
    assert torch.equal(tiles[1]["truth"] + tiles[1]["mask"], torch.ones(1, 32, 32))
    with pytest.raises(DatasetLayoutError, match="Cut all tiles to"):
        QualityTiles(samples, 64)[0]
    with pytest.raises(DatasetLayoutError, match=r"a\.mask\.tif has no unchecked label"):
        list_samples(tmp_path, "valid", "raw")
    write_image(valid / "label_checked" / "b.tif", truth)
    write_image(valid / "label_uncheck" / "b.tif", truth)
    (checked,) = list_samples(tmp_path, "valid", "raw")
    assert checked.truth.parent.name == "label_checked"
    assert checked.mask == valid / "label_uncheck" / "b.tif"
    with pytest.raises(DatasetLayoutError, match="has no truth"):
        list_samples(tmp_path, "train")
    (tmp_path / "train" / "binary_map").mkdir(parents=True)
    with pytest.raises(DatasetLayoutError, match="is empty"):
        list_samples(tmp_path, "train")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_unusable_images_are_refused(tmp_path: Path) -> None:
    grey, broken = tmp_path / "train" / "image" / "g.tif", tmp_path / "train" / "image" / "x.tif"
    for name in ("g.tif", "x.tif"):
        write_image(tmp_path / "train" / "binary_map" / name, np.ones((1, 16, 16), np.uint8))
    write_image(grey, np.ones((1, 16, 16), np.uint8))
    broken.write_bytes(b"broken")
    tiles = QualityTiles(list_samples(tmp_path, "train"), 16)
    with pytest.raises(DatasetLayoutError, match="no 8-bit RGB image"):
        tiles[0]
    with pytest.raises(DatasetLayoutError, match="cannot be read"):
        tiles[1]


def test_profiles() -> None:
    sizes = {name: profile.tile_size for name, profile in PROFILES.items()}
    assert sizes == {
        "Inria": 320, "CrowdAI": 300, "DeepGlobe": 512, "GID": 512, "BAQS": 512, "WAQS": 512,
    }  # fmt: skip
    assert PROFILES["DeepGlobe"].threshold == 0.4


def test_schedule() -> None:
    schedule = PlateauSchedule()
    steps = [schedule.update(score) for score in (0.5, 0.5, 0.4, 0.3, 0.2, 0.1)]
    assert steps == [(True, 1), (True, 1), (False, 1), (False, 0.5), (False, 1), (False, 0.5)]
    again = PlateauSchedule()
    again.restore(schedule.state())
    assert not again.finished
    assert again.update(0.0) == (False, 1)
    assert again.finished


def tiles(count: int, seed: int) -> dict[str, Tensor]:
    """Bright squares on dark ground, with their truth and a faulty mask."""
    generator = np.random.default_rng(seed)
    truth = np.zeros((count, 1, 64, 64), dtype=np.float32)
    for index in range(count):
        for _ in range(3):
            row, column = generator.integers(0, 44, 2)
            truth[index, 0, row : row + 20, column : column + 20] = 1
    noise = generator.normal(0, 0.05, (count, 3, 64, 64))
    image = torch.from_numpy((0.2 + 0.6 * truth + noise).clip(0, 1).astype(np.float32))
    true = torch.from_numpy(truth)
    return {"image": image, "truth": true, "mask": CorruptedTruth(seed)(image, true)}


def loss_on(model: SegAssess, data: dict[str, Tensor]) -> float:
    """Return the loss on tiles that bring their masks, without learning from them."""
    with torch.no_grad():
        output = model.eval()(data["image"], data["mask"])
    return float(segassess_losses(output, data["mask"], data["truth"]).total)


@pytest.mark.slow
def test_training_lowers_the_loss() -> None:
    """The same unseen tiles before and after: the noise of single steps plays no part."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = SegAssess(SMALL)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    source = CorruptedTruth(1)
    generator = torch.Generator().manual_seed(2)
    held_out = tiles(16, 1000)
    loss_before = loss_on(model, held_out)
    score_before = validate(model, [held_out]).counts.mean().f1
    for step in range(60):
        data = tiles(4, step)
        batch = mixed_batch(data["image"], data["truth"], [source], 2, generator)
        train_step(model, optimizer, batch)
    assert loss_on(model, held_out) < 0.85 * loss_before
    assert validate(model, [held_out]).counts.mean().f1 > score_before + 0.1


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = TrainingOptions(
        tmp_path, rate=1e-3, epochs=3, views=2, loss=LossOptions(as_published=False),
        metadata={"pixel_size": "0.5"},
    )  # fmt: skip

    def training() -> Iterator[dict[str, Tensor]]:
        yield tiles(2, 1)

    def validation() -> Iterator[dict[str, Tensor]]:
        yield tiles(2, 2)

    def start() -> SegAssessTrainer:
        torch.manual_seed(0)
        source = FrozenNetwork(threshold_network(-4))
        return SegAssessTrainer(SegAssess(SMALL), [source], options)

    first = start()
    scores = first.run(training, validation)
    assert len(scores) == 3
    assert first.run(training, validation) == []
    best = load_segassess(first.best_file)
    assert best.configuration == SMALL
    first.checkpoint_file.unlink()

    class StoppedError(Exception):
        pass

    def stopping() -> Iterator[dict[str, Tensor]]:
        if interrupted.epoch == 2:
            raise StoppedError
        yield tiles(2, 1)

    interrupted = start()
    with pytest.raises(StoppedError):
        interrupted.run(stopping, validation)
    resumed = start()
    assert resumed.epoch == 2
    assert resumed.run(training, validation) == pytest.approx(scores[2:], abs=1e-6)
    for key, value in first.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value)
