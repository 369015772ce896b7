"""Work spread over several devices, with results in the order of the work.

Each worker has a device and its own copy of the networks, and takes the next piece when it is
free. Results come back in the order of the pieces, so that sums over them are those of one device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from geoseg_qgis.protocol.errors import ErrorCode, JobError

Item = TypeVar("Item")
Output = TypeVar("Output")

# Pieces read ahead for each worker, so that none waits for the disk.
AHEAD = 2


@dataclass(frozen=True)
class Worker(Generic[Item, Output]):
    """Computes pieces, one at a time.

    Attributes:
        name: Where it computes, for messages.
        compute: Takes one piece; called from a thread when there are several workers.
    """

    name: str
    compute: Callable[[Item], Output]


def spread(
    workers: Sequence[Worker[Item, Output]], items: Iterable[Item]
) -> Iterator[tuple[Item, Output]]:
    """Yield each piece with what a worker made of it, in order.

    Pieces are drawn from ``items`` in the caller's thread. A single worker runs there as well.

    Raises:
        JobError: What a worker raised; ``DEVICE_UNAVAILABLE`` naming the worker when that was no
            `JobError` and others might go on. No piece is begun after a failure.
    """
    if len(workers) == 1:
        for item in items:
            yield item, workers[0].compute(item)
        return
    free: SimpleQueue[Worker[Item, Output]] = SimpleQueue()
    for worker in workers:
        free.put(worker)
    waiting: deque[tuple[Item, Future[Output]]] = deque()
    with ThreadPoolExecutor(len(workers), "device") as threads:
        try:
            for item in items:
                waiting.append((item, threads.submit(_compute, free, item)))
                if len(waiting) >= AHEAD * len(workers):
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _first(waiting: deque[tuple[Item, Future[Output]]]) -> tuple[Item, Output]:
    item, future = waiting.popleft()
    return item, future.result()


def _compute(free: SimpleQueue[Worker[Item, Output]], item: Item) -> Output:
    worker = free.get()
    try:
        return worker.compute(item)
    except JobError:
        raise
    except Exception as error:
        raise JobError(
            ErrorCode.DEVICE_UNAVAILABLE,
            f"The device {worker.name} failed in the middle of the run: "
            f"{type(error).__name__}: {_first_line(error)}.",
            "Run again on one of the other devices.",
            str(error),
        ) from error
    finally:
        free.put(worker)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no message"
