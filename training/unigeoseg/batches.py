"""Batches, the material of one training step, and those of published records."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox, normalise
from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import (
    Tokenizer,
    encode_answer,
    encode_instruction,
)
from training.distributed import SINGLE_PROCESS, ProcessGroup

from .pixel_head import PixelTargets
from .query_head import QueryTargets
from .records import Record, Sample
from .schedule import ScheduledSampler, TaskSchedule

_READERS = 4
"""Threads that read records while the network computes."""


class Facts(NamedTuple):
    """What auxiliary heads and losses learn besides the masks; maps have S/4 cells a side."""

    fine: PixelTargets
    """At the cells of the fine map."""
    coarse: PixelTargets
    """At the S/8 x S/8 cells of the finest of the coarse maps."""
    queries: QueryTargets
    objects: Tensor
    """(B, S/4, S/4) int64, the number of the object at each cell, 0 for none."""


class Batch(NamedTuple):
    """B images with R requests about each."""

    pixels: Tensor
    """(B, 3, S, S) float32, normalised."""
    requests: list[list[Request]]
    masks: Tensor
    """(B, R, S, S) uint8, 1 on the mask; or, where there are weights, (B, R, S/4, S/4) float32, the
    share of each cell that the mask covers."""
    weights: Tensor | None = None
    """(B, R, S/4, S/4) float32, weight of each cell, 0 where the mask is not known."""
    facts: Facts | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; requests are read where they are needed."""
        moved = tree_map(
            lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf,
            self._replace(requests=[]),
        )
        return Batch(*moved)._replace(requests=self.requests)


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Put batches of one source, with as many requests an image, into one."""
    requests = [group for batch in batches for group in batch.requests]
    first, *rest = (batch._replace(requests=[]) for batch in batches)
    joined = tree_map(
        lambda *leaves: torch.cat(leaves) if isinstance(leaves[0], Tensor) else leaves[0],
        first,
        *rest,
    )
    return Batch(*joined)._replace(requests=requests)


def network_input(image: NDArray[np.uint8], side: int) -> Tensor:
    """Fit an image (H, W, 3) into the network's square and normalise it: (1, 3, S, S)."""
    return normalise(Letterbox(image.shape[0], image.shape[1], side).place_image(image))


def encode_request(
    text: str, task: Task, tokenizer: Tokenizer, answer: str | None = None
) -> Request:
    """Encode an instruction and, for training on words, its answer."""
    words = () if answer is None else encode_answer(answer, tokenizer)
    return Request(encode_instruction(text, tokenizer), task, parse_coordinates(text), words)


def collate(samples: Sequence[Sample], tokenizer: Tokenizer, side: int) -> Batch:
    """Fit images and masks into squares of ``side`` pixels and encode the words."""
    pixels, masks, requests = [], [], []
    for sample in samples:
        letterbox = Letterbox(sample.image.shape[0], sample.image.shape[1], side)
        pixels.append(network_input(sample.image, side))
        masks.append(torch.from_numpy(letterbox.place_mask(sample.mask))[None, None])
        requests.append([encode_request(sample.instruction, sample.task, tokenizer, sample.answer)])
    return Batch(torch.cat(pixels), requests, torch.cat(masks))


class RecordBatches:
    """Draws batches of published records by the task schedule, reading one batch ahead.

    The order depends on the seed alone, so a run that continues at another step draws what it would
    have drawn.

    Args:
        records: Training records.
        tokenizer: Encodes the words.
        side: Side of the network's square in pixels.
        size: Images a batch of this process.
        steps: Batches of the whole run.
        seed: Seed of the order.
        start: Step at which the run continues.
        group: The processes that share the run.
    """

    def __init__(
        self,
        records: Sequence[Record],
        tokenizer: Tokenizer,
        side: int,
        *,
        size: int,
        steps: int,
        seed: int,
        start: int = 0,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self._records = records
        self._tokenizer = tokenizer
        self._side = side
        self._size = size
        drawn = size * group.size
        tasks = [record.task for record in records]
        sampler = ScheduledSampler(tasks, TaskSchedule(), steps * drawn, seed)
        self._indices: Iterator[int] = sampler.draw(start * drawn, group.rank, group.size)
        self._pool = ThreadPoolExecutor(_READERS)
        self._next = self._begin()

    def draw(self) -> Batch:
        """Return the batch of the next step."""
        current, self._next = self._next, self._begin()
        return collate([future.result() for future in current], self._tokenizer, self._side)

    def _begin(self) -> list[Future[Sample]]:
        chosen = itertools.islice(self._indices, self._size)
        return [self._pool.submit(self._records[index].read) for index in chosen]
