"""Means over the cells of objects, and what it costs to select the wrong ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.unigeoseg.object_head import MIN_CELLS, ObjectMeans, object_loss, objects_at_cells
from training.unigeoseg.queries import Mirror
from training.unigeoseg.stored_scenes import SIDE, StoredScene


@pytest.fixture
def objects() -> torch.Tensor:
    """Two images of 6 x 6 cells: objects of 18, 4 and 3 cells, and none."""
    numbers = torch.zeros(2, 6, 6, dtype=torch.int64)
    numbers[0, :3] = 1
    numbers[0, 4, :4] = 2
    numbers[0, 5, 3:] = 3
    return numbers


def test_means_are_those_of_the_cells_of_each_object(objects: torch.Tensor) -> None:
    means = ObjectMeans(objects)
    assert MIN_CELLS == 4
    assert means.known.tolist() == [[True, True], [False, False]]
    maps = torch.arange(72.0).view(2, 1, 6, 6)
    found = means.of(maps)
    assert found.shape == (2, 1, 2)
    assert found[0, 0].tolist() == pytest.approx([8.5, 25.5])
    assert found[1, 0].tolist() == [0.0] * 2
    # A number may have few cells in one image and enough in another.
    objects[1, :, 0] = 3
    assert ObjectMeans(objects).known.tolist() == [[True, True, False], [False, False, True]]


def test_each_object_counts_once_whatever_its_size(objects: torch.Tensor) -> None:
    means = ObjectMeans(objects)
    meant = means.of(((objects == 2).float())[:, None])
    weights = torch.ones_like(meant)

    def loss_of(values: list[float]) -> float:
        table = torch.tensor([0.0, *values])
        return float(object_loss(table[objects][:, None], means, meant, weights))

    assert loss_of([-30.0, 30.0, 0.0]) == pytest.approx(0.0, abs=1e-6)
    assert loss_of([30.0, -30.0, 0.0]) == pytest.approx(30.0)
    # Either mistake costs the same, of 18 cells or of 4; objects of too few cells cost nothing.
    assert loss_of([-30.0, -30.0, 0.0]) == pytest.approx(15.0)
    assert loss_of([30.0, 30.0, 0.0]) == pytest.approx(15.0)
    assert loss_of([0.0, 0.0, 99.0]) == pytest.approx(math.log(2.0))


def test_lookalikes_weigh_more(objects: torch.Tensor) -> None:
    objects[0, 5] = 3
    means = ObjectMeans(objects)
    meant = means.of(((objects == 2).float())[:, None])
    logits = torch.tensor([0.0, -30.0, 30.0, 30.0])[objects][:, None]
    alike = torch.ones_like(meant)
    assert float(object_loss(logits, means, meant, alike)) == pytest.approx(30.0 / 2 / 2)
    alike[..., 2] = 2.0
    assert float(object_loss(logits, means, meant, alike)) == pytest.approx(30.0 * 2 / 3 / 2)


def test_images_without_objects_cost_nothing() -> None:
    means = ObjectMeans(torch.zeros(1, 4, 4, dtype=torch.int64))
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    meant = means.of(logits.detach())
    loss = object_loss(logits, means, meant, meant)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_objects_are_mirrored_with_the_scene(scenes: list[StoredScene]) -> None:
    scene = scenes[0]
    cells = SIDE // 4
    plain = objects_at_cells(scene, Mirror(), cells)
    assert plain.shape == (1, cells, cells)
    assert plain.dtype == torch.int64
    assert set(plain.unique().tolist()) <= set(np.unique(scene.instances).tolist())
    assert int(plain.max()) > 0
    across = objects_at_cells(scene, Mirror(across=True), cells)
    assert float((across == plain.flip(2)).float().mean()) > 0.8
