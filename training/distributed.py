"""Processes that train one network together on a processor's cores.

The networks are small, so that one step hardly fills two cores; two processes with a core each
see nearly twice as many pictures. Every process draws lessons of its own, gradients are averaged
after every step, and so all of them keep the same weights.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import distributed, nn

SEED_STEP = 7_000_003
"""What lies between the seeds of two processes."""
_MOST = 2
"""Processes that are started unasked; each keeps scenes and pictures of its own in memory."""
_FAREWELL_SECONDS = 60.0


class TeamError(Exception):
    """A process of a team ended before its work was done."""


class Team:
    """One process of those that train together.

    Args:
        rank: Its number, from 0; the first keeps log and checkpoints.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    @torch.no_grad()
    def share_weights(self, module: nn.Module) -> None:
        """Give a module the first process's weights in all processes."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes.

        A parameter without a gradient counts as zero, and keeps none if no process has one.
        """
        if self.size == 1:
            return
        own = list(parameters)
        present = torch.tensor([float(one.grad is not None) for one in own])
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in own]
        joined = torch.cat([present, *(gradient.flatten() for gradient in gradients)])
        distributed.all_reduce(joined)
        present, *means = torch.split(joined, [len(own), *(one.numel() for one in own)])
        for one, mean, had in zip(own, means, present.tolist(), strict=True):
            one.grad = (mean / self.size).view_as(one) if had else None

    def agreed(self, number: float) -> float:
        """Return the first process's value of a number."""
        if self.size == 1:
            return number
        told = torch.tensor(number, dtype=torch.float64)
        distributed.broadcast(told, 0)
        return float(told)


ALONE = Team()


def team_size(device: torch.device) -> int:
    """Return how many processes to train with: one beside a card, else one a core, 2 at most."""
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MOST)


def work_together(size: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(team, *arguments)`` in ``size`` processes, this one being the first.

    Args:
        size: Number of processes, which share the threads of this one.
        work: A function of a module; it and its arguments are sent to the other processes.
        arguments: What it is called with after its `Team`.

    Raises:
        TeamError: Another process ended early; what it says of it stands in the error stream.
    """
    if size == 1:
        work(ALONE, *arguments)
        return
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        place = (size, str(Path(folder) / "meeting"), max(1, threads // size))
        others: list[BaseProcess] = [
            context.Process(target=_join, args=(rank, place, work, arguments), daemon=True)
            for rank in range(1, size)
        ]
        try:
            for other in others:
                other.start()
            _join(0, place, work, arguments)
        except RuntimeError as error:
            # The library tells only that somebody no longer answers.
            _check_farewell(others, error)
            raise
        else:
            _check_farewell(others)
        finally:
            torch.set_num_threads(threads)
            for other in others:
                if other.pid is not None:
                    other.terminate()
                    other.join()


def _check_farewell(others: Iterable[BaseProcess], error: RuntimeError | None = None) -> None:
    for rank, other in enumerate(others, start=1):
        other.join(_FAREWELL_SECONDS)
        if other.exitcode != 0:
            ended = "did not end" if other.exitcode is None else f"ended with {other.exitcode}"
            here = f" This one met: {error}" if error is not None else ""
            raise TeamError(
                f"Process {rank} of those that train together {ended}.{here} Read what it wrote "
                "above, or train with --processes 1."
            ) from error


def _join(
    rank: int,
    place: tuple[int, str, int],
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    size, meeting, threads = place
    torch.set_num_threads(threads)
    store = distributed.FileStore(meeting, size)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    try:
        work(Team(rank, size), *arguments)
        distributed.barrier()
        if rank:
            _leave()
    finally:
        distributed.destroy_process_group()


def _leave() -> NoReturn:
    """End this process at once: taking down the library's threads now and then aborts it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
