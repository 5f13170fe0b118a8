"""Plain data: captures, tensors, model structures, forward traces, verdicts, results of checks and runs, orphans.

Each record reads and checks its own JSON (`from_json`). Knows numpy and no other room but text.
"""
