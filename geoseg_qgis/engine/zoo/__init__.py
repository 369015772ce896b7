"""Model presets: cards, the folders they live in, and their vocabularies."""
