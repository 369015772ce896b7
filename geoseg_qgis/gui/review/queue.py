"""The order in which polygons are looked at, and the one that is looked at: plain Python."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterable, List, Optional, Tuple

from .journal import MISSED, Key, Status


@dataclass(frozen=True)
class Item:
    """One polygon, or one object that is likely missed.

    Attributes:
        key: Its layer and its id.
        rank: ``fix_rank``, 1 is the worst.
        iou: Predicted IoU of a polygon, or probability of a missed object; None if unknown.
        area: Area in square metres, None if unknown.
        problem: What is likely wrong.
        status: What became of it.
    """

    key: Key
    rank: int
    iou: Optional[float] = None
    area: Optional[float] = None
    problem: str = ""
    status: Status = Status.OPEN

    @property
    def is_missed(self) -> bool:
        """Whether it is an object that the mask lacks."""
        return self.key[0] == MISSED


class ReviewQueue:
    """Items by rank, filtered; polygons before missed objects of the same rank.

    A new item keeps its place while its neighbours come and go: the current one is known by its
    key, not by its number.
    """

    def __init__(self) -> None:
        self._items: List[Item] = []
        self._current: Optional[Key] = None
        self._highest_iou = 1.0
        self._smallest_area = 0.0

    def fill(self, items: Iterable[Item]) -> None:
        """Take all items; the current one stays current if it is still there."""
        self._items = sorted(items, key=lambda item: (item.rank, item.is_missed, item.key))
        self._keep_current()

    def set_filter(self, highest_iou: float, smallest_area: float) -> None:
        """Show polygons up to an IoU, and items from an area in square metres on."""
        self._highest_iou, self._smallest_area = highest_iou, smallest_area
        self._keep_current()

    @property
    def items(self) -> Tuple[Item, ...]:
        """The items that are shown, the worst first."""
        return tuple(item for item in self._items if self._is_shown(item))

    @property
    def everything(self) -> Tuple[Item, ...]:
        """All items."""
        return tuple(self._items)

    @property
    def open_count(self) -> int:
        """Number of shown items that nobody has decided on."""
        return sum(item.status is Status.OPEN for item in self.items)

    @property
    def current(self) -> Optional[Item]:
        """The item that is looked at, None for none."""
        return self.find(self._current) if self._current is not None else None

    def find(self, key: Key) -> Optional[Item]:
        """Return the item with a key, None when it is gone."""
        return next((item for item in self._items if item.key == key), None)

    def select(self, key: Optional[Key]) -> None:
        """Look at an item."""
        self._current = key if key is not None and self.find(key) is not None else None

    def set_status(self, key: Key, status: Status) -> None:
        """Change what became of an item."""
        self._items = [
            replace(item, status=status) if item.key == key else item for item in self._items
        ]

    def step(self, direction: int, *, only_open: bool = True) -> Optional[Item]:
        """Look at the next (1) or previous (-1) item and return it; the ends are joined.

        Args:
            direction: 1 or -1.
            only_open: Whether items that were decided on are passed over; one of them is taken all
                the same when no other is left.
        """
        shown = self.items
        if not shown:
            self._current = None
            return None
        keys = [item.key for item in shown]
        here = keys.index(self._current) if self._current in keys else -1 if direction > 0 else 0
        for distance in range(1, len(shown) + 1):
            item = shown[(here + direction * distance) % len(shown)]
            if not only_open or item.status is Status.OPEN:
                self._current = item.key
                return item
        self._current = shown[(here + direction) % len(shown)].key
        return self.current

    def _is_shown(self, item: Item) -> bool:
        if item.area is not None and item.area < self._smallest_area:
            return False
        return item.is_missed or item.iou is None or item.iou <= self._highest_iou

    def _keep_current(self) -> None:
        if self.current is None or not self._is_shown(self.current):
            self._current = None
