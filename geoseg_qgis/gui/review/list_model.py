"""The queue as a list that views show."""

from __future__ import annotations

from typing import Any, Optional

from qgis.PyQt.QtCore import QAbstractListModel, QModelIndex, QObject, Qt
from qgis.PyQt.QtGui import QFont

from ...translation import tr
from .journal import Key, Status
from .queue import Item, ReviewQueue


class QueueModel(QAbstractListModel):
    """The items of a queue that are shown.

    Args:
        queue: The queue; call `refresh` after changing it.
    """

    def __init__(self, queue: ReviewQueue, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        self._queue = queue
        self._items = queue.items

    def refresh(self) -> None:
        """Show the queue as it is now."""
        self.beginResetModel()
        self._items = self._queue.items
        self.endResetModel()

    def rowCount(self, parent: Optional[QModelIndex] = None) -> int:
        """Return the number of items."""
        return 0 if parent is not None and parent.isValid() else len(self._items)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of an item; decided ones are struck through or in italics."""
        if not index.isValid() or index.row() >= len(self._items):
            return None
        item = self._items[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return item_text(item)
        if role == Qt.ItemDataRole.FontRole and item.status is not Status.OPEN:
            font = QFont()
            font.setItalic(True)
            font.setStrikeOut(item.status in (Status.DELETED, Status.REDONE))
            return font
        return None

    def key(self, index: QModelIndex) -> Optional[Key]:
        """Return the key of an item."""
        row = index.row()
        return self._items[row].key if index.isValid() and row < len(self._items) else None

    def index_of(self, key: Key) -> QModelIndex:
        """Return the index of an item, an invalid one when it is not shown."""
        rows = [row for row, item in enumerate(self._items) if item.key == key]
        return self.index(rows[0], 0) if rows else QModelIndex()


def item_text(item: Item) -> str:
    """Return one line about an item."""
    parts = [f"{item.rank}."]
    if item.is_missed:
        parts.append(tr("likely missed"))
        if item.iou is not None:
            parts.append(f"{item.iou:.0%}")
    elif item.iou is not None:
        parts.append(tr("IoU {:.2f}").format(item.iou))
    if item.area is not None:
        parts.append(f"{item.area:,.0f} m²")
    if item.problem:
        parts.append(item.problem)
    names = {
        Status.KEPT: tr("kept"),
        Status.DELETED: tr("deleted"),
        Status.REDONE: tr("replaced"),
        Status.ADDED: tr("added"),
    }
    text = "  ".join(parts)
    return f"{text}  ({names[item.status]})" if item.status in names else text
