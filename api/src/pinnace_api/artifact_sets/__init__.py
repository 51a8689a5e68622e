"""Artifact sets: files that belong together, a checkpoint say, as one manifest names them."""
