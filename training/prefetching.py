"""Drawing the batches of later steps while a graphics card computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch

Material = TypeVar("Material")

MOST_THREADS = 6
_SEED_STEP = 1_000_003


def prefetch(
    make: Callable[[int], Callable[..., Material]], seed: int, device: torch.device
) -> Callable[..., Material]:
    """Return a function that draws the batch of one step after another.

    On a CPU it draws when it is called, because threads would only take time from the network.

    Args:
        make: Returns a source of batches for a seed.
        seed: Seed of all that is drawn.
        device: Where the network is trained.
    """
    threads = min((os.cpu_count() or 1) - 1, MOST_THREADS)
    if device.type == "cpu" or threads < 1:
        return make(seed)
    return Prefetcher(make, seed, threads)


class Prefetcher(Generic[Material]):
    """Draws the batches of the next steps in threads.

    Each thread has a source of its own, and they take turns: batches depend on the seed, the number
    of threads and the arguments alone. Batches drawn for other arguments are thrown away.

    Args:
        make: Returns a source of batches for a seed.
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
        self._waiting: deque[Future[Material]] = deque()
        self._arguments: tuple[Any, ...] = ()
        self._turn = 0

    def __call__(self, *arguments: Any, **state: Any) -> Material:
        """Return what a source draws for ``arguments``; ``state`` may be some steps old."""
        if arguments != self._arguments:
            self._waiting.clear()
            self._arguments = arguments
        while len(self._waiting) <= len(self._threads):
            self._waiting.append(self._begin(arguments, state))
        return self._waiting.popleft().result()

    def _begin(self, arguments: tuple[Any, ...], state: Any) -> Future[Material]:
        turn = self._turn % len(self._threads)
        self._turn += 1
        source = self._sources[turn]
        return self._threads[turn].submit(lambda: source.result()(*arguments, **state))
