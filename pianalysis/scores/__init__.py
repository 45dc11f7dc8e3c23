"""Scores as a function of the span (Eq. 3): expansion, fast kernels, and the fits of Fig. 2."""
