"""The published schedule, and runs that stop and continue."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from unigeoseg_facts import write_raster

from geoseg_qgis.engine.models.segassess import (
    SegAssess,
    SegAssessConfiguration,
    load_segassess,
    save_segassess,
)
from training.segassess.corruption import CorruptedTruth
from training.segassess.losses import LossOptions, segassess_losses
from training.segassess.published_training import (
    EpochOptions,
    PlateauSchedule,
    PublishedTraining,
    main,
    published_plan,
    validate,
)
from training.segassess.sampling import mixed_batch
from training.trainer import Losses, Trainer, read_checkpoint

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


def test_schedule() -> None:
    schedule = PlateauSchedule()
    steps = [schedule.update(score) for score in (0.5, 0.5, 0.4, 0.3, 0.2, 0.1)]
    assert steps == [(True, 1), (True, 1), (False, 1), (False, 0.5), (False, 1), (False, 0.5)]
    again = PlateauSchedule(**dataclasses.asdict(schedule))
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
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    """The same unseen tiles before and after: the noise of single steps plays no part."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = SegAssess(SMALL)
    source = CorruptedTruth(1)
    generator = torch.Generator().manual_seed(2)
    held_out = tiles(16, 1000)
    loss_before = loss_on(model, held_out)
    score_before = validate(model, [held_out]).counts.mean().f1

    def losses(step: int) -> Losses:
        data = tiles(4, step)
        batch = mixed_batch(data["image"], data["truth"], [source], 2, generator)
        return segassess_losses(model(batch.images, batch.masks), batch.masks, batch.truth).named()

    plan = dataclasses.replace(published_plan(tmp_path, 2e-3), steps=60)
    Trainer(model.train(), plan, {}).run(losses)
    assert loss_on(model, held_out) < 0.85 * loss_before
    assert validate(model, [held_out]).counts.mean().f1 > score_before + 0.1


@pytest.mark.slow
def bright_pixels(images: Tensor, truth: Tensor) -> Tensor:
    """Return masks of the pixels whose first band is bright, whatever the truth."""
    del truth
    return (images[:, [0]] > 0.4).float()


def test_a_run_continues_where_it_stopped(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = EpochOptions(
        epochs=3, views=2, loss=LossOptions(as_published=False), metadata={"pixel_size": "0.5"}
    )

    def training() -> Iterator[dict[str, Tensor]]:
        yield tiles(2, 1)

    def validation() -> Iterator[dict[str, Tensor]]:
        yield tiles(2, 2)

    def start() -> PublishedTraining:
        torch.manual_seed(0)
        return PublishedTraining(
            SegAssess(SMALL), [bright_pixels], published_plan(tmp_path, 1e-3), options
        )

    first = start()
    scores = first.run(training, validation)
    assert len(scores) == 3
    assert first.run(training, validation) == []
    best = load_segassess(first.best_file)
    assert best.configuration == SMALL
    whole = read_checkpoint(tmp_path)
    assert whole["step"] == 3
    (tmp_path / "checkpoint.pt").unlink()

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
    again = read_checkpoint(tmp_path)
    assert (again["step"], again["rate_factor"]) == (3, whole["rate_factor"])
    for key, value in whole["model"].items():
        torch.testing.assert_close(again["model"][key], value)


@pytest.mark.slow
def test_the_command_trains_on_a_published_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = tiles(2, 1)
    for split, index in (("train", 0), ("valid", 1)):
        layers = {"image": data["image"], "binary_map": data["truth"]}
        layers["seg_preds/ocrnet"] = data["mask"]
        for folder, values in layers.items():
            enlarged = values[index].repeat_interleave(5, 1).repeat_interleave(5, 2)[:, :300, :300]
            pixels = (enlarged * 255).byte().permute(1, 2, 0).squeeze(2).numpy()
            write_raster(tmp_path / split / folder / "a.tif", pixels)
    save_segassess(SegAssess(SMALL), tmp_path / "start.safetensors")
    exported = torch.export.export(
        torch.nn.Conv2d(3, 1, 1), (data["image"].new_zeros(1, 3, 300, 300),)
    )
    torch.export.save(exported, tmp_path / "network.pt2")
    main(
        [
            f"--root={tmp_path}", "--profile=CrowdAI", "--masks=ocrnet", "--epochs=1",
            f"--weights={tmp_path / 'start.safetensors'}", f"--networks={tmp_path / 'network.pt2'}",
            f"--out={tmp_path / 'run'}", "--device=cpu",
        ]
    )  # fmt: skip
    assert read_checkpoint(tmp_path / "run")["facts"]["epoch"] == 1
    assert load_segassess(tmp_path / "run" / "best.safetensors").configuration == SMALL
