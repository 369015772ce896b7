"""Recorded scores and tensors."""

from segassess_golden import facts_folder, read_case
from unigeoseg_golden import golden

__all__ = ["facts_folder", "golden", "read_case"]
