"""Recorded tensors of UniGeoSeg."""

from unigeoseg_golden import golden, text_cases, tiny_model, tiny_weights, toy_tokenizer

__all__ = ["golden", "text_cases", "tiny_model", "tiny_weights", "toy_tokenizer"]
