"""Plain data: captures, tensors, model structures, forward traces, verdicts. Knows numpy and no other room but text."""
