"""Work in a thread whose answer is taken on the main thread."""

from __future__ import annotations

from typing import Any, Callable, Optional

from qgis.core import QgsApplication, QgsTask

_MOST_WAIT_MS = 3000


class Background(QgsTask):
    """One piece of work.

    Args:
        title: What the task manager shows.
        work: Called in a thread with a function that returns whether it should stop. It must
            neither ask the user nor touch layers.
        done: Called on the main thread with the answer, or with the exception.
    """

    def __init__(
        self,
        title: str,
        work: Callable[[Callable[[], bool]], Any],
        done: Callable[[Any], None],
    ) -> None:
        super().__init__(title, QgsTask.Flag.CanCancel)
        self._work = work
        self._done: Optional[Callable[[Any], None]] = done
        self._answer: Any = None

    def start(self) -> Background:
        """Begin; keep the returned task, as one without a reference never calls ``done``."""
        QgsApplication.taskManager().addTask(self)
        return self

    def drop(self) -> None:
        """Stop, and call nobody."""
        self._done = None
        self.cancel()
        self.waitForFinished(_MOST_WAIT_MS)

    def run(self) -> bool:
        """Work; runs in a thread."""
        try:
            self._answer = self._work(self.isCanceled)
        except Exception as error:  # noqa: BLE001  QGIS would only log it
            self._answer = error
        return True

    def finished(self, result: bool) -> None:
        """Hand the answer over."""
        done, self._done = self._done, None
        if result and done is not None:
            done(self._answer)
