"""Real heads: the bounds measured on any checkpoint."""
