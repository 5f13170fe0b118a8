"""Plain data, and nothing but: captures, module trees, forward traces, verdicts, results of checks."""
