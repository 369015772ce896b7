"""Prefetching of what steps need: ahead of a graphics card, in line beside a processor."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Deque, Generic, Tuple, TypeVar

import torch

Material = TypeVar("Material")

MOST_THREADS = 6
_SEED_STEP = 1_000_003


def prefetch(
    make: Callable[[int], Callable[..., Material]], seed: int, device: torch.device
) -> Callable[..., Material]:
    """Return what draws the material of one step after another.

    Beside a processor it draws when it is asked, for it would only take time from the network.

    Args:
        make: Returns a source of material that draws from a seed.
        seed: Seed of all that is drawn.
        device: Where the network is trained.
    """
    threads = min((os.cpu_count() or 1) - 1, MOST_THREADS)
    if device.type == "cpu" or threads < 1:
        return make(seed)
    return Prefetcher(make, seed, threads)


class Prefetcher(Generic[Material]):
    """Draws what the next steps need while a card computes.

    Each thread has a source of its own, and they take turns: what is drawn depends on the seed, the
    number of threads and what was asked alone. What was drawn for another question is thrown away.

    Args:
        make: Returns a source of material that draws from a seed.
        seed: Seed of the first thread's source.
        threads: Steps that are drawn at once.
    """

    def __init__(
        self, make: Callable[[int], Callable[..., Material]], seed: int, threads: int
    ) -> None:
        self._threads = [ThreadPoolExecutor(1) for _ in range(threads)]
        self._sources = [
            thread.submit(make, seed + number * _SEED_STEP)
            for number, thread in enumerate(self._threads)
        ]
        self._waiting: Deque[Future[Material]] = deque()
        self._asked: Tuple[Any, ...] = ()
        self._turn = 0

    def __call__(self, *asked: Any, **state: Any) -> Material:
        """Return what a source draws for ``asked``; ``state`` may be that of some steps before."""
        if asked != self._asked:
            self._waiting.clear()
            self._asked = asked
        while len(self._waiting) <= len(self._threads):
            self._waiting.append(self._begin(asked, state))
        return self._waiting.popleft().result()

    def _begin(self, asked: Tuple[Any, ...], state: Any) -> Future[Material]:
        turn = self._turn % len(self._threads)
        self._turn += 1
        source = self._sources[turn]
        return self._threads[turn].submit(lambda: source.result()(*asked, **state))
