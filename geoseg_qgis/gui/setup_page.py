"""The page of the dock while there is no engine: what will be installed, and the button for it."""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any, Dict, Optional

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from ..engine_client import default_destination, engine_ready
from ..engine_client.setup_plan import SetupPlan, plan_setup
from ..processing.settings import Settings
from ..translation import size, tr
from .background import Background
from .jobs.runner import JobRunner


class SetupPage(QWidget):
    """The page.

    Args:
        runner: Runs the set-up.

    Attributes:
        ready: Sent once there is an engine.
        tried: Sent when the user wants to try it on what is visible.
    """

    ready = pyqtSignal()
    tried = pyqtSignal()

    def __init__(self, runner: JobRunner, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self._runner = runner
        self._number: Optional[int] = None
        self._plan: Optional[SetupPlan] = None
        self._planning: Optional[Background] = None
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.button = QPushButton()
        self.button.clicked.connect(self._click)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(self.button)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addStretch()
        runner.changed.connect(self._follow)
        self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """Find out what would be installed."""
        super().showEvent(event)
        if self._plan is None and self._planning is None:
            # It asks the driver of an NVIDIA card, which may take a second.
            title = tr("GeoSeg looks at this computer")
            self._planning = Background(title, lambda _stop: plan_setup(), self._take_plan).start()

    def refresh(self) -> None:
        """Show what there is and what would be installed."""
        is_ready, reason = engine_ready(Settings.read().interpreter)
        if is_ready:
            self.text.setText(
                "<h3>{}</h3><p>{}</p>".format(
                    tr("Ready."), tr("The models run on this computer, without an account.")
                )
            )
            self.button.setText(tr("Try it on what you see"))
            return
        self.text.setText(_explanation(reason, self._plan))
        if self._number is None:
            download = size(self._plan.download_bytes) if self._plan is not None else ""
            text = tr("Set up (download {})").format(download) if download else tr("Set up")
            self.button.setText(text)

    def close_page(self) -> None:
        """Wait for nothing any more."""
        planning, self._planning = self._planning, None
        if planning is not None:
            planning.drop()

    def _take_plan(self, plan: Any) -> None:
        self._planning = None
        if isinstance(plan, SetupPlan):
            self._plan = plan
            self.refresh()

    def _click(self) -> None:
        if self._number is not None:
            self._runner.cancel(self._number)
        elif engine_ready(Settings.read().interpreter)[0]:
            self.tried.emit()
        else:
            self._number = self._runner.start("geoseg:setup", {}, ended=self._ended)
            self.button.setText(tr("Cancel"))
            self.bar.setVisible(True)
            self.bar.setValue(0)
            self.status.setText("")

    def _follow(self, number: int) -> None:
        record = self._runner.jobs.get(number)
        if record is not None and number == self._number:
            self.bar.setValue(round(100 * record.fraction))
            self.status.setText(record.phase)

    def _ended(self, fine: bool, _results: Dict[str, Any]) -> None:
        record = self._runner.jobs.get(self._number) if self._number is not None else None
        self._number = None
        self.bar.setVisible(False)
        self.status.setText("" if fine or record is None else record.error)
        self.refresh()
        if fine:
            self.ready.emit()


def _explanation(reason: str, plan: Optional[SetupPlan]) -> str:
    free = _free_space()
    lines = [
        tr(
            "GeoSeg runs its models in a Python environment of its own. Nothing is installed into "
            "QGIS, and nothing is downloaded before you press the button."
        )
    ]
    if plan is not None:
        lines.append(plan.reason)
        lines.append(tr("Packages: {} and what they need.").format(", ".join(plan.packages)))
        sizes = tr("Download: about {}. On the disk: about {}.")
        lines.append(sizes.format(size(plan.download_bytes), size(plan.disk_bytes)))
    if free:
        lines.append(tr("Free on this disk: {}.").format(size(free)))
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    title = html.escape(tr("One step before the start"))
    return f"<h3>{title}</h3>{paragraphs}<p><small>{html.escape(reason)}</small></p>"


def _free_space() -> float:
    folder = Path(default_destination())
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return float(shutil.disk_usage(str(folder)).free)
    except OSError:
        return 0.0
