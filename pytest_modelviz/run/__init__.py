"""One run: its settings, the update policy, its summary. Knows no pytest item and no torch."""
