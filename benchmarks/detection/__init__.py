"""Seeded faults and benign changes, and how tools judge them."""
