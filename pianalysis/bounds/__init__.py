"""Bounds on scores: inside a cell (interpolation) and anywhere (extrapolation)."""
