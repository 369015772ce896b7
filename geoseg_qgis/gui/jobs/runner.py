"""Runs algorithms of Processing in the background, with history, layers and a list."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional

from processing.gui.Postprocessing import handleAlgorithmResults
from processing.tools import dataobjects
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...translation import tr
from .records import JobList, JobRecord, State

_MOST_WAIT_MS = 5000
_HISTORY_OF_GUI = 32400
TEMPORARY = "TEMPORARY_OUTPUT"


class JobFeedback(QgsProcessingFeedback):
    """Hands on what a run reports; its methods are called in the thread of the run."""

    said = pyqtSignal(str, str)
    phased = pyqtSignal(str)

    def pushInfo(self, info: str) -> None:
        """Hand on a message."""
        super().pushInfo(info)
        self.said.emit("info", info)

    def pushWarning(self, warning: str) -> None:
        """Hand on a warning."""
        super().pushWarning(warning)
        self.said.emit("warning", warning)

    def reportError(self, error: str, fatal: bool = False) -> None:
        """Hand on an error."""
        super().reportError(error, fatal)
        self.said.emit("error", error)

    def setProgressText(self, text: str) -> None:
        """Hand on what is being done."""
        super().setProgressText(text)
        self.phased.emit(text)


Ended = Callable[[bool, Dict[str, Any]], None]


@dataclass
class _Run:
    """What must outlive the task of a run: it keeps none of these by itself."""

    record: Optional[JobRecord]
    algorithm: QgsProcessingAlgorithm
    parameters: Dict[str, Any]
    context: QgsProcessingContext
    feedback: JobFeedback
    task: QgsProcessingAlgRunnerTask
    project_left: bool = False
    ended: List[Ended] = field(default_factory=list)


class JobRunner(QObject):
    """Starts runs, follows them and loads their layers; main thread only.

    Args:
        parent: Owner of the object.

    Attributes:
        jobs: The list of runs.
        changed: Sent with the number of a run whenever something about it changes.
        ended: Sent with the number of a run once it has ended.
    """

    changed = pyqtSignal(int)
    ended = pyqtSignal(int)

    def __init__(self, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        self.jobs = JobList(time.monotonic, lambda record: self.changed.emit(record.number))
        self._runs: Dict[int, _Run] = {}
        self._tokens = 0
        QgsProject.instance().cleared.connect(self._leave_project)

    def check(self, algorithm_id: str, parameters: Mapping[str, Any]) -> str:
        """Return why a run cannot start, in words for people; empty when it can."""
        algorithm = _algorithm(algorithm_id)
        if algorithm is None:
            return tr("There is no algorithm {}. Load the plugin again.").format(algorithm_id)
        ready, reason = algorithm.canExecute()
        if not ready:
            return str(reason)
        fine, reason = algorithm.checkParameterValues(dict(parameters), _context(None))
        return "" if fine else str(reason)

    def start(
        self,
        algorithm_id: str,
        parameters: Mapping[str, Any],
        title: str = "",
        *,
        ended: Optional[Ended] = None,
        listed: bool = True,
    ) -> int:
        """Start a run, which `check` has let pass.

        Args:
            algorithm_id: Id of the algorithm.
            parameters: Values of its parameters.
            title: Name for people; that of the algorithm when empty.
            ended: Called with the success and the outputs, once layers are loaded.
            listed: Whether the run goes into list and history and its layers into the project. A
                preview does not.

        Returns:
            The number by which `cancel` knows the run; that of its record if it is listed.
        """
        algorithm = _algorithm(algorithm_id)
        if algorithm is None:
            raise ValueError(algorithm_id)
        values = dict(parameters)
        feedback = JobFeedback(False)
        context = _context(feedback)
        record = None
        if listed:
            command = algorithm.asPythonCommand(values, context)
            name = title or algorithm.displayName()
            record = self.jobs.add(name, algorithm_id, values, command)
            _log_history(algorithm, values, context, command)
        given = _loading(algorithm, values) if listed else values
        # A preview is known by a number below zero, so that it meets no record.
        self._tokens += 1
        number = record.number if record is not None else -self._tokens
        if record is not None:
            feedback.said.connect(lambda level, text: self.jobs.line(number, level, text))
            feedback.phased.connect(lambda text: self.jobs.phase(number, text))
            feedback.progressChanged.connect(
                lambda percent: self.jobs.progress(number, percent / 100.0)
            )
        task = QgsProcessingAlgRunnerTask(algorithm, given, context, feedback)
        run = _Run(record, algorithm, given, context, feedback, task)
        if ended is not None:
            run.ended.append(ended)
        self._runs[number] = run
        task.executed.connect(lambda fine, results: self._end(number, fine, results))
        QgsApplication.taskManager().addTask(task)
        return number

    def feedback(self, number: int) -> Optional[JobFeedback]:
        """Return the feedback of a run, None once it has ended."""
        run = self._runs.get(number)
        return run.feedback if run is not None else None

    def repeat(self, number: int) -> Optional[int]:
        """Start a run of the list again and return its new number; None if it cannot start."""
        record = self.jobs.get(number)
        if record is None:
            return None
        problem = self.check(record.algorithm, record.parameters)
        if problem:
            self.jobs.line(number, "error", problem)
            return None
        return self.start(record.algorithm, record.parameters, record.title)

    def cancel(self, number: int) -> None:
        """Stop a run soon."""
        run = self._runs.get(number)
        if run is not None:
            self.jobs.cancelling(number)
            run.task.cancel()
            run.feedback.cancel()

    def close(self) -> None:
        """Cancel everything and wait until no run uses the plugin any more."""
        QgsProject.instance().cleared.disconnect(self._leave_project)
        runs = list(self._runs.values())
        for number in list(self._runs):
            self.cancel(number)
        for run in runs:
            run.ended.clear()
            run.task.waitForFinished(_MOST_WAIT_MS)
        self._runs.clear()

    def _leave_project(self) -> None:
        for run in self._runs.values():
            run.project_left = True

    def _end(self, number: int, successful: bool, results: Dict[str, Any]) -> None:
        run = self._runs.pop(number, None)
        if run is None:
            return
        results = dict(results or {})
        if successful and run.record is not None:
            self._load(run, number)
        self.jobs.end(number, successful, results)
        for tell in run.ended:
            tell(successful, results)
        if run.record is not None:
            self.ended.emit(number)

    def _load(self, run: _Run, number: int) -> None:
        if run.project_left:
            self.jobs.line(
                number,
                "warning",
                tr(
                    "The project was closed during the run, so its layers were not added to "
                    "another one. Open the folder of the results to find them."
                ),
            )
            return
        handleAlgorithmResults(run.algorithm, run.context, run.feedback, parameters=run.parameters)


def _algorithm(identifier: str) -> Optional[QgsProcessingAlgorithm]:
    registry = QgsApplication.processingRegistry()
    if registry.algorithmById(identifier) is None:
        return None
    return registry.createAlgorithmById(identifier)


def _context(feedback: Optional[QgsProcessingFeedback]) -> QgsProcessingContext:
    context = dataobjects.createContext(feedback)
    context.setProject(QgsProject.instance())
    return context


def _loading(algorithm: QgsProcessingAlgorithm, values: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the parameters with layers that the project shall load."""
    given = dict(values)
    for definition in algorithm.destinationParameterDefinitions():
        value = given.get(definition.name())
        loads = definition.type() in ("sink", "rasterDestination", "vectorDestination")
        if loads and isinstance(value, str) and value:
            given[definition.name()] = QgsProcessingOutputLayerDefinition(
                value, QgsProject.instance()
            )
    return given


def _log_history(
    algorithm: QgsProcessingAlgorithm,
    values: Dict[str, Any],
    context: QgsProcessingContext,
    command: str,
) -> None:
    """Put a run into the history of Processing, as its dialogs do."""
    if Qgis.QGIS_VERSION_INT < _HISTORY_OF_GUI:
        from processing.core.ProcessingLog import ProcessingLog  # noqa: PLC0415  gone from 3.24 on

        ProcessingLog.addToLog(command)
        return
    from qgis.gui import QgsGui  # noqa: PLC0415  has no history before 3.24

    entry = {
        "python_command": command,
        "algorithm_id": algorithm.id(),
        "parameters": algorithm.asMap(values, context),
    }
    line, fine = algorithm.asQgisProcessCommand(values, context)
    if fine:
        entry["process_command"] = line
    QgsGui.historyProviderRegistry().addEntry("processing", entry)


__all__ = ["TEMPORARY", "JobFeedback", "JobRunner", "State"]
