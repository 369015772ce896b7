"""What the engine is: its devices and its models, asked for in the background."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..processing.base import GeoSegAlgorithm
from ..processing.settings import Settings
from ..protocol.job import Job, make_job
from ..protocol.result import ModelSummary
from ..translation import tr
from .background import Background


class EngineState(QObject):
    """Devices and models of the engine.

    Attributes:
        changed: Sent when something is known that was not before.
        devices: One ``{"id", "name", ...}`` for each device.
        models: All presets.
        problem: Why nothing is known, empty when it is.
    """

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        self.devices: List[Dict[str, Any]] = []
        self.models: Tuple[ModelSummary, ...] = ()
        self.problem = ""
        self._task: Optional[Background] = None

    @property
    def asking(self) -> bool:
        """Whether an answer is awaited."""
        return self._task is not None

    def refresh(self) -> None:
        """Ask the engine, which is started for it; `changed` follows."""
        if self._task is None:
            job = make_job("models", {("device",): Settings.read().device})
            title = tr("GeoSeg asks its engine for devices and models")
            self._task = Background(title, lambda stop: _ask(job, stop), self._take).start()

    def close(self) -> None:
        """Wait for nothing any more."""
        task, self._task = self._task, None
        if task is not None:
            task.drop()

    def _take(self, answer: Any) -> None:
        self._task = None
        self.problem = str(answer) if isinstance(answer, Exception) else ""
        if not self.problem:
            self.devices, self.models = answer
        self.changed.emit()


def _ask(job: Job, stop: Callable[[], bool]) -> Tuple[List[Dict[str, Any]], Tuple[Any, ...]]:
    engine = GeoSegAlgorithm.engine()
    devices = list(engine.status(stop).get("devices") or [])
    return devices, engine.run(job, is_cancelled=stop).models
