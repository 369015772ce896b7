"""The page of GeoSeg in the options of QGIS: state of the engine, interpreter, models, device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
)
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..engine_client import locate_engine
from ..engine_client.locate import PACKAGE, lock_hash, read_stamp
from ..processing import hub_access
from ..processing.settings import Settings
from ..protocol.errors import JobError
from ..protocol.job import DEVICES
from ..translation import tr
from .report import diagnostics_report

OPTIONS_PAGE = "GeoSeg"
_ICONS = PACKAGE / "icons"


class OptionsFactory(QgsOptionsWidgetFactory):
    """Makes the page when the options dialog opens."""

    def __init__(self) -> None:
        super().__init__()
        self.setTitle(OPTIONS_PAGE)
        self.setIcon(QIcon(str(_ICONS / "geoseg.svg")))

    def createWidget(self, parent: QWidget) -> QgsOptionsPageWidget:
        """Return a new page."""
        return OptionsPage(parent)


class OptionsPage(QgsOptionsPageWidget):
    """The page."""

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self._run: Optional[_SetupRun] = None
        layout = QVBoxLayout(self)
        layout.addWidget(self._engine_box())
        layout.addWidget(self._models_box())
        layout.addStretch()
        self.show_settings(Settings.read())

    def show_settings(self, settings: Settings) -> None:
        """Fill the page."""
        self.interpreter.setFilePath(settings.interpreter)
        self.model_folder.setFilePath(settings.model_folder)
        self.device.setCurrentIndex(self.device.findData(settings.device))
        self.show_state()

    def settings(self) -> Settings:
        """Return the settings of the page."""
        return Settings(
            self.interpreter.filePath().strip(),
            self.model_folder.filePath().strip(),
            self.device.currentData(),
        )

    def apply(self) -> None:
        """Store the settings of the page; called on OK."""
        self.settings().write()
        entered = self.token.text().strip()
        if not entered:
            return
        if hub_access.store(entered):
            self._show_token()
        else:
            QMessageBox.warning(
                self,
                OPTIONS_PAGE,
                tr(
                    "The token was not stored, because QGIS's authentication database is locked. "
                    "Enter its master password and try again."
                ),
            )

    def show_state(self) -> None:
        """Show whether an engine is available, and which."""
        try:
            location = locate_engine(self.interpreter.filePath().strip())
        except JobError as error:
            self.state.setText(f"<b>{tr('Not ready.')}</b> {error}")
            self.set_up.setText(tr("Set up the engine"))
            return
        origins = {
            "variable": tr("named by the variable GEOSEG_PYTHON"),
            "setting": tr("named below"),
            "checkout": tr("beside the plugin"),
            "user": tr("made by GeoSeg"),
        }
        python = Path(location.python)
        stamp = read_stamp(python.parent.parent)
        stale = stamp and stamp.get("lock") != lock_hash()
        ready = tr("Made for another version of GeoSeg.") if stale else tr("Ready.")
        self.state.setText(
            f"<b>{ready}</b> {_short(python)}<br>"
            f"<i>{origins.get(location.origin, location.origin)}</i>"
        )
        self.set_up.setText(tr("Check and repair"))

    def _engine_box(self) -> QGroupBox:
        box = QGroupBox(tr("Engine"))
        layout = QVBoxLayout(box)
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.state.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout.addWidget(self.state)
        self.set_up = QPushButton()
        self.set_up.clicked.connect(self._toggle_setup)
        copy = QPushButton(tr("Copy report"))
        copy.setToolTip(tr("Copies versions and the last log lines, for a question for help."))
        copy.clicked.connect(lambda: QgsApplication.clipboard().setText(diagnostics_report()))
        row = QHBoxLayout()
        row.addWidget(self.set_up)
        row.addWidget(copy)
        row.addStretch()
        layout.addLayout(row)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        layout.addWidget(self.bar)
        form = QFormLayout()
        self.interpreter = QgsFileWidget()
        self.interpreter.setDialogTitle(tr("Python interpreter of the engine"))
        self.interpreter.lineEdit().setPlaceholderText(tr("the environment that GeoSeg makes"))
        self.interpreter.fileChanged.connect(lambda _path: self.show_state())
        form.addRow(tr("Interpreter"), self.interpreter)
        self.device = QComboBox()
        titles = {
            "auto": tr("Fastest available"),
            "cuda": tr("NVIDIA card (cuda)"),
            "cuda:all": tr("All NVIDIA cards (cuda:all)"),
            "mps": tr("Apple chip (mps)"),
            "cpu": tr("Processor (cpu)"),
        }
        for device in DEVICES:
            self.device.addItem(titles[device], device)
        form.addRow(tr("Device"), self.device)
        layout.addLayout(form)
        return box

    def _models_box(self) -> QGroupBox:
        box = QGroupBox(tr("Models"))
        form = QFormLayout(box)
        self.model_folder = QgsFileWidget()
        self.model_folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.model_folder.setDialogTitle(tr("Folder of models"))
        self.model_folder.lineEdit().setPlaceholderText(tr("a folder of your account"))
        form.addRow(tr("Model folder"), self.model_folder)
        note = QLabel(tr("Downloads go there. Each subfolder with a card.json is a model as well."))
        note.setWordWrap(True)
        form.addRow("", note)
        self.token = QLineEdit()
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setToolTip(
            tr(
                "For models whose authors grant access one by one. It is kept in QGIS's "
                "authentication database and sent to Hugging Face only."
            )
        )
        self.forget = QPushButton(tr("Forget"))
        self.forget.clicked.connect(self._forget_token)
        row = QHBoxLayout()
        row.addWidget(self.token)
        row.addWidget(self.forget)
        form.addRow(tr("Hugging Face token"), row)
        self._show_token()
        return box

    def _show_token(self) -> None:
        stored = hub_access.is_stored()
        self.token.clear()
        self.token.setPlaceholderText(tr("stored") if stored else tr("none"))
        self.forget.setEnabled(stored)

    def _forget_token(self) -> None:
        hub_access.store("")
        self._show_token()

    def _toggle_setup(self) -> None:
        if self._run is not None:
            self._run.cancel()
            return
        self._run = _SetupRun(self)

    def setup_ended(self) -> None:
        """Show the outcome of a set-up."""
        self._run = None
        self.bar.setVisible(False)
        self.show_state()


def _short(path: Path) -> str:
    """Return a short path, relative to the plugin or to the home folder."""
    for start, prefix in ((PACKAGE.parent, ""), (Path.home(), "~/")):
        if start in path.parents:
            return prefix + path.relative_to(start).as_posix()
    return str(path)


def _setup_values(settings: Settings) -> Dict[str, str]:
    """Return the values of a set-up; an environment that GeoSeg made elsewhere is repaired."""
    chosen = Path(settings.interpreter).expanduser()
    for environment in (chosen, chosen.parent.parent):
        if settings.interpreter and read_stamp(environment):
            return {"DESTINATION": str(environment)}
    return {}


class _SetupRun:
    """One set-up in the background; it goes on when the page is closed."""

    _alive: Dict[int, Any] = {}

    def __init__(self, page: OptionsPage) -> None:
        self._page: Optional[OptionsPage] = page
        page.destroyed.connect(self._lose_page)
        # A runner task does not keep these alive by itself.
        self._context = QgsProcessingContext()
        self._feedback = QgsProcessingFeedback()
        self._feedback.progressChanged.connect(self._show_progress)
        algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:setup")
        self._task = QgsProcessingAlgRunnerTask(
            algorithm, _setup_values(page.settings()), self._context, self._feedback
        )
        self._task.executed.connect(self._finish)
        self._alive[id(self)] = self
        page.set_up.setText(tr("Cancel"))
        page.bar.setRange(0, 100)
        page.bar.setVisible(True)
        QgsApplication.taskManager().addTask(self._task)

    def cancel(self) -> None:
        """Stop soon."""
        self._task.cancel()

    def _lose_page(self) -> None:
        self._page = None

    def _show_progress(self, percent: float) -> None:
        if self._page is not None:
            self._page.bar.setValue(int(percent))

    def _finish(self, successful: bool, _results: Dict[str, Any]) -> None:
        self._alive.pop(id(self), None)
        if self._page is None:
            return
        self._page.setup_ended()
        if not successful and not self._feedback.isCanceled():
            self._page.state.setText(
                f"<b>{tr('The set-up failed.')}</b> {self._feedback.textLog().splitlines()[-1]}"
            )
