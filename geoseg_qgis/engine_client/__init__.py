"""Installs and finds the engine's Python, starts the engine process and runs jobs on it.

This package uses the standard library only. It works inside QGIS and in plain Python, from any
thread and without an event loop.
"""

from .client import EngineClient, close_shared, shared_client
from .install import install_engine
from .locate import EngineLocation, default_destination, engine_ready, locate_engine
from .outlines import Answer, OutlineClient
from .setup_plan import SetupPlan, plan_setup

__all__ = [
    "Answer",
    "EngineClient",
    "EngineLocation",
    "OutlineClient",
    "SetupPlan",
    "close_shared",
    "default_destination",
    "engine_ready",
    "install_engine",
    "locate_engine",
    "plan_setup",
    "shared_client",
]
