"""Several views of one model from as few passes as possible."""
