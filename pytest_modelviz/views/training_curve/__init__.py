"""A short training: losses, gradients and moves of the parameters."""
