"""The exact worst case of a score that is bounded on the trained grid."""
