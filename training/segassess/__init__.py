"""Training of SegAssess: the built-in network, and the published training."""
