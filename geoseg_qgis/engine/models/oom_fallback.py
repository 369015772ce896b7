"""What every method does when memory runs out.

Four steps, each taken only when the one before did not help: batches halve; tiles shrink, where
the method allows it; networks of other stages are unloaded; the job ends with an error. The
limits found hold for the rest of the run. Nothing moves to another device by itself.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from geoseg_qgis.engine.failures import is_out_of_memory
from geoseg_qgis.protocol.errors import ErrorCode, JobError

Item = TypeVar("Item")
Output = TypeVar("Output")

logger = logging.getLogger(__name__)


def _nothing_to_unload() -> bool:
    return False


@dataclass(frozen=True)
class Work(Generic[Item, Output]):
    """A computation on items, in batches.

    Attributes:
        compute: Takes any number of items; returns one output each, or one for them all.
        what: How messages name one item.
        shrink: Computes one item in smaller tiles: level 1 halves their sides, level 2 quarters
            them; None where the method does not allow it.
        levels: Highest level that ``shrink`` takes.
    """

    compute: Callable[[Sequence[Item]], Sequence[Output]]
    what: str = "One window of the image"
    shrink: Callable[[Item, int], Output] | None = None
    levels: int = 0


class OutOfMemoryFallback:
    """Runs work on one device and asks less of it when its memory runs out.

    Args:
        device: Where the work is computed; None when the caller leaves it open.
        unload: Unloads networks that this stage does not need; returns whether there were any.
        warn: Gets a sentence when the results may change: smaller tiles see less context.

    Attributes:
        batch: Most items tried at once; None before any limit was met.
        level: How often the sides of tiles were halved.
    """

    def __init__(
        self,
        device: torch.device | None = None,
        unload: Callable[[], bool] = _nothing_to_unload,
        warn: Callable[[str], None] = logger.warning,
    ) -> None:
        self.device = device
        self.batch: int | None = None
        self.level = 0
        self._reported_level = 0
        self._unload = unload
        self._warn = warn

    @property
    def name(self) -> str:
        """The device's name in messages."""
        return "the device" if self.device is None else str(self.device)

    def run(self, work: Work[Item, Output], items: Sequence[Item]) -> list[Output]:
        """Return the outputs of the items, in order.

        Raises:
            JobError: ``OUT_OF_MEMORY`` when not even one item fits.
        """
        results: list[Output] = []
        start = 0
        while start < len(items):
            batch = items[start : start + (self.batch or len(items))]
            problem = ""
            try:
                results += self._compute(work, batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                problem = str(error)
            else:
                start += len(batch)
                self._report_smaller_tiles()
                continue
            # Only here is the failed batch's memory free: the exception held its tensors.
            free_cached_memory()
            self._step_down(work, len(batch), problem)
        return results

    def _compute(self, work: Work[Item, Output], batch: Sequence[Item]) -> Sequence[Output]:
        level = min(self.level, work.levels)
        if level == 0 or work.shrink is None:
            return work.compute(batch)
        return [work.shrink(item, level) for item in batch]

    def _report_smaller_tiles(self) -> None:
        if self.level > self._reported_level:
            self._reported_level = self.level
            self._warn(
                f"The memory of {self.name} did not suffice, so tiles have 1/{2**self.level} of "
                "their usual side: results may differ a little. Choose a smaller model to avoid it."
            )

    def _step_down(self, work: Work[Item, Output], count: int, problem: str) -> None:
        if count > 1:
            self.batch = count // 2
            logger.warning(
                "Out of memory: batches of %d on %s from here on.", self.batch, self.name
            )
        elif work.shrink is not None and self.level < work.levels:
            self.level += 1
        elif self._unload():
            self.level = 0
            logger.warning("Out of memory: idle networks were unloaded from %s.", self.name)
            free_cached_memory()
        else:
            raise _does_not_fit(work.what, self, problem)


def free_cached_memory() -> None:
    """Give the memory that PyTorch caches back to the accelerators."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _does_not_fit(what: str, fallback: OutOfMemoryFallback, problem: str) -> JobError:
    hint = "Choose a smaller model, close what else uses this device, or choose the device cpu."
    if fallback.device is not None and fallback.device.type == "cpu":
        hint = "Choose a smaller model, or close other programs."
    message = f"{what} does not fit into the memory of {fallback.name}."
    return JobError(ErrorCode.OUT_OF_MEMORY, message, hint, problem)
