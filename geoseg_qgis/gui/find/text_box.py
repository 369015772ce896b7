"""The text box of the page: unknown words are marked, known ones complete, Enter asks."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from qgis.PyQt.QtCore import QStringListModel, Qt, pyqtSignal
from qgis.PyQt.QtGui import (
    QColor,
    QKeyEvent,
    QSyntaxHighlighter,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
)
from qgis.PyQt.QtWidgets import QCompleter, QPlainTextEdit, QWidget

from ...translation import tr
from .meaning import completion_start
from .vocabulary import Vocabulary

UNKNOWN = QColor("#d9730d")
"""Orange that is legible on light and dark grounds."""
_LINES = 3
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class _UnknownWords(QSyntaxHighlighter):
    """Underlines words at given places of the whole text."""

    def __init__(self, document: QTextDocument) -> None:
        super().__init__(document)
        self.places: Tuple[Tuple[int, int], ...] = ()

    def highlightBlock(self, text: str) -> None:
        """Mark the words of one line."""
        offset = self.currentBlock().position()
        mark = QTextCharFormat()
        mark.setForeground(UNKNOWN)
        mark.setUnderlineColor(UNKNOWN)
        mark.setUnderlineStyle(QTextCharFormat.UnderlineStyle.WaveUnderline)
        for start, length in self.places:
            if offset <= start < offset + len(text):
                self.setFormat(start - offset, length, mark)


class TextBox(QPlainTextEdit):
    """A box of a few lines.

    Attributes:
        entered: Sent on Enter; Shift+Enter begins a new line.
    """

    entered = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self.vocabulary = Vocabulary()
        self._marks = _UnknownWords(self.document())
        self._words = QStringListModel(self)
        self._completer = QCompleter(self._words, self)
        self._completer.setWidget(self)
        self._completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        self._completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._completer.activated[str].connect(self._complete)
        self.setTabChangesFocus(True)
        self.setPlaceholderText(tr("building, roof; road; water\nor: all buildings with a pool"))
        self.setAccessibleName(tr("What to find"))
        self.setFixedHeight(self.fontMetrics().lineSpacing() * _LINES + 12)

    def mark(self, places: Sequence[Tuple[int, int]]) -> None:
        """Mark the words at these places as unknown."""
        if tuple(places) != self._marks.places:
            self._marks.places = tuple(places)
            blocked = self.blockSignals(True)
            self._marks.rehighlight()
            self.blockSignals(blocked)

    def marked(self) -> Tuple[Tuple[int, int], ...]:
        """Return start and length of the marked words."""
        return self._marks.places

    def completions(self) -> Tuple[str, ...]:
        """Return the words that are offered now; none while nothing is offered."""
        return tuple(self._words.stringList()) if self._completer.popup().isVisible() else ()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Ask on Enter, unless a completion is chosen with it."""
        popup = self._completer.popup()
        if popup.isVisible():
            if event.key() == Qt.Key.Key_Escape:
                popup.hide()
                return
            if popup.currentIndex().isValid() and event.key() in (*_ENTER, Qt.Key.Key_Tab):
                # The list takes these keys itself.
                event.ignore()
                return
        new_line = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        if event.key() in _ENTER and not new_line:
            popup.hide()
            self.entered.emit()
            return
        super().keyPressEvent(event)
        if event.text().isprintable() and event.text():
            self._offer()
        elif event.key() != Qt.Key.Key_Backspace:
            popup.hide()

    def _offer(self) -> None:
        cursor = self.textCursor()
        start = completion_start(self.toPlainText(), cursor.position())
        words = self.vocabulary.completions(start) if cursor.atBlockEnd() else []
        popup = self._completer.popup()
        if not words:
            popup.hide()
            return
        self._words.setStringList(words)
        self._completer.setCompletionPrefix(start)
        place = self.cursorRect()
        place.setWidth(popup.sizeHintForColumn(0) + popup.verticalScrollBar().sizeHint().width())
        self._completer.complete(place)

    def _complete(self, word: str) -> None:
        cursor = self.textCursor()
        start = completion_start(self.toPlainText(), cursor.position())
        cursor.movePosition(
            QTextCursor.MoveOperation.Left, QTextCursor.MoveMode.KeepAnchor, len(start)
        )
        cursor.insertText(word)
        self.setTextCursor(cursor)
