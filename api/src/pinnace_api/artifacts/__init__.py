"""Artifacts: one row for each content of each path, saying where its bytes lie."""
