"""Finds or makes the engine's Python, starts the engine, talks to it and stops it.

Standard library only: this package runs inside QGIS, in plain Python and in tests alike, from any
thread and without an event loop.
"""

from .client import EngineClient, close_shared, shared_client
from .install import install_engine
from .locate import EngineLocation, default_destination, engine_ready, locate_engine

__all__ = [
    "EngineClient",
    "EngineLocation",
    "close_shared",
    "default_destination",
    "engine_ready",
    "install_engine",
    "locate_engine",
    "shared_client",
]
