"""Recorded tensors of SegAssess."""

from segassess_golden import facts_folder, read_case, tiny_model, tiny_weights

__all__ = ["facts_folder", "read_case", "tiny_model", "tiny_weights"]
