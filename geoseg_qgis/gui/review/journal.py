"""What a review did, so that it can be undone: plain Python, without any layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Dict, List, Optional, Tuple


class Status(str, Enum):
    """What became of a polygon, as its field says."""

    OPEN = ""
    KEPT = "kept"
    DELETED = "deleted"
    REDONE = "redone"
    ADDED = "added"


POLYGON = "polygon"
MISSED = "missed"
Key = Tuple[str, int]
"""`POLYGON` or `MISSED`, and the id of the feature in its layer."""


@dataclass(frozen=True)
class Change:
    """One decision.

    Attributes:
        key: What it is about.
        before: Status before.
        after: Status after.
        added: Id of the polygon that was added for it, None for none.
    """

    key: Key
    before: Status
    after: Status
    added: Optional[int] = None

    @property
    def inverse(self) -> Change:
        """The change that takes this one back; what was added has to go."""
        return replace(self, before=self.after, after=self.before)


class Journal:
    """The decisions of a review in their order, with undo and redo."""

    def __init__(self) -> None:
        self._done: List[Change] = []
        self._undone: List[Change] = []

    def __len__(self) -> int:
        """Return the number of decisions that can be undone."""
        return len(self._done)

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return bool(self._undone)

    def record(self, change: Change) -> bool:
        """Remember a decision and return whether it changes anything."""
        if change.before is change.after and change.added is None:
            return False
        self._done.append(change)
        self._undone.clear()
        return True

    def undo(self) -> Optional[Change]:
        """Return the inverse of the last decision, None without one."""
        if not self._done:
            return None
        change = self._done.pop()
        self._undone.append(change)
        return change.inverse

    def redo(self) -> Optional[Change]:
        """Return the decision that was undone last, None without one."""
        if not self._undone:
            return None
        change = self._undone.pop()
        self._done.append(change)
        return change

    def amend(self, change: Change) -> None:
        """Replace the last decision, whose added polygon has got another id."""
        if self._done:
            self._done[-1] = change

    def to_json(self) -> List[Dict[str, Any]]:
        """Return the decisions that can be undone in their JSON form."""
        return [
            {
                "kind": change.key[0],
                "id": change.key[1],
                "before": change.before.value,
                "after": change.after.value,
                "added": change.added,
            }
            for change in self._done
        ]

    @classmethod
    def from_json(cls, content: Any) -> Journal:
        """Return the journal that `to_json` gave; what cannot be read is an empty one."""
        journal = cls()
        try:
            journal._done = [
                Change(
                    (str(entry["kind"]), int(entry["id"])),
                    Status(entry["before"]),
                    Status(entry["after"]),
                    None if entry["added"] is None else int(entry["added"]),
                )
                for entry in content
            ]
        except (KeyError, TypeError, ValueError):
            journal._done = []
        return journal
