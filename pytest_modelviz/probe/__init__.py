"""Running a model under observation: calls, sketches, purity. The home of torch."""
