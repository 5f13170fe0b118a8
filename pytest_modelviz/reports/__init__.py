"""Results for their readers: the terminal, programs, TensorBoard. One file a reader."""
