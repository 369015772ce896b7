import pytest
import torch
from torch.nn import functional

from training.affinity import affinity_loss, cell_labels, pair_targets
from training.land_cover import ANY, BIT, all_but, partial_label
from training.losses import (
    area_targets,
    compatible,
    partial_cross_entropy,
    rarity,
    soft_cross_entropy,
)


def test_compatible_reads_sets_of_surfaces():
    queries = torch.tensor([BIT["building"], partial_label("tree", "grass"), 0])
    labels = torch.tensor([BIT["building"], all_but("building"), BIT["tree"], 0])
    assert compatible(labels, queries).tolist() == [
        [True, False, False],
        [False, True, False],
        [False, True, False],
        [False, False, False],
    ]


def test_partial_cross_entropy_is_cross_entropy_for_certain_pixels():
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([0, 1, 2, 3, 1, 1, 0])
    loss = partial_cross_entropy(logits, functional.one_hot(truth, 4).bool())
    assert loss == pytest.approx(float(functional.cross_entropy(logits, truth)), abs=1e-6)


def test_partial_cross_entropy_adds_the_probabilities_of_what_is_possible():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    positive = torch.tensor([[True, True, False, False]])
    assert partial_cross_entropy(logits, positive) == pytest.approx(0.6931472)


def test_rows_without_information_do_not_count():
    logits = torch.randn(3, 2, requires_grad=True)
    positive = torch.tensor([[False, False], [True, True], [False, False]])
    loss = partial_cross_entropy(logits, positive)
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().sum() == 0


def test_rare_labels_weigh_more():
    weights = rarity(torch.tensor([1] * 90 + [2] * 10), exponent=0.5)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[-1] / weights[0]) == pytest.approx(3.0)


def test_area_targets_share_an_image():
    positive = torch.tensor([[[True, False], [True, False], [False, True], [True, True]]])
    assert area_targets(positive).tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3)]]


def test_soft_cross_entropy_of_even_logits():
    loss = soft_cross_entropy(torch.zeros(2, 4), torch.full((2, 4), 0.25))
    assert loss == pytest.approx(1.3862944)


def test_pairs_of_a_rest_class_neither_agree_nor_differ():
    labels = torch.tensor([BIT["building"], all_but("building"), all_but("building"), ANY, 0])
    known = torch.tensor([True, False, False, False, False])
    same, apart = pair_targets(labels, known)
    assert same.nonzero().tolist() == [[0, 0]]
    assert apart.nonzero().tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]


def test_affinity_loss_prefers_separated_classes():
    labels = torch.tensor([BIT["road"]] * 2 + [BIT["water"]] * 2)
    known = torch.ones(4, dtype=torch.bool)
    apart = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    mixed = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    assert affinity_loss(apart, labels, known) < 0.1
    assert affinity_loss(mixed, labels, known) > 3.5


def test_cell_labels_are_unknown_where_pixels_disagree():
    labels = torch.full((1, 16, 16), BIT["road"])
    labels[0, :8, 3:] = BIT["water"]
    assert cell_labels(labels, 2).tolist() == [[0, BIT["water"], BIT["road"], BIT["road"]]]
