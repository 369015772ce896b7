"""Settings of the engine's tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes is the machine's affair, never a test's.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
