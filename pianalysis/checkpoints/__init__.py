"""Checkpoints opened safely (safetensors and GGUF, no code run), and extended."""
