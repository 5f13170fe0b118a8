"""What the views' comparisons share: tensors, tolerances, passes and models. Knows numpy and plain data alone."""
