"""The results of runs beside the baselines: accepting, rejecting, moving and removing them. No torch."""
