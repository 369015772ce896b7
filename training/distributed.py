"""Processes that train one network together, started by ``torchrun``.

On a processor the networks are so small that one step hardly fills two cores; two processes with a
core each see nearly twice as many images. Every process draws batches of its own and gradients are
averaged after every step, so all processes keep the same weights.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

import torch
from torch import distributed, nn

SEED_STEP = 7_000_003
"""Distance between the seeds of two processes, larger than that between two steps."""
_BUCKET = 1 << 24
"""Gradients that are averaged in one message, 64 MB of float32."""


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
        trained = (one for one, count in zip(own, counts.tolist(), strict=True) if count)
        for bucket in _buckets(trained):
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


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """Join the processes that ``torchrun`` started, or train alone.

    Args:
        device: Where to train; on cards every process gets one of its own.

    Yields:
        The group and this process's device.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield SINGLE_PROCESS, device
        return
    cuda = device.type == "cuda"
    if cuda:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Numbers that processes agree on are in main memory, gradients on the card.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
