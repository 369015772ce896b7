"""Processes that train one network together.

On a processor the networks are so small that one step hardly fills two cores; two processes with a
core each see nearly twice as many images. Every process draws batches of its own and gradients are
averaged after every step, so all processes keep the same weights. Processes are started here, see
`run_in_processes`, or by ``torchrun``, see `torchrun_group`, one for each graphics card.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import distributed, nn

SEED_STEP = 7_000_003
"""Distance between the seeds of two processes, larger than that between two steps."""
_MOST_PROCESSES = 2
"""Default limit, because each process keeps scenes and images of its own in memory."""
_BUCKET = 1 << 24
"""Gradients that are averaged in one message, 64 MB of float32."""
_EXIT_SECONDS = 60.0


class ProcessGroupError(Exception):
    """A process of a group ended before its work was done."""


class ProcessGroup:
    """One process of those that train together.

    Args:
        rank: Its number, from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_main(self) -> bool:
        """Whether this process writes the log and the checkpoints."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    @torch.no_grad()
    def share_weights(self, module: nn.Module) -> None:
        """Copy the first process's weights of a module to all processes."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes.

        A parameter without a gradient counts as zero, and keeps none if no process has one.
        """
        if self.size == 1:
            return
        own = [one for one in parameters if one.requires_grad]
        counts = torch.tensor([float(one.grad is not None) for one in own], device=own[0].device)
        distributed.all_reduce(counts)
        for bucket in _buckets(one for one, count in zip(own, counts.tolist()) if count):
            gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in bucket]
            joined = torch.cat([gradient.flatten() for gradient in gradients])
            distributed.all_reduce(joined)
            means = (joined / self.size).split([one.numel() for one in bucket])
            for one, mean in zip(bucket, means, strict=True):
                one.grad = mean.view_as(one)

    def agreed(self, number: float) -> float:
        """Return the first process's value of a number."""
        if self.size == 1:
            return number
        value = torch.tensor(number, dtype=torch.float64)
        distributed.broadcast(value, 0)
        return float(value)


SINGLE_PROCESS = ProcessGroup()


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        if bucket and sum(one.numel() for one in bucket) + parameter.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def default_processes(device: torch.device) -> int:
    """Return how many processes to start: one for a card, else one for each core, 2 at most."""
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MOST_PROCESSES)


@contextlib.contextmanager
def torchrun_group(device: torch.device) -> Iterator[tuple[ProcessGroup, torch.device] | None]:
    """Join the processes that ``torchrun`` started, each on a card of its own.

    Yields:
        The group and this process's device, or None when ``torchrun`` did not start the process.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield None
        return
    cuda = device.type == "cuda"
    if cuda:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Numbers that processes agree on lie in main memory, gradients on the card.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()


def run_in_processes(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(group, *arguments)`` in several processes, this one being the first.

    Args:
        count: Number of processes, which share the threads of this one.
        work: A function of a module; it and its arguments are sent to the other processes.
        arguments: What it is called with after its `ProcessGroup`.

    Raises:
        ProcessGroupError: Another process ended early; its error is in the error stream.
    """
    if count == 1:
        work(SINGLE_PROCESS, *arguments)
        return
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        place = (count, str(Path(folder) / "store"), max(1, threads // count))
        others: list[BaseProcess] = [
            context.Process(target=_join, args=(rank, place, work, arguments), daemon=True)
            for rank in range(1, count)
        ]
        try:
            for other in others:
                other.start()
            _join(0, place, work, arguments)
        except RuntimeError as error:
            # The library only reports that a process no longer responds.
            _check_exits(others, error)
            raise
        else:
            _check_exits(others)
        finally:
            torch.set_num_threads(threads)
            for other in others:
                if other.pid is not None:
                    other.terminate()
                    other.join()


def _check_exits(others: Iterable[BaseProcess], error: RuntimeError | None = None) -> None:
    for rank, other in enumerate(others, start=1):
        other.join(_EXIT_SECONDS)
        if other.exitcode != 0:
            ended = "did not end" if other.exitcode is None else f"ended with {other.exitcode}"
            here = f" The first process reports: {error}" if error is not None else ""
            raise ProcessGroupError(
                f"Process {rank} of the training {ended}.{here} Read its error above, or train "
                "with --processes 1."
            ) from error


def _join(
    rank: int,
    place: tuple[int, str, int],
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    size, store_file, threads = place
    torch.set_num_threads(threads)
    store = distributed.FileStore(store_file, size)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    try:
        work(ProcessGroup(rank, size), *arguments)
        distributed.barrier()
        if rank:
            _exit()
    finally:
        distributed.destroy_process_group()


def _exit() -> NoReturn:
    """End this process at once: shutting down the library's threads sometimes aborts it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
