"""How long an engine takes: measured, compared, gated."""
