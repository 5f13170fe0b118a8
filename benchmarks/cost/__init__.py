"""What checks cost beside the passes they need, and beside what people write by hand."""
