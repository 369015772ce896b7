"""The page that lists the runs, newest first."""

from __future__ import annotations

from typing import Dict, Optional

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QTimer, QUrl
from qgis.PyQt.QtGui import QDesktopServices, QHideEvent, QShowEvent
from qgis.PyQt.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPlainTextEdit,
    QProgressBar,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...translation import duration, tr
from .records import JobRecord, State, process_command
from .runner import JobRunner

_TICK_MS = 1000
_BAR_HEIGHT = 8
_LOG_LINES = 9


class JobRow(QFrame):
    """One run: title, progress, how long it still takes, and what can be done with it."""

    def __init__(self, runner: JobRunner, number: int) -> None:
        super().__init__()
        self._runner = runner
        self._number = number
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(_BAR_HEIGHT)
        self.cancel = _button("/mTaskCancel.svg", tr("Cancel"))
        self.cancel.clicked.connect(lambda: runner.cancel(number))
        self.show_log = _button("/mMessageLog.svg", tr("Log"))
        self.show_log.setCheckable(True)
        self.show_log.toggled.connect(self._toggle_log)
        self.again = _button("/mActionRefresh.svg", tr("Run again"))
        self.again.clicked.connect(lambda: runner.repeat(number))
        self.folder = _button("/mActionFileOpen.svg", tr("Open the folder of the results"))
        self.folder.clicked.connect(self._open_folder)
        self.remove = _button("/mActionRemove.svg", tr("Take off the list"))
        self.copy = _button("/mActionEditCopy.svg", tr("Copy as a command"))
        self.copy.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.copy)
        menu.addAction(tr("Copy as Python Command"), self._copy_python)
        menu.addAction(tr("Copy as qgis_process Command"), self._copy_process)
        self.copy.setMenu(menu)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setVisible(False)
        self.log.setFixedHeight(self.log.fontMetrics().lineSpacing() * _LOG_LINES)
        buttons = QHBoxLayout()
        buttons.setSpacing(0)
        for button in (
            self.cancel, self.show_log, self.again, self.folder, self.copy, self.remove,
        ):  # fmt: skip
            buttons.addWidget(button)
        top = QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addLayout(buttons)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 4, 4)
        layout.addLayout(top)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.log)
        self.refresh()

    def refresh(self) -> None:
        """Show how the run is now."""
        record = self._runner.jobs.get(self._number)
        if record is None:
            return
        running = not record.state.ended
        self.title.setText(f"<b>{record.title}</b>")
        self.bar.setVisible(running)
        self.bar.setValue(round(100 * record.fraction))
        self.status.setText(self._status(record))
        self.cancel.setVisible(running)
        self.cancel.setEnabled(record.state is State.RUNNING)
        self.again.setVisible(not running)
        self.remove.setVisible(not running)
        self.folder.setVisible(record.folder is not None)
        if self.log.isVisible():
            self._fill_log(record)

    def _status(self, record: JobRecord) -> str:
        elapsed = duration(self._runner.jobs.elapsed(record.number))
        if record.state is State.RUNNING:
            left = self._runner.jobs.time_left(record.number)
            parts = [record.phase or tr("Starting"), f"{record.fraction:.0%}"]
            if left is not None:
                parts.append(tr("about {} left").format(duration(left)))
            return ", ".join(parts)
        if record.state is State.CANCELLING:
            return tr("Cancelling …")
        if record.state is State.CANCELLED:
            return tr("Cancelled after {}").format(elapsed)
        if record.state is State.FAILED:
            return record.error or tr("Failed after {}").format(elapsed)
        text = tr("Finished in {}").format(elapsed)
        return "\n".join([text, *record.warnings])

    def _toggle_log(self, shown: bool) -> None:
        self.log.setVisible(shown)
        self.refresh()

    def _fill_log(self, record: JobRecord) -> None:
        text = "\n".join(line for _level, line in record.log)
        if text != self.log.toPlainText():
            self.log.setPlainText(text)
            bar = self.log.verticalScrollBar()
            bar.setValue(bar.maximum())

    def _open_folder(self) -> None:
        record = self._runner.jobs.get(self._number)
        if record is not None and record.folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(record.folder)))

    def _copy_python(self) -> None:
        record = self._runner.jobs.get(self._number)
        if record is not None:
            QgsApplication.clipboard().setText(record.python_command)

    def _copy_process(self) -> None:
        record = self._runner.jobs.get(self._number)
        if record is not None:
            command = process_command(record.algorithm, record.parameters)
            QgsApplication.clipboard().setText(command)


class JobsPage(QWidget):
    """The page.

    Args:
        runner: Whose runs are listed.

    Attributes:
        runner: As given.
        rows: The rows by the numbers of the runs.
    """

    def __init__(self, runner: JobRunner, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self.runner = runner
        self.rows: Dict[int, JobRow] = {}
        self.nothing = QLabel(tr("No run yet. Runs from the toolbox show their own dialog."))
        self.nothing.setWordWrap(True)
        self._list = QVBoxLayout()
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.addWidget(self.nothing)
        self._list.addStretch()
        inside = QWidget()
        inside.setLayout(self._list)
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        # The time that is left changes without any report.
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)
        runner.changed.connect(self._refresh)
        for record in reversed(tuple(runner.jobs)):
            self._refresh(record.number)

    def showEvent(self, event: QShowEvent) -> None:
        """Let time pass."""
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Let no time pass that nobody sees."""
        super().hideEvent(event)
        self._timer.stop()

    def _refresh(self, number: int) -> None:
        row = self.rows.get(number)
        if row is None:
            row = self.rows[number] = JobRow(self.runner, number)
            row.remove.clicked.connect(lambda: self._remove(number))
            self._list.insertWidget(0, row)
        row.refresh()
        for gone in [one for one in self.rows if self.runner.jobs.get(one) is None]:
            self._drop(gone)
        self.nothing.setVisible(not self.rows)

    def _remove(self, number: int) -> None:
        self.runner.jobs.remove(number)
        self._drop(number)
        self.nothing.setVisible(not self.rows)

    def _drop(self, number: int) -> None:
        row = self.rows.pop(number)
        row.hide()
        row.deleteLater()

    def _tick(self) -> None:
        for record in self.runner.jobs.running:
            self.rows[record.number].refresh()


def _button(icon: str, text: str) -> QToolButton:
    button = QToolButton()
    button.setIcon(QgsApplication.getThemeIcon(icon))
    button.setToolTip(text)
    button.setAccessibleName(text)
    button.setAutoRaise(True)
    return button
