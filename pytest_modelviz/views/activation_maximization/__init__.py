"""Inputs that drive a unit as high as it goes, and what its climb looks like."""
