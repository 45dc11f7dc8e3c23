"""Schemes beside each other: worst-case growth, resolution, unseen phases."""
