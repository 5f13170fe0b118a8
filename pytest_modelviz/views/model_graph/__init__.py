"""The operator graph: exported, or traced where export fails."""
