"""Names, formats and the store of baselines. No torch, no pytest."""
