"""How long a run still takes, from the progress it reports."""

from __future__ import annotations

from collections import deque
from typing import Deque, Optional, Tuple

_SOONEST_SECONDS = 3.0
_SMALLEST_FRACTION = 0.02
_MOST_SAMPLES = 600
_WORTH_SAYING = 20.0
_NEWS = 0.5


class TimeLeft:
    """Estimates the remaining time of one run.

    Loading a model takes longer than its share of the progress, so the rate is that of the second
    half of the time that has passed.

    Args:
        now: The time at the start, in seconds of any clock.
    """

    def __init__(self, now: float) -> None:
        self._samples: Deque[Tuple[float, float]] = deque([(now, 0.0)], maxlen=_MOST_SAMPLES)
        self._start = now

    def update(self, now: float, fraction: float) -> None:
        """Take a report of the finished fraction in 0..1; one that goes back starts anew."""
        if fraction < self._samples[-1][1]:
            self._samples.clear()
            self._start = now
        self._samples.append((now, fraction))

    def seconds(self, now: float) -> Optional[float]:
        """Return the seconds that are left, None while nobody can know."""
        last_time, last_fraction = self._samples[-1]
        if now - self._start < _SOONEST_SECONDS or last_fraction < _SMALLEST_FRACTION:
            return None
        middle = self._start + (last_time - self._start) / 2.0
        then, fraction = next(
            sample
            for sample in reversed(self._samples)
            if sample[0] <= middle or sample is self._samples[0]
        )
        gained, passed = last_fraction - fraction, last_time - then
        if gained <= 0.0 or passed <= 0.0:
            return None
        return max(0.0, (1.0 - last_fraction) * passed / gained - (now - last_time))


class TimeNews:
    """Says when an estimate is worth a line: the first one, and each that is half of the last.

    Args:
        now: The time at the start, in seconds of any clock.
    """

    def __init__(self, now: float) -> None:
        self._left = TimeLeft(now)
        self._said: Optional[float] = None

    def update(self, now: float, fraction: float) -> Optional[float]:
        """Take a report of the finished fraction; return the seconds to tell, None for nothing."""
        self._left.update(now, fraction)
        left = self._left.seconds(now)
        if left is None or left < _WORTH_SAYING:
            return None
        if self._said is not None and left > _NEWS * self._said:
            return None
        self._said = left
        return left
