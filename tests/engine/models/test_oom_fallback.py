"""When memory runs out: smaller batches, smaller tiles, fewer networks, then an error."""

import weakref
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from geoseg_qgis.engine.failures import is_out_of_memory
from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work
from geoseg_qgis.protocol.errors import ErrorCode, JobError

CPU = torch.device("cpu")


class Machine:
    """Doubles tiles of (h, w), and has memory for ``pixels`` at once."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.asked: list[int] = []

    def double(self, tiles: Sequence[Tensor]) -> list[Tensor]:
        pixels = sum(tile.numel() for tile in tiles)
        self.asked.append(pixels)
        if pixels > self.pixels:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [tile * 2 for tile in tiles]

    def in_smaller_tiles(self, tile: Tensor, level: int) -> Tensor:
        side = tile.shape[0] >> level
        rows = [torch.cat(self._row(strip, side), dim=1) for strip in tile.split(side)]
        return torch.cat(rows)

    def _row(self, strip: Tensor, side: int) -> list[Tensor]:
        return [self.double([piece])[0] for piece in strip.split(side, dim=1)]


def tiles(count: int) -> list[Tensor]:
    return [torch.arange(64.0).reshape(8, 8) + 100 * index for index in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [1000, 300, 200, 64])
def test_halved_batches_give_the_same(pixels: int) -> None:
    machine = Machine(pixels)
    results = OutOfMemoryFallback(CPU).run(Work(machine.double), tiles(7))
    assert all(torch.equal(got, tile * 2) for got, tile in zip(results, tiles(7), strict=True))


@pytest.mark.slow
def test_a_limit_holds_for_the_rest_of_the_run() -> None:
    machine, fallback = Machine(128), OutOfMemoryFallback(CPU)
    fallback.run(Work(machine.double), tiles(4))
    assert machine.asked == [256, 128, 128]
    fallback.run(Work(machine.double), tiles(4))
    assert machine.asked[3:] == [128, 128]
    assert fallback.batch == 2


@pytest.mark.slow
def test_tiles_shrink_only_where_the_method_allows() -> None:
    warnings: list[str] = []
    machine, fallback = Machine(16), OutOfMemoryFallback(CPU, warn=warnings.append)
    work = Work(machine.double, shrink=machine.in_smaller_tiles, levels=2)
    results = fallback.run(work, tiles(3))
    assert all(torch.equal(got, tile * 2) for got, tile in zip(results, tiles(3), strict=True))
    assert (fallback.batch, fallback.level) == (1, 1)
    assert len(warnings) == 1
    assert "1/2 of their usual side" in warnings[0]
    with pytest.raises(JobError, match="does not fit into the memory of cpu"):
        OutOfMemoryFallback(CPU).run(Work(Machine(16).double), tiles(3))


@pytest.mark.slow
def test_idle_networks_are_unloaded_last() -> None:
    machine, asked = Machine(3), []

    def unload() -> bool:
        asked.append(len(machine.asked))
        machine.pixels = 64
        return len(asked) == 1

    fallback = OutOfMemoryFallback(CPU, unload, warn=lambda _: None)
    results = fallback.run(
        Work(machine.double, shrink=machine.in_smaller_tiles, levels=1), tiles(2)
    )
    assert torch.equal(results[1], tiles(2)[1] * 2)
    assert machine.asked == [128, 64, 16, 64, 64]
    assert asked == [3]
    assert fallback.level == 0, "whole tiles again"


@pytest.mark.slow
def test_the_error_says_what_to_do() -> None:
    with pytest.raises(JobError) as caught:
        OutOfMemoryFallback(CPU).run(Work(Machine(3).double, "One tile"), tiles(2))
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY
    assert caught.value.message == "One tile does not fit into the memory of cpu."
    assert caught.value.hint == "Choose a smaller model, or close other programs."
    assert "CUDA out of memory" in caught.value.detail
    with pytest.raises(JobError) as caught:
        OutOfMemoryFallback(torch.device("cuda:1")).run(Work(Machine(3).double), tiles(1))
    assert "cuda:1" in caught.value.message
    assert "the device cpu" in caught.value.hint


@pytest.mark.slow
def test_the_failed_batch_is_gone_before_the_next_try() -> None:
    left: list[weakref.ref[Tensor]] = []

    def compute(batch: Sequence[int]) -> list[int]:
        assert all(tensor() is None for tensor in left)
        held = torch.zeros(len(batch))
        left.append(weakref.ref(held))
        if len(batch) > 1:
            raise MemoryError
        return [int(held.sum())]

    assert OutOfMemoryFallback(CPU).run(Work(compute), [1, 2, 3, 4]) == [0, 0, 0, 0]


def test_other_failures_pass() -> None:
    def compute(_: Sequence[int]) -> list[int]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        OutOfMemoryFallback(CPU).run(Work(compute), [1, 2])


@pytest.mark.slow
def test_an_allocation_that_no_computer_can_give_counts_as_out_of_memory() -> None:
    def compute(batch: Sequence[int]) -> list[int]:
        torch.empty(1 << 58 if len(batch) > 1 else 1)
        return list(batch)

    with pytest.raises(RuntimeError) as caught:
        compute([1, 2])
    assert is_out_of_memory(caught.value)
    assert OutOfMemoryFallback(CPU).run(Work(compute), [1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 5.00 GB)",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes.",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_the_words_of_every_allocator_are_known(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(ValueError(text))
