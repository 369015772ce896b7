"""Drawing ahead of a card: in turns, with the same arguments, reproducibly."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable

import pytest
import torch
from training_runs import town

from training.crops import Batch, CropSampler
from training.prefetching import Prefetcher, prefetch

Drawn = tuple[int, int, int, float]


def numbered(seed: int) -> Callable[..., Drawn]:
    """Return a source that returns its seed, the number of its calls, and their arguments."""
    count = itertools.count()
    return lambda size, progress=0.0: (seed, next(count), size, progress)


def test_sources_take_turns() -> None:
    prefetcher = Prefetcher(numbered, 7, 3)
    drawn = [prefetcher(5) for _ in range(7)]
    seeds = [seed for seed, *_ in drawn]
    assert seeds[0] == 7
    assert len(set(seeds[:3])) == 3
    assert seeds == [*seeds[:3], *seeds[:3], seeds[0]]
    assert [count for _, count, *_ in drawn] == [0, 0, 0, 1, 1, 1, 2]


def test_arguments_are_kept_and_state_may_be_older() -> None:
    prefetcher = Prefetcher(numbered, 7, 2)
    drawn = [prefetcher(5, progress=float(step)) for step in range(6)]
    assert [progress for *_, progress in drawn] == [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]
    assert [size for _, _, size, _ in drawn] == [5] * 6
    assert prefetcher(6, progress=9.0)[2:] == (6, 9.0)


def test_later_steps_are_drawn_meanwhile() -> None:
    drawn = threading.Semaphore(0)

    def source(_seed: int) -> Callable[[], None]:
        return drawn.release

    Prefetcher(source, 0, 2)()
    for _ in range(3):
        assert drawn.acquire(timeout=60)


def test_a_seed_gives_the_same_crops_again() -> None:
    def crops(seed: int) -> Callable[[int], Batch]:
        return CropSampler(town(), 48, seed).batch

    inline = prefetch(crops, 3, torch.device("cpu"))
    first, again = Prefetcher(crops, 3, 2), Prefetcher(crops, 3, 2)
    batches = [first(2) for _ in range(4)]
    assert torch.equal(batches[0].pixels, inline(2).pixels)
    assert torch.equal(batches[2].pixels, inline(2).pixels)
    assert not torch.equal(batches[1].pixels, batches[0].pixels)
    for batch in batches:
        assert torch.equal(batch.pixels, again(2).pixels)


@pytest.mark.parametrize(("cores", "sources"), [(16, 6), (4, 3), (1, 1)])
def test_a_card_leaves_a_core_to_its_own_thread(
    cores: int, sources: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    draw = prefetch(numbered, 7, torch.device("cuda"))
    assert len({draw(1)[0] for _ in range(12)}) == sources


def test_a_step_that_cannot_be_drawn_fails_in_its_turn() -> None:
    def source(_seed: int) -> Callable[[], int]:
        steps = iter((1, 2))
        return lambda: next(steps)

    prefetcher = Prefetcher(source, 0, 2)
    assert [prefetcher() for _ in range(4)] == [1, 1, 2, 2]
    with pytest.raises(StopIteration):
        prefetcher()


def test_errors_of_drawing_are_raised() -> None:
    def source(_seed: int) -> Callable[[], None]:
        raise ValueError("no scenes")

    with pytest.raises(ValueError, match="no scenes"):
        Prefetcher(source, 0, 2)()
