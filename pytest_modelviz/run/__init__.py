"""One run: its settings, what becomes of each capture, and whether the run has failed. Knows no pytest, no torch."""
