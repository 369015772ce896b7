"""Deliberate faults against the real engine; `make faults` writes docs/reliability.md."""
