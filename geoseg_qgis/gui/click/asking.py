"""The engine for outlines, with its answers on the main thread."""

from __future__ import annotations

from functools import partial
from typing import List, Optional

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...engine_client import Answer, OutlineClient, locate_engine
from ...engine_client.outlines import MakeRequest
from ...processing.settings import Settings, engine_variables


class OutlineService(QObject):
    """Asks for outlines without waiting; main thread only.

    Args:
        parent: Owner of the object; the engine ends with it.

    Attributes:
        answered: Sent with an `Answer` to the newest request.
        restarted: Sent when the engine died and a new one answers.
    """

    answered = pyqtSignal(object)
    restarted = pyqtSignal()

    def __init__(self, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        # The client is kept apart, so that it can be closed when this object is gone.
        self._clients: List[OutlineClient] = []
        self._made_for: object = None
        self.destroyed.connect(partial(_close_all, self._clients))

    @property
    def pid(self) -> Optional[int]:
        """Process id of the engine, or None if none is running."""
        return self._clients[0].pid if self._clients else None

    def ask(self, make: MakeRequest, prepare: bool = False) -> int:
        """Ask for an outline, or have a place prepared; return the number of the request.

        Args:
            make: Called in another thread.
            prepare: Whether the place is only encoded.

        Raises:
            JobError: ``ENGINE_MISSING`` when no engine is installed.
        """
        client = self._client()
        return client.prepare(make) if prepare else client.outline(make)

    def forget(self) -> None:
        """Drop the answer that is on its way, if there is one."""
        for client in self._clients:
            client.forget()

    def close(self) -> None:
        """End the engine; a later request starts a new one."""
        self._made_for = None
        _close_all(self._clients)

    def _client(self) -> OutlineClient:
        location = locate_engine(Settings.read().interpreter)
        variables = engine_variables()
        if not self._clients or self._made_for != (location.python, variables):
            self.close()
            self._clients.append(
                OutlineClient(
                    location, self.answered.emit, self.restarted.emit, variables=variables
                )
            )
            self._made_for = (location.python, variables)
        return self._clients[0]


def _close_all(clients: List[OutlineClient]) -> None:
    while clients:
        clients.pop().close()


__all__ = ["Answer", "OutlineService"]
