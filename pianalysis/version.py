"""The version, read by setup.cfg and written into keys and records."""

__version__ = "0.2.0"
