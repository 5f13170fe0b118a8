"""Strings alone: safe to print, in natural order, side by side, strictly parsed."""
