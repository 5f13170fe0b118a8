"""The results of runs beside the baselines: what can be accepted, rejected or removed, and doing so. No torch."""
