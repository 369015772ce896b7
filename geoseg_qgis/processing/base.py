"""Base of all algorithms: lifecycle, errors as sentences, help, and the call of the engine."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
)
from qgis.PyQt.QtGui import QIcon

from ..compat import hidden_from_models
from ..engine_client import EngineClient, engine_ready, shared_client
from ..protocol.errors import CancelledError, JobError
from ..protocol.job import Job
from ..protocol.redaction import redact, redact_data
from ..protocol.result import Result
from ..translation import duration, tr
from .help import help_text
from .settings import Settings, engine_variables
from .time_left import TimeNews
from .values import Values

GUIDE = "https://github.com/geoseg-qgis/geoseg-qgis/blob/main/docs/guide.md"
ICONS = Path(__file__).parent.parent / "icons"
T = TypeVar("T")


class GeoSegAlgorithm(QgsProcessingAlgorithm):
    """Base of all algorithms; subclasses describe themselves in class attributes.

    `IN_MODELS` is false for those that do nothing to layers and stay out of the model designer.
    A subclass implements `declare`, `check`, `prepare` (main thread: freeze layers) and `process`
    (worker thread). Each of them may raise a `JobError`, whose two sentences reach the user.
    """

    NAME = ""
    TITLE = ""
    GROUP = ""
    GROUP_ID = ""
    SUMMARY = ""
    TAGS: Tuple[str, ...] = ()
    NEEDS_ENGINE = True
    IN_MODELS = True

    def declare(self) -> None:
        """Add parameters and outputs."""
        raise NotImplementedError

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Freeze everything that belongs to the main thread."""

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Do the work in a background thread and return the outputs."""
        raise NotImplementedError

    def createInstance(self) -> GeoSegAlgorithm:
        """Return a new object; one run keeps its state on its own object."""
        return type(self)()

    def name(self) -> str:
        """Return the id without the provider."""
        return self.NAME

    def displayName(self) -> str:
        """Return the title in the toolbox."""
        return tr(self.TITLE)

    def group(self) -> str:
        """Return the title of the group."""
        return tr(self.GROUP)

    def groupId(self) -> str:
        """Return the id of the group."""
        return self.GROUP_ID

    def tags(self) -> list[str]:
        """Return words to find the algorithm by."""
        return [tr(tag) for tag in self.TAGS]

    def shortDescription(self) -> str:
        """Return the first sentence of the help."""
        return " ".join(tr(self.SUMMARY).split("\n\n")[0].split())

    def shortHelpString(self) -> str:
        """Return the whole help."""
        return help_text(tr(self.SUMMARY), self.parameterDefinitions(), self.outputDefinitions())

    def helpUrl(self) -> str:
        """Return the page that the button Help opens."""
        return GUIDE

    def icon(self) -> QIcon:
        """Return the icon in the toolbox."""
        return QIcon(self.svgIconPath())

    def svgIconPath(self) -> str:
        """Return the path of the icon."""
        own = ICONS / f"{self.NAME}.svg"
        return str(own if own.is_file() else ICONS / "geoseg.svg")

    def initAlgorithm(self, _configuration: Optional[Dict[str, Any]] = None) -> None:
        """Add parameters and outputs."""
        self.declare()

    def flags(self) -> Any:
        """Return what Processing may do with the algorithm."""
        flags = super().flags()
        return flags if self.IN_MODELS else flags | hidden_from_models()

    def asPythonCommand(self, parameters: Dict[str, Any], context: QgsProcessingContext) -> str:
        """Return the call for the history of Processing, without keys and passwords."""
        return redact(super().asPythonCommand(parameters, context))

    def asQgisProcessCommand(
        self, parameters: Dict[str, Any], context: QgsProcessingContext
    ) -> Tuple[str, bool]:
        """Return the command for the history of QGIS from 3.24, without keys and passwords."""
        command, fine = super().asQgisProcessCommand(parameters, context)
        return redact(command), fine

    def asMap(self, parameters: Dict[str, Any], context: QgsProcessingContext) -> Dict[str, Any]:
        """Return the values for the history of QGIS from 3.24, without keys and passwords."""
        hidden: Dict[str, Any] = redact_data(super().asMap(parameters, context))
        return hidden

    def declare_number(self, name: str, text: str) -> None:
        """Add a number that a run returns."""
        self.addOutput(QgsProcessingOutputNumber(name, tr(text)))

    def canExecute(self) -> Tuple[bool, str]:
        """Return whether the engine can be started, and what to do if not."""
        if not self.NEEDS_ENGINE:
            return True, ""
        ready, reason = engine_ready(Settings.read().interpreter)
        return ready, reason

    def checkParameterValues(
        self, parameters: Dict[str, Any], context: QgsProcessingContext
    ) -> Tuple[bool, str]:
        """Return whether the values can work, and a sentence if not."""
        try:
            self.check(Values(self, parameters, context))
        except JobError as error:
            return False, str(error)
        for definition in self.parameterDefinitions():
            given = parameters.get(definition.name())
            if not definition.checkValueIsAcceptable(given, context):
                label = definition.description()
                return False, tr("{} cannot be {!r}. Choose another value.").format(label, given)
        fine, reason = super().checkParameterValues(parameters, context)
        return fine, reason

    def prepareAlgorithm(
        self,
        parameters: Dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        """Check the engine again, as only the toolbox asks `canExecute`, and freeze the layers."""
        ready, reason = self.canExecute()
        failure = None if ready else reason
        if failure is None:
            _, failure = _attempt(self.prepare, Values(self, parameters, context), feedback)
        if failure is not None:
            # See `processAlgorithm`.
            del parameters, context, feedback
            raise QgsProcessingException(failure)
        return True

    def processAlgorithm(
        self,
        parameters: Dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> Dict[str, Any]:
        """Do the work."""
        outputs, failure = _attempt(self.process, Values(self, parameters, context), feedback)
        if failure is not None:
            # QGIS never frees an exception that leaves an algorithm, nor the variables of its
            # frames: layers among them would stay open, and crash QGIS when it ends.
            del parameters, context, feedback
            raise QgsProcessingException(failure)
        return outputs or {}

    @staticmethod
    def engine() -> EngineClient:
        """Return the client of the engine.

        Raises:
            JobError: ``ENGINE_MISSING``.
        """
        return shared_client(Settings.read().interpreter, engine_variables())

    def client(self) -> EngineClient:
        """Return the client that runs the job: the one that all share."""
        return self.engine()

    def run_job(self, job: Job, feedback: QgsProcessingFeedback) -> Result:
        """Have the engine do ``job``; its progress fills the whole bar.

        Raises:
            JobError: What the engine reports, and ``CancelledError`` after a cancel.
        """
        phases = [""]
        news = TimeNews(time.monotonic())

        def on_progress(fraction: float, phase: str) -> None:
            if phase and phase != phases[-1]:
                phases.append(phase)
                feedback.setProgressText(phase)
            feedback.setProgress(100.0 * fraction)
            left = news.update(time.monotonic(), fraction)
            if left is not None:
                feedback.pushInfo(tr("About {} left.").format(duration(left)))

        def on_log(level: str, text: str) -> None:
            if level == "warning":
                feedback.pushWarning(text)
            else:
                feedback.pushInfo(text)

        started = time.time()
        try:
            return self.client().run(job, on_progress, on_log, feedback.isCanceled)
        except CancelledError:
            whole = [Path(path) for path in job.outputs.values() if _is_newer(Path(path), started)]
            if whole:
                names = ", ".join(path.name for path in whole)
                feedback.pushInfo(tr("These outputs were complete already: {}.").format(names))
            else:
                feedback.pushInfo(tr("No output was written."))
            raise


def _attempt(
    work: Callable[[Values, QgsProcessingFeedback], T],
    values: Values,
    feedback: QgsProcessingFeedback,
) -> Tuple[Optional[T], Optional[str]]:
    """Return what ``work`` returns, or None and the sentences that say why it failed."""
    # Only `QgsProcessingException` may leave an algorithm; others show up as bare tracebacks.
    try:
        return work(values, feedback), None
    except QgsProcessingException as error:
        return None, redact(str(error))
    except JobError as error:
        if error.detail:
            feedback.pushDebugInfo(error.detail)
        return None, str(error)
    except Exception as error:  # noqa: BLE001  every fault becomes a sentence
        feedback.pushDebugInfo(redact(traceback.format_exc()))
        reason = tr("GeoSeg met an error of its own: {}. Please report it with the log.")
        return None, redact(reason.format(f"{type(error).__name__}: {error}"))


def _is_newer(path: Path, moment: float) -> bool:
    """Return whether a file was written after a moment."""
    try:
        return path.stat().st_mtime >= moment
    except OSError:
        return False
