"""The three tasks of the network."""

from __future__ import annotations

from enum import Enum


class Task(str, Enum):
    """Task of an instruction; the values are those of the published data sets."""

    REFERRING = "ref"
    REASONING = "reason"
    INTERACTIVE = "intera"

    @property
    def memory_strength(self) -> float:
        """Share of the recalled memory in the pooled instruction (lambda of the method)."""
        return 0.0 if self is Task.INTERACTIVE else 0.2
